"""ServerConnection: a connection to one server, to which pipelines of commands are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import hiredis

from .failures import ServerRefusedError
from .redis_url import Address, RedisUrl

CONNECT_SECONDS = 2.0  # for a connection
REPLY_SECONDS = 3.0  # without a byte from the server while it has still to reply: the connection is given up

Argument: TypeAlias = bytes | str | int
"""A word of a command: text is encoded in UTF-8, a number in decimal."""
Reply: TypeAlias = "bytes | int | list[Reply] | None"
"""What a script returns, as RESP2 has it."""
RawReply: TypeAlias = "Reply | hiredis.ReplyError"
"""What a server answers."""

pack_command: Callable[[tuple[Argument, ...]], bytes] = getattr(hiredis, "pack_command")  # noqa: B009 its stub is wrong
NO_ANSWER = "it ends the connection without an answer, as what is no Redis does, or one with TLS (rediss://)"
INCOMPLETE = object()  # what a reader returns while a reply is not whole


class NotConnectedError(ConnectionError):
    """There is no connection to the server: nothing was sent."""


@dataclass(slots=True)
class _Pipeline:
    size: int
    done: asyncio.Future[list[Any]]
    replies: list[Any] = field(default_factory=list[Any])


def _finish(pipeline: _Pipeline) -> None:
    if not pipeline.done.done():  # its caller may have been cancelled
        pipeline.done.set_result(pipeline.replies)


class RedisProtocol(asyncio.Protocol):
    """What connections share: the reader of replies, and the end of those whose server has stopped answering.

    A subclass says in `_awaits_reply` whether the server has still to reply, and takes what comes in `_take`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._is_closed = False

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_closed or self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Called by the event loop."""
        self._is_closed = True
        if self._timer:
            self._timer.cancel()

    def close(self) -> None:
        """Close it at once. What is waited for ends as for a connection that is lost."""
        self._is_closed = True
        if self._transport:
            self._transport.abort()

    def _awaits_reply(self) -> bool:
        """Whether the server has still to reply."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        if self._transport is None or self.is_lost:
            raise NotConnectedError("the connection is lost")
        self._transport.write(data)
        if self._timer is None:
            self._heard_at = self._loop.time()
            self._timer = self._loop.call_later(REPLY_SECONDS, self._check)

    def _check(self) -> None:
        self._timer = None
        if self.is_lost or not self._awaits_reply():
            return
        left = self._heard_at + REPLY_SECONDS - self._loop.time()
        if left <= 0:
            self.close()
        else:
            self._timer = self._loop.call_later(left, self._check)


class ServerConnection(RedisProtocol):
    """Sends pipelines, and returns the replies to each in order. Any number may be on their way."""

    def __init__(self) -> None:
        super().__init__()
        self._pipelines = deque[_Pipeline]()

    def send(self, packed: bytes, size: int) -> asyncio.Future[list[RawReply]]:
        """Write a pipeline.

        Args:
            packed: The commands.
            size: How many they are, at least 1.

        Returns:
            A future of the replies, with errors as `hiredis.ReplyError`; fewer than `size` where it was lost
            before all had come.

        Raises:
            NotConnectedError: It is lost already; nothing was sent.
        """
        if not self._pipelines:
            self._heard_at = self._loop.time()
        self._write(packed)
        pipeline = _Pipeline(size, self._loop.create_future())
        self._pipelines.append(pipeline)
        return pipeline.done

    async def command(self, *words: Argument) -> Reply:
        """Run one command. Raises `ServerRefusedError` and ConnectionError."""
        replies = await self.send(pack_command(words), 1)
        if not replies:
            raise ConnectionError(NO_ANSWER)
        reply = replies[0]
        if isinstance(reply, hiredis.ReplyError):
            raise ServerRefusedError(reply)
        return reply

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard_at = self._loop.time()
        pipelines, gets = self._pipelines, self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not INCOMPLETE:
                pipeline = pipelines[0]
                pipeline.replies.append(reply)
                if len(pipeline.replies) == pipeline.size:
                    pipelines.popleft()
                    _finish(pipeline)
        except (hiredis.ProtocolError, IndexError):  # no server of this protocol, or one that refuses all connections
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        while self._pipelines:
            _finish(self._pipelines.popleft())

    def _awaits_reply(self) -> bool:
        return bool(self._pipelines)


_Protocol = TypeVar("_Protocol", bound=RedisProtocol)


async def connect(address: Address, url: RedisUrl, protocol: type[_Protocol]) -> _Protocol:
    """Connect to a server. The caller logs in. Raises OSError, TimeoutError too, within `CONNECT_SECONDS`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        if isinstance(address, str):
            return (await loop.create_unix_connection(protocol, address))[1]
        return (await loop.create_connection(protocol, *address, ssl=url.tls))[1]


async def connect_to_server(address: Address, url: RedisUrl) -> ServerConnection:
    """Connect and log in.

    Raises:
        ServerRefusedError: The server refuses the login, or the database.
        OSError: It can't be reached, or has not answered in `REPLY_SECONDS`.
    """
    async with asyncio.timeout(REPLY_SECONDS):
        connection = await connect(address, url, ServerConnection)
        try:
            await connection.command(*hello(url, version=2))
            if url.database:
                await connection.command("SELECT", url.database)
        except BaseException:
            connection.close()
            raise
    return connection


def hello(url: RedisUrl, *, version: int) -> Sequence[str | int]:
    """The command that logs in and chooses the version of the protocol."""
    login = ("AUTH", url.user or "default", url.password or "") if url.user or url.password else ()
    return ("HELLO", version, *login, "SETNAME", "askbot")
