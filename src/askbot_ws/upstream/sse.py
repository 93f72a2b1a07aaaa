"""ChatStreamDecoder: decodes a chat completion's stream of server-sent events.

Most chunks of an answer differ in their text only. So what stands around the text is kept as a template, and of a
chunk that begins and ends like it just the text is parsed. The decoder never raises: an error is an attribute, and what
came before it still counts.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias, cast

import orjson

from ..errors import UpstreamError
from ..events import Usage
from . import FinishReason, clean_model_name, parse_usage
from .provider_errors import broken_answer, error_from_event

MAX_EVENT_BYTES = 1 << 20
BLANK_LINE = b"\n\n"  # ends an event; feed one more at the end of a body, whose last event may lack it
MAX_TEMPLATE_ATTEMPTS = 5  # chunks of text that are tried as a template; some providers' all differ
NO_TEMPLATE_BYTES = -1  # as `_template_bytes`: no event matches
_BOM = b"\xef\xbb\xbf"
_FAILED_FINISH_REASONS = {"error", "abort", "insufficient_system_resource"}  # what some servers call a finish

_Json: TypeAlias = Any  # not checked beforehand: a wrong shape shows when it is used


class ChatStreamDecoder:
    """Decodes one answer's stream, whose bytes may be cut anywhere."""

    __slots__ = (
        "_after_cr",
        "_has_refusal",
        "_model",
        "_pending",
        "_template_bytes",
        "_template_end",
        "_template_prefix",
        "_template_suffix",
        "_text_chunks",
        "_usage",
        "done",
        "error",
        "provider_finish_reason",
    )

    def __init__(self) -> None:
        self.done = False  # [DONE] was received
        self.error: UpstreamError | None = None
        self.provider_finish_reason: str | None = None  # the provider's word
        self._has_refusal = False
        self._model: _Json = None
        self._usage: _Json = None
        self._pending = b""
        self._after_cr = False
        self._template_prefix = self._template_suffix = b""  # around the text of a chunk that has nothing but text
        self._template_end = BLANK_LINE  # the suffix with the blank line
        self._template_bytes = NO_TEMPLATE_BYTES  # the prefix's and the end's
        self._text_chunks = 0  # chunks of text that were parsed whole

    @property
    def is_over(self) -> bool:
        """Whether nothing that follows matters any more."""
        return self.done or self.error is not None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the answer ended; None where it has not, or has failed."""
        if self.provider_finish_reason is None or self.provider_finish_reason in _FAILED_FINISH_REASONS:
            return None
        if self._has_refusal or self.provider_finish_reason == "content_filter":
            return "refused"
        return "length" if self.provider_finish_reason == "length" else "stop"

    @property
    def model(self) -> str | None:
        """The provider's name for the model, made well-formed and cut; None where it named none."""
        return clean_model_name(self._model)

    @property
    def usage(self) -> Usage | None:
        """The tokens that the provider counted; None where it did not, or sent no valid numbers."""
        try:
            return parse_usage(self._usage["prompt_tokens"], self._usage["completion_tokens"])
        except (LookupError, TypeError):
            return None

    def feed(self, data: bytes) -> str:
        """Decode a piece of the body. Returns the text of all events that it completed."""
        string = data.removeprefix(self._template_prefix).removesuffix(self._template_end)
        if len(string) + self._template_bytes == len(data) and not (self._pending or self._after_cr):
            text_only = _parse_json_string(string)
            if text_only is not None:  # one such chunk, as most reads bring: two are no string
                return text_only
        if self._after_cr or b"\r" in data:
            data = self._normalize_newlines(data)
        *events, self._pending = (self._pending + data).split(BLANK_LINE)
        text = ""
        for event in events:
            if self.done or self.error:
                break
            text += self._decode_event(event)
        if len(self._pending) > MAX_EVENT_BYTES + 1 and not self.is_over:  # one more: half a blank line
            self._fail(broken_answer("an event that does not end"))
        return text

    def _normalize_newlines(self, data: bytes) -> bytes:
        """Replace CRLF and CR by LF. A CRLF may be cut: then its second half is dropped."""
        if data and self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decode_event(self, event: bytes) -> str:
        if len(event) > MAX_EVENT_BYTES:
            self._fail(broken_answer("an event that is too long"))
            return ""
        string = event.removeprefix(self._template_prefix).removesuffix(self._template_suffix)
        if len(string) + self._template_bytes == len(event) + len(BLANK_LINE):
            text_only = _parse_json_string(string)
            if text_only is not None:
                return text_only
        data = event[6:] if event.startswith(b"data: ") and b"\n" not in event else _event_data(event)
        if data.strip() == b"[DONE]":
            self.done, self._template_bytes = True, NO_TEMPLATE_BYTES
            return ""
        try:
            chunk = _parse_json(data)
            text = self._decode_chunk(chunk)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # text or shape is wrong
            self._fail_malformed(data.strip(), error)
            return ""
        if text:
            self._text_chunks += 1
            if 1 < self._text_chunks <= MAX_TEMPLATE_ATTEMPTS and text.isascii():  # the first one is often different
                self._learn_template(event, chunk, text)
        return text

    def _learn_template(self, event: bytes, chunk: _Json, text: str) -> None:
        """Keep what stands around the text as the template, if another text in it gives the same chunk but for that."""
        prefix, _, suffix = event.partition(orjson.dumps(text))
        chunk["choices"][0]["delta"]["content"] = text + "?"
        if _parses_as(prefix.removeprefix(b"data: ") + orjson.dumps(text + "?") + suffix, chunk):
            self._template_prefix, self._template_suffix, self._template_end = prefix, suffix, suffix + BLANK_LINE
            self._template_bytes = len(prefix) + len(suffix) + len(BLANK_LINE)

    def _fail(self, error: UpstreamError) -> None:
        self.error, self._template_bytes = error, NO_TEMPLATE_BYTES

    def _fail_malformed(self, data: bytes, error: Exception) -> None:
        if data:
            self._fail(broken_answer(f"an event of {len(data)} bytes is malformed: {error}"))

    def _decode_chunk(self, chunk: _Json) -> str:
        get = chunk.get
        if get("error") or get("object") == "error":
            self._fail(error_from_event(chunk))
            return ""
        if not self._model:
            self._model = get("model")
        if usage := get("usage"):
            self._usage = usage
        choices = get("choices")
        return self._decode_choice(choices[0]) if choices else ""

    def _decode_choice(self, choice: _Json) -> str:
        if finish := choice.get("finish_reason"):
            self._set_finish_reason(str(finish))
        delta = choice.get("delta")
        if not delta:
            return ""
        content = delta.get("content")
        if refusal := delta.get("refusal"):
            self._has_refusal = True
            return _content_text(content) + _content_text(refusal)
        return content if isinstance(content, str) else _content_text(content)

    def _set_finish_reason(self, reason: str) -> None:
        self.provider_finish_reason = reason
        if reason in _FAILED_FINISH_REASONS:
            self._fail(broken_answer(f"the provider ended the answer with {reason}"))


def _event_data(event: bytes) -> bytes:
    """The data of an event that has several lines, joined."""
    lines = event.removeprefix(_BOM).split(b"\n")
    data = [line[5:].removeprefix(b" ") for line in lines if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(data)


def _parse_json_string(data: bytes) -> str | None:
    """The value of a JSON string; None for anything else: then it is not only the text that differs."""
    try:
        found: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) else None


def _parses_as(data: bytes, chunk: _Json) -> bool:
    try:
        return bool(orjson.loads(data) == chunk)
    except orjson.JSONDecodeError:
        return False


def _parse_json(data: bytes) -> _Json:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # it takes no half surrogates, which some servers make of an emoji
        return json.loads(data.decode(errors="replace"))


def _content_text(content: object) -> str:
    """The text of a content field: a string, or a list of parts, as Mistral's is."""
    if isinstance(content, list):
        parts = [cast(dict[str, Any], part) for part in cast(list[object], content) if isinstance(part, dict)]
        return "".join(_content_text(part.get("text")) for part in parts if part.get("type") == "text")
    return content if isinstance(content, str) else ""
