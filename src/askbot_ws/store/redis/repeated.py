"""Repeated: calls of scripts that are made again where it is not known whether they were done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar, cast

from ...errors import StoreError
from .connections import RedisConnections
from .failures import OutcomeUnknown
from .scripts import ScriptCall
from .server_connection import Reply

ATTEMPTS = 4  # of one call
PAUSE_SECONDS = 0.1  # before the second attempt; twice as long before each further one

T = TypeVar("T")


async def run_repeated(connections: RedisConnections, call: ScriptCall, *, replicas: int = 0) -> Reply:
    """Run a script that may be run again unchanged. Raises `StoreError`."""
    (outcome,) = await run_all_repeated(connections, (call,), replicas=replicas)
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome


async def run_all_repeated(
    connections: RedisConnections, calls: Sequence[ScriptCall], *, replicas: int = 0
) -> list[Reply | StoreError]:
    """Run scripts that may be run again unchanged, and return the outcome of each; `replicas` have to confirm them."""
    outcomes: list[Reply | StoreError] = await connections.run_all(calls, replicas=replicas)
    for attempt in range(ATTEMPTS - 1):
        unknown = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, OutcomeUnknown)]
        if not unknown:
            break
        await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        again = await connections.run_all([calls[index] for index in unknown], replicas=replicas)
        for index, outcome in zip(unknown, again, strict=True):
            outcomes[index] = outcome
    return outcomes


def as_optional_values(reply: Reply) -> list[bytes | None]:
    """A reply that is a flat list of texts, some of them missing."""
    return cast("list[bytes | None]", reply)


def as_values(reply: Reply) -> list[bytes]:
    """A reply that is a list of texts."""
    return cast("list[bytes]", reply)
