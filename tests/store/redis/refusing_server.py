"""A server that answers with what a test says: for refusals that a real one can't be brought to quickly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import hiredis

HEALTHY = b"redis_version:7.0.0\r\nredis_mode:standalone\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n"


class RefusingServer:
    """Answers to EVALSHA with the next of `answers`, and with 1 after that; to HELLO with `greeting`."""

    def __init__(self) -> None:
        self.port = 0
        self.info = HEALTHY
        self.greeting = ":1"
        self.answers: list[str] = []
        self.commands: list[str] = []
        self.transports: list[asyncio.Transport] = []

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return f"redis://127.0.0.1:{self.port}"

    def answer(self, word: str) -> bytes:
        """The answer to a command, as the protocol has it."""
        self.commands.append(word)
        if word == "HELLO":
            return f"{self.greeting}\r\n".encode()
        if word == "INFO":
            return b"$%d\r\n%s\r\n" % (len(self.info), self.info)
        if word == "EVALSHA" and self.answers:
            return f"{self.answers.pop(0)}\r\n".encode()
        return b":1\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, server: RefusingServer) -> None:
        self._server = server
        self._requests = hiredis.Reader()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._requests.feed(data)
        while (command := self._requests.gets()) is not False:
            self.transport.write(self._server.answer(command[0].decode()))


@asynccontextmanager
async def refusing_server() -> AsyncGenerator[RefusingServer]:
    """Such a server."""
    server = RefusingServer()
    listening = await asyncio.get_running_loop().create_server(lambda: _Connection(server), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for transport in server.transports:
            transport.abort()
        await asyncio.sleep(0)
