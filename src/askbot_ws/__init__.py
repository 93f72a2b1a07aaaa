"""askbot-ws: conversations with a model over WebSocket, on a log that loses nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import connect as connect
    from .client.sync import connect as connect_sync
    from .embedding import serve as serve

__all__ = ["__version__", "connect", "connect_sync", "serve"]
__version__ = "0.1.0"

_LATE = {
    "connect": (".client", "connect"),
    "connect_sync": (".client.sync", "connect"),
    "serve": (".embedding", "serve"),
}


def __getattr__(name: str) -> object:
    """What takes long to import is imported by whoever uses it."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LATE[name]
    return getattr(import_module(module, __name__), attribute)
