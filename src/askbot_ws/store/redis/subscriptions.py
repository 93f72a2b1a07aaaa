"""Subscriptions: the channels that this process follows, over one connection for each server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from ...errors import StoreError
from .connections import RedisConnections
from .failures import Remedy, ServerRefusedError, refused, unreachable
from .redis_url import Address, text_of
from .servers import check_current, reason_of, retrieve
from .subscription_connection import SubscriptionConnection, connect_for_messages

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two attempts to subscribe again
CHANNELS_AT_ONCE = 1000
REDIRECTIONS = 5  # for one subscription


class Subscriptions:
    """Sharded subscriptions (SSUBSCRIBE). A channel is subscribed to once, however often it is asked for."""

    def __init__(
        self,
        connections: RedisConnections,
        *,
        on_message: Callable[[str, bytes], None],
        on_gap: Callable[[str], None],
    ) -> None:
        """Make subscriptions; nothing is connected yet.

        Args:
            connections: Where the servers are.
            on_message: Called with a channel and a message, from the event loop. It must not raise.
            on_gap: Called with a channel that is subscribed again, once it is: messages of it may have been lost, so
                what they would have told is to be read. Not called for the first subscription, after which whoever
                subscribed reads anyway.
        """
        self._url = connections.url
        self._topology = connections.topology
        self._on_message = on_message
        self._on_gap = on_gap
        self._connections: dict[Address, SubscriptionConnection] = {}
        self._attempts: dict[Address, asyncio.Task[SubscriptionConnection]] = {}
        self._channels: dict[str, Address | None] = {}  # None: it is not subscribed just now
        self._lost = set[str]()  # to be subscribed again
        self._repair: asyncio.Task[None] | None = None
        self._is_closed = False

    async def subscribe(self, channel: str) -> None:
        """Follow a channel: of what is published after this returns, either the message comes or `on_gap` is called.

        Raises:
            StoreError: It can't be subscribed to now.
        """
        if self._channels.get(channel) is not None:
            return
        self._channels.setdefault(channel, None)
        try:
            await self._subscribe(channel)
        except BaseException:
            if self._channels.get(channel) is None:
                self._channels.pop(channel, None)
            raise

    async def unsubscribe(self, channel: str) -> None:
        """Follow a channel no more. It raises nothing; a message may still come."""
        address = self._channels.pop(channel, None)
        self._lost.discard(channel)
        connection = None if address is None else self._connections.get(address)
        if connection is not None and not connection.is_lost:
            connection.send("SUNSUBSCRIBE", channel)

    async def close(self) -> None:
        """Close all connections; nothing can be subscribed to afterwards."""
        self._is_closed = True
        tasks: list[asyncio.Task[Any]] = [*self._attempts.values(), *([self._repair] if self._repair else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._channels.clear()
        for connection in self._connections.values():
            connection.close()
        await asyncio.sleep(0)  # the event loop closes them

    async def _subscribe(self, channel: str) -> None:
        """Raises StoreError."""
        if self._is_closed:
            raise unreachable("it is closed")
        address = self._topology.address_of(channel)
        for _ in range(REDIRECTIONS):
            try:
                connection = await self._connection(address)
                await connection.send("SSUBSCRIBE", channel)
                if connection.is_lost:
                    raise ConnectionError("it has closed the connection")
            except ServerRefusedError as refusal:
                if refusal.remedy is not Remedy.MOVE or refusal.target is None:
                    raise refused(refusal) from refusal
                self._topology.moved(*refusal.target)
                address = refusal.target[1]
            except OSError as error:
                self._topology.refresh()
                failure = unreachable(f"{text_of(address)}: {reason_of(error)}")
                raise failure from failure.__cause__
            else:
                if channel in self._channels:
                    self._channels[channel] = address
                else:  # it is not wanted any more
                    connection.send("SUNSUBSCRIBE", channel)
                return
        raise unreachable("no server has the channel")

    async def _connection(self, address: Address) -> SubscriptionConnection:
        connection = self._connections.get(address)
        if connection is not None and not connection.is_lost:
            return connection
        attempt = self._attempts.get(address)
        if attempt is None:
            attempt = self._attempts[address] = asyncio.create_task(self._connect(address))
            attempt.add_done_callback(retrieve)
        return await asyncio.shield(attempt)

    async def _connect(self, address: Address) -> SubscriptionConnection:
        try:
            connection = await connect_for_messages(address, self._url)
            try:
                await check_current(self._topology.is_current, address)
            except BaseException:
                connection.close()
                raise
        finally:
            del self._attempts[address]
        connection.on_message = self._on_message
        connection.on_unsubscribed = self._unsubscribed
        connection.on_lost = lambda: self._connection_lost(address)
        self._connections[address] = connection
        return connection

    def _unsubscribed(self, channel: str) -> None:
        self._subscribe_again([channel])

    def _connection_lost(self, address: Address) -> None:
        self._subscribe_again([channel for channel, place in self._channels.items() if place == address])

    def _subscribe_again(self, channels: Iterable[str]) -> None:
        for channel in channels:
            if channel in self._channels:
                self._channels[channel] = None
                self._lost.add(channel)
        if self._lost and self._repair is None:
            self._repair = asyncio.create_task(self._repair_all())

    async def _repair_all(self) -> None:
        """Subscribe again to what is lost, until nothing is."""
        pause = FIRST_PAUSE
        while self._lost:
            channels = list(self._lost)[:CHANNELS_AT_ONCE]
            restored = await asyncio.gather(*(self._restore(channel) for channel in channels))
            if all(restored):
                pause = FIRST_PAUSE
            else:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                pause = min(pause * 2, LONGEST_PAUSE)
        self._repair = None

    async def _restore(self, channel: str) -> bool:
        self._lost.discard(channel)
        if channel not in self._channels:
            return True
        try:
            await self._subscribe(channel)
        except StoreError:
            if channel in self._channels:
                self._lost.add(channel)
            return False
        if channel in self._channels:
            self._on_gap(channel)
        return True
