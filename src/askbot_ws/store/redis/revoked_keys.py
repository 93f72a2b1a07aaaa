"""Revoked keys in Redis: the list that all nodes of a cluster look at."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Protocol

from ...errors import StoreError
from .scripts import ScriptCall, load_script
from .server_connection import Argument, Reply

KEYS = ("askbot:{revoked}", "askbot:{revoked}:version")


class ScriptRunner(Protocol):
    """What runs scripts: `RedisConnections`."""

    async def run(self, call: ScriptCall) -> Reply:
        """Run a script; see there."""
        ...


class RedisRevocations:
    """A list of revoked keys, as `SharedRevocations` uses it."""

    def __init__(self, scripts: Callable[[], ScriptRunner]) -> None:
        """`scripts` returns what runs scripts, once the store is open."""
        self._scripts = scripts

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
        return await self._scripts().run(ScriptCall(load_script("revoked_keys"), KEYS, args))
