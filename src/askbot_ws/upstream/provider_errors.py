"""Provider errors: a provider's error responses and error events as our `UpstreamError`s.

Our message is safe to show to anybody. The provider's own words are a `ProviderError` in `__cause__`, for the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import orjson

from ..core.text import well_formed
from ..errors import ContextTooLong, UpstreamError, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable

BROKEN_OFF_MESSAGE = "The model's answer broke off."
BAD_KEY_MESSAGE = "The API key was not accepted."
MAX_MESSAGE_CHARS = 500  # of an error that a user's code raised, as clients see it
_MAX_TEXT_CHARS = 2_000  # of a provider's words, in the log
_MAX_CODE_CHARS = 100
_MAX_RETRY_AFTER_SECONDS = 1e9  # thirty years
_CONTEXT_TOO_LONG = re.compile(
    r"context.?length|maximum context|context.?size|context.?window|too many (?:input )?tokens|prompt is too long",
    re.IGNORECASE,
)
_STATUS_OF_TYPE = {
    "authentication_error": 401,
    "permission_error": 403,
    "invalid_request_error": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
}


class ProviderError(Exception):
    """A failure in the provider's own words."""

    def __init__(self, text: str, *, status: int | None = None, code: str = "") -> None:
        """`status` is HTTP's, where there was one; `text` and `code` are made well-formed and cut."""
        text = well_formed(text, limit=_MAX_TEXT_CHARS)
        super().__init__(f"{status}: {text}" if status else text)
        self.status = status
        self.code = well_formed(code, limit=_MAX_CODE_CHARS)


def broken_answer(detail: str) -> UpstreamUnavailable:
    """The error of an answer that broke off; `detail` is for the log."""
    error = UpstreamUnavailable(BROKEN_OFF_MESSAGE)
    error.__cause__ = ProviderError(detail)
    return error


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error for a response with a status other than 200."""
    text = body.decode(errors="replace")
    code, kind, message = _error_fields(_parse_json(body) or text)
    error = _classify(status, f"{code} {message}", retry_after=parse_retry_after(headers))
    error.__cause__ = ProviderError(text, status=status, code=code or kind)
    return error


def error_from_event(event: Mapping[str, Any]) -> UpstreamError:
    """The error for an error event inside the stream; `UpstreamUnavailable` where it has no known status or type."""
    code, kind, message = _error_fields(event)
    status = int(code) if code.isdecimal() and len(code) == 3 else None
    status = status or _STATUS_OF_TYPE.get(code) or _STATUS_OF_TYPE.get(kind)
    error = _classify(status, f"{code} {message}")
    error.__cause__ = ProviderError(f"{code} {kind} {message}", status=status, code=code or kind)
    return error


def sanitize_error(error: UpstreamError) -> UpstreamError:
    """An error that users' code raised, made safe for the log.

    Its class is one of `askbot_ws.errors`: codes of others are not passed on. The message is well-formed and has at
    most 500 code points, `retry_after` is None or finite seconds. An error that had to be changed is the cause of the
    one that is returned.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == UpstreamError.__module__)
    message: Any = getattr(error, "message", None)
    wait: Any = getattr(error, "retry_after", None)
    text = well_formed(message, limit=MAX_MESSAGE_CHARS) if isinstance(message, str) else None
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


def is_retryable(error: UpstreamError) -> bool:
    """Whether the same request may succeed a little later."""
    cause = error.__cause__
    spent = isinstance(cause, ProviderError) and cause.code == "insufficient_quota"
    return isinstance(error, UpstreamUnavailable | UpstreamRateLimited) and not spent


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


def _classify(status: int | None, text: str, *, retry_after: float | None = None) -> UpstreamError:
    if status in (None, 400, 413, 422) and _CONTEXT_TOO_LONG.search(text):
        return ContextTooLong()
    match status:
        case 401 | 403:
            return UpstreamRejected(BAD_KEY_MESSAGE)
        case 429:
            return UpstreamRateLimited(retry_after=retry_after)
        case None | 408 | 409:
            return UpstreamUnavailable(retry_after=retry_after)
        case _ if status >= 500:
            return UpstreamUnavailable(retry_after=retry_after)
        case _:
            return UpstreamRejected()


def _error_fields(value: object) -> tuple[str, str, str]:
    """Code, type and message, from any of the shapes that servers use; '' where there is none."""
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        inner = fields.get("error")
        if inner and inner is not True:
            return _error_fields(inner)
        code, kind, message = (fields.get(name) for name in ("code", "type", "message"))
        return str(code or ""), str(kind or ""), str(message or fields.get("detail") or "")
    return "", "", str(value)


def _parse_json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
