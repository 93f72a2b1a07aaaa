"""SubscriptionConnection: a connection to one server for the messages of sharded channels."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from .failures import ServerRefusedError
from .redis_url import Address, RedisUrl
from .server_connection import INCOMPLETE, REPLY_SECONDS, RedisProtocol, connect, hello, pack_command

PING_SECONDS = 5.0  # between two questions whether the server is alive

_PING = pack_command((b"PING",))


class SubscriptionConnection(RedisProtocol):
    """Subscribes to channels of one server.

    It speaks RESP3, in which messages can be told from replies. A subscription that works has no reply, one that is
    refused has an error; so a PING follows each command, whose reply says that the server has seen the command.

    Attributes:
        address: Where the server is.
        on_message: Called with a channel and a message.
        on_unsubscribed: Called with a channel of which no more messages come, asked for or not.
        on_lost: Called once the connection is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.address: Address = ""
        self._waiting = deque[asyncio.Future[None]]()
        self._refusal: ServerRefusedError | None = None
        self._pinger: asyncio.TimerHandle | None = None
        self.on_message: Callable[[str, bytes], None] | None = None
        self.on_unsubscribed: Callable[[str], None] | None = None
        self.on_lost: Callable[[], None] | None = None

    def send(self, *words: str | int) -> asyncio.Future[None]:
        """Send a command, as SSUBSCRIBE.

        Returns:
            Is done once the server has seen it; `ServerRefusedError` where it refuses it, ConnectionError where the
            connection is lost before.

        Raises:
            NotConnectedError: It is lost already.
        """
        if not self._waiting:
            self._heard_at = self._loop.time()
        self._write(pack_command(words) + _PING)
        return self._wait()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard_at = self._loop.time()
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not INCOMPLETE:
                self._take(reply)
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        if self._pinger:
            self._pinger.cancel()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionError("it does not answer"))
                waiting.exception()  # nobody may wait for it
        self._waiting.clear()
        if self.on_lost:
            self.on_lost()

    def keep_alive(self) -> None:
        """Ask the server from time to time whether it is there: else nobody notices that messages don't come."""
        if self.is_lost:
            return
        self._write(_PING)
        self._wait()
        self._pinger = self._loop.call_later(PING_SECONDS, self.keep_alive)

    def _wait(self) -> asyncio.Future[None]:
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiting)
        return waiting

    def _take(self, reply: object) -> None:
        if isinstance(reply, hiredis.PushNotification):
            kind, channel, content = cast("list[Any]", reply)
            if kind == b"smessage":
                if self.on_message:
                    self.on_message(channel.decode(), content)
            elif kind == b"sunsubscribe" and channel is not None and self.on_unsubscribed:
                self.on_unsubscribed(channel.decode())
        elif isinstance(reply, hiredis.ReplyError):
            self._refusal = ServerRefusedError(reply, said_by=self.address)
        elif reply == b"PONG":
            waiting, refusal = self._waiting.popleft(), self._refusal
            self._refusal = None
            if waiting.done():
                return
            if refusal is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(refusal)
                waiting.exception()

    def _awaits_reply(self) -> bool:
        return bool(self._waiting)


async def connect_for_messages(address: Address, url: RedisUrl) -> SubscriptionConnection:
    """Connect and log in; raises as `connect_to_server`."""
    async with asyncio.timeout(REPLY_SECONDS):
        connection = await connect(address, url, SubscriptionConnection)
        connection.address = address
        try:
            await connection.send(*hello(url, version=3))
        except BaseException:
            connection.close()
            raise
    connection.keep_alive()
    return connection
