"""Scripts: the Lua files of scripts/, and calls of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .server_connection import Argument, pack_command


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        name: What it is called in errors and logs: its file's name.
        source: The program.
        sha: The SHA-1 of the source, by which servers know it.
    """

    name: str
    source: bytes
    sha: bytes

    @classmethod
    def of(cls, name: str, source: str) -> Script:
        """Make one from its source."""
        encoded = source.encode()
        return cls(name, encoded, hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode())


@cache
def load_script(name: str) -> Script:
    """Return the script of the file `scripts/<name>.lua`."""
    return Script.of(name, files(__package__ or "").joinpath("scripts", f"{name}.lua").read_text("utf-8"))


def publication(channel: str, message: bytes) -> ScriptCall:
    """A call that sends a message to those who follow a channel; its reply is how many they are."""
    return ScriptCall(load_script("publish"), (), (channel, message), channel)


@dataclass(slots=True)
class ScriptCall:
    """A call of a script, which may be made again unchanged.

    Attributes:
        script: The script.
        keys: The keys that it uses, all of one hash slot. A script that publishes does so in a channel of the same slot
            (docs/decisions/0013).
        args: Its arguments.
        channel: That of a script without keys: it runs where the channel's slot is, also while that moves.
    """

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...] = ()
    channel: str = ""

    @property
    def place(self) -> str:
        """The key or channel that says which server runs it."""
        return self.keys[0] if self.keys else self.channel

    def pack(self) -> bytes:
        """The call as a server reads it."""
        return pack_command((b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args))
