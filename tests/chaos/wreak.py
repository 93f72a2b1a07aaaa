"""Chaos: does to the world what the schedule says."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .clocked import set_clock
from .faults import MODEL_KILLED, WEEK, Fault, Held, fill
from .ledger import BrokenError, Ledger
from .world import Kept, World

ENDING = 30.0  # seconds that a server may take to end when it is told to; its drain is 3


class Chaos:
    """Works off the schedule."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._disk = asyncio.Lock()
        self._stopped = asyncio.Lock()
        self._ending = asyncio.Lock()

    async def wreak(self, faults: list[Fault]) -> None:
        """All of them, each at its moment; returns when the last is over and everything is whole again."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                await asyncio.sleep(begun + fault.at - time.monotonic())
                if fault.order is not None:
                    self._network(fault)
                else:
                    tasks.create_task(self._machine(fault))
        for proxy in (self._world.front, self._world.back):
            if proxy is not None:
                proxy.heal()
        set_clock(self._world.clock, 0.0)

    def _network(self, fault: Fault) -> None:
        proxy = self._world.front if fault.clients else self._world.back
        assert proxy
        assert fault.order
        if fault.beginning:
            proxy.hurt_next(fault.order)
        else:
            proxy.hurt(fault.order, fault.pick)

    async def _machine(self, fault: Fault) -> None:
        happens: dict[str, Callable[[], Awaitable[bool]]] = {
            "server told to end": self._end,
            "server stopped for a while": lambda: self._stop(self._world.server, fault.seconds),
            "provider stopped for a while": lambda: self._stop(self._world.provider, fault.seconds),
            "disk full": lambda: self._fill(fault.seconds),
            "file size limit": lambda: self._limit(fault.seconds),
            "store file locked": lambda: self._lock(2 * fault.seconds),
        }
        happen = happens.get(fault.name)
        if await happen() if happen else self._at_once(fault):
            self._ledger.fault(fault.name)

    def _at_once(self, fault: Fault) -> bool:
        world = self._world
        match fault.name:
            case "server killed":
                return world.server.signal(signal.SIGKILL)
            case "provider killed":
                return bool(world.provider and world.provider.signal(signal.SIGKILL))
            case "clock jumps":
                set_clock(world.clock, (2 * fault.pick - 1) * WEEK)
                return True
            case _:
                assert fault.name == MODEL_KILLED
                return _signal(world.model_process(), signal.SIGKILL)

    async def _end(self) -> bool:
        async with self._ending:
            if not self._world.server.signal(signal.SIGTERM):
                return False
            if await self._world.server.ended(ENDING) is None:
                self._ledger.breaks(BrokenError("stuck", "the server does not end when it is told to"))
                self._world.server.signal(signal.SIGKILL)
        return True

    async def _stop(self, process: Kept | None, seconds: float) -> bool:
        pid = process.pid if process else None
        async with self._stopped:
            if not _signal(pid, signal.SIGSTOP):
                return False
            await asyncio.sleep(seconds)
            _signal(pid, signal.SIGCONT)
        return True

    async def _fill(self, seconds: float) -> bool:
        if not self._world.small:
            return await self._limit(seconds)
        async with self._disk:
            filler = fill(self._world.disk)
            await asyncio.sleep(seconds)
            filler.unlink()
        return True

    async def _limit(self, seconds: float) -> bool:
        """No file of the server's may grow: EFBIG, which is what a quota looks like."""
        pid = self._world.server.pid
        if pid is None:
            return False
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        await asyncio.sleep(seconds)
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        return True

    async def _lock(self, seconds: float) -> bool:
        try:
            other = Held(self._world.store)
        except sqlite3.Error:
            return False
        try:
            taken = await asyncio.to_thread(other.take)
            if taken:
                await asyncio.sleep(seconds)
        finally:
            other.release()
        return taken


def _signal(pid: int | None, number: int) -> bool:
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
