"""Chunk text: the text and the reasoning in a chunk of a chat completion, in any of the shapes that providers use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from . import ThinkingText

_REASONING_FIELDS = (  # the first that has text counts: some providers send the same text in several
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "reasoning_details",
    "thinking_blocks",
)
REASONING_FIELDS = frozenset(_REASONING_FIELDS)
_TEXT_FIELDS = ("text", "content", "value", "parts", "refusal")
_THINKING_FIELDS = ("thinking", "reasoning", "summary", *_TEXT_FIELDS)
_THINKING_TYPES = ("think", "thought", "reason")


def content_pieces(content: object) -> list[str]:
    """The pieces of a content field: text, a list of parts, or another JSON value that some servers make of a token."""
    if isinstance(content, bool | int | float):
        return [json.dumps(content)]
    return [piece for piece in _texts(content, thinking=False) if piece]


def reasoning_pieces(delta: dict[str, Any]) -> list[str]:
    """The reasoning in a delta or a message, as `ThinkingText`."""
    for name in _REASONING_FIELDS:
        if pieces := [piece for piece in _texts(delta.get(name), thinking=True) if piece]:
            return pieces
    return []


def _texts(value: object, *, thinking: bool) -> Iterator[str]:
    if isinstance(value, str):
        yield ThinkingText(value) if thinking else value
    elif isinstance(value, list):
        for part in cast(list[object], value):
            yield from _texts(part, thinking=thinking)
    elif isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        thinks = thinking or fields.get("thought") is True or _is_thinking_type(fields.get("type"))
        for name in _THINKING_FIELDS if thinks else _TEXT_FIELDS:
            if fields.get(name):
                yield from _texts(fields[name], thinking=thinks)
                return


def _is_thinking_type(kind: object) -> bool:
    return isinstance(kind, str) and any(word in kind.lower() for word in _THINKING_TYPES)
