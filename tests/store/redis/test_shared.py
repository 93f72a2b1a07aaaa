"""Several nodes on one store: who may append, and who is told."""

from __future__ import annotations

import asyncio

import pytest

from askbot_ws.core.log_tail import LogTail
from askbot_ws.core.summary import LogSummary
from askbot_ws.errors import LogMoved, SessionNotFound, StoreError
from askbot_ws.store import ANY_USER, SessionQuery
from askbot_ws.store.redis import follower
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.follower import IDLE_SECONDS, SILENCE_SECONDS
from askbot_ws.store.redis.keys import index_of, keys_of
from askbot_ws.store.redis.open_logs import OpenLog
from askbot_ws.store.redis.repeated import run_repeated
from askbot_ws.store.redis.scripts import ScriptCall
from askbot_ws.store.redis.server_connection import Argument, Reply
from askbot_ws.store.redis.session_reader import SessionReader
from askbot_ws.store.shared import SharedStore
from tests.redis_server import RedisServer

from ..event_factory import Clock, EventFactory, append, causes, flatten, read_merged, try_append
from .nodes import begin, nodes


async def test_a_log_is_followed_on_another_node(redis: RedisServer) -> None:
    """What the owner appends is in the other node's log, and its observer is told, in order and once."""
    async with nodes(redis, "a", "b") as (a, b):
        assert isinstance(a.store, SharedStore)
        factory = await begin(a.store)
        log = await b.store.load("s")
        assert flatten(log.read(after=log.start)) == flatten(factory.events)[log.start :]
        start = log.head

        for number in range(50):
            await append(a.store, factory.token("t2", f"{number} "), factory.thinking("t2", "🙂"))
        await append(a.store, factory.done("t2"), factory.title("called"))
        await b.observer.wait_for_head(factory.head)

        assert flatten(b.observer.events["s"]) == flatten(factory.events)[start:]
        assert log.head == factory.head
        assert (log.summary.title, log.summary.turns, log.summary.asked) == ("called", 2, {})
        assert a.observer.events == {}, "the owner is told by its append"
        assert flatten(await read_merged(b.store)) == flatten(factory.events)


