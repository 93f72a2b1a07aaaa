"""Connections that are lost, servers that are away, and servers that have lost what they had acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from askbot_ws.errors import LogMoved, StoreError, StoreUnavailable
from askbot_ws.store import ANY_USER, SessionQuery
from askbot_ws.store.redis import appender as appender_module
from askbot_ws.store.redis import store as store_module
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.keys import keys_of
from askbot_ws.store.redis.scripts import ScriptCall
from askbot_ws.store.redis.server_connection import RawReply
from askbot_ws.store.redis.store import RedisStore
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server

from ..event_factory import EventFactory, append, flatten, read_merged, try_append
from .nodes import Node, begin, nodes


class LosingConnections:
    """Runs scripts, and loses the replies to the next of them: done or not, nobody is told."""

    def __init__(self, connections: RedisConnections) -> None:
        self._send_all = connections.send_all
        self.before = self.after = 0  # how many pipelines are lost before, or after, the server has done them
        connections.send_all = self.send_all  # type: ignore[method-assign]

    def send_all(self, calls: Sequence[ScriptCall]) -> asyncio.Future[list[RawReply]] | None:
        sent = None
        if self.before:
            self.before -= 1
        else:
            sent = self._send_all(calls)
            if sent is None or not self.after:
                return sent
            self.after -= 1
        lost: asyncio.Future[list[RawReply]] = asyncio.get_running_loop().create_future()
        if sent is None:
            lost.set_result([])
        else:
            sent.add_done_callback(lambda _: lost.set_result([]))
        return lost


async def test_an_append_whose_outcome_is_unknown_is_sent_again(redis: RedisServer) -> None:
    """Unchanged: it is stored once, whether or not it had been, whatever it holds, and told once."""
    async with nodes(redis, "a", "b") as (a, b):
        losing = LosingConnections(a.store.connections)
        a.store.create("s")
        factory = EventFactory()
        for number in range(3):
            losing.before, losing.after = number % 2, 1 + number % 2
            await append(a.store, factory.question(f"t{number}", id=f"a{number}"))
            await b.store.load("s")
            losing.before, losing.after = 1, 1
            await append(a.store, factory.token(f"t{number}", "text"))
            losing.after = 2
            await append(a.store, factory.done(f"t{number}"))

        await b.observer.wait_for_head(factory.head)
        assert flatten(await read_merged(a.store)) == flatten(await read_merged(b.store)) == flatten(factory.events)
        assert (await b.store.load("s")).head == factory.head
        assert flatten(b.observer.events["s"]) == flatten(factory.events[1:])


async def test_appends_wait_for_a_server_that_starts_again() -> None:
    """With an append-only file it has everything; without one, the owner appends again what it has in memory."""
    for is_kept in (True, False):
        with redis_server(*(("--appendonly", "yes") if is_kept else ())) as redis:
            async with nodes(redis, "a", "b") as (a, b):
                factory = await begin(a.store)
                log = await b.store.load("s")
                redis.kill()
                late = asyncio.ensure_future(try_append(a.store, factory.token("t2", "meanwhile")))
                await asyncio.sleep(0.2)
                assert not late.done()
                redis.start()

                assert await late == {}
                await append(a.store, factory.done("t2"))
                assert flatten(await read_merged(a.store)) == flatten(factory.events)
                await b.observer.wait_for_head(factory.head)
                assert flatten(log.read(after=log.start)) == flatten(factory.events)[log.start :]
                assert [turn.answer for turn in await b.store.turns("s", limit=9)] == ["one answer", "half meanwhile"]
                page = await b.store.find_turn("s", "a2")
                assert page == "t2"


class Snapshot:
    """All keys of a session, to which the server is set back: as a failover to a replica that was behind."""

    def __init__(self, node: Node) -> None:
        self._client = node.store.connections.client
        self._keys = keys_of("s")[:5]
        self._kept: dict[str, bytes] = {}

    async def take(self) -> None:
        self._kept = {key: value for key in self._keys if (value := await self._client.dump(key))}

    async def restore(self, redis: RedisServer) -> None:
        await self._client.delete(*self._keys)
        for key, value in self._kept.items():
            await self._client.restore(key, 0, value)
        redis.command("REPLICAOF", "127.0.0.1", 1)  # a primary that has been a replica has another replication id
        redis.command("REPLICAOF", "NO", "ONE")


async def test_an_owner_appends_again_what_a_failover_has_lost(redis: RedisServer) -> None:
    """Under the same positions, so that nobody notices; also what was moved to the merged part meanwhile."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        log = await b.store.load("s")
        snapshot = Snapshot(a)
        await snapshot.take()
        await append(a.store, factory.token("t2", "lost "), factory.done("t2"), factory.question("t3", id="a3"))
        await b.observer.wait_for_head(factory.head)
        history = log.history
        await snapshot.restore(redis)

        await append(a.store, factory.token("t3", "new"), factory.done("t3"))

        await b.observer.wait_for_head(factory.head)
        assert flatten(await read_merged(a.store)) == flatten(factory.events)
        assert flatten(log.read(after=log.start)) == flatten(factory.events)[log.start :]
        assert (b.observer.told, log.history) == ([], history)
        assert await b.store.find_turn("s", "a3") == "t3"
        assert [turn.reason for turn in await b.store.turns("s", limit=9)] == ["stop"] * 3


