"""askbot-ws: conversations with a model over WebSocket, on a log that loses nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auth.request_head import RequestHead as RequestHead
    from .auth.tickets import Ticket as Ticket
    from .auth.tickets import make_ticket as make_ticket
    from .client import Answer as Answer
    from .client import AnswerStream as AnswerStream
    from .client import Chat as Chat
    from .client import Closed as Closed
    from .client import Damaged as Damaged
    from .client import TimedOut as TimedOut
    from .client import Turn as Turn
    from .client import View as View
    from .client import connect as connect
    from .client.sync import connect as connect_sync
    from .core.principal import Principal as Principal
    from .embedding import serve as serve

__all__ = [
    "Answer",
    "AnswerStream",
    "Chat",
    "Closed",
    "Damaged",
    "Principal",
    "RequestHead",
    "Ticket",
    "TimedOut",
    "Turn",
    "View",
    "__version__",
    "connect",
    "connect_sync",
    "make_ticket",
    "serve",
]
__version__ = "0.1.0"

_LAZY_ATTRIBUTES = {  # name: the module that has it, and its name there
    "Answer": (".client", "Answer"),
    "AnswerStream": (".client", "AnswerStream"),
    "Chat": (".client", "Chat"),
    "Closed": (".client", "Closed"),
    "Damaged": (".client", "Damaged"),
    "Principal": (".core.principal", "Principal"),
    "RequestHead": (".auth.request_head", "RequestHead"),
    "Ticket": (".auth.tickets", "Ticket"),
    "TimedOut": (".client", "TimedOut"),
    "Turn": (".client", "Turn"),
    "View": (".client", "View"),
    "connect": (".client", "connect"),
    "connect_sync": (".client.sync", "connect"),
    "make_ticket": (".auth.tickets", "make_ticket"),
    "serve": (".embedding", "serve"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is used first, as the client and the server take long to import."""
    if name not in _LAZY_ATTRIBUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY_ATTRIBUTES[name]
    return getattr(import_module(module, __name__), attribute)
