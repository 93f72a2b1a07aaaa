"""Every error that a client can be told of, as one tree.

A class is a cause and `code` is its name on the wire (PROTOCOL 4). The message is safe to show to a stranger:
what a driver or a provider said stays in `__cause__`, for the log.
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
    """The root: something that a client is told by its code."""

    code: ClassVar[str] = "internal"
    default: ClassVar[str] = "Something went wrong on our side."
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message or self.default)
        self.message = message or self.default
        self.retry_after = retry_after


# --- frames that cannot be taken -------------------------------------------------------------------------------------


class FrameError(AskbotError):
    """A frame that changes nothing, because it cannot be understood."""

    code = "invalid_frame"
    default = "The frame is not valid."

    def __init__(self, message: str | None = None, *, id: str | None = None) -> None:
        """`id` is the frame's own, as far as it could be read."""
        super().__init__(message)
        self.id = id


class InvalidJSON(FrameError):
    """The text is not JSON."""

    code = "invalid_json"
    default = "The frame is not JSON."


class InvalidFrame(FrameError):
    """A field is missing or wrong; the message names it."""


class UnknownType(FrameError):
    """There is no such frame."""

    code = "unknown_type"
    default = "There is no frame of this type."


# --- commands that cannot be followed --------------------------------------------------------------------------------


class SessionNotFound(AskbotError):
    """No such session, or not this user's: the two are not told apart."""

    code = "session_not_found"
    default = "There is no such session."


class TurnNotFound(AskbotError):
    """No such turn in this session, or none that the command could be about."""

    code = "turn_not_found"
    default = "There is no such turn."


class Busy(AskbotError):
    """A turn is running, and the question did not want to wait."""

    code = "busy"
    default = "An answer is running."
    retryable = True


class QueueFull(AskbotError):
    """Too many questions wait."""

    code = "queue_full"
    default = "Too many questions are waiting."
    retryable = True


class QuestionEmpty(AskbotError):
    """Nothing was asked."""

    code = "question_empty"
    default = "The question is empty."


class QuestionTooLong(AskbotError):
    """More was asked than may be."""

    code = "question_too_long"
    default = "The question is too long."


class Refused(AskbotError):
    """The guard did not let the question pass."""

    code = "refused"
    default = "This question is not answered here."


class RateLimited(AskbotError):
    """Too much at once; `retry_after` says when again."""

    code = "rate_limited"
    default = "Too many requests."
    retryable = True


class QuotaExceeded(AskbotError):
    """All that was granted for this period is used up."""

    code = "quota_exceeded"
    default = "The quota is used up."


class Unauthorized(AskbotError):
    """The credentials are missing or wrong."""

    code = "unauthorized"
    default = "Credentials are needed."


class Forbidden(AskbotError):
    """A model or an option that the configuration does not allow."""

    code = "forbidden"
    default = "This is not allowed here."


# --- the model's side ------------------------------------------------------------------------------------------------


class UpstreamError(AskbotError):
    """The model's side failed; the text so far is kept."""

    code = "upstream_unavailable"
    default = "The model cannot be reached."
    retryable = True


class UpstreamUnavailable(UpstreamError):
    """It cannot be reached, broke off, or answered with a server error."""


class UpstreamRateLimited(UpstreamError):
    """The provider asked us to slow down."""

    code = "upstream_rate_limited"
    default = "The model is busy."


class UpstreamRejected(UpstreamError):
    """The provider will not take this request, however often it is made."""

    code = "upstream_rejected"
    default = "The model rejected the request."
    retryable = False


class UpstreamStalled(UpstreamError):
    """Nothing came for too long."""

    code = "upstream_stalled"
    default = "The model stopped answering."


class ContextTooLong(UpstreamError):
    """The conversation is longer than the model can read."""

    code = "context_too_long"
    default = "The question is longer than the model can read."
    retryable = False


# --- ours ------------------------------------------------------------------------------------------------------------


class Overloaded(AskbotError):
    """The server has as much to do as it can take."""

    code = "overloaded"
    default = "The server is busy."
    retryable = True


class Internal(AskbotError):
    """A fault of ours."""

    retryable = True


class StoreError(AskbotError):
    """The log could not be written or read: a full disk, a read-only or a locked file."""

    default = "The conversation cannot be stored right now."
    retryable = True


class LogMoved(StoreError):
    """The log is not where its writer believes it to be: another one has written, or the session is gone."""


# --- the start -------------------------------------------------------------------------------------------------------


class ConfigError(Exception):
    """The server can't start like this. The message lists every fault, each with the setting and the fix."""
