"""The sessions of this process: who reads them, who writes them, and the turns that run in them."""

from .hub import Hub
from .policy import Policy
from .topic import Reader, Topic

__all__ = ["Hub", "Policy", "Reader", "Topic"]
