"""Keepalive: sends heartbeats on quiet connections, and ends those whose client has stopped reading."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import Generic, Protocol, TypeVar
from weakref import ref

from ..dialects.askbot.frames import Alive, encode
from .websocket import WebSocket

WHEEL_STEP_SECONDS = 0.1  # heartbeats that are due within it are sent together
STALL_CHECKS_PER_TIMEOUT = 8  # of a stalled connection, within the time after which it is ended
TCP_BYTES_ACKED = struct.Struct("=120xQ")  # Linux: `tcpi_bytes_acked` in `struct tcp_info`
ALIVE_FRAME = encode(Alive())

T = TypeVar("T")


class Writer(Protocol):
    """A connection whose send buffer may be full."""

    transport: asyncio.Transport

    def close_stalled(self) -> None:
        """End the connection: its other side has read nothing for too long."""


class KeepaliveMonitor:
    """One timer for the heartbeats of all WebSockets, and one for all stalled connections."""

    def __init__(self, *, heartbeat: float, reader_timeout: float) -> None:
        """`heartbeat` is the silence before an `alive`, `reader_timeout` how long a stall may last; in seconds."""
        self._heartbeat = heartbeat
        self._check_interval = min(heartbeat, reader_timeout)  # between two checks of a WebSocket
        self._loop = asyncio.get_running_loop()
        self._wheel = TimerWheel[WebSocket](min(WHEEL_STEP_SECONDS, self._check_interval / 4), now=self._loop.time())
        self._reader_timeout = reader_timeout
        self._stalls: dict[Writer, _Stall] = {}
        self._timer: asyncio.TimerHandle | None = None  # of the next check for stalls

    # --- heartbeats --------------------------------------------------------------------------------------------------

    def watch(self, socket: WebSocket) -> None:
        """Send heartbeats to a WebSocket until it closes."""
        self._wheel.schedule(socket, self._loop.time() + self._check_interval)

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._wheel.seconds_until_due(self._loop.time(), max_seconds=self._check_interval))
            self._send_heartbeats(self._loop.time())

    def _send_heartbeats(self, now: float) -> None:
        heartbeat, next_check = self._heartbeat, now + self._check_interval
        for watched in self._wheel.pop_due(now):
            if not watched.open:
                continue
            at = next_check
            if watched.sent_at and watched.paused_at is None:  # not before `ready`, which is the first frame
                if now - watched.sent_at >= heartbeat:
                    watched.write(ALIVE_FRAME)
                else:
                    at = min(at, watched.sent_at + heartbeat)
            self._wheel.schedule(watched, at)

    # --- stalled connections -----------------------------------------------------------------------------------------

    def paused(self, writer: Writer) -> None:
        """Watch a connection whose send buffer is full: does its other side still read?"""
        self._stalls[writer] = _Stall(self._loop.time())
        if self._timer is None:
            self._schedule_stall_check()

    def resumed(self, writer: Writer) -> None:
        """Stop watching a connection, whose send buffer has room or which is lost."""
        self._stalls.pop(writer, None)

    def close(self) -> None:
        """Stop watching all connections."""
        self._stalls.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule_stall_check(self) -> None:
        self._timer = self._loop.call_later(self._reader_timeout / STALL_CHECKS_PER_TIMEOUT, self._check_stalls)

    def _check_stalls(self) -> None:
        self._timer, now = None, self._loop.time()
        for writer, stall in tuple(self._stalls.items()):
            amount = peer_progress(writer.transport)
            if stall.progress is None or amount > stall.progress:
                stall.since = now
            elif now - stall.since >= self._reader_timeout:
                del self._stalls[writer]
                writer.close_stalled()
            stall.progress = amount
        if self._stalls:
            self._schedule_stall_check()


class _Stall:
    """Since when the other side of a connection has read nothing."""

    __slots__ = ("progress", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.progress: int | None = None  # at the last check


def peer_progress(transport: asyncio.Transport) -> int:
    """Return a number that grows when the other side reads.

    On Linux, the bytes that it has acknowledged. Elsewhere, and on Unix sockets, the bytes that wait here, negated:
    what was written meanwhile may hide what was read, until the next check.
    """
    connection: socket.socket | None = transport.get_extra_info("socket")
    waiting = transport.get_write_buffer_size()
    if connection is None or sys.platform != "linux":
        return -waiting
    with suppress(OSError, struct.error):
        if connection.family != socket.AF_UNIX:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_BYTES_ACKED.size)
            return int(TCP_BYTES_ACKED.unpack(info)[0])
    return -(waiting + _kernel_queue_bytes(connection.fileno()))


def _kernel_queue_bytes(descriptor: int) -> int:
    """Return about how many bytes wait in the kernel's send buffer."""
    import fcntl  # noqa: PLC0415 - not there on Windows
    import termios  # noqa: PLC0415

    amount = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, amount)
    except OSError:
        return 0
    return int.from_bytes(amount, sys.byteorder)


class TimerWheel(Generic[T]):
    """A timer wheel: items by the slot of time in which they are due. It holds weak references to them."""

    def __init__(self, step: float, *, now: float) -> None:
        """A slot is `step` seconds long: an item may be late by as much."""
        self.step = step
        self._slots: dict[int, list[ref[T]]] = {}
        self._last_slot = int(now / step)  # the slot that was emptied last

    def schedule(self, item: T, at: float) -> None:
        """Make an item due at this time; one in the past is due now."""
        slot = max(int(at / self.step), self._last_slot) + 1
        self._slots.setdefault(slot, []).append(ref(item))

    def seconds_until_due(self, now: float, *, max_seconds: float) -> float:
        """Return for how many seconds no item is due, at most `max_seconds`."""
        first = min(self._slots, default=None)
        return max_seconds if first is None else min(max_seconds, max(0.0, first * self.step - now))

    def pop_due(self, now: float) -> list[T]:
        """Remove and return the items that are due and still exist."""
        found: list[T] = []
        last, self._last_slot = self._last_slot, max(self._last_slot, int(now / self.step))
        for slot in range(last + 1, self._last_slot + 1):
            found += [item for each in self._slots.pop(slot, ()) if (item := each()) is not None]
        return found
