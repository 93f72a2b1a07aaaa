"""Fault injector: causes the faults of a schedule."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

from .clocked import set_clock
from .environment import Environment, SupervisedProcess
from .faults import MODEL_KILLED, WEEK, Fault, Held, fill
from .proxy import Order
from .results import BrokenError, Results

ENDING = 30.0  # seconds that a server may take to end when it is told to; its drain is 3


class Scheduled(Protocol):
    """A fault of any schedule."""

    @property
    def at(self) -> float:
        """When it is to be caused, in seconds from the beginning."""
        ...

    @property
    def order(self) -> Order | None:
        """What the network does; None: it is a fault of something else."""
        ...


FaultType = TypeVar("FaultType", bound=Scheduled)


async def work_off(
    faults: Iterable[FaultType],
    *,
    network: Callable[[FaultType], None],
    machine: Callable[[FaultType], Coroutine[None, None, None]],
) -> None:
    """Cause each fault at its time; returns when the last is over."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for fault in faults:
            await asyncio.sleep(begun + fault.at - time.monotonic())
            if fault.order is not None:
                network(fault)
            else:
                tasks.create_task(machine(fault))


class FaultInjector:
    """Causes faults in the network, the processes and the disk."""

    def __init__(self, environment: Environment, results: Results) -> None:
        self._environment = environment
        self._results = results
        self._disk = asyncio.Lock()
        self._stopped = asyncio.Lock()
        self._ending = asyncio.Lock()

    async def inject(self, faults: list[Fault]) -> None:
        """Cause each fault at its time; returns when the last is over and everything works again."""
        await work_off(faults, network=self._network, machine=self._machine)
        for proxy in (self._environment.front, self._environment.back):
            if proxy is not None:
                proxy.heal()
        set_clock(self._environment.clock, 0.0)

    def _network(self, fault: Fault) -> None:
        proxy = self._environment.front if fault.clients else self._environment.back
        assert proxy
        assert fault.order
        if fault.beginning:
            proxy.hurt_next(fault.order)
        else:
            proxy.hurt(fault.order, fault.pick)

    async def _machine(self, fault: Fault) -> None:
        happens: dict[str, Callable[[], Awaitable[bool]]] = {
            "server told to end": self._end,
            "server stopped for a while": lambda: self._stop(self._environment.server, fault.seconds),
            "provider stopped for a while": lambda: self._stop(self._environment.provider, fault.seconds),
            "disk full": lambda: self._fill(fault.seconds),
            "file size limit": lambda: self._limit(fault.seconds),
            "store file locked": lambda: self._lock(2 * fault.seconds),
        }
        happen = happens.get(fault.name)
        if await happen() if happen else self._at_once(fault):
            self._results.fault(fault.name)

    def _at_once(self, fault: Fault) -> bool:
        environment = self._environment
        match fault.name:
            case "server killed":
                return environment.server.signal(signal.SIGKILL)
            case "provider killed":
                return bool(environment.provider and environment.provider.signal(signal.SIGKILL))
            case "clock jumps":
                set_clock(environment.clock, (2 * fault.pick - 1) * WEEK)
                return True
            case _:
                assert fault.name == MODEL_KILLED
                return _signal(environment.model_process(), signal.SIGKILL)

    async def _end(self) -> bool:
        async with self._ending:
            if not self._environment.server.signal(signal.SIGTERM):
                return False
            if await self._environment.server.ended(ENDING) is None:
                self._results.breaks(BrokenError("stuck", "the server does not end when it is told to"))
                self._environment.server.signal(signal.SIGKILL)
        return True

    async def _stop(self, process: SupervisedProcess | None, seconds: float) -> bool:
        pid = process.pid if process else None
        async with self._stopped:
            if not _signal(pid, signal.SIGSTOP):
                return False
            await asyncio.sleep(seconds)
            _signal(pid, signal.SIGCONT)
        return True

    async def _fill(self, seconds: float) -> bool:
        if not self._environment.small:
            return await self._limit(seconds)
        async with self._disk:
            filler = fill(self._environment.disk)
            await asyncio.sleep(seconds)
            filler.unlink()
        return True

    async def _limit(self, seconds: float) -> bool:
        """No file of the server's may grow: EFBIG, which is what a quota looks like."""
        pid = self._environment.server.pid
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
            other = Held(self._environment.store)
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
