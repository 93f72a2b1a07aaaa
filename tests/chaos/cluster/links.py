"""Links: a balancer between clients and nodes, and what is between a node and Redis; both go wrong when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..proxy import Kind, Link, Order, Proxy


class Balancer(Proxy):
    """Connects each client to a random node, and to another one where that node does not listen."""

    def __init__(self, ports: Sequence[int], *, on_fault: Callable[[Kind], None] = lambda _: None) -> None:
        super().__init__(ports[0], on_fault=on_fault)
        self._ports = ports

    async def connect(self, link: Link) -> None:
        """Connect a link to a node. Raises OSError where none listens."""
        for port in random.sample(self._ports, len(self._ports)):
            with suppress(OSError):
                await asyncio.get_running_loop().create_connection(lambda: link.server, "127.0.0.1", port)
                return
        raise ConnectionRefusedError


class RedisLink(Proxy):
    """Between a node and Redis. It can be cut off for a while: what is sent goes nowhere, on new connections too."""

    def __init__(self, target: int, *, on_fault: Callable[[Kind], None]) -> None:
        super().__init__(target, on_fault=lambda kind: None if self._is_cut_off else on_fault(kind))
        self._cut_off_until = 0.0

    @property
    def _is_cut_off(self) -> bool:
        return asyncio.get_running_loop().time() < self._cut_off_until

    def begin(self, link: Link) -> None:
        """A node connects."""
        if self._is_cut_off:
            self._cut(link)
        super().begin(link)

    async def cut_off(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._cut_off_until = asyncio.get_running_loop().time() + seconds
        for link in tuple(self.links):
            if link.mode is None:
                self._cut(link)
        await asyncio.sleep(seconds)

    def _cut(self, link: Link) -> None:
        link.obey(Order(Kind.HALF_OPEN, 0, self._cut_off_until - asyncio.get_running_loop().time()))

    def heal(self) -> None:
        """From now on all goes well."""
        self._cut_off_until = 0.0
        super().heal()
