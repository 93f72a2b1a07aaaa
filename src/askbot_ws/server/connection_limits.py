"""Connection limits: how many connections may be open, in total, from each address and of each user."""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

from ..core.allowance import address_key

Excess: TypeAlias = Literal["server", "address"]
"""Which limit a connection exceeds: the server's, or that of its address."""


class ConnectionLimits:
    """Counts HTTP and WebSocket connections, from when they are accepted until they are lost."""

    def __init__(self, *, max_total: int, max_per_address: int) -> None:
        self.set_limits(max_total=max_total, max_per_address=max_per_address)
        self._addresses: dict[str, ConnectionAdmission] = {}
        self._users: Counter[str] = Counter()
        self.count = 0  # open connections

    def set_limits(self, *, max_total: int, max_per_address: int) -> None:
        """Allow this many connections, from the next one on."""
        self._max_total = max_total
        self._max_per_address = max_per_address

    def admit(self, address: str) -> ConnectionAdmission:
        """Count a connection. `address` is its IP address, or empty where there is none (Unix sockets)."""
        self.count += 1
        return self._admit(address_key(address), over_total=self.count > self._max_total)

    def readmit(self, admission: ConnectionAdmission, address: str) -> ConnectionAdmission:
        """Count a connection for another address: that of the client for which a proxy has opened it."""
        address = address_key(address)
        if admission.address == address:
            return admission
        self._release(admission.address)
        return self._admit(address, over_total=admission.excess == "server")

    def release(self, address: str) -> None:
        """Count a connection as lost."""
        self.count -= 1
        self._release(address)

    def admit_user(self, user: str | None, *, limit: int | None) -> bool:
        """Count a user's WebSocket connection; returns False, and does not, where the user has as many as `limit`."""
        if user is None:
            return True
        if limit is not None and self._users[user] >= limit:
            return False
        self._users[user] += 1
        return True

    def release_user(self, user: str | None) -> None:
        """Count a user's WebSocket connection as lost."""
        if user is not None:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    def _admit(self, address: str, *, over_total: bool) -> ConnectionAdmission:
        admission = self._addresses.setdefault(address, ConnectionAdmission(self, address))
        admission.count += 1
        if over_total:
            return ConnectionAdmission(self, address, "server")
        if address and admission.count > self._max_per_address:
            return ConnectionAdmission(self, address, "address")
        return admission

    def _release(self, address: str) -> None:
        self._addresses[address].count -= 1
        if not self._addresses[address].count:
            del self._addresses[address]


class ConnectionAdmission:
    """What counts a connection. Connections of an address share one object; one that exceeds a limit has its own."""

    __slots__ = ("_limits", "address", "count", "excess")

    def __init__(self, limits: ConnectionLimits, address: str, excess: Excess | None = None) -> None:
        """`excess` names the limit that the connection exceeds; it is to be refused and closed."""
        self._limits = limits
        self.address = address
        self.excess: Excess | None = excess
        self.count = 0  # connections that share it

    def interned_address(self, address: str) -> str:
        """Return the address of a connection that is counted here, as one object for all that have it.

        That of IPv6 is its own: what is counted is its network.
        """
        return address if "/" in self.address else self.address

    def release(self) -> None:
        """Count the connection as lost."""
        self._limits.release(self.address)
