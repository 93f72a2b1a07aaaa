"""Keys that are revoked on one node: every node refuses them, each with a key file of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import structlog

from askbot_ws.auth import Authenticator
from askbot_ws.auth.authenticator import AuthMethods
from askbot_ws.auth.key_file import NewKey, add_key, make_key, remove_key
from askbot_ws.auth.shared_revocations import RevocationList, SharedRevocations
from askbot_ws.auth.static_keys import CredentialChange, StaticKeys
from askbot_ws.core.principal import Principal
from askbot_ws.errors import StoreError, Unauthorized
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.revoked_keys import RedisRevocations
from tests.process import eventually
from tests.redis_server import RedisServer

ANN, BOB = (make_key(user, now=0.0) for user in ("ann", "bob"))


class Node:
    """A node with a key file, and what is reported of its keys."""

    def __init__(self, folder: Path, *keys: NewKey) -> None:
        folder.mkdir()
        self.path = folder / "keys.jsonl"
        for key in keys:
            add_key(self.path, key.key)
        self.now = 0.0
        self.keys = StaticKeys(self.path, clock=lambda: self.now)
        self.authenticator = Authenticator(AuthMethods(keys=self.keys))
        self.authenticator.on_change = self._note
        self.revoked: list[str] = []

    def _note(self, change: CredentialChange) -> None:
        self.revoked += sorted(change.revoked)

    def look(self) -> None:
        """Let the file be looked at by the next chance."""
        self.now += 2

    async def accepts(self, key: NewKey) -> bool:
        try:
            principal = await self.authenticator.authenticate_token(key.text)
        except Unauthorized:
            return False
        assert not self.authenticator.is_revoked(principal)
        return True


@pytest.fixture
async def connections(redis: RedisServer) -> AsyncGenerator[RedisConnections]:
    connections = await RedisConnections.open(redis.url)
    yield connections
    await connections.close()


async def start(stack: AsyncExitStack, revocations: RevocationList, *nodes: Node) -> None:
    for node in nodes:
        await stack.enter_async_context(node.authenticator)
        await stack.enter_async_context(SharedRevocations(node.authenticator, revocations, interval=0.02))


async def test_a_key_that_one_file_has_no_more_is_refused_everywhere(
    connections: RedisConnections, tmp_path: Path
) -> None:
    """Its connections are reported on each node, without any request, and on those that start later; others go on."""
    one, two, later = (Node(tmp_path / name, ANN, BOB) for name in ("one", "two", "later"))
    revocations = RedisRevocations(lambda: connections)
    async with AsyncExitStack() as stack:
        await start(stack, revocations, one, two)
        assert await two.accepts(ANN)
        remove_key(one.path, ANN.key.id)
        one.look()
        await eventually(lambda: bool(two.revoked))
        assert (one.revoked, two.revoked) == ([ANN.key.credential], [ANN.key.credential])
        assert (await one.accepts(ANN), await two.accepts(ANN), await two.accepts(BOB)) == (False, False, True)
        held = Principal(user="ann", credential=ANN.key.credential)
        assert two.authenticator.is_revoked(held)

        await start(stack, revocations, later)
        assert (await later.accepts(ANN), await later.accepts(BOB)) == (False, True)

        add_key(one.path, ANN.key)  # it was a mistake
        one.look()
        await eventually(lambda: not (one.authenticator.refused or two.authenticator.refused))
        assert (await one.accepts(ANN), await two.accepts(ANN)) == (True, True)


async def test_nothing_else_of_a_key_file_travels(connections: RedisConnections, tmp_path: Path) -> None:
    """New keys, another node's own keys, keys with other rights and a node that takes no keys any more."""
    one, two = Node(tmp_path / "one", ANN), Node(tmp_path / "two", ANN)
    async with AsyncExitStack() as stack:
        await start(stack, RedisRevocations(lambda: connections), one, two)
        add_key(one.path, BOB.key)
        one.look()
        assert await one.accepts(BOB)
        remove_key(one.path, ANN.key.id)
        changed = ANN.key.__class__(**{name: getattr(ANN.key, name) for name in ("id", "hash", "user")}, role="guest")
        add_key(one.path, changed)  # in one step for who reads it
        one.look()
        await asyncio.sleep(0.1)
        await one.authenticator.replace_methods(None, other_tokens=False)
        await asyncio.sleep(0.1)
        assert (await two.accepts(ANN), await two.accepts(BOB), two.revoked) == (True, False, [])


async def test_what_can_not_be_reported_is_reported_later(tmp_path: Path) -> None:
    """A node that can't reach the others warns once, refuses by its own file, and goes on."""
    node, working = Node(tmp_path / "one", ANN), asyncio.Event()
    reported: list[tuple[frozenset[str], frozenset[str]]] = []

    class List:
        async def read(self, *, known_version: str) -> tuple[str, frozenset[str]] | None:
            if not working.is_set():
                raise StoreError
            return None

        async def change(self, *, revoked: frozenset[str], restored: frozenset[str]) -> None:
            if not working.is_set():
                raise StoreError
            reported.append((revoked, restored))

    with structlog.testing.capture_logs() as lines:
        async with AsyncExitStack() as stack:
            await start(stack, List(), node)  # type: ignore[arg-type]
            remove_key(node.path, ANN.key.id)
            node.look()
            await eventually(lambda: bool(node.revoked))
            await asyncio.sleep(0.1)
            working.set()
            await eventually(lambda: bool(reported))
    assert reported == [(frozenset({ANN.key.credential}), frozenset())]
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["revocations_not_shared"]
