"""Files that begin as GGUF files do: as much of one as is read before the model is loaded."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Field: TypeAlias = "str | int | float | Sequence[str] | Sequence[int]"

INSTRUCT: Mapping[str, Field] = {
    "general.architecture": "llama",
    "llama.context_length": 32768,
    "llama.block_count": 10,
    "llama.embedding_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "ü"],
    "llama.rope.freq_base": 1.5,
    "tokenizer.chat_template": "{{ messages }}",
}


def write_gguf(path: Path, fields: Mapping[str, Field] = INSTRUCT, *, version: int = 3) -> Path:
    """Write a file with these fields; returns its path."""
    data = b"GGUF" + struct.pack("<IQQ", version, 0, len(fields))
    for key, value in fields.items():
        data += _text(key) + _value(value)
    path.write_bytes(data)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Field) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    items = b"".join(_text(one) if isinstance(one, str) else struct.pack("<I", one) for one in value)
    return struct.pack("<IIQ", 9, 8 if isinstance(value[0], str) else 4, len(value)) + items
