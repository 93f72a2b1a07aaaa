"""Topology: which server has a key."""

from __future__ import annotations

from typing import Protocol

from .redis_url import Address


class Topology(Protocol):
    """Knows which server has a key: the one there is, the primary that Sentinels name, or a node of a Cluster.

    Attributes:
        only_address: The address of the server that has all keys just now; None: there are several.
    """

    only_address: Address | None

    def address_of(self, key: str) -> Address:
        """The address of the server to which calls with this key go."""
        ...

    def moved(self, slot: int, address: str) -> Address:
        """A server says that a slot is elsewhere; returns where, as an address."""
        ...

    def resolve(self, address: str) -> Address:
        """The address that a server's error names."""
        ...

    async def refresh(self) -> None:
        """Find out anew where keys are. It raises nothing: where nobody can be asked, all stays as it is."""


class SingleServer:
    """One server, or one name behind which somebody else exchanges servers."""

    def __init__(self, address: Address) -> None:
        self.only_address: Address | None = address
        self._address = address

    def address_of(self, key: str) -> Address:  # noqa: ARG002
        """Always the same."""
        return self._address

    def moved(self, slot: int, address: str) -> Address:  # noqa: ARG002
        """It is no node of a Cluster any more, or became one: the next start finds out."""
        return self._address

    def resolve(self, address: str) -> Address:  # noqa: ARG002
        """Always the same."""
        return self._address

    async def refresh(self) -> None:
        """There is nothing to find out."""
