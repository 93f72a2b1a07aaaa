"""Connections end with their credentials, by a clock that is moved."""

from __future__ import annotations

import asyncio
from typing import cast

from askbot_ws.core.principal import Principal
from askbot_ws.dialects.connection import Connection
from askbot_ws.server.credential_expiry import ExpiryMonitor


class Opened:
    """What the monitor needs of a connection."""

    def __init__(self, expires: float | None) -> None:
        self.principal = Principal(user="alice", expires=expires)


def opened(expires: float | None) -> Connection:
    return cast(Connection, Opened(expires))


async def test_each_connection_is_reported_once_at_its_moment() -> None:
    """Not before, not after it was renewed, and not where it is closed."""
    now, expired = [0.0], list[Connection]()
    monitor = ExpiryMonitor(expired.append, now=lambda: now[0])
    never, first, renewed, closed, last = (opened(expires) for expires in (None, 10.0, 10.0, 10.0, 20.0))
    for connection in (never, last, first, renewed, closed):
        monitor.watch(connection)
    renewed.principal = Principal(user="alice", expires=15.0)
    monitor.watch(renewed)
    monitor.forget(closed)

    for now[0], reported in ((9.9, []), (10.0, [first]), (14.9, []), (15.0, [renewed]), (99.0, [last]), (1e9, [])):
        monitor.check()
        assert expired == reported
        expired.clear()
    monitor.close()


async def test_the_timer_reports_without_being_asked() -> None:
    """Also one that expires before those that are watched already."""
    loop, expired = asyncio.get_running_loop(), asyncio.Queue[Connection]()
    monitor = ExpiryMonitor(expired.put_nowait, now=loop.time)
    late, soon = opened(loop.time() + 1000), opened(loop.time() + 0.05)
    monitor.watch(late)
    monitor.watch(soon)

    assert await asyncio.wait_for(expired.get(), 5) is soon
    monitor.close()


async def test_connections_that_are_gone_take_no_memory() -> None:
    """However far away the end of their keys is."""
    monitor = ExpiryMonitor(lambda _: None, now=lambda: 0.0)
    for _ in range(10_000):
        connection = opened(1e9)
        monitor.watch(connection)
        monitor.forget(connection)

    assert monitor.size < 100
    monitor.close()
