"""Faults: what there is, when it comes, and how it is done.

A schedule is made from a seed before anything runs, so the same seed gives the same faults at the same moments.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .proxy import Kind, Order

NETWORK = {Kind.CUT: 30, Kind.RESET: 25, Kind.STALL: 12, Kind.TRICKLE: 12, Kind.SPLIT: 12, Kind.HALF_OPEN: 9}
MACHINE = {
    "server killed": 18,
    "server told to end": 10,
    "server stopped for a while": 8,
    "provider killed": 10,
    "provider stopped for a while": 8,
    "disk full": 16,
    "file size limit": 8,
    "store file locked": 12,
    "clock jumps": 10,
}
MODEL_KILLED = "model process killed"
WEEK = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the schedule."""

    at: float
    name: str
    seconds: float  # how long it lasts
    pick: float  # 0 to 1: which link, or how far the clock
    order: Order | None = None  # of the network
    clients: bool = True  # its side of the network; else the provider's
    beginning: bool = False  # it strikes the next connection, in its handshake perhaps


def schedule(seed: int, seconds: float, *, network: float, machine: float, model: bool = False) -> list[Fault]:
    """So many faults of each sort in a second, on average. Depends on nothing but its arguments."""
    chance = Random(seed)
    names = {name: weight for name, weight in MACHINE.items() if not (model and name.startswith("provider"))}
    if model:
        names[MODEL_KILLED] = 25
    faults: list[Fault] = []
    at = 0.0
    while (at := at + chance.expovariate(network)) < seconds:
        faults.append(network_fault(at, chance, clients=model or chance.random() < 0.82))
    at = 1.0
    while (at := at + chance.expovariate(machine)) < seconds:
        [name] = chance.choices(list(names), list(names.values()))
        faults.append(Fault(at, name, chance.uniform(0.2, 2.5), chance.random()))
    return sorted(faults, key=lambda fault: fault.at)


def network_fault(at: float, chance: Random, *, clients: bool) -> Fault:
    """One of the network, on either side of the server."""
    [kind] = chance.choices(list(NETWORK), list(NETWORK.values()))
    after = 0 if chance.random() < 0.3 else int(chance.expovariate(1 / 300))
    order = Order(kind, after, chance.uniform(0.1, 2.5))
    return Fault(
        at, kind.value, order.seconds, chance.random(), order, clients=clients, beginning=chance.random() < 0.25
    )


# --- doing it --------------------------------------------------------------------------------------------------------


def fill(disk: Path) -> Path:
    """Leave no room on it."""
    filler, size = disk / "filler", 64 * 2**20
    with filler.open("wb") as file:
        end = 0
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), end, size)
                end += size
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
    return filler


class Held:
    """Another program that has the store's file locked."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, timeout=1, isolation_level=None, check_same_thread=False)

    def take(self) -> bool:
        """Whether it could be locked."""
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            return False
        return True

    def release(self) -> None:
        """Let go."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        self._connection.close()
