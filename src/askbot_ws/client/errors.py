"""What ends a conversation or a question on this side, and from the wire's codes to exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..dialects.askbot.frames import Error
from ..errors import AskbotError
from ..events import Failure


def _leaves(kind: type[AskbotError]) -> list[type[AskbotError]]:
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in _leaves(each)] if below else [kind]


_BY_CODE: Mapping[str, type[AskbotError]] = MappingProxyType(
    {kind.code: kind for kind in reversed(_leaves(AskbotError))}
)


class Closed(AskbotError):
    """The conversation on this side is over: closed here, or ended by the server, or there is no server."""

    code = "closed"
    default = "The connection is closed."


class Damaged(AskbotError):
    """What was iterated over is not what was answered: its proof fails, or the server lost it in the middle.

    Awaiting the question gives the whole answer, where there still is one.
    """

    code = "damaged"
    default = "The text that was read is not the answer that was given."


def error_of(told: Error | Failure) -> AskbotError:
    """The exception that the server tells of by its code."""
    kind = _BY_CODE.get(told.code)
    if kind is None:
        return AskbotError(f"{told.message} ({told.code})", retry_after=told.retry_after)
    error = kind(told.message)
    error.retry_after = told.retry_after
    return error
