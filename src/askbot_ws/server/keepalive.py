"""Keepalive: tells everybody who listens that the server is well, and ends connections that take nothing."""

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

WHEEL_STEP_SECONDS = 0.1  # seconds: what is due together is sent together
STALL_CHECKS = 8  # at a writer that waits, within the time that it may take nothing
TCP_BYTES_ACKED = struct.Struct("=120xQ")  # Linux: `tcpi_bytes_acked` in `struct tcp_info`
ALIVE_FRAME = encode(Alive())

T = TypeVar("T")


class Writer(Protocol):
    """A connection that may be written to faster than its other side reads."""

    transport: asyncio.Transport

    def abort_stalled(self) -> None:
        """End it: the other side has taken nothing for too long."""


class KeepaliveMonitor:
    """One timer for the heartbeats of all sockets, and one for all writers that wait for their readers."""

    def __init__(self, *, heartbeat: float, reader_timeout: float) -> None:
        """Seconds of silence before a sign of life, and that a reader may take nothing."""
        self._heartbeat = heartbeat
        self._check_interval = min(heartbeat, reader_timeout)  # seconds in which a socket needs no look
        self._loop = asyncio.get_running_loop()
        self._wheel = TimerWheel[WebSocket](min(WHEEL_STEP_SECONDS, self._check_interval / 4), now=self._loop.time())
        self._reader_timeout = reader_timeout
        self._stalls: dict[Writer, _Stall] = {}
        self._timer: asyncio.TimerHandle | None = None  # for the next look at them

    # --- signs of life -----------------------------------------------------------------------------------------------

    def watch(self, socket: WebSocket) -> None:
        """Send it signs of life, until it closes."""
        self._wheel.schedule(socket, self._loop.time() + self._check_interval)

    async def run(self) -> None:
        """Look at each socket when it may be time."""
        while True:
            await asyncio.sleep(self._wheel.seconds_until_due(self._loop.time(), max_seconds=self._check_interval))
            self._send_heartbeats(self._loop.time())

    def _send_heartbeats(self, now: float) -> None:
        heartbeat, next_look = self._heartbeat, now + self._check_interval
        for watched in self._wheel.pop_due(now):
            if not watched.open:
                continue
            at = next_look
            if watched.sent_at and watched.paused_at is None:  # `ready` is first, however long the store takes for it
                if now - watched.sent_at >= heartbeat:
                    watched.write(ALIVE_FRAME)
                else:
                    at = min(at, watched.sent_at + heartbeat)
            self._wheel.schedule(watched, at)

    # --- readers that take nothing -----------------------------------------------------------------------------------

    def paused(self, writer: Writer) -> None:
        """Its transport takes no more: watch whether its other side still reads."""
        self._stalls[writer] = _Stall(self._loop.time())
        if self._timer is None:
            self._schedule_stall_check()

    def resumed(self, writer: Writer) -> None:
        """Its transport takes more, or is gone."""
        self._stalls.pop(writer, None)

    def close(self) -> None:
        """Watch nobody any more."""
        self._stalls.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule_stall_check(self) -> None:
        self._timer = self._loop.call_later(self._reader_timeout / STALL_CHECKS, self._check_stalls)

    def _check_stalls(self) -> None:
        self._timer, now = None, self._loop.time()
        for writer, stall in tuple(self._stalls.items()):
            amount = read_progress(writer.transport)
            if stall.progress is None or amount > stall.progress:
                stall.since = now
            elif now - stall.since >= self._reader_timeout:
                del self._stalls[writer]
                writer.abort_stalled()
            stall.progress = amount
        if self._stalls:
            self._schedule_stall_check()


class _Stall:
    """Since when a writer's other side has taken nothing."""

    __slots__ = ("progress", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.progress: int | None = None  # at the last look


def read_progress(transport: asyncio.Transport) -> int:
    """A number that is larger than before if the other side has taken something since.

    On Linux, the bytes that it has acknowledged. Elsewhere, and on Unix sockets, the bytes that wait here, negative:
    what was written meanwhile may then hide what was taken, until the next look.
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
    """Bytes that the kernel keeps for the other side, roughly."""
    import fcntl  # noqa: PLC0415 - not there on Windows
    import termios  # noqa: PLC0415

    amount = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, amount)
    except OSError:
        return 0
    return int.from_bytes(amount, sys.byteorder)


class TimerWheel(Generic[T]):
    """Slots of time, each with the things to be looked at in it: one timer serves them all. It keeps nobody alive."""

    def __init__(self, step: float, *, now: float) -> None:
        """A slot is `step` seconds long: by so much a look may be late."""
        self.step = step
        self._slots: dict[int, list[ref[T]]] = {}
        self._last_slot = int(now / step)  # the slot that was emptied last

    def schedule(self, thing: T, at: float) -> None:
        """Look at it at this time; what is past is as good as now."""
        slot = max(int(at / self.step), self._last_slot) + 1
        self._slots.setdefault(slot, []).append(ref(thing))

    def seconds_until_due(self, now: float, *, max_seconds: float) -> float:
        """For how many seconds nobody's time can come."""
        first = min(self._slots, default=None)
        return max_seconds if first is None else min(max_seconds, max(0.0, first * self.step - now))

    def pop_due(self, now: float) -> list[T]:
        """Those whose time has come, and who are still there. They are not on the wheel any more."""
        found: list[T] = []
        last, self._last_slot = self._last_slot, max(self._last_slot, int(now / self.step))
        for slot in range(last + 1, self._last_slot + 1):
            found += [thing for each in self._slots.pop(slot, ()) if (thing := each()) is not None]
        return found
