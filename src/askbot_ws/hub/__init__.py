"""Hub: the sessions of this process, with their readers, their writers and their running turns."""

from .hub import Hub
from .policy import Policy
from .topic import Reader, Topic

__all__ = ["Hub", "Policy", "Reader", "Topic"]
