"""Revoked keys in Redis: the list that all nodes of a cluster look at."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection

from ...errors import StoreError
from .connections import RedisConnections
from .scripts import ScriptCall, load_script
from .server_connection import Argument, Reply

KEYS = ("askbot:{revoked}", "askbot:{revoked}:version")


class RedisRevocations:
    """A list of revoked keys, as `SharedRevocations` uses it."""

    def __init__(self, connections: Callable[[], RedisConnections]) -> None:
        """`connections` returns those of the store, once that is open."""
        self._connections = connections

    async def read(self, *, known_version: str) -> tuple[str, frozenset[str]] | None:
        """Return the list's version and the keys; None where it has the known version. Raises `StoreError`."""
        match await self._run("read", known_version):
            case []:
                return None
            case [bytes(version), [*keys]]:
                return version.decode(), frozenset(key.decode() for key in keys if isinstance(key, bytes))
            case _:
                raise StoreError

    async def change(self, *, revoked: Collection[str], restored: Collection[str]) -> None:
        """Add the first and remove the others. Raises `StoreError`: call it again, then."""
        await self._run("change", secrets.token_hex(8), len(revoked), *revoked, *restored)

    async def _run(self, *args: Argument) -> Reply:
        return await self._connections().run(ScriptCall(load_script("revoked_keys"), KEYS, args))