async def test_an_owner_that_appends_nothing_more_restores_too() -> None:
    """It hears of the failover by its subscription; nobody else need write before others can read on."""
    with redis_server() as redis:
        async with nodes(redis, "a", "b") as (a, b):
            factory = await begin(a.store)
            await append(a.store, factory.done("t2"))
            redis.restart()  # without an append-only file: all is lost

            async with asyncio.timeout(10):
                while not (await b.store.list_sessions(SessionQuery(ANY_USER), limit=1)).sessions:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)
            assert flatten(await read_merged(b.store)) == flatten(factory.events)


@pytest.mark.parametrize("taken_over_by", ["b", "a"])
async def test_an_append_under_an_earlier_claim_is_not_made_under_a_later_one(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, taken_over_by: str
) -> None:
    """It is tried again while the turn is ended by another owner, and the session comes back to this node."""
    monkeypatch.setattr(appender_module, "FIRST_PAUSE", 1.0)
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await b.store.load("s")
        losing = LosingConnections(a.store.connections)
        losing.before = 1
        late = asyncio.ensure_future(try_append(a.store, EventFactory(head=factory.head).token("t2", "too late")))
        await asyncio.sleep(0)

        if taken_over_by == "b":
            assert await b.store.claim("s", instead_of="a") is None
            await append(b.store, factory.done("t2", "interrupted"))
            await b.store.give_back("s")
            await a.observer.wait_for("fenced")
            assert await a.store.claim("s") is None
        else:
            a.store.follower.lose_ownership(a.store.open_logs["s"])
            assert await a.store.claim("s") is None
            await append(a.store, factory.done("t2", "interrupted"))
        told = [*a.observer.told]

        assert isinstance((await late)["s"], LogMoved)
        assert (a.store.owns("s"), a.observer.told) == (True, told)
        await append(a.store, factory.question("t3"))
        assert flatten(await read_merged(a.store)) == flatten(await read_merged(b.store)) == flatten(factory.events)


