"""ChatStreamDecoder: decodes a chat completion's stream of server-sent events.

Most chunks of an answer differ in their text only. So what stands around the text is kept as a template, and of a
chunk that begins and ends like it just the text is parsed. The decoder never raises: an error is an attribute, and what
came before it still counts.

Some servers answer with bare JSON: a completion that is not streamed, or an error. So lines that are neither a field of
an event nor a comment are parsed, too, where they look like JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any, TypeAlias, cast

import orjson

from ..errors import UpstreamError
from . import ThinkingText
from .chat_completion import ChatCompletion
from .provider_errors import broken_answer, error_from_event
from .think_tags import ThinkTagSplitter

MAX_EVENT_BYTES = 1 << 20
BLANK_LINE = b"\n\n"  # ends an event
MAX_TEMPLATE_ATTEMPTS = 5  # chunks of text in a row that are tried as a template; some providers' all differ
NO_TEMPLATE_BYTES = -1  # as `_template_bytes`: no event matches
_BOM = b"\xef\xbb\xbf"
_DONE = (b"[DONE]", b'"[DONE]"')
_JSON_STARTS = (b"{", b"[")

_Json: TypeAlias = Any  # not checked beforehand: a wrong shape shows when it is used


class ChatStreamDecoder:
    """Decodes one answer's stream, whose bytes may be cut anywhere.

    Attributes:
        completion: What the chunks say of the answer.
        end_seen: A finish reason, [DONE] or an error was received.
        is_over: Nothing that follows matters any more.
        progressed: The last piece of the body had a chunk, or a part of one, and not only comments and the like.
        ignored_events: How many events had data that is no JSON object.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_pending",
        "_pieces",
        "_template_bytes",
        "_template_end",
        "_template_prefix",
        "_template_suffix",
        "_template_used",
        "_text_chunks",
        "_think_tags",
        "completion",
        "end_seen",
        "ignored_events",
        "is_over",
        "progressed",
    )

    def __init__(self) -> None:
        self.completion = ChatCompletion()
        self.end_seen = self.is_over = self.progressed = False
        self.ignored_events = 0
        self._think_tags = ThinkTagSplitter()
        self._pieces: list[str] = []  # of the events that were decoded last
        self._pending = b""
        self._after_cr = False
        self._at_start = True  # where a byte order mark may stand
        self._template_prefix = self._template_suffix = b""  # around the text of a chunk that has nothing but text
        self._template_end = BLANK_LINE  # the suffix with the blank line
        self._template_bytes = NO_TEMPLATE_BYTES  # the prefix's and the end's
        self._template_used = False  # since the last chunk of text that was parsed whole
        self._text_chunks = 0  # chunks of text in a row that were parsed whole

    def match_template(self, data: bytes) -> str | None:
        """Decode a piece of the body that is one whole chunk like the template, as most are.

        Returns:
            Its text; None where it is anything else, and once an end was received: then `feed` it.
        """
        string = data.removeprefix(self._template_prefix).removesuffix(self._template_end)
        if len(string) + self._template_bytes != len(data) or self._pending or self._after_cr:
            return None
        text = _parse_json_string(string)  # two such chunks in one read are no string
        if text is not None:
            self._template_used = True
        return text

    def feed(self, data: bytes) -> Sequence[str]:
        """Decode a piece of the body.

        Returns:
            The text of all events that it completed, in order, reasoning as `ThinkingText`; neighbours of the same kind
            are joined.
        """
        self.progressed = False
        if self._after_cr or b"\r" in data:
            data = self._normalize_newlines(data)
        *events, self._pending = (self._pending + data).split(BLANK_LINE)
        for event in events:
            if self.is_over:
                break
            self._decode_event(event)
        if self._pending and not self.is_over:
            self._check_pending()
        pieces, self._pieces = self._pieces, []
        return pieces if len(pieces) < 2 else _joined(pieces)

    def finish(self) -> Sequence[str]:
        """Note the end of the body, whose last event may lack its blank line. Returns the text that was left."""
        pieces = self.feed(BLANK_LINE)
        self.completion.note_body_end()
        return pieces

    def flush(self) -> Sequence[str]:
        """The end of the text, where it looks like the beginning of a tag."""
        return self._think_tags.flush()

    # --- events ---

    def _normalize_newlines(self, data: bytes) -> bytes:
        """Replace CRLF and CR by LF. A CRLF may be cut: then its second half is dropped."""
        if data and self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check_pending(self) -> None:
        """Bound the event that is arriving, and note whether it is a chunk."""
        if len(self._pending) > MAX_EVENT_BYTES + 1:  # one more: half a blank line
            self._fail(broken_answer("an event that does not end"))
        line = self._pending.rstrip(b"\n").rpartition(b"\n")[2]
        self.progressed |= line.removeprefix(b"data:").lstrip().startswith(_JSON_STARTS)

    def _decode_event(self, event: bytes) -> None:
        if len(event) > MAX_EVENT_BYTES:
            self._fail(broken_answer("an event that is too long"))
            return
        string = event.removeprefix(self._template_prefix).removesuffix(self._template_suffix)
        if len(string) + self._template_bytes == len(event) + len(BLANK_LINE):
            text_only = _parse_json_string(string)
            if text_only is not None:
                self._template_used = True
                self._pieces.append(text_only)
                return
        if self._at_start:
            self._at_start, event = False, event.removeprefix(_BOM)
        if event.startswith(b"data:") and b"\n" not in event:
            self._decode_data(event[5:], event=event)
            return
        name, parts = _parse_event(event)
        for is_bare, lines in parts.items():
            data = b"\n".join(lines).strip()
            if self.is_over or (is_bare and not data.startswith(_JSON_STARTS)):
                continue
            if name == b"error" and data:
                self._fail(error_from_event(_error_object(data)))
            else:
                self._decode_data(data, is_bare=is_bare)

    def _decode_data(self, data: bytes, *, event: bytes = b"", is_bare: bool = False) -> None:
        """Decode an event's data. `event` is the whole event, where it may become the template."""
        data = data.strip()
        while data.startswith(b"data:"):  # some proxies frame what is framed
            data = data[5:].lstrip()
        if data in _DONE:
            self._note_end(is_over=True)
            return
        if not data:
            return
        pieces: list[str] = []
        try:
            chunks = _parse_chunks(data)
            for chunk in chunks:
                pieces = self.completion.add_chunk(chunk, is_bare=is_bare)
                if pieces or chunk.get("choices") or chunk.get("usage"):
                    self.progressed = True
                self._add_pieces(pieces)
                if self.completion.finish_reason or self.completion.error:
                    self._note_end(is_over=self.completion.error is not None)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # text or shape is wrong
            self._fail(broken_answer(f"an event of {len(data)} bytes is malformed: {error}"))
            return
        if not chunks:
            self.ignored_events += 1
        elif event:
            self._learn_template(event, chunks[0], pieces)

    def _add_pieces(self, pieces: list[str]) -> None:
        """Add the text of a chunk to that of this read; reasoning in tags is told from the answer."""
        for piece in pieces:
            if isinstance(piece, ThinkingText) or self._think_tags.settled:
                self._pieces.append(piece)
            else:
                self._pieces += self._think_tags.split(piece)

    # --- the template ---

    def _learn_template(self, event: bytes, chunk: _Json, pieces: list[str]) -> None:
        """Keep what stands around the text as the template, if another text in it gives the same chunk but for that.

        Never of a chunk that has more than text. A template that was of use is followed by another one as soon as a
        field changes, such as the time.
        """
        if len(pieces) != 1 or isinstance(pieces[0], ThinkingText) or not self._think_tags.settled:
            return
        self._text_chunks = 1 if self._template_used else self._text_chunks + 1
        self._template_used = False
        text = pieces[0]
        if self._text_chunks > MAX_TEMPLATE_ATTEMPTS or self.end_seen or chunk.get("usage") or not text.isascii():
            return
        prefix, _, suffix = event.partition(orjson.dumps(text))
        if _with_content(chunk, text + "?") == _parse_or_none(prefix[5:] + orjson.dumps(text + "?") + suffix):
            self._template_prefix, self._template_suffix, self._template_end = prefix, suffix, suffix + BLANK_LINE
            self._template_bytes = len(prefix) + len(suffix) + len(BLANK_LINE)

    # --- the end ---

    def _note_end(self, *, is_over: bool) -> None:
        self.end_seen, self.is_over, self._template_bytes = True, is_over, NO_TEMPLATE_BYTES

    def _fail(self, error: UpstreamError) -> None:
        self.completion.error = error
        self._note_end(is_over=True)


