"""Decoder: the bytes of a chat completion's event stream in, text and facts out.

It takes what it needs from each event and leaves the rest. Most chunks of an answer differ in their text only: what
stands around it is remembered, and of the next one that begins and ends alike, just the text is read. It never raises:
what is wrong is a fact too, and whatever came before it still counts.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias, cast

import orjson

from ..errors import UpstreamError
from ..events import Usage
from . import Finish, model_name, usage_of
from .faults import broken, of_event

MAX_EVENT = 1 << 20  # bytes
BLANK = b"\n\n"  # what ends an event; a body's last one counts without it, for whoever feeds it one more
LESSONS = 5  # chunks of text after which it is clear that all of them differ, as some providers' do
UNKNOWN = -1  # a length that nothing has
_BOM = b"\xef\xbb\xbf"
_FAILED = {"error", "abort", "insufficient_system_resource"}  # what some servers call a finish

_Json: TypeAlias = Any  # not checked beforehand: a wrong shape shows when it is used


class Decoder:
    """One answer's event stream, cut anywhere."""

    __slots__ = (
        "_after",
        "_after_cr",
        "_around",
        "_before",
        "_end",
        "_model",
        "_pending",
        "_read",
        "_refused",
        "_usage",
        "done",
        "error",
        "finish_reason",
    )

    def __init__(self) -> None:
        self.done = False  # [DONE] was seen
        self.error: UpstreamError | None = None
        self.finish_reason: str | None = None  # the provider's word
        self._refused = False
        self._model: _Json = None
        self._usage: _Json = None
        self._pending = b""
        self._after_cr = False
        self._before = self._after = b""  # what stands around the text of a chunk that has nothing but text
        self._end = BLANK  # what is after it, with the blank line
        self._around = UNKNOWN  # bytes of all that
        self._read = 0  # chunks of text that were read whole

    @property
    def over(self) -> bool:
        """Nothing that comes can matter any more."""
        return self.done or self.error is not None

    @property
    def reason(self) -> Finish | None:
        """Why the answer ended, None where it has not."""
        if self.finish_reason is None or self.finish_reason in _FAILED:
            return None
        if self._refused or self.finish_reason == "content_filter":
            return "refused"
        return "length" if self.finish_reason == "length" else "stop"

    @property
    def model(self) -> str | None:
        """What the provider calls the model, well-formed and capped."""
        return model_name(self._model)

    @property
    def usage(self) -> Usage | None:
        """What the provider counted, as far as it makes sense."""
        try:
            return usage_of(self._usage["prompt_tokens"], self._usage["completion_tokens"])
        except (LookupError, TypeError):
            return None

    def feed(self, data: bytes) -> str:
        """Take a piece of the body. Returns the text of all that it completed."""
        inner = data.removeprefix(self._before).removesuffix(self._end)
        if len(inner) + self._around == len(data) and not (self._pending or self._after_cr):
            known = _string(inner)
            if known is not None:  # one such chunk, as most reads bring: two are no string
                return known
        if self._after_cr or b"\r" in data:
            data = self._with_newlines(data)
        *events, self._pending = (self._pending + data).split(BLANK)
        text = ""
        for event in events:
            if self.done or self.error:
                break
            text += self._event(event)
        if len(self._pending) > MAX_EVENT + 1 and not self.over:  # one more: half a blank line
            self._fail(broken("an event that does not end"))
        return text

    def _with_newlines(self, data: bytes) -> bytes:
        """The three line ends of the standard as one. A pair may be cut: then its second half is dropped."""
        if data and self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _event(self, event: bytes) -> str:
        if len(event) > MAX_EVENT:
            self._fail(broken("an event that is too long"))
            return ""
        inner = event.removeprefix(self._before).removesuffix(self._after)
        if len(inner) + self._around == len(event) + len(BLANK):
            known = _string(inner)
            if known is not None:
                return known
        data = event[6:] if event.startswith(b"data: ") and b"\n" not in event else _data(event)
        if data.strip() == b"[DONE]":
            self.done, self._around = True, UNKNOWN
            return ""
        try:
            chunk = _loads(data)
            text = self._chunk(chunk)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # text or shape is wrong
            self._no_chunk(data.strip(), error)
            return ""
        if text:
            self._read += 1
            if 1 < self._read <= LESSONS and text.isascii():  # a single one teaches nothing
                self._learn(event, chunk, text)
        return text

    def _learn(self, event: bytes, chunk: _Json, text: str) -> None:
        """Remember what stands around the text, if another text between it makes the same chunk but for that."""
        before, _, after = event.partition(orjson.dumps(text))
        chunk["choices"][0]["delta"]["content"] = text + "?"
        if _same(before.removeprefix(b"data: ") + orjson.dumps(text + "?") + after, chunk):
            self._before, self._after, self._end = before, after, after + BLANK
            self._around = len(before) + len(after) + len(BLANK)

    def _fail(self, error: UpstreamError) -> None:
        self.error, self._around = error, UNKNOWN

    def _no_chunk(self, data: bytes, error: Exception) -> None:
        if data:
            self._fail(broken(f"an event of {len(data)} bytes is malformed: {error}"))

    def _chunk(self, chunk: _Json) -> str:
        get = chunk.get
        if get("error") or get("object") == "error":
            self._fail(of_event(chunk))
            return ""
        if not self._model:
            self._model = get("model")
        if usage := get("usage"):
            self._usage = usage
        choices = get("choices")
        return self._choice(choices[0]) if choices else ""

    def _choice(self, choice: _Json) -> str:
        if finish := choice.get("finish_reason"):
            self._finish(str(finish))
        delta = choice.get("delta")
        if not delta:
            return ""
        content = delta.get("content")
        if refusal := delta.get("refusal"):
            self._refused = True
            return _text(content) + _text(refusal)
        return content if isinstance(content, str) else _text(content)

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        if reason in _FAILED:
            self._fail(broken(f"the provider ended the answer with {reason}"))


def _data(event: bytes) -> bytes:
    """The data of an event that is not just one line of it."""
    lines = event.removeprefix(_BOM).split(b"\n")
    data = [line[5:].removeprefix(b" ") for line in lines if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(data)


def _string(data: bytes) -> str | None:
    """What a JSON string says; None for anything else: then it is not only the text that differs."""
    try:
        found: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) else None


def _same(data: bytes, chunk: _Json) -> bool:
    try:
        return bool(orjson.loads(data) == chunk)
    except orjson.JSONDecodeError:
        return False


def _loads(data: bytes) -> _Json:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # it takes no half surrogates, which some servers make of an emoji
        return json.loads(data.decode(errors="replace"))


def _text(content: object) -> str:
    """Text that is a string, or a list of parts, as Mistral's is."""
    if isinstance(content, list):
        parts = [cast(dict[str, Any], part) for part in cast(list[object], content) if isinstance(part, dict)]
        return "".join(_text(part.get("text")) for part in parts if part.get("type") == "text")
    return content if isinstance(content, str) else ""
