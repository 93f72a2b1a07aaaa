"""Rewriting: makes servers write their append-only files anew, without what was deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import VacuumResult
from .connections import RedisConnections
from .failures import translated

POLL_SECONDS = 0.2


async def rewrite_append_only_files(connections: RedisConnections) -> VacuumResult:
    """Rewrite the append-only files of all primaries that have one, and return their sizes. Raises `StoreError`."""
    client: Any = connections.client  # its types leave out what a Cluster's client takes
    everywhere = {} if connections.topology.only_address is not None else {"target_nodes": "primaries"}

    async def read() -> list[dict[str, Any]]:
        found = await client.info("persistence", **everywhere)
        each: list[dict[str, Any]] = [found] if "aof_enabled" in found else [*found.values()]
        return [info for info in each if info["aof_enabled"]]

    with translated():
        found = await read()
        before = _size(found)
        if found:
            await client.bgrewriteaof(**everywhere)
            found = await read()
        while any(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"] for info in found):
            await asyncio.sleep(POLL_SECONDS)
            found = await read()
    return VacuumResult(before, _size(found))


def _size(found: list[dict[str, Any]]) -> int:
    return sum(int(info["aof_current_size"]) for info in found)
