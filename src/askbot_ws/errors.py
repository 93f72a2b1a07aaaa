"""Errors: one class for each cause that is reported to clients, all of them subclasses of `AskbotError`.

`code` is the cause's name on the wire (docs/errors.md). The message is safe to show to anybody: the message of a driver
or a provider stays in `__cause__`, for the log. The server sends these errors, and the Python client raises them.

Example:
    try:
        answer = await chat.ask("Why is the sky blue?")
    except RateLimited as error:
        print(error.message, error.retry_after)
    except AskbotError as error:
        print(error.code, error.message)
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AskbotError",
    "Busy",
    "ConfigError",
    "ContextTooLong",
    "Forbidden",
    "FrameError",
    "Internal",
    "InvalidFrame",
    "InvalidJSON",
    "LogMoved",
    "Overloaded",
    "QuestionEmpty",
    "QuestionTooLong",
    "QueueFull",
    "QuotaExceeded",
    "RateLimited",
    "Refused",
    "SessionNotFound",
    "StoreError",
    "StoreUnavailable",
    "TurnNotFound",
    "Unauthorized",
    "UnknownType",
    "UpstreamError",
    "UpstreamRateLimited",
    "UpstreamRejected",
    "UpstreamStalled",
    "UpstreamUnavailable",
]


class AskbotError(Exception):
    """The base class of all errors that are reported to clients.

    Attributes:
        code: The cause's name on the wire.
        default: The message where none is given.
        message: A sentence that is safe to show to anybody.
        retryable: Whether the same may succeed later.
        retry_after: In how many seconds, or None where that is not known.
    """

    code: str = "internal"
    default: ClassVar[str] = "Something went wrong on our side."
    retryable: bool = False

    def __init__(
        self, message: str | None = None, *, retry_after: float | None = None, retryable: bool | None = None
    ) -> None:
        """Make an error.

        Args:
            message: A sentence that is safe to show to anybody; the class's `default` without it.
            retry_after: In how many seconds the same may succeed, if that is known.
            retryable: Whether the same may succeed later; by default as for the class.
        """
        super().__init__(message or self.default)
        self.message: str = message or self.default
        self.retry_after: float | None = retry_after
        if retryable is not None:
            self.retryable = retryable


# --- invalid frames --------------------------------------------------------------------------------------------------


class FrameError(AskbotError):
    """A frame is invalid; it has changed nothing.

    Attributes:
        id: The frame's `id`, where it has a valid one.
    """

    code = "invalid_frame"
    default = "The frame is not valid."

    def __init__(self, message: str | None = None, *, id: str | None = None) -> None:
        """Make an error about a frame.

        Args:
            message: What is wrong, safe to show to anybody.
            id: The frame's `id`, where it has a valid one.
        """
        super().__init__(message)
        self.id: str | None = id


class InvalidJSON(FrameError):
    """The frame is not JSON."""

    code = "invalid_json"
    default = "The frame is not JSON."


class InvalidFrame(FrameError):
    """A field is missing or has a wrong value; the message names it.

    Also raised where the `id` of a question belongs to another question of the session, and where a frame needs a
    `session` because several are attached.
    """


class UnknownType(FrameError):
    """The frame's `type` is none of the protocol's."""

    code = "unknown_type"
    default = "There is no frame of this type."


# --- commands that are refused ---------------------------------------------------------------------------------------


class SessionNotFound(AskbotError):
    """There is no such session, or it is another user's (the two are not distinguished), or it was deleted."""

    code = "session_not_found"
    default = "There is no such session."


class TurnNotFound(AskbotError):
    """The session has no such turn, or it is in the wrong state, as a `cancel` of a turn that has ended."""

    code = "turn_not_found"
    default = "There is no such turn."


class Busy(AskbotError):
    """A turn runs or waits, and the question's `when_busy` is `reject`; or it is the turn that is to be forked."""

    code = "busy"
    default = "An answer is running."
    retryable = True


class QueueFull(AskbotError):
    """As many questions wait as the server allows: in the session (`ready.limits.waiting_turns`), or of one client."""

    code = "queue_full"
    default = "Too many questions are waiting."
    retryable = True


class QuestionEmpty(AskbotError):
    """The question has no visible character."""

    code = "question_empty"
    default = "The question is empty."


class QuestionTooLong(AskbotError):
    """The question has more code points than the server allows (`ready.limits.question_chars`)."""

    code = "question_too_long"
    default = "The question is too long."


class Refused(AskbotError):
    """The question is refused by its content, by the server or by the model's filter."""

    code = "refused"
    default = "This question is not answered here."


class RateLimited(AskbotError):
    """There were too many requests in a short time; `retry_after` says when the next is accepted."""

    code = "rate_limited"
    default = "Too many requests."
    retryable = True


class QuotaExceeded(AskbotError):
    """What was granted is used up: the tokens of a day, the user's sessions, or the size of a session.

    `retry_after` says when there is more, where that is a matter of time.
    """

    code = "quota_exceeded"
    default = "The quota is used up."


class Unauthorized(AskbotError):
    """The credentials are missing or invalid."""

    code = "unauthorized"
    default = "Credentials are needed."


class Forbidden(AskbotError):
    """The credential does not allow this; or the settings do not allow the model or an option that a question names."""

    code = "forbidden"
    default = "This is not allowed here."


# --- the model -------------------------------------------------------------------------------------------------------


class UpstreamError(AskbotError):
    """The model, or the API that provides it, failed; the text so far is kept.

    Functions and upstreams of one's own raise a subclass of it to end a turn with that code (docs/embedding.md).
    """

    code = "upstream_unavailable"
    default = "The model cannot be reached."
    retryable = True


class UpstreamUnavailable(UpstreamError):
    """The model's API can't be reached, broke off the answer, or sent a server error."""


class UpstreamRateLimited(UpstreamError):
    """The model's API limits the rate of requests."""

    code = "upstream_rate_limited"
    default = "The model is busy."


class UpstreamRejected(UpstreamError):
    """The model's API refuses the request, and will refuse it again: a wrong key or option, for instance."""

    code = "upstream_rejected"
    default = "The model rejected the request."
    retryable = False


class UpstreamStalled(UpstreamError):
    """The model sent nothing for too long (the setting `stall_timeout`)."""

    code = "upstream_stalled"
    default = "The model stopped answering."


class ContextTooLong(UpstreamError):
    """The prompt has more tokens than the model can read, even without earlier turns."""

    code = "context_too_long"
    default = "The question is longer than the model can read."
    retryable = False


# --- the server ------------------------------------------------------------------------------------------------------


class Overloaded(AskbotError):
    """The server has too much to do, as many questions wait as it allows, or it is about to restart."""

    code = "overloaded"
    default = "The server is busy."
    retryable = True


class Internal(AskbotError):
    """An unexpected fault of the server, which its log describes."""

    retryable = True


class StoreError(AskbotError):
    """The store can't be written or read: a full disk, a read-only or locked file."""

    default = "The conversation cannot be stored right now."
    retryable = True


class LogMoved(StoreError):
    """A session's log has another head than its writer assumed: there was another writer, or it was deleted."""


# --- starting --------------------------------------------------------------------------------------------------------


class ConfigError(Exception):
    """The server can't start. The message lists all faults, each with the setting and how to mend it."""


class StoreUnavailable(ConfigError):
    """The server can't start at the moment, though its settings may be right: its store can't be reached or written."""
