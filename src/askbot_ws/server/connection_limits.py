"""Connection limits: how many connections there are, in all and from each address."""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

Excess: TypeAlias = Literal["server", "address"]
"""Whose limit is exceeded: the server's, or that of the connection's address."""


class ConnectionLimits:
    """Counts connections of all kinds, from when they are accepted until they are gone."""

    def __init__(self, *, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: Counter[str] = Counter()
        self.count = 0  # of those that there are

    def admit(self, address: str) -> Admission:
        """Count one more. `address` is the IP address it comes from, or empty where there is none (Unix sockets)."""
        self.count += 1
        self._addresses[address] += 1
        excess: Excess | None = None
        if self.count > self._most:
            excess = "server"
        elif address and self._addresses[address] > self._most_per_address:
            excess = "address"
        return Admission(self, address, excess)

    def leave(self, address: str) -> None:
        """Count one less."""
        self.count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


class Admission:
    """One connection as it is counted. `excess` is set where it is one too many: it is told so, and closed."""

    __slots__ = ("_address", "_limits", "excess")

    def __init__(self, limits: ConnectionLimits, address: str, excess: Excess | None) -> None:
        self._limits = limits
        self._address = address
        self.excess: Excess | None = excess

    def leave(self) -> None:
        """The connection is gone."""
        self._limits.leave(self._address)
