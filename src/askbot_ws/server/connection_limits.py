"""Connection limits: how many connections may be open, in total and from each address."""

from __future__ import annotations

from typing import Literal, TypeAlias

Excess: TypeAlias = Literal["server", "address"]
"""Which limit a connection exceeds: the server's, or that of its address."""


class ConnectionLimits:
    """Counts HTTP and WebSocket connections, from when they are accepted until they are lost."""

    def __init__(self, *, max_total: int, max_per_address: int) -> None:
        self.set_limits(max_total=max_total, max_per_address=max_per_address)
        self._addresses: dict[str, Admission] = {}
        self.count = 0  # open connections

    def set_limits(self, *, max_total: int, max_per_address: int) -> None:
        """Allow this many connections, from the next one on."""
        self._max_total = max_total
        self._max_per_address = max_per_address

    def admit(self, address: str) -> Admission:
        """Count a connection. `address` is its IP address, or empty where there is none (Unix sockets)."""
        admission = self._addresses.setdefault(address, Admission(self, address))
        admission.count += 1
        self.count += 1
        if self.count > self._max_total:
            return Admission(self, address, "server")
        if address and admission.count > self._max_per_address:
            return Admission(self, address, "address")
        return admission

    def release(self, address: str) -> None:
        """Count a connection as lost."""
        self.count -= 1
        self._addresses[address].count -= 1
        if not self._addresses[address].count:
            del self._addresses[address]


class Admission:
    """A counted connection. Connections of an address share one object; one that exceeds a limit has its own."""

    __slots__ = ("_address", "_limits", "count", "excess")

    def __init__(self, limits: ConnectionLimits, address: str, excess: Excess | None = None) -> None:
        """`excess` names the limit that the connection exceeds; it is to be refused and closed."""
        self._limits = limits
        self._address = address
        self.excess: Excess | None = excess
        self.count = 0  # connections that share it

    def release(self) -> None:
        """Count the connection as lost."""
        self._limits.release(self._address)