def _parse_event(event: bytes) -> tuple[bytes, dict[bool, list[bytes]]]:
    """An event's name, the lines of its data (False), and those that are neither a field nor a comment (True).

    What comes first in the event is first.
    """
    name = b""
    parts: dict[bool, list[bytes]] = {}
    for line in event.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                parts.setdefault(False, []).append(value)
            case b"event":
                name = value
            case b"" | b"id" | b"retry":
                pass
            case _:
                parts.setdefault(True, []).append(line)
    return name.strip(), parts


def _joined(pieces: list[str]) -> list[str]:
    """The pieces, neighbours of the same kind as one."""
    return [kind("".join(group)) for kind, group in groupby(pieces, type)]


# --- JSON ---


def _parse_json_string(data: bytes) -> str | None:
    """The value of a JSON string; None for anything else: then it is not only the text that differs."""
    try:
        found: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) else None


def _parse_json(data: bytes) -> _Json:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # it takes no half surrogates, which some servers make of an emoji
        return json.loads(data.decode(errors="replace"))


def _parse_chunks(data: bytes) -> list[dict[str, _Json]]:
    """The JSON objects in an event's data: one, a list of them, or one in each line; none in what is no object.

    Raises `ValueError` or `RecursionError` where an object is broken.
    """
    try:
        values = _parse_json(data)
    except ValueError:
        lines = data.split(b"\n")
        if len(lines) > 1:
            return [chunk for line in lines for chunk in _parse_chunks(line.strip())]
        if data.startswith(b"{"):
            raise
        return []
    if isinstance(values, dict):
        return [values]
    found = cast(list[object], values) if isinstance(values, list) else []
    return [cast(dict[str, Any], value) for value in found if isinstance(value, dict)]


def _error_object(data: bytes) -> dict[str, _Json]:
    """The object of an event that is named an error; its text, where it is no object."""
    try:
        chunks = _parse_chunks(data)
    except (ValueError, RecursionError):
        chunks = []
    return chunks[0] if chunks else {"error": data.decode(errors="replace")}


def _parse_or_none(data: bytes) -> _Json:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _with_content(chunk: _Json, text: str) -> _Json:
    """The chunk with another content; where it has no such field, as its text is of another shape, 'False'."""
    try:
        delta = chunk["choices"][0]["delta"]
        if not isinstance(delta["content"], str):
            return False
        delta["content"] = text
    except (LookupError, TypeError):
        return False
    return chunk
