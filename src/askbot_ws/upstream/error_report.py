"""ErrorReport: what a provider says of an error, read from any of the shapes that providers and proxies use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

MAX_DEPTH = 8  # of objects and lists in each other
MAX_MESSAGE_CHARS = 2_000  # of a provider's words that are read and kept
_CODE_KEYS = ("code", "error_code", "err_code", "reason")
_TYPE_KEYS = ("type", "error_type", "__type", "status", "status_code")
_MESSAGE_KEYS = ("message", "msg", "error_message", "error_msg", "status_msg", "detail", "title")
_INNER_KEYS = ("error", "errors", "message", "detail", "details", "metadata", "raw", "innererror", "base_resp")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][\w.:/#-]{0,79}", re.ASCII)


@dataclass(slots=True)
class ErrorReport:
    """What a provider says of an error. What it repeats of the request (`input`, `messages`) is not read.

    Attributes:
        status: HTTP's status; where that is a success or a server's fault, the one that the body names, if any.
        codes: Its codes, outermost first: words such as `context_length_exceeded`.
        types: Its types and names of a status, outermost first: words such as `invalid_request_error`.
        fields: The names in the request's fields that it names: `messages[0].role` is `messages`, `0` and `role`.
        messages: Its sentences, outermost first.
    """

    status: int | None = None
    codes: list[str] = field(default_factory=list[str])
    types: list[str] = field(default_factory=list[str])
    fields: list[str] = field(default_factory=list[str])
    messages: list[str] = field(default_factory=list[str])

    @property
    def words(self) -> str:
        """Codes and types, separated by spaces."""
        return " ".join([*self.codes, *self.types])

    @property
    def message(self) -> str:
        """The sentences, one a line, at most `MAX_MESSAGE_CHARS`."""
        return "\n".join(self.messages)[:MAX_MESSAGE_CHARS]

    def add(self, value: object, *, depth: int = 0) -> None:
        """Add what a decoded JSON value says: an object, a list of objects, or a sentence."""
        if depth > MAX_DEPTH:
            return
        if isinstance(value, str):
            self._add_text(value, depth)
        elif isinstance(value, list):
            for item in cast(list[object], value)[:MAX_DEPTH]:
                self.add(item, depth=depth + 1)
        elif isinstance(value, dict):
            self._add_object(cast(dict[str, Any], value), depth)

    def _add_text(self, text: str, depth: int) -> None:
        quoted = text.strip().removeprefix("data:").lstrip()
        inner = parse_json(quoted.encode(errors="replace")) if quoted[:1] in ("{", "[") else None
        if isinstance(inner, dict | list):  # a proxy that quotes the provider's body
            self.add(cast(object, inner), depth=depth + 1)
        elif text:
            self.messages.append(text)

    def _add_object(self, value: dict[str, Any], depth: int) -> None:
        self.codes += _identifiers(value, _CODE_KEYS)
        self.types += _identifiers(value, _TYPE_KEYS)
        for name in (value.get("param"), *_location(value.get("loc"))):
            if isinstance(name, str):
                self.fields += re.findall(r"\w+", name)
        for key in dict.fromkeys((*_MESSAGE_KEYS, *_INNER_KEYS)):
            self.add(value.get(key), depth=depth + 1)


def report_of_response(status: int, body: bytes) -> ErrorReport:
    """Read a response's body; text that is no JSON is a sentence."""
    report = ErrorReport()
    value = parse_json(body)
    report.add(body.decode(errors="replace") if value is None else value)
    report.status = status if 300 <= status < 500 else _status_among(report) or (status if status >= 500 else None)
    return report


def report_of_event(event: object) -> ErrorReport:
    """Read a decoded event of a stream."""
    report = ErrorReport()
    report.add(event)
    report.status = _status_among(report)
    return report


def parse_json(body: bytes) -> object:
    """The value that the JSON says; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _status_among(report: ErrorReport) -> int | None:
    """The first HTTP status of an error among the codes and the types."""
    return next((int(word) for word in report.words.split() if re.fullmatch("[45][0-9][0-9]", word)), None)


def _identifiers(value: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """The values that are names or numbers, not sentences: those can be logged."""
    found = [str(value[key]) for key in keys if isinstance(value.get(key), str | int)]
    return [name for name in found if _IDENTIFIER.fullmatch(name)]


def _location(loc: object) -> list[object]:
    return cast(list[object], loc) if isinstance(loc, list) else [loc]