async def test_a_reader_that_was_shown_what_the_owner_does_not_know_to_be_stored_is_waited_for(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append is done, followers have shown it, and its reply is late: the owner does not know of it yet."""
    monkeypatch.setattr(appender_module, "FIRST_PAUSE", 0.3)
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await b.store.load("s")
        await append(a.store, factory.token("t2", "and the script is loaded; "))
        losing = LosingConnections(a.store.connections)
        losing.after = 1
        late = asyncio.ensure_future(try_append(a.store, factory.token("t2", "shown")))
        await b.observer.wait_for_head(factory.head)
        assert a.store.open_logs["s"].log.head < factory.head

        await a.store.catch_up("s")

        assert a.store.open_logs["s"].log.head == factory.head
        assert await late == {}


async def test_what_nobody_holds_changes_the_history(redis: RedisServer) -> None:
    """The owner died with what the failover lost: who has seen it gets another log, and no two are mixed."""
    async with nodes(redis, "a", "b", "c") as (a, b, c):
        factory = await begin(a.store)
        log = await b.store.load("s")
        snapshot = Snapshot(a)
        await snapshot.take()
        kept = factory.head
        await append(a.store, factory.token("t2", "which nobody has any more"))
        await b.observer.wait_for_head(factory.head)
        await snapshot.restore(redis)

        before = await c.store.load("s")
        assert before.head == kept
        assert await c.store.claim("s", instead_of="a") is None
        other = EventFactory(head=kept)
        await append(c.store, other.token("t2", "else"), other.done("t2", "interrupted"))

        await b.observer.wait_for("replaced")
        again = await b.store.load("s")
        assert again is not log
        assert again.history == before.history != log.history
        assert flatten(await read_merged(b.store)) == [*flatten(factory.events)[:kept], *flatten(other.events)]
        await a.observer.wait_for("replaced")


async def test_nothing_is_shown_before_a_replica_has_it() -> None:
    """ASKBOT_REDIS_WAIT: while the replica is stopped, nobody is told, on no node; then it is stored once."""
    with (
        redis_server("--repl-diskless-sync-delay", "0", port=free_port()) as primary,
        redis_server("--replicaof", "127.0.0.1", str(primary.port), port=free_port()) as replica,
    ):
        async with nodes(primary, "a", "b", "c", replicas=1) as (a, b, c):
            factory = await begin(a.store)
            log = await b.store.load("s")
            replica.pause()
            event = factory.token("t2", "unsure")
            late = asyncio.ensure_future(try_append(a.store, event, factory.done("t2")))
            await asyncio.sleep(1.3)
            assert (late.done(), b.observer.head(), log.head) == (False, 0, event.start)
            with pytest.raises(StoreError):
                await b.store.ping()
            loaded = asyncio.ensure_future(c.store.load("s"))
            refreshed = asyncio.ensure_future(b.store.catch_up("s"))
            found = asyncio.ensure_future(c.store.find_turn("s", "a2"))
            await asyncio.sleep(0.5)
            assert not any((loaded.done(), refreshed.done(), found.done())), (
                "what is read was shown before a replica has it"
            )
            assert log.head == event.start
            replica.resume()
            assert (await loaded).head == factory.head
            await refreshed
            assert await found == "t2"

            assert await late == {}
            await b.observer.wait_for_head(factory.head)
            assert flatten(await read_merged(b.store)) == flatten(factory.events)


async def test_a_node_that_asks_for_replicas_does_not_start_without_them(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could show nothing to anybody."""
    monkeypatch.setattr(store_module, "REPLICA_SECONDS", 0.0)

    with pytest.raises(StoreUnavailable, match="ASKBOT_REDIS_WAIT: Redis: 0 of 1 replicas"):
        await RedisStore(redis.url, replicas=1).open()


async def test_a_store_that_stays_away_fails_in_the_end(redis: RedisServer) -> None:
    """Nothing waits for ever; and whoever appends next knows what is stored."""
    async with nodes(redis, "a") as (a,):
        factory = await begin(a.store)
        losing = LosingConnections(a.store.connections)
        a.store.appender.patience = 0.2
        losing.before = 1000

        failures = await try_append(a.store, factory.token("t2", "lost"))

        assert isinstance(failures["s"], StoreError)
        assert not isinstance(failures["s"], LogMoved)
        assert not a.store.owns("s")
        losing.before = 0
        assert await a.store.claim("s") is None
        factory = EventFactory(head=a.store.open_logs["s"].head)
        await append(a.store, factory.done("t2"))
