"""Attacker: one worker of an attack. It draws what it does, and holds every response to what a server promises."""

from __future__ import annotations

import random
import re
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from askbot_ws import make_ticket

from ..auth.clients import token
from .raw_connection import RawConnection, dial, frame, handshake
from .target import MARK, TICKET_SECRET, Target

ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 8))
FAILED = re.compile(rb"HTTP/1\.[01] (?!503)5\d\d ")
LEAKS = (b"Traceback (most", b"root:x:0:", b'"hash":"', b"SQLite format 3")  # of faults and files
LIMITED = {429, 503}
READY = b'"type":"ready"'


class BrokenPromiseError(AssertionError):
    """The server did what it must not."""


def require(true: object, what: str) -> None:
    """Raise `BrokenPromiseError` unless something holds."""
    if not true:
        raise BrokenPromiseError(what)


class Attacker:
    """Draws attacks from its seed."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self.target = target
        self.chance = chance

    @asynccontextmanager
    async def dialled(self, address: str | None = None) -> AsyncGenerator[RawConnection]:
        """A connection, closed or reset at the end, when all that came back is checked."""
        connection = await dial(self.target.port, address or self.chance.choice(ADDRESSES))
        try:
            yield connection
        finally:
            connection.close(reset=self.chance.random() < 0.5)
            self.inspect(bytes(connection.received))

    @asynccontextmanager
    async def chatting(self, query: str = "", credential: str | None = None) -> AsyncGenerator[RawConnection]:
        """A WebSocket of one's own; where limits allow none, the server's end of it is read."""
        async with self.dialled() as connection:
            bearer = f"Authorization: Bearer {credential or self.credential()}"
            await connection.send(handshake(query, bearer))
            await connection.read_until(READY, seconds=2)
            yield connection

    def inspect(self, received: bytes) -> None:
        """Raise `BrokenPromiseError` for what no response may have."""
        failed = FAILED.search(received)
        require(failed is None, f"a response begins {failed and failed[0]!r}")
        for text in (*LEAKS, *(word.encode() for word in self.target.canaries)):
            require(text not in received, f"a response has {text!r}")

    def expect(self, connection: RawConnection, allowed: Collection[int]) -> None:
        """Require that all responses have one of these statuses, or that of a limit."""
        found = {*connection.statuses} - LIMITED
        require(found <= {*allowed}, f"a response has status {found}, in place of {allowed}")

    def credential(self) -> str:
        """A valid credential: the key, or the token of one of many users."""
        if self.chance.random() < 0.3:
            return self.target.key
        return token(f"mallory-{self.chance.randrange(400)}", exp=time.time() + 600)

    def ticket(self) -> str:
        """A ticket that an application made for one of its users."""
        return make_ticket(f"mallory-{self.chance.randrange(400)}", secret=TICKET_SECRET).text

    def noise(self, most: int) -> bytes:
        """Random bytes, at most so many."""
        return self.chance.randbytes(self.chance.randrange(1, most))

    def word(self) -> str:
        """What is no credential, and may be in no log."""
        return f"{MARK}{self.chance.randrange(1 << 64):016x}"

    def question(self, text: str = "tokens:5") -> bytes:
        """A frame that asks."""
        return frame(b'{"type":"ask","text":"%b"}' % text.encode())
