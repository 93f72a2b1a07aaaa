"""What the model is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, cast

import orjson

from ..events import Options

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    role: Role
    text: str

    @property
    def encoded(self) -> bytes:
        """As the provider wants it, and as it is kept: a long history costs nothing to send again."""
        return b'{"role":"%b","content":%b}' % (self.role.encode(), orjson.dumps(self.text))


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages, oldest first, and the options."""

    pieces: Sequence[bytes]  # put together they are the messages as JSON, with commas between
    options: Options

    @classmethod
    def of(cls, messages: Iterable[Message], options: Options = Options()) -> Self:
        """A prompt of messages that are not encoded yet."""
        return cls([b",".join([message.encoded for message in messages])], options)

    @property
    def size(self) -> int:
        """In bytes: what JSON adds to a message is about what the provider's template adds."""
        return sum([len(piece) for piece in self.pieces])

    @property
    def messages(self) -> list[Message]:
        """The messages, decoded anew each time."""
        found: list[dict[str, str]] = orjson.loads(b"[%b]" % b"".join(self.pieces))
        return [Message(cast(Role, message["role"]), message["content"]) for message in found]
