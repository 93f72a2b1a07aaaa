"""The live sessions of this process: runs turns, wakes cursors."""

from .hub import Hub, Policy
from .live import Live, Reader

__all__ = ["Hub", "Live", "Policy", "Reader"]
