"""SentinelGroup: which server of a group is the primary, as its Sentinels tell."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from .failures import ServerRefusedError
from .redis_url import Address, RedisUrl, endpoint
from .server_connection import Reply, ServerConnection, connect_to_server
from .topology import REFRESH_SECONDS, Refreshing


class SentinelGroup(Refreshing):
    """A primary and its replicas, which Sentinels watch.

    Attributes:
        only_address: The address of the primary.
    """

    def __init__(self, url: RedisUrl, service: str) -> None:
        super().__init__()
        self._url = url
        self.service = service
        self.only_address: Address | None = None

    def address_of(self, key: str) -> Address:  # noqa: ARG002
        """The address of the primary."""
        return self.only_address or self._url.addresses[0]

    async def is_current(self, address: Address) -> bool:
        """Whether a server is the primary, as the Sentinels that know the newest one say; True where none is there."""
        asked = await asyncio.gather(*[self._asked(sentinel, address) for sentinel in self._url.addresses])
        answers = [answer for answer in asked if answer is not None]
        newest = max([epoch for epoch, _ in answers], default=0)
        return all(agrees for epoch, agrees in answers if epoch == newest)

    async def find_primary(self) -> Address | None:
        """Ask for the primary; None where the Sentinels name none, or one that is about to be replaced."""
        await self._find_out_in_time()
        address = self.only_address
        return address if address is not None and await self.is_current(address) else None

    async def _asked(self, sentinel: Address, address: Address) -> tuple[int, bool] | None:
        """How new a Sentinel's primary is, and whether it is this server, and is to stay it."""
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                connection = await self.connect(sentinel)
                try:
                    named = await connection.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
                    entry = _fields(await connection.command("SENTINEL", "MASTER", self.service))
                finally:
                    connection.close()
        except (OSError, ServerRefusedError):
            return None
        match named:
            case [bytes(host), bytes(port)] if endpoint(host.decode(), int(port), sentinel) == address:
                replaced = "failover_in_progress" in entry["flags"] and entry["port"] == port.decode()
                return int(entry["config-epoch"]), not (replaced and entry["ip"] == host.decode())
            case _:
                return int(entry["config-epoch"]), False

    def moved(self, slot: int, address: Address) -> None:
        """It became a node of a Cluster; the next start finds that out."""

    async def read(self, address: Address, connection: ServerConnection) -> bool:
        """Ask a Sentinel for the primary; returns whether it knows. Raises `ServerRefusedError` and OSError."""
        match await connection.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service):
            case [bytes(host), bytes(port)]:
                self.only_address = endpoint(host.decode(), int(port), address)
                return True
            case _:
                return False

    async def replicas(self, connection: ServerConnection, address: Address) -> list[Address]:
        """The addresses of the replicas. Raises `ServerRefusedError` and OSError."""
        reply = await connection.command("SENTINEL", "REPLICAS", self.service)
        entries = [_fields(entry) for entry in reply] if isinstance(reply, list) else []
        return [
            endpoint(entry["ip"], int(entry["port"]), address) for entry in entries if "s_down" not in entry["flags"]
        ]

    async def connect(self, address: Address) -> ServerConnection:
        """Connect to a Sentinel, which may ask for the password as well as for none. Raises as `connect_to_server`."""
        try:
            connection = await connect_to_server(address, without_login(self._url))
        except ServerRefusedError as error:
            if error.kind != "NOAUTH":
                raise
            return await connect_to_server(address, replace(self._url, database=0))
        return connection

    async def _find_out(self) -> None:
        """Ask the Sentinels until one knows."""
        sentinels = list(self._url.addresses)
        random.shuffle(sentinels)
        for sentinel in sentinels:
            try:
                connection = await self.connect(sentinel)
            except (OSError, ServerRefusedError):
                continue
            try:
                if await self.read(sentinel, connection):
                    return
            except (OSError, ServerRefusedError):
                continue
            finally:
                connection.close()


def without_login(url: RedisUrl) -> RedisUrl:
    """The same servers, for commands that need no login."""
    return replace(url, user=None, password=None, database=0)


def _fields(entry: Reply) -> dict[str, str]:
    words = [word.decode() for word in entry if isinstance(word, bytes)] if isinstance(entry, list) else []
    return dict(zip(words[::2], words[1::2], strict=False))
