"""What the model is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt, with its JSON made once: a long history costs nothing to send again."""

    role: Role
    text: str
    encoded: bytes

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """A message, encoded."""
        return cls(role, text, json.dumps({"role": role, "content": text}).encode())


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
