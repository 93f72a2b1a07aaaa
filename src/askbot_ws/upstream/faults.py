"""What a provider says when it fails, as our errors.

Our message is for strangers. The provider's own words are a `ProviderError` in `__cause__`, for the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import orjson

from ..errors import ContextTooLong, UpstreamError, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable

BROKEN = "The model's answer broke off."
BAD_KEY = "The API key was not accepted."
_LONGEST_TEXT = 2_000  # of a provider's words, in the log
_TOO_LONG = re.compile(
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
    """What the provider said, in its own words."""

    def __init__(self, text: str, *, status: int | None = None, code: str = "") -> None:
        """`status` is HTTP's, where there was one."""
        super().__init__(f"{status}: {text}" if status else text)
        self.status = status
        self.code = code


def broken(detail: str) -> UpstreamUnavailable:
    """An answer that did not end as answers do."""
    error = UpstreamUnavailable(BROKEN)
    error.__cause__ = ProviderError(detail)
    return error


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error that a response with a status other than 200 means."""
    text = body.decode(errors="replace")
    code, kind, message = _words(_json(body) or text)
    error = _error(status, f"{code} {message}", retry_after=retry_after(headers))
    error.__cause__ = ProviderError(text[:_LONGEST_TEXT], status=status, code=code or kind)
    return error


def of_event(event: Mapping[str, Any]) -> UpstreamError:
    """The error that an event inside the stream means. Where it does not say whose fault it is, it is theirs."""
    code, kind, message = _words(event)
    status = int(code) if code.isdecimal() and len(code) == 3 else None
    status = status or _STATUS_OF_TYPE.get(code) or _STATUS_OF_TYPE.get(kind)
    error = _error(status, f"{code} {message}")
    error.__cause__ = ProviderError(f"{code} {kind} {message}"[:_LONGEST_TEXT], status=status, code=code or kind)
    return error


def may_help(error: UpstreamError) -> bool:
    """Whether asking again, a little later, may have another outcome."""
    cause = error.__cause__
    spent = isinstance(cause, ProviderError) and cause.code == "insufficient_quota"
    return isinstance(error, UpstreamUnavailable | UpstreamRateLimited) and not spent


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds to wait, from whichever header says so."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value):
            return float(value) / unit
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def _error(status: int | None, text: str, *, retry_after: float | None = None) -> UpstreamError:
    if status in (None, 400, 413, 422) and _TOO_LONG.search(text):
        return ContextTooLong()
    match status:
        case 401 | 403:
            return UpstreamRejected(BAD_KEY)
        case 429:
            return UpstreamRateLimited(retry_after=retry_after)
        case None | 408 | 409:
            return UpstreamUnavailable(retry_after=retry_after)
        case _ if status >= 500:
            return UpstreamUnavailable(retry_after=retry_after)
        case _:
            return UpstreamRejected()


def _words(said: object) -> tuple[str, str, str]:
    """Code, type and message, from any of the shapes that servers use; '' where there is none."""
    if isinstance(said, dict):
        fields = cast(dict[str, Any], said)
        inner = fields.get("error")
        if inner and inner is not True:
            return _words(inner)
        code, kind, message = (fields.get(name) for name in ("code", "type", "message"))
        return str(code or ""), str(kind or ""), str(message or fields.get("detail") or "")
    return "", "", str(said)


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
