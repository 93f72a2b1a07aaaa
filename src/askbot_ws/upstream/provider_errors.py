"""Provider errors: a provider's error responses and error events as our `UpstreamError`s.

Our message is safe to show to anybody. A `ProviderError` in `__cause__` has the reason, for the log, and the provider's
own words, which are logged only with the setting `log_content`: they may repeat questions and answers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ..core.text import to_well_formed
from ..errors import UpstreamError, UpstreamRateLimited, UpstreamStalled, UpstreamUnavailable
from .error_causes import CONTENT_FILTERED, FAILED, FIELD_REFUSED, REJECTED, ErrorCause, find_cause
from .error_report import ErrorReport, report_of_event, report_of_response

BROKEN_OFF_MESSAGE = "The model's answer broke off."
MAX_MESSAGE_CHARS = 500  # of an error that a user's code raised, as clients see it
MAX_TEXT_CHARS = 2_000  # of a failure's text, in the log
_MAX_RETRY_AFTER_SECONDS = 1e9  # thirty years
_UNEXPLAINED_STATUSES = (None, 400, 413, 422)
_FAULTS_BY_REQUESTS = (None, 424, 500)  # with which llama.cpp and TGI refuse roles; others pass by themselves


class ProviderError(Exception):
    """A failure of a provider: its own words, or ours where it said nothing."""

    def __init__(self, text: str, *, report: ErrorReport | None = None, cause: ErrorCause | None = None) -> None:
        """`text` is made well-formed and cut. With a `report` it is the provider's words, else it is ours."""
        self.text = to_well_formed(text, limit=MAX_TEXT_CHARS)
        status = report.status if report else None
        super().__init__(f"{status}: {self.text}" if status else self.text)
        self.report = report
        self.cause = cause
        self.text_chars = len(text)


def broken_answer(detail: str) -> UpstreamUnavailable:
    """The error of an answer that broke off; `detail` is for the log, and has nothing of the answer."""
    error = UpstreamUnavailable(BROKEN_OFF_MESSAGE)
    error.__cause__ = ProviderError(detail)
    return error


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error for a response with a status that is no success."""
    report = report_of_response(status, body)
    return _error(report, body.decode(errors="replace"), retry_after=parse_retry_after(headers))


def error_from_event(event: Mapping[str, Any]) -> UpstreamError:
    """The error for an error event inside the stream; `UpstreamUnavailable` where it has no known status or type."""
    report = report_of_event(event)
    return _error(report, f"{report.words} {report.message}")


def _error(report: ErrorReport, text: str, *, retry_after: float | None = None) -> UpstreamError:
    cause = find_cause(report)
    retryable = issubclass(cause.error, UpstreamUnavailable | UpstreamRateLimited)
    error = cause.error(cause.message, retry_after=retry_after if retryable else None)
    error.__cause__ = ProviderError(text, report=report, cause=cause)
    return error


# --- what an error means ---------------------------------------------------------------------------------------------


def is_retryable(error: UpstreamError) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(error, UpstreamUnavailable | UpstreamRateLimited)


def is_content_filter(error: UpstreamError) -> bool:
    """Whether the provider's content filter refused to answer."""
    return isinstance(error.__cause__, ProviderError) and error.__cause__.cause is CONTENT_FILTERED


def refused_report(error: UpstreamError) -> ErrorReport | None:
    """What the provider said, where it may be that it refuses a field of the request; else None."""
    cause = error.__cause__
    if not isinstance(cause, ProviderError) or cause.report is None:
        return None
    is_fault = cause.cause is FAILED and cause.report.status in _FAULTS_BY_REQUESTS
    return cause.report if is_fault or cause.cause in (REJECTED, FIELD_REFUSED) else None


def is_unclassified_rejection(error: UpstreamError) -> bool:
    """Whether the provider rejected the request, for none of the causes that have a name."""
    return isinstance(error.__cause__, ProviderError) and error.__cause__.cause in (REJECTED, FIELD_REFUSED)


def is_unexplained(error: UpstreamError) -> bool:
    """Whether the provider rejected the request without saying why: it may be too long."""
    cause = error.__cause__
    return (
        isinstance(cause, ProviderError)
        and cause.cause is REJECTED
        and cause.report is not None
        and cause.report.status in _UNEXPLAINED_STATUSES
    )


