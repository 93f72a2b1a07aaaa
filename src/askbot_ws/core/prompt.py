"""Prompt: the messages and options that are sent to an upstream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, cast

import orjson

from ..events import Options

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt.

    Attributes:
        role: Who wrote it: `system`, `user` or `assistant`.
        text: Its text.
    """

    role: Role
    text: str

    @property
    def encoded(self) -> bytes:
        """The message as JSON, in the form of OpenAI's API: kept so, a long history is not encoded again."""
        return b'{"role":"%b","content":%b}' % (self.role.encode(), orjson.dumps(self.text))


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of an upstream: messages, oldest first, and options.

    Attributes:
        pieces: Concatenated, the messages as JSON, separated by commas.
        options: The model, temperature and length of the answer, as far as the question gave them.
        user: Who asks; None: an anonymous client.
        role: The role of whoever asks; None: none.
    """

    pieces: Sequence[bytes]
    options: Options
    user: str | None = None
    role: str | None = None

    @classmethod
    def of(cls, messages: Iterable[Message], options: Options = Options()) -> Self:
        """Encode messages, oldest first."""
        return cls([b",".join([message.encoded for message in messages])], options)

    @property
    def size(self) -> int:
        """Bytes of JSON: what that adds to a message is about what the provider's template adds."""
        return sum([len(piece) for piece in self.pieces])

    @property
    def question(self) -> str:
        """The text of the last message."""
        last: dict[str, str] = orjson.loads(b"[%b]" % self.pieces[-1])[-1]
        return last["content"]

    @property
    def messages(self) -> list[Message]:
        """The messages, decoded at each access."""
        found: list[dict[str, str]] = orjson.loads(b"[%b]" % b"".join(self.pieces))
        return [Message(cast(Role, message["role"]), message["content"]) for message in found]
