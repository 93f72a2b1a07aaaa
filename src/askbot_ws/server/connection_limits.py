"""Connection limits: how many connections there are, in all and from each address."""

from __future__ import annotations

from typing import Literal, TypeAlias

Excess: TypeAlias = Literal["server", "address"]
"""Whose limit is exceeded: the server's, or that of the connection's address."""


class ConnectionLimits:
    """Counts connections of all kinds, from when they are accepted until they are gone."""

    def __init__(self, *, max_total: int, max_per_address: int) -> None:
        self._max_total = max_total
        self._max_per_address = max_per_address
        self._addresses: dict[str, Admission] = {}
        self.count = 0  # of those that there are

    def admit(self, address: str) -> Admission:
        """Count one more. `address` is the IP address it comes from, or empty where there is none (Unix sockets)."""
        admission = self._addresses.setdefault(address, Admission(self, address))
        admission.count += 1
        self.count += 1
        if self.count > self._max_total:
            return Admission(self, address, "server")
        if address and admission.count > self._max_per_address:
            return Admission(self, address, "address")
        return admission

    def release(self, address: str) -> None:
        """Count one less."""
        self.count -= 1
        self._addresses[address].count -= 1
        if not self._addresses[address].count:
            del self._addresses[address]


class Admission:
    """How a connection is counted: one object for all of an address, but for those that are too many."""

    __slots__ = ("_address", "_limits", "count", "excess")

    def __init__(self, limits: ConnectionLimits, address: str, excess: Excess | None = None) -> None:
        """With `excess` it is one too many: it is told so, and closed."""
        self._limits = limits
        self._address = address
        self.excess: Excess | None = excess
        self.count = 0  # of those that share it

    def release(self) -> None:
        """The connection is gone."""
        self._limits.release(self._address)