def may_be_length(error: UpstreamError) -> bool:
    """Whether a shorter prompt may succeed where this one failed.

    It was rejected without a reason, was too much for a limit of tokens or for the server, or took too long to read.
    """
    cause = error.__cause__
    report = cause.report if isinstance(cause, ProviderError) else None
    if report is None:
        return isinstance(error, UpstreamStalled)
    if isinstance(error, UpstreamRateLimited):
        return "token" in report.message.lower()
    return is_unexplained(error) or isinstance(error, UpstreamUnavailable)


# --- for the log -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FailureSummary:
    """Why an upstream failed, for the log: nothing of it but `text` may have a question or an answer in it."""

    cause: str  # of `ErrorCause`, or the failure's class and, where they are ours or the system's, its words
    status: int | None = None
    type: str | None = None  # the provider's
    provider_code: str | None = None
    text_chars: int | None = None  # of what the provider said, in code points
    hint: str | None = None  # what the operator can do
    text: str = ""  # all words, cut


def summarize(error: UpstreamError) -> FailureSummary:
    """Summarize an error for the log."""
    cause = error.__cause__
    text = repr(ensure_printable(cause))[:MAX_TEXT_CHARS]
    if not isinstance(cause, ProviderError):
        return FailureSummary(_describe(cause) or error.code, hint=_hint_without_report(error), text=text)
    report, reason = cause.report, cause.cause
    if report is None:
        return FailureSummary(reason.name if reason else cause.text, hint=reason.hint if reason else None, text=text)
    return FailureSummary(
        reason.name if reason else error.code,
        status=report.status,
        type=next(iter(report.types), None),
        provider_code=next(iter(report.codes), None),
        text_chars=cause.text_chars,
        hint=reason.hint if reason else None,
        text=text,
    )


def _describe(error: BaseException | None) -> str:
    """The classes of an error and of its causes; with the words of what the system reports, but of nothing else."""
    names: list[str] = []
    while error is not None and len(names) < 5:
        names.append(f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__)
        error = error.__cause__
    return ", by ".join(names)


def _hint_without_report(error: UpstreamError) -> str | None:
    if isinstance(error, UpstreamStalled):
        return "Set ASKBOT_STALL_TIMEOUT to more than the model needs for its first token."
    if type(error) is UpstreamUnavailable and _is_unreachable(error.__cause__):
        return "See that the address in OPENAI_BASE_URL is right, and that this machine reaches it."
    return None


def _is_unreachable(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, OSError) or _is_unreachable(error.__cause__))


# --- of users' code --------------------------------------------------------------------------------------------------


def sanitize_error(error: UpstreamError) -> UpstreamError:
    """An error that users' code raised, made safe for the log.

    Its class is one of `askbot_ws.errors`: codes of others are not passed on. The message is well-formed and has at
    most 500 code points, `retry_after` is None or finite seconds. An error that had to be changed is the cause of the
    one that is returned.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == UpstreamError.__module__)
    message: Any = getattr(error, "message", None)
    wait: Any = getattr(error, "retry_after", None)
    text = to_well_formed(message, limit=MAX_MESSAGE_CHARS) if isinstance(message, str) else None
    seconds = float(wait) if type(wait) in (int, float) and 0 <= wait <= _MAX_RETRY_AFTER_SECONDS else None
    cause = error.__cause__
    if type(error) is kind and (text, seconds) == (message, wait) and ensure_printable(cause) is cause:
        return error
    sanitized: UpstreamError = kind(text, retry_after=seconds)
    sanitized.__cause__ = ensure_printable(error)
    return sanitized


def ensure_printable(error: BaseException | None) -> BaseException | None:
    """The error, if its `repr` does not raise; else a `ProviderError` that names its class."""
    try:
        repr(error)
    except Exception as unprintable:  # noqa: BLE001  users' code may raise anything
        return ProviderError(f"{type(error).__name__}, whose repr raises {type(unprintable).__name__}")
    return error


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds to wait, from `retry-after-ms` or `retry-after`; None where neither can be read."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value):
            return float(value) / unit
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None
