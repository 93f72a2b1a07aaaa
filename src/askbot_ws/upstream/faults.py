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

from ..core.text import well_formed
from ..errors import ContextTooLong, UpstreamError, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable

BROKEN = "The model's answer broke off."
BAD_KEY = "The API key was not accepted."
MAX_MESSAGE = 500  # code points of what a user's code tells a client
_LONGEST_TEXT = 2_000  # of a provider's words, in the log
_LONGEST_CODE = 100
_LONGEST_WAIT = 1e9  # seconds; thirty years
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
        """`status` is HTTP's, where there was one; `text` and `code` are made well-formed and cut."""
        text = well_formed(text, limit=_LONGEST_TEXT)
        super().__init__(f"{status}: {text}" if status else text)
        self.status = status
        self.code = well_formed(code, limit=_LONGEST_CODE)


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
    error.__cause__ = ProviderError(text, status=status, code=code or kind)
    return error


def of_event(event: Mapping[str, Any]) -> UpstreamError:
    """The error that an event inside the stream means. Where it does not say whose fault it is, it is theirs."""
    code, kind, message = _words(event)
    status = int(code) if code.isdecimal() and len(code) == 3 else None
    status = status or _STATUS_OF_TYPE.get(code) or _STATUS_OF_TYPE.get(kind)
    error = _error(status, f"{code} {message}")
    error.__cause__ = ProviderError(f"{code} {kind} {message}", status=status, code=code or kind)
    return error


def sound(error: UpstreamError) -> UpstreamError:
    """An error that somebody else's code raised, as the log can keep it.

    Its class is one of `askbot_ws.errors`: a code of one's own is not passed on. The message is well-formed and has
    at most 500 code points, `retry_after` is None or finite seconds. An error that had to be changed is the cause of
    the one that is returned.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == UpstreamError.__module__)
    message: Any = getattr(error, "message", None)
    wait: Any = getattr(error, "retry_after", None)
    told = well_formed(message, limit=MAX_MESSAGE) if isinstance(message, str) else None
    seconds = float(wait) if type(wait) in (int, float) and 0 <= wait <= _LONGEST_WAIT else None
    if type(error) is kind and (told, seconds) == (message, wait) and printable(error.__cause__) is error.__cause__:
        return error
    made: UpstreamError = kind(told, retry_after=seconds)
    made.__cause__ = printable(error)
    return made


def printable(error: BaseException | None) -> BaseException | None:
    """The error, if its `repr` can be logged; else one that names its class."""
    try:
        repr(error)
    except Exception as unprintable:  # noqa: BLE001  whatever somebody else's code does
        return ProviderError(f"{type(error).__name__}, whose repr raises {type(unprintable).__name__}")
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
