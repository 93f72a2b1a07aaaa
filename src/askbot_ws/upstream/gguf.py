"""GGUF: reads what the file of a model says about the model.

A file begins with `GGUF`, its version, how many tensors and how many fields it has; then come the fields, each a key, a
type and a value. All integers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_FIELDS, MAX_TEXT_BYTES, MAX_ITEMS = 10_000, 16 * 2**20, 10_000_000  # more is no sound file
TYPES = ("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", "text", "array", "<Q", "<q", "<d")  # by their numbers
TEXT, ARRAY = TYPES.index("text"), TYPES.index("array")
BYTES_PER_CACHED_NUMBER = 2  # f16

Field: TypeAlias = "int | float | str | list[int | float]"


class NotGgufError(Exception):
    """The file is not a GGUF file, or is damaged; the message says how."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a file says about its model.

    Attributes:
        has_chat_template: Whether it can hold conversations.
        context_tokens: Tokens of prompt and answer together that it was trained for; None where the file does not say.
        cache_bytes_per_token: Memory that a token of the context takes; 0 where the file does not say.
    """

    has_chat_template: bool
    context_tokens: int | None
    cache_bytes_per_token: int


def read_metadata(path: Path) -> ModelMetadata:
    """Read the fields of a file. Raises `NotGgufError` and `OSError`."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise NotGgufError(f"it does not begin with {MAGIC.decode()}")
        try:
            fields = _read_fields(file)
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise NotGgufError("it is damaged, or was cut") from error
    architecture = fields.get("general.architecture")
    context_tokens = fields.get(f"{architecture}.context_length")
    return ModelMetadata(
        has_chat_template=bool(fields.get("tokenizer.chat_template")),
        context_tokens=context_tokens if isinstance(context_tokens, int) and context_tokens > 0 else None,
        cache_bytes_per_token=_cache_bytes_per_token(fields, str(architecture)),
    )


def _cache_bytes_per_token(fields: dict[str, Field], architecture: str) -> int:
    """The size of a key and a value in every layer."""

    def number(name: str) -> int:
        value = fields.get(f"{architecture}.{name}", 0)
        values = value if isinstance(value, list) else [value]  # some have one for each layer
        return int(max((one for one in values if isinstance(one, int)), default=0))

    heads = number("attention.head_count") or 1
    size = number("embedding_length") // heads
    sizes = (number("attention.key_length") or size) + (number("attention.value_length") or size)
    return BYTES_PER_CACHED_NUMBER * number("block_count") * (number("attention.head_count_kv") or heads) * sizes


def _read_fields(file: BinaryIO) -> dict[str, Field]:
    """Read all fields but the long arrays, which are the vocabulary."""
    version, _, count = struct.unpack("<IQQ", file.read(20))
    if version not in VERSIONS or count > MAX_FIELDS:
        raise NotGgufError(f"its version {version} is not known" if count <= MAX_FIELDS else "it is damaged")
    fields: dict[str, Field] = {}
    for _ in range(count):
        key = _read_text(file)
        fields[key] = _read_value(file, _read_integer(file, "<I"))
    return fields


def _read_value(file: BinaryIO, kind: int) -> Field:
    if kind == TEXT:
        return _read_text(file)
    if kind == ARRAY:
        return _read_array(file)
    form = TYPES[kind]
    value: int | float = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value


def _read_array(file: BinaryIO) -> list[int | float]:
    """Read the numbers of an array; texts are skipped."""
    kind, count = struct.unpack("<IQ", file.read(12))
    if count > MAX_ITEMS or kind == ARRAY:
        raise NotGgufError("it is damaged")
    if kind == TEXT:
        for _ in range(count):
            _read_bytes(file)
        return []
    form = TYPES[kind]
    return list(struct.unpack(f"<{count}{form[1]}", file.read(count * struct.calcsize(form))))


def _read_text(file: BinaryIO) -> str:
    return _read_bytes(file).decode("utf-8", "replace")


def _read_bytes(file: BinaryIO) -> bytes:
    size = _read_integer(file, "<Q")
    data = file.read(size) if size <= MAX_TEXT_BYTES else b""
    if len(data) != size:
        raise NotGgufError("it is damaged, or was cut")
    return data


def _read_integer(file: BinaryIO, form: str) -> int:
    value: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value