async def test_a_log_that_is_replaced_while_it_is_loaded_is_loaded_again(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session was claimed after a restart of Redis, and has another history: the old log is nobody's any more."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await a.store.give_back("s")
        read, was_read, claimed = SessionReader.run, asyncio.Event(), asyncio.Event()

        async def read_late(reader: SessionReader, script: str, session: str, *args: Argument) -> Reply:
            reply = await read(reader, script, session, *args)
            if script == "load":
                was_read.set()
                await claimed.wait()
            return reply

        monkeypatch.setattr(SessionReader, "run", read_late)
        late = asyncio.ensure_future(b.store.load("s"))
        await was_read.wait()
        redis.command("HSET", keys_of("s").meta, "replication", "of another start")
        assert await a.store.claim("s") is None
        await append(a.store, factory.token("t2", "more"))
        await b.store.follower.subscriptions.subscribe("after the message")
        claimed.set()
        log = await late

        assert log is b.store.open_logs["s"].log
        assert (log.head, log.history) == (factory.head, a.store.open_logs["s"].log.history)
        await append(a.store, factory.done("t2"))
        await b.observer.wait_for_head(factory.head)
        assert log.head == factory.head


async def test_a_log_that_is_behind_is_refreshed(redis: RedisServer) -> None:
    """No message has come: of what was appended, and that another node is the owner. The observers are told of both."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        log = await b.store.load("s")
        for node in (a, b):
            keys = keys_of("s")
            for channel in (keys.followers, keys.owner):
                await node.store.follower.subscriptions.unsubscribe(channel)
        await append(a.store, factory.token("t2", "more "))
        assert log.head < factory.head
        await b.store.catch_up("s")
        assert log.head == factory.head
        await b.observer.wait_for_head(factory.head)

        assert await b.store.claim("s", instead_of="a") is None
        await append(b.store, factory.done("t2"))
        await a.store.catch_up("s")
        await a.observer.wait_for("fenced")
        assert not a.store.owns("s")
        assert (await a.store.load("s")).head == factory.head


async def test_a_session_has_one_owner(redis: RedisServer) -> None:
    """Its maker, until it gives it back; then who claims it first."""
    async with nodes(redis, "a", "b", "c") as (a, b, c):
        factory = await begin(a.store)
        for node in (b, c):
            await node.store.load("s")
        assert (a.store.owns("s"), b.store.owns("s")) == (True, False)
        assert await b.store.claim("s") == "a"
        assert await a.store.claim("s") is None

        await a.store.give_back("s")
        assert not a.store.owns("s")
        assert await b.store.claim("s") is None
        assert await c.store.claim("s") == "b"
        await append(b.store, factory.token("t2", "of b"), factory.done("t2"))

        await a.observer.wait_for_head(factory.head)
        await c.observer.wait_for_head(factory.head)
        assert flatten(await read_merged(a.store)) == flatten(factory.events)
        with pytest.raises(SessionNotFound):
            await c.store.claim("nobody")


async def test_a_session_whose_log_is_replaced_as_it_is_claimed_is_not_called_missing(redis: RedisServer) -> None:
    """Before the claim, it is loaded again; in the midst of it, who claims is told to try again."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await a.store.give_back("s")
        await b.store.load("s")
        b.store.follower.replaced(b.store.open_logs["s"])
        assert await b.store.claim("s") is None
        assert (await b.store.load("s")).head == factory.head
        await b.store.give_back("s")

        follower = b.store.follower
        read_missing = follower.read_missing

        async def replace_meanwhile(open_log: OpenLog) -> None:
            follower.replaced(open_log)
            await read_missing(open_log)

        follower.read_missing = replace_meanwhile  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await b.store.claim("s")
        follower.read_missing = read_missing  # type: ignore[method-assign]
        assert await a.store.claim("s") == "b", "nobody else takes its turns for such as never ran"
        assert await b.store.claim("s") is None


async def test_what_a_fenced_owner_writes_late_bounces_off(redis: RedisServer) -> None:
    """It was thought dead, and another node has taken over: nothing of its own is stored or shown any more."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await b.store.load("s")
        late = [EventFactory(head=factory.head).token("t2", "too late")]

        assert await b.store.claim("s", instead_of="c") == "a"
        assert await b.store.claim("s", instead_of="a") is None
        await append(b.store, factory.token("t2", "by b"), factory.done("t2", "interrupted"))

        await a.observer.wait_for("fenced")
        await a.observer.wait_for_head(factory.head)
        a.store.open_logs["s"].fence = "1:a"  # as before it was told
        a.store.open_logs["s"].log.head = a.store.open_logs["s"].head = late[0].start
        assert isinstance((await try_append(a.store, *late))["s"], LogMoved)
        assert not a.store.owns("s")
        assert flatten(await read_merged(b.store)) == flatten(factory.events)


async def test_the_fence_alone_keeps_a_late_write_out(redis: RedisServer) -> None:
    """Where the new owner has appended nothing yet, so that the late write would follow the head."""
    async with nodes(redis, "a", "b") as (a, b):
        for session, last in (("s", "token"), ("s2", "done")):
            factory = await begin(a.store, session)
            await b.store.load(session)
            await a.store.follower.subscriptions.unsubscribe(keys_of(session).owner)  # it is not told
            head = factory.head
            assert await b.store.claim(session, instead_of="a") is None
            late = factory.token("t2", "late") if last == "token" else factory.done("t2")

            assert causes(await try_append(a.store, late)) == {session: "another node owns the session"}
            await a.observer.wait_for("fenced", session)
            again = await try_append(a.store, late)
            assert isinstance(again[session], LogMoved), "it does not take the session back"
            assert b.store.owns(session)
            assert (await b.store.load(session)).head == head


async def test_an_owner_on_a_claim_catches_up_first(redis: RedisServer) -> None:
    """Messages may be late: once it is the owner, its log in memory is at the head."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        log = await b.store.load("s")
        keys = keys_of("s")
        await b.store.follower.subscriptions.unsubscribe(keys.followers)  # it hears nothing
        await append(a.store, factory.token("t2", "x" * 100_000))
        await a.store.give_back("s")

        assert await b.store.claim("s") is None
        assert log.head == factory.head
        await append(b.store, factory.done("t2"))
        assert flatten(await read_merged(b.store)) == flatten(factory.events)


async def test_a_lost_message_is_read(redis: RedisServer) -> None:
    """The next message shows that one is missing; and while a turn runs, silence is asked about."""
    clock = Clock()
    async with nodes(redis, "a", "b", clock=clock) as (a, b):
        factory = await begin(a.store)
        log = await b.store.load("s")
        keys = keys_of("s")
        subscriptions = b.store.follower.subscriptions
        await subscriptions.unsubscribe(keys.followers)
        await append(a.store, factory.token("t2", "unheard "))
        await subscriptions.subscribe(keys.followers)
        await append(a.store, factory.token("t2", "heard "))
        await b.observer.wait_for_head(factory.head)

        await subscriptions.unsubscribe(keys.followers)
        await append(a.store, factory.token("t2", "the last one is unheard too"))
        clock.now += 3
        await b.observer.wait_for_head(factory.head)
        assert flatten(log.read(after=log.start)) == flatten(factory.events)[log.start :]


async def test_what_was_lost_where_no_turn_runs_is_read_within_a_minute(redis: RedisServer) -> None:
    """Nothing says that it is missing: so all is compared now and then. Nobody is asked to own such a session."""
    clock = Clock()
    async with nodes(redis, "a", "b", clock=clock) as (a, b):
        factory = await begin(a.store)
        await append(a.store, factory.done("t2"))
        log = await b.store.load("s")
        await b.store.follower.subscriptions.unsubscribe(keys_of("s").followers)
        await append(a.store, factory.title("unheard"))
        clock.now += IDLE_SECONDS + 1
        await b.observer.wait_for_head(factory.head)
        assert log.summary.title == "unheard"

        await a.store.give_back("s")
        clock.now += IDLE_SECONDS + 1
        await asyncio.sleep(SILENCE_SECONDS)
        assert b.observer.told == []


async def test_what_is_appended_while_a_node_finds_out_that_it_is_no_owner_is_read(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks whether it still is one, and is told of the next one before it has the reply; nothing is unfinished."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await append(a.store, factory.done("t2"))
        log = await a.store.load("s")
        await b.store.load("s")
        asked, answered = asyncio.Event(), asyncio.Event()

        async def run_late(connections: RedisConnections, call: ScriptCall) -> Reply:
            reply = await run_repeated(connections, call)
            if asyncio.current_task() is checking:
                asked.set()
                await answered.wait()
            return reply

        monkeypatch.setattr(follower, "run_repeated", run_late)
        checking = asyncio.create_task(a.store.follower.try_to_catch_up(a.store.open_logs["s"]))
        await asked.wait()
        assert await b.store.claim("s", instead_of="a") is None
        await a.observer.wait_for("fenced")
        await append(b.store, factory.title("called"))
        await asyncio.sleep(0.1)  # until its message has come
        answered.set()
        await a.observer.wait_for_head(factory.head)

        assert (log.head, log.summary.title) == (factory.head, "called")


async def test_a_session_that_could_not_be_given_back_is_followed(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given back while there was no connection; another node has taken it over since."""

    async def fail(_: OpenLog) -> None:
        raise StoreError

    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await append(a.store, factory.done("t2"))
        log = await a.store.load("s")
        await b.store.load("s")
        with monkeypatch.context() as patch:
            patch.setattr(a.store.follower, "subscribe_as_follower", fail)
            with pytest.raises(StoreError):
                await a.store.give_back("s")
        assert await b.store.claim("s", instead_of="a") is None
        await append(b.store, factory.title("called"))
        await a.observer.wait_for_head(factory.head)

        assert (log.head, log.summary.title) == (factory.head, "called")


async def test_a_subscription_that_failed_is_made_although_the_log_was_read_meanwhile(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that lost a session to another lost its connection too; the next one told it of what it had missed."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        await append(a.store, factory.done("t2"))
        await b.store.load("s")
        subscribe, failed = a.store.follower.subscribe_as_follower, asyncio.Event()

        async def fail_once(open_log: OpenLog) -> None:
            if failed.is_set():
                await subscribe(open_log)
            else:
                failed.set()
                raise StoreError

        monkeypatch.setattr(a.store.follower, "subscribe_as_follower", fail_once)
        assert await b.store.claim("s", instead_of="a") is None
        await failed.wait()
        await append(b.store, factory.title("unheard"))
        redis.command("CLIENT", "KILL", "TYPE", "PUBSUB")
        await a.observer.wait_for_head(factory.head)
        await asyncio.sleep(2 * SILENCE_SECONDS)  # in which it subscribes
        await append(b.store, factory.title("heard"))
        await a.observer.wait_for_head(factory.head)


@pytest.mark.parametrize("behind", [0, 1])  # an event without its fields, or at a position that was before
async def test_what_is_not_understood_costs_its_session_alone(redis: RedisServer, behind: int) -> None:
    """The node follows other sessions on the same connection, and does not read what can't be read again and again."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        other = await begin(a.store, "other")
        log = await b.store.load("s")
        await b.store.load("other")
        damaged = b'{"type":"done","session":"s","seq":%d}' % (factory.head + 1)
        told = f"A {factory.head} {factory.head + 1} 0 {log.history}\n".encode()
        for message in (b"C x", b"A 1", b"\xff", told + damaged, told + b"[]", told + b"{}"):
            redis.command("SPUBLISH", keys_of("s").followers, message)
            redis.command("SPUBLISH", keys_of("s").owner, message)
        await append(a.store, other.token("t2", "heard"))
        await b.observer.wait_for_head(other.head, "other")
        await append(a.store, factory.done("t2"))
        await b.observer.wait_for_head(factory.head)
        assert not b.observer.told

        await a.store.give_back("s")
        kind = "done" if not behind else "later"
        event = b'{"type":"%b","session":"s","seq":%d}' % (kind.encode(), factory.head + 1 - behind)
        redis.command("XADD", keys_of("s").log, f"{factory.head + 1}-0", "f", event)
        redis.command("HSET", keys_of("s").meta, "head", factory.head + 1)
        redis.command("SPUBLISH", keys_of("s").followers, b"A %d %d 0 %b\n" % (9999, 10_000, log.history.encode()))
        await b.observer.wait_for("replaced")
        with pytest.raises(StoreError):
            await b.store.load("s")
        await append(a.store, other.done("t2"))
        await b.observer.wait_for_head(other.head, "other")


async def test_a_session_is_deleted_on_all_nodes(redis: RedisServer) -> None:
    """The owner and the followers are told, and late writes don't bring it back."""
    async with nodes(redis, "a", "b", "c") as (a, b, c):
        factory = await begin(a.store, user="ann")
        await b.store.load("s")

        await c.store.forget("s")

        await a.observer.wait_for("deleted")
        await b.observer.wait_for("deleted")
        for node in (a, b, c):
            with pytest.raises(SessionNotFound):
                await node.store.load("s")
        assert isinstance((await try_append(a.store, factory.token("t2", "late")))["s"], LogMoved)
        assert redis.command("KEYS", "askbot:{s}:*") == [b"askbot:{s}:meta"]
        assert await a.store.connections.client.zcard(index_of("ann")) == 0


async def test_a_late_write_revives_no_session(redis: RedisServer) -> None:
    """Neither text, nor an end, nor a repetition of what made it, of an owner that was not told."""
    async with nodes(redis, "a", "b") as (a, b):
        factory = await begin(a.store)
        open_log = a.store.open_logs["s"]
        unstored = OpenLog(LogTail("s", history="h"), fence=open_log.fence, stored=False)
        first = a.store.appender.prepare(unstored, factory.events[:1], [b"{}"], LogSummary())
        await b.store.forget("s")
        await a.observer.wait_for("deleted")

        for late in ("token", "done"):
            a.store.open_logs["s"] = open_log
            open_log.fence = "1:a"
            events = EventFactory(head=open_log.head)
            event = events.token("t2", "late") if late == "token" else events.done("t2")
            assert causes(await try_append(a.store, event)) == {"s": "the session is deleted"}
        assert await a.store.connections.run(first.call) == 0
        with pytest.raises(SessionNotFound):
            await b.store.load("s")


async def test_an_index_is_cleaned_of_what_is_gone(redis: RedisServer) -> None:
    """An entry is written before its session, and may stay behind; a list passes it over and removes it."""
    async with nodes(redis, "a") as (a,):
        await begin(a.store, user="ann")
        client = a.store.connections.client
        await client.zadd(index_of("ann"), {"gone": 5.0})

        for _ in range(2):
            page = await a.store.list_sessions(SessionQuery("ann"), limit=10)
            assert [one.session for one in page.sessions] == ["s"]
        assert redis.command("ZRANGE", index_of("ann"), 0, -1) == [b"s"]


async def test_a_sweep_leaves_what_any_node_has_in_memory(redis: RedisServer) -> None:
    """And one node sweeps at a time."""
    clock = Clock()
    async with nodes(redis, "a", "b", clock=clock) as (a, b):
        for name in ("read", "old"):
            await begin(a.store, name)
            a.store.release(name)
        await b.store.load("read")
        clock.now += 100

        await a.store.connections.client.set("askbot:sweep", "c", px=10_000)
        assert await a.store.sweep(idle=50) == 0
        await a.store.connections.client.delete("askbot:sweep")
        assert await a.store.sweep(idle=50) == 1
        assert [one.session for one in (await a.store.list_sessions(SessionQuery(ANY_USER), limit=9)).sessions] == [
            "read"
        ]


async def test_two_nodes_that_claim_at_once_are_not_both_owners(redis: RedisServer) -> None:
    """Whoever comes first; the other is told who."""
    async with nodes(redis, "a", "b", "c") as (a, b, c):
        await begin(a.store)
        a.store.release("s")
        await a.store.tasks.wait_all()
        for node in (b, c):
            await node.store.load("s")

        outcomes = await asyncio.gather(b.store.claim("s"), c.store.claim("s"))

        assert sorted(outcomes, key=str) in (["b", None], [None, "b"], ["c", None], [None, "c"])
        assert b.store.owns("s") is not c.store.owns("s")
