"""Servers: a connection to each server that is in use, made when it is needed, and again after it was lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from .failures import ServerRefusedError
from .redis_url import Address, RedisUrl, text_of
from .server_connection import NotConnectedError, ServerConnection, connect_to_server

PAUSE_SECONDS = 0.1  # after an attempt to connect has failed


class Servers:
    """The connections of one process, by the servers' addresses.

    The first who needs a connection waits for it. Once an attempt has failed, nobody waits: it is tried on in the
    background whenever somebody needs it, so that a server that is down costs the others' callers no time.

    Attributes:
        is_current: `Topology.is_current`, once that is known.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self.is_current: Callable[[Address], Awaitable[bool]] | None = None
        self._connections: dict[Address, ServerConnection] = {}
        self._attempts: dict[Address, asyncio.Task[ServerConnection]] = {}
        self._failures: dict[Address, str] = {}

    def get(self, address: Address) -> ServerConnection | None:
        """Return the connection to a server, where there is one."""
        connection = self._connections.get(address)
        return None if connection is None or connection.is_lost else connection

    async def connect(self, address: Address) -> ServerConnection:
        """Return the connection to a server; it is made where there is none. Raises NotConnectedError."""
        if connection := self.get(address):
            return connection
        failure = self._failures.get(address)
        attempt = self._attempts.get(address)
        if attempt is None:
            attempt = self._attempts[address] = asyncio.create_task(self._try(address))
            attempt.add_done_callback(retrieve)
        if failure is not None:
            raise NotConnectedError(failure)
        return await asyncio.shield(attempt)

    def drop(self, address: Address) -> None:
        """Close the connection to a server, so that the next one is made anew, maybe to another machine."""
        if connection := self._connections.pop(address, None):
            connection.close()

    async def close(self) -> None:
        """Close all connections."""
        for attempt in self._attempts.values():
            attempt.cancel()
        await asyncio.gather(*self._attempts.values(), return_exceptions=True)
        for address in list(self._connections):
            self.drop(address)
        await asyncio.sleep(0)  # the event loop closes them

    async def _try(self, address: Address) -> ServerConnection:
        try:
            connection = await connect_to_server(address, self._url)
            try:
                await check_current(self.is_current, address)
            except BaseException:
                connection.close()
                raise
        except (OSError, ServerRefusedError) as error:
            reason = f"{text_of(address)} can't be reached ({reason_of(error)})"
            is_first = address not in self._failures
            self._failures[address] = reason
            if not is_first:
                await asyncio.sleep(PAUSE_SECONDS)
            raise NotConnectedError(reason) from None
        else:
            self._failures.pop(address, None)
            self._connections[address] = connection
            return connection
        finally:
            del self._attempts[address]


async def check_current(is_current: Callable[[Address], Awaitable[bool]] | None, address: Address) -> None:
    """Raise ConnectionError where a server is not the one that has the keys; None: that is not known yet."""
    if is_current is not None and not await is_current(address):
        raise ConnectionError("it is the primary no more")


def reason_of(error: Exception) -> str:
    """Why a connection can't be made, in a few words that hold no secret."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's text repeats the address
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def retrieve(attempt: asyncio.Task[Any]) -> None:
    """Retrieve an attempt's exception: whoever waited for it may have been cancelled."""
    if not attempt.cancelled():
        attempt.exception()
