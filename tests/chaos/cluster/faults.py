"""Faults of a cluster: what there is, and when it comes. As for one server, a seed makes the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ..faults import network_fault
from ..proxy import Order

OWNER_KILLED = "owner killed in mid-answer"
FOLLOWER_KILLED = "another node than the owner killed"
OWNER_STOPPED = "owner stopped past its lease"
OWNER_CUT_OFF = "owner cut off from Redis past its lease"
TOLD_TO_END = "node told to end"
ALL_RESTARTED = "all nodes restarted, one after the other"
PROVIDER_KILLED = "provider killed"

NODES = {
    OWNER_KILLED: 18,
    FOLLOWER_KILLED: 10,
    OWNER_STOPPED: 14,
    OWNER_CUT_OFF: 14,
    TOLD_TO_END: 8,
    ALL_RESTARTED: 4,
    PROVIDER_KILLED: 6,
}
PLACES = {"clients": 82, "Redis": 10, "provider": 8}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the schedule."""

    at: float
    name: str
    seconds: float  # how long it lasts, where it does
    pick: float  # 0 to 1: which link, session or node
    order: Order | None = None  # of the network
    beginning: bool = False  # it strikes the next connection


def schedule(
    seed: int, seconds: float, *, network: float, machine: float, redis: Mapping[str, int], links: bool
) -> list[Fault]:
    """So many faults of each sort in a second, on average.

    `redis` are those of its servers and how likely each is; `links`: those between nodes and Redis can go wrong.
    """
    chance = Random(seed)
    places = {name: weight for name, weight in PLACES.items() if links or name != "Redis"}
    names = {**NODES, **redis}
    if not links:
        del names[OWNER_CUT_OFF]
    faults: list[Fault] = []
    at = 0.0
    while (at := at + chance.expovariate(network)) < seconds:
        [place] = chance.choices(list(places), list(places.values()))
        one = network_fault(at, chance, clients=place == "clients")
        faults.append(Fault(at, place, one.seconds, one.pick, one.order, one.beginning))
    at = 2.0
    while (at := at + chance.expovariate(machine)) < seconds:
        [name] = chance.choices(list(names), list(names.values()))
        faults.append(Fault(at, name, chance.uniform(0.5, 2.5), chance.random()))
    return sorted(faults, key=lambda fault: fault.at)
