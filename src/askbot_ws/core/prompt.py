"""What the model is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import orjson

Role: TypeAlias = Literal["system", "user", "assistant"]


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt, kept as its JSON only: a long history costs nothing to send again."""

    role: Role
    encoded: bytes

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """A message, encoded."""
        # not by orjson: it leaves room in what it returns, and these are kept
        return cls(role, _encode({"role": role, "content": text}).encode())

    @property
    def text(self) -> str:
        """What it says, decoded anew each time."""
        content: str = orjson.loads(self.encoded)["content"]
        return content


@dataclass(frozen=True, slots=True)
class Options:
    """What a question may choose; None means as configured."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages, oldest first, and the options."""

    messages: Sequence[Message]
    options: Options
