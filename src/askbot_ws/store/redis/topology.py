"""Topology: which server has a key. That of one server; others are in cluster_map.py and sentinel_group.py."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from .redis_url import Address

REFRESH_SECONDS = 2.0  # for finding out anew where keys are
REFRESH_PAUSE = 0.05  # seconds between two of these


class Topology(Protocol):
    """Knows which server has a key: the one there is, the primary that Sentinels name, or a node of a Cluster.

    Attributes:
        only_address: The address of the server that has all keys just now; None: there are several.
    """

    only_address: Address | None

    def address_of(self, key: str) -> Address:
        """The address of the server that has a key, or a channel."""
        ...

    async def is_current(self, address: Address) -> bool:
        """Whether a server that was just connected to is the one to use.

        A primary that was replaced, and was started again since, has not heard of that yet: it would take whatever it
        is sent, and lose it.
        """
        ...

    def moved(self, slot: int, address: Address) -> None:
        """A server says that another one has a slot."""

    def refresh(self) -> None:
        """Find out anew where keys are, in the background. Where nobody can be asked, all stays as it is."""

    async def close(self) -> None:
        """End what is done in the background."""


class SingleServer:
    """One server, or one name behind which somebody else exchanges servers."""

    def __init__(self, address: Address) -> None:
        self.only_address: Address | None = address
        self._address = address

    def address_of(self, key: str) -> Address:  # noqa: ARG002
        """Always the same."""
        return self._address

    async def is_current(self, address: Address) -> bool:  # noqa: ARG002
        """There is no other one."""
        return True

    def moved(self, slot: int, address: Address) -> None:
        """It became a node of a Cluster; the next start finds that out."""

    def refresh(self) -> None:
        """There is nothing to find out."""

    async def close(self) -> None:
        """There is nothing to end."""


class Refreshing:
    """What other topologies share: one refresh at a time, and not too many."""

    def __init__(self) -> None:
        self._refresh: asyncio.Task[None] | None = None

    async def is_current(self, address: Address) -> bool:  # noqa: ARG002
        """A node of a Cluster finds out by itself."""
        return True

    def refresh(self) -> None:
        """Find out anew where keys are, in the background. Where nobody can be asked, all stays as it is."""
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._refresh_once())

    async def close(self) -> None:
        """End what is done in the background."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    async def _refresh_once(self) -> None:
        try:
            await self._find_out_in_time()
            await asyncio.sleep(REFRESH_PAUSE)
        finally:
            self._refresh = None

    async def _find_out_in_time(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._find_out()

    async def _find_out(self) -> None:
        raise NotImplementedError
