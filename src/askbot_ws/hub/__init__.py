"""The live sessions of this process: runs turns, wakes cursors."""

from .hub import Hub
from .live import Live, Reader
from .policy import Policy

__all__ = ["Hub", "Live", "Policy", "Reader"]
