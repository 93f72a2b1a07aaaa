"""Errors of the client's own, and the exception for each error code of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import TypeVar

from ..dialects.askbot.frames import Error
from ..errors import AskbotError
from ..events import Failure

NOT_ENTERED = "The conversation has not begun: enter it with `async with`."

E = TypeVar("E", bound=BaseException)


def _leaf_classes(base: type[AskbotError]) -> list[type[AskbotError]]:
    subclasses = base.__subclasses__()
    return [leaf for each in subclasses for leaf in _leaf_classes(each)] if subclasses else [base]


_CLASS_BY_CODE: Mapping[str, type[AskbotError]] = MappingProxyType(
    {leaf.code: leaf for leaf in reversed(_leaf_classes(AskbotError))}
)


class Closed(AskbotError):
    """The conversation is over on this side, or there is no server. It has the `code` `closed`.

    Raised by entering `connect(…)` where the server can't be reached; by every question, command and running answer
    once the conversation was closed here; and by a `Chat` that was not entered.

    Its `retryable` says which: it is True where the server can't be reached now and may be later (no such host, nothing
    listens there, no answer in time, HTTP 502, 503, 504 and the like), with `retry_after` where the server said when.
    It is False where connecting again would fail again (a wrong URL, a certificate that isn't trusted, HTTP 404,
    a server of another kind), and for a conversation that was closed here or not entered.

    Example:
        ```python
        try:
            async with connect(url) as chat:
                print((await chat.ask("Why?")).answer)
        except Closed as error:
            print(error.message, "Try again later." if error.retryable else "")
        ```
    """

    code = "closed"
    default = "The connection is closed."


class Damaged(AskbotError):
    """The text that was read is not the answer that the server logged. It has the `code` `damaged`.

    Raised at the end of an iteration, where the text has not the length and the SHA-256 that the server gave for it, or
    the server has lost the answer; and by awaiting an `AnswerStream`, where the text in the server's history has not
    either. Its `retryable` is True where that history could not be had, and may be later.

    Example:
        ```python
        stream = chat.ask("Why?")
        try:
            async for text in stream:
                print(text, end="")
        except Damaged:
            print((await stream).answer)  # the whole answer, as the server has it
        ```
    """

    code = "damaged"
    default = "The text that was read is not the answer that was given."


class TimedOut(AskbotError):
    """The server has not answered a request in time. It has the `code` `timeout`.

    Raised where a connection was open for 60 seconds after a request was sent on it, and the server has neither
    acknowledged the question, nor sent the history page, nor ended the turn that was to be cancelled, nor deleted the
    session. A question that the server logs later all the same is cancelled. The answer itself may take any time.

    Example:
        ```python
        try:
            page = await chat.history()
        except TimedOut:
            print("The server has not answered for a minute.")
        ```
    """

    code = "timeout"
    default = "The server has not answered in time."
    retryable = True


def copy_of(error: E) -> E:
    """Return a copy of an error, to be raised: an instance that is raised again has a longer traceback each time.

    An error of another kind than ours is returned as it is: it may not be possible to copy it.
    """
    if not isinstance(error, AskbotError):
        return error
    copied = copy(error)
    copied.__cause__ = error.__cause__
    return copied


def exception_for(record: Error | Failure) -> AskbotError:
    """Return the exception for an `error` frame or the failure of a turn; an `AskbotError` for an unknown code.

    Whether it is retryable is the server's to say: of one cause some cases may pass, and others not.
    """
    kind = _CLASS_BY_CODE.get(record.code)
    error = kind(record.message) if kind else AskbotError(f"{record.message} ({record.code})")
    error.code, error.retryable, error.retry_after = record.code, record.retryable, record.retry_after
    return error
