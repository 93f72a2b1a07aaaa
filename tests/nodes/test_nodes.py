"""Nodes that share one Redis: a command reaches the owner wherever it arrives, and a session outlives its owner."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from askbot_ws.core.commands import Ask, Cancel, Forget, Fork, Title
from askbot_ws.core.log_tail import LogTail
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.errors import Busy, Internal, InvalidFrame, Overloaded, SessionNotFound, StoreError
from askbot_ws.events import TurnRecord, encode_event
from askbot_ws.hub import Policy
from askbot_ws.nodes import inbox
from askbot_ws.nodes.codec import Executed, Request, Result
from askbot_ws.store.redis.appender import Appender
from askbot_ws.store.redis.keys import keys_of
from askbot_ws.store.redis.open_logs import OpenLog
from askbot_ws.store.redis.session_write import SessionWrite
from askbot_ws.store.redis.store import RedisStore
from tests.hub.fakes import CheckedReader, assert_proven, assert_valid_log, attach_reader
from tests.redis_server import RedisServer

from .nodes import TIMES, Node, node, soon


async def test_a_command_is_executed_by_the_owner_wherever_it_arrives(redis: RedisServer) -> None:
    """One hop, and its error comes back; readers of both nodes are shown the same log."""
    go = asyncio.Event()
    async with node(redis, ["one ", go, "two"]) as a, node(redis) as b:
        first = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, first.session, Ask("why?", id="q1"))
        await first.heard("one ")
        other = await b.attached(first.session)
        with pytest.raises(Busy):
            await b.hub.command(ANONYMOUS, first.session, Ask("and?", id="q2", when_busy="reject"))
        with pytest.raises(InvalidFrame):
            await b.hub.command(ANONYMOUS, first.session, Ask("another text", id="q1"))
        assert await b.hub.command(ANONYMOUS, first.session, Ask("why?", id="q1")) == 1  # it was asked already
        await b.hub.command(ANONYMOUS, first.session, Ask("and?", id="q3"))
        await b.hub.command(ANONYMOUS, first.session, Title("A name"))
        go.set()
        await first.done(2)
        await other.done(2)

        assert [question.id for question in first.questions] == ["q1", "q3"]
        assert encode_event(other.events[-1]) == encode_event(first.events[-1])
        assert (a.owns(first.session), b.owns(first.session)) == (True, False)
        assert (len(a.upstream.prompts), len(b.upstream.prompts)) == (2, 0)
        assert other.topic.title == "A name"
    assert_valid_log(first.events)


async def test_an_idle_session_is_written_by_the_node_that_is_asked_once_it_was_given_back(redis: RedisServer) -> None:
    """A drained node leaves nothing behind: the next one owns the session with its first command."""
    async with node(redis) as b:
        async with node(redis, ["one"]) as a:
            reader = attach_reader(a.hub)
            await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
            await reader.done()
        other = await b.attached(reader.session)
        await b.hub.command(ANONYMOUS, reader.session, Ask("and?"))
        await other.done()
        assert b.owns(reader.session)
        await soon(lambda: [info.node for info in b.placement.live_nodes()] == [b.store.node])


async def test_what_waits_at_a_node_that_drains_is_asked_by_another(redis: RedisServer) -> None:
    """Whether anybody is connected or not; the turn that the drain cuts is interrupted with its exact text."""
    async with node(redis, ["two"], ["three"]) as b:
        async with node(redis, ["one", asyncio.Event()]) as a:
            reader = attach_reader(a.hub)
            session = reader.session
            await a.hub.command(ANONYMOUS, session, Ask("first?"))
            await reader.heard("one")
            await a.hub.command(ANONYMOUS, session, Ask("second?"))
            await a.hub.command(ANONYMOUS, session, Ask("third?"))
            await a.hub.drain(0.1)
        await soon(lambda: len(b.upstream.prompts) == 2)
        other = await b.attached(session)
        await soon(lambda: not other.topic.log.summary.asked)
        turns = await b.store.turns(session, limit=10)

    assert [(turn.text, turn.answer, turn.reason) for turn in turns] == [
        ("first?", "one", "interrupted"),
        ("second?", "two", "stop"),
        ("third?", "three", "stop"),
    ]
    assert [prompt.messages[-1].text for prompt in b.upstream.prompts] == ["second?", "third?"]
    assert_proven(reader.dones[0], "one")


async def test_a_node_that_lost_its_sessions_to_others_writes_no_more(redis: RedisServer) -> None:
    """Its lease had ended: what it was answering is interrupted, once, and it follows the new owner."""
    more = asyncio.Event()
    async with node(redis, ["one ", more, "two ", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        session = reader.session
        await a.hub.command(ANONYMOUS, session, Ask("why?"))
        await reader.heard("one ")
        await b.hub._shared.take_over(session, instead_of=a.store.node)  # pyright: ignore[reportPrivateUsage]
        more.set()
        done = await reader.done()
        await soon(lambda: a.hub.turns_running == 0)
        await a.hub.command(ANONYMOUS, session, Ask("and?"))
        await reader.done(2)

    assert done.reason == "interrupted"
    assert_proven(done, "one ")
    assert reader.answer("t1") == "one "
    assert_valid_log(reader.events)


async def test_a_reader_is_not_taken_back_by_a_node_that_is_behind(redis: RedisServer) -> None:
    """It comes from the owner, and no message about what it saw there has reached this node yet."""
    more = asyncio.Event()
    async with node(redis, ["one ", more, "two"]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        await b.attached(reader.session)
        await b.store.follower.subscriptions.unsubscribe(keys_of(reader.session).followers)
        more.set()
        await reader.done()
        head = reader.topic.log.head

        assert (await b.hub.open(ANONYMOUS, reader.session)).log.head < head
        assert (await b.hub.resume(ANONYMOUS, reader.session, after=head)).log.head == head


async def test_a_request_that_comes_again_is_not_executed_again(redis: RedisServer) -> None:
    """Its result was lost on the way: a question without an id is asked once all the same."""
    async with node(redis, ["one"], ["two"]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("first?"))
        await reader.done()
        lost: list[Result] = []
        reply = inbox.Inbox._reply  # pyright: ignore[reportPrivateUsage]

        async def lose_first(self: inbox.Inbox, request: object, result: Result) -> None:
            if lost:
                await reply(self, request, result)  # type: ignore[arg-type]
            lost.append(result)

        with patch.object(inbox.Inbox, "_reply", lose_first), patch.object(inbox, "REPLY_SECONDS", 0.2):
            seq = await b.hub.command(ANONYMOUS, reader.session, Ask("second?"))
        await reader.done(2)

    assert lost == [Executed(lost[0].id, seq)] * 2
    assert len(reader.questions) == 2


def _ignore(_: inbox.Inbox, request: Request) -> None:
    """Do nothing with a request."""


@pytest.mark.parametrize("id", ["q", None], ids=["with an id", "without an id"])
async def test_a_command_whose_owner_does_not_answer_ends_as_overloaded(redis: RedisServer, id: str | None) -> None:
    """After a stated time, retryable; not before, as the sessions of a dead node are taken over in less."""
    async with node(redis) as a, node(redis, forward_seconds=0.5) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.done()
        with (
            patch.object(inbox.Inbox, "_on_request", _ignore),
            patch.object(inbox, "REPLY_SECONDS", 0.1),
            pytest.raises(Overloaded) as raised,
        ):
            await b.hub.command(ANONYMOUS, reader.session, Ask("and?", id=id))

    assert (raised.value.retryable, raised.value.retry_after, len(reader.questions)) == (True, 2.0, 1)


@pytest.mark.parametrize("id", ["q", None], ids=["with an id", "without an id"])
async def test_a_command_that_a_dead_owner_may_have_executed_is_not_executed_twice(
    redis: RedisServer, id: str | None
) -> None:
    """The owner has logged the question and dies before its answer: with an id it is found, without one not asked."""
    async with node(redis, ["one"], [asyncio.Event()]) as a, node(redis, forward_seconds=2) as b:
        reader = attach_reader(a.hub)
        session = reader.session
        await a.hub.command(ANONYMOUS, session, Ask("why?"))
        await reader.done()
        with patch.object(inbox.Inbox, "_reply", _reply_never), patch.object(inbox, "REPLY_SECONDS", 0.1):
            asking = asyncio.create_task(b.hub.command(ANONYMOUS, session, Ask("and?", id=id)))
            await reader.until(lambda: len(reader.questions) == 2)
            await b.hub._shared.take_over(session, instead_of=a.store.node)  # pyright: ignore[reportPrivateUsage]
            if id is None:
                with pytest.raises(Overloaded):
                    await asking
            else:
                assert await asking == reader.questions[1].seq
        await reader.done(2)

    assert len(reader.questions) == 2
    assert [done.reason for done in reader.dones] == ["stop", "interrupted"]  # it may have been given to the model


async def _reply_never(_: inbox.Inbox, request: Request, result: Result) -> None:
    """Lose a result."""


async def test_all_sessions_of_a_node_that_died_are_taken_over_by_one_of_the_others(redis: RedisServer) -> None:
    """Also where nobody is connected, and where the node that finds it has just begun."""
    held = asyncio.Event()
    async with node(redis, ["one", held], ["two", held], ["three", held]) as a:
        readers = [attach_reader(a.hub) for _ in range(3)]
        for reader in readers:
            await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await a.placement._membership.leave()  # pyright: ignore[reportPrivateUsage]
        with patch.object(a.placement._membership, "_set_lease", _renew_never):  # pyright: ignore[reportPrivateUsage]
            async with node(redis) as b, node(redis) as c:
                await soon(lambda: all(reader.dones for reader in readers))
                await soon(lambda: not any(each.owns(reader.session) for each in (b, c) for reader in readers))
                await soon(lambda: all(len(each.placement.live_nodes()) == 2 for each in (b, c)))

    assert {done.reason for reader in readers for done in reader.dones} == {"interrupted"}
    for reader in readers:
        assert_valid_log(reader.events)


async def _renew_never(*_: str) -> bool:
    return True


async def test_nodes_that_could_not_renew_their_leases_are_not_dead(redis: RedisServer) -> None:
    """Redis answers, but takes nothing for longer than a lease; it does again just before another's second look."""
    async with node(redis, ["one ", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        membership = b.placement._membership  # pyright: ignore[reportPrivateUsage]
        read_leases, gone = membership.read_leases, asyncio.Event()

        async def note() -> set[str]:
            found = await read_leases()
            if a.store.node in found:
                gone.set()
            return found

        for setting in ("min-replicas-to-write", "maxmemory"):
            gone.clear()
            redis.command("CONFIG", "SET", setting, 1)
            try:
                with patch.object(membership, "read_leases", note):
                    async with asyncio.timeout(5):
                        await gone.wait()
                await asyncio.sleep(0.8 * TIMES.renewal)
            finally:
                redis.command("CONFIG", "SET", setting, 0)
            await asyncio.sleep(4 * TIMES.renewal)
        assert a.owns(reader.session)
        assert not reader.dones


async def test_an_answer_waits_while_redis_is_full(redis: RedisServer) -> None:
    """As while it is away: the turn goes on once there is room."""
    go = asyncio.Event()
    async with node(redis, ["one ", go, "two"]) as a:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        redis.command("CONFIG", "SET", "maxmemory", 1)
        try:
            go.set()
            await asyncio.sleep(0.2)
        finally:
            redis.command("CONFIG", "SET", "maxmemory", 0)
        assert (await reader.done()).reason == "stop"
    assert reader.answer("t1") == "one two"


async def test_a_session_that_a_client_was_told_is_not_there_is_not_made_later(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first question waited for Redis when its connection was lost: the client asks it again in another session."""
    announce, may_make = Appender._announce, asyncio.Event()  # pyright: ignore[reportPrivateUsage]

    async def announce_late(appender: Appender, write: SessionWrite) -> None:
        await announce(appender, write)
        await may_make.wait()

    monkeypatch.setattr(Appender, "_announce", announce_late)
    async with node(redis, ["paid for twice"]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        asking = asyncio.create_task(a.hub.command(ANONYMOUS, reader.session, Ask("why?", id="q1")))
        await soon(lambda: a.store.open_logs[reader.session].appending)
        with pytest.raises(SessionNotFound):
            await b.hub.resume(ANONYMOUS, reader.session)
        may_make.set()
        with pytest.raises(SessionNotFound):
            await asking
        assert reader.codes == ["session_not_found"]
        with pytest.raises(SessionNotFound):
            await b.hub.open(ANONYMOUS, reader.session)
    assert a.upstream.prompts == []


async def test_a_session_that_is_made_while_its_client_comes_to_another_node_is_found_there(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not there when that node loads it, and is when the node would say so."""
    async with node(redis, ["one"]) as a, node(redis) as b:
        reader, load = attach_reader(a.hub), RedisStore.load

        async def load_early(store: RedisStore, session: str) -> LogTail:
            monkeypatch.undo()
            with pytest.raises(SessionNotFound):
                await load(store, session)
            await a.hub.command(ANONYMOUS, session, Ask("why?"))
            raise SessionNotFound

        monkeypatch.setattr(RedisStore, "load", load_early)
        assert (await b.hub.resume(ANONYMOUS, reader.session)).log.head > 0
        await reader.done()


async def test_a_session_that_redis_has_lost_goes_on_though_a_client_was_told_that_it_is_not_there(
    redis: RedisServer,
) -> None:
    """Its owner appends again what was lost, and the answer that runs has its end at all nodes."""
    go = asyncio.Event()
    async with node(redis, ["one ", go, "two"]) as a, node(redis) as b, node(redis) as c:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        other = await c.attached(reader.session)
        redis.command("DEL", *keys_of(reader.session))
        with pytest.raises(SessionNotFound):
            await b.hub.resume(ANONYMOUS, reader.session)
        go.set()
        for each in (reader, other):
            assert (await each.done()).reason == "stop"
        assert (await b.hub.resume(ANONYMOUS, reader.session)).log.head == reader.events[-1].seq
    assert_valid_log(reader.events)


async def test_who_can_make_no_session_keeps_nobody_from_making_one(redis: RedisServer) -> None:
    """A client that may only read asks nothing elsewhere; the one whose session it is goes on."""
    async with node(redis, ["one"]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        for viewer in (Principal(None, read_only=True), Principal(None, session=reader.session)):
            with pytest.raises(SessionNotFound):
                await b.hub.resume(viewer, reader.session)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        assert (await reader.done()).reason == "stop"


async def test_a_fork_with_one_id_at_two_nodes_at_once_is_one_session(redis: RedisServer) -> None:
    """Whichever node was slower names the same session."""
    async with node(redis, ["one"]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.done()
        await b.attached(reader.session)
        for number in range(10):
            fork = Fork("t1", id=f"f{number}")
            made = await asyncio.gather(*[each.hub.fork(ANONYMOUS, reader.session, fork) for each in (a, b)])
            assert made[0].session == made[1].session


async def test_a_session_of_another_node_is_forgotten_and_forked_from_anywhere(redis: RedisServer) -> None:
    """A fork only reads; what is deleted ends at every node."""
    async with node(redis, ["one"], ["two", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        session = reader.session
        await a.hub.command(ANONYMOUS, session, Ask("why?"))
        await reader.done()
        forked = await b.hub.fork(ANONYMOUS, session, Fork("t1", id="f"))
        again = await a.hub.fork(ANONYMOUS, session, Fork("t1", id="f"))
        await a.hub.command(ANONYMOUS, session, Ask("and?"))
        await reader.heard("two")
        other = await b.attached(session)
        await b.hub.command(ANONYMOUS, session, Forget())
        await soon(lambda: bool(other.codes))

        assert (again.session, again.existed) == (forked.session, True)
        assert (reader.codes, other.codes) == (["session_not_found"], ["session_not_found"])
        assert a.hub.turns_running == 0
        for each in (a, b):
            with pytest.raises(SessionNotFound):
                await each.hub.open(ANONYMOUS, session)


async def test_an_administrator_deletes_what_runs_at_another_node(redis: RedisServer) -> None:
    """One session by its id, and all sessions of a query."""
    admin = Principal("root", rights=frozenset({"admin"}))
    async with node(redis, ["one", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one")
        await b.hub.administration.delete(admin, reader.session)
        await soon(lambda: a.hub.turns_running == 0)

    assert reader.codes == ["session_not_found"]


async def test_cancel_reaches_the_turn_that_runs_elsewhere(redis: RedisServer) -> None:
    """And the provider's request is closed there."""
    async with node(redis, ["one", asyncio.Event()], policy=Policy()) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one")
        await b.hub.command(ANONYMOUS, reader.session, Cancel())
        done = await reader.done()
        await soon(lambda: a.upstream.stopped == 1)

    assert done.reason == "cancelled"


async def test_cancel_reaches_the_turn_of_a_node_that_has_taken_over_unheard(redis: RedisServer) -> None:
    """Who owned the session before knows of no such turn, and does not know yet that it owns it no more."""
    async with node(redis, ["one"]) as a, node(redis, ["two", asyncio.Event()]) as b:
        reader = attach_reader(a.hub)
        session = reader.session
        await a.hub.command(ANONYMOUS, session, Ask("why?"))
        await reader.done()
        keys = keys_of(session)
        for channel in (keys.owner, keys.followers):
            await a.store.follower.subscriptions.unsubscribe(channel)
        there = await b.attached(session)
        await b.hub._shared.take_over(session, instead_of=a.store.node)  # pyright: ignore[reportPrivateUsage]
        await b.hub.command(ANONYMOUS, session, Ask("and?"))
        await there.heard("two")
        assert a.owns(session)
        await a.hub.command(ANONYMOUS, session, Cancel())
        done = await there.done()

    assert done.reason == "cancelled"


async def test_readers_of_a_history_that_ends_do_not_take_its_name_along(redis: RedisServer) -> None:
    """A restart of Redis has lost what another node showed, and still has: their new events are no part of that."""
    async with node(redis, ["one"], ["two"]) as a, node(redis, ["three"]) as b:
        reader = attach_reader(a.hub)
        session = reader.session
        await a.hub.command(ANONYMOUS, session, Ask("why?"))
        await reader.done()
        await a.hub._shared.hand_over(0.0)  # pyright: ignore[reportPrivateUsage]
        there = await b.attached(session)
        history = there.topic.log.history
        redis.command("HSET", keys_of(session).meta, "replication", "of another start")
        await b.hub.command(ANONYMOUS, session, Ask("and?"))

        assert (there.codes, there.events) == (["internal"], [])
        assert there.topic.log.history != history
        again = await b.attached(session)
        await soon(lambda: b.hub.turns_running == 0)
        assert again.topic.log.history == there.topic.log.history


async def test_a_turn_is_not_abandoned_while_it_is_read_at_another_node(redis: RedisServer) -> None:
    """`ASKBOT_ABANDON_AFTER` counts the readers of all nodes: a client that comes back may come to any of them."""
    policy = Policy(abandon_after=0.2)
    async with node(redis, ["one", asyncio.Event()], policy=policy) as a, node(redis, policy=policy) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one")
        other = await b.attached(reader.session)
        a.hub.detach(reader.topic, reader)
        await asyncio.sleep(0.7)
        assert a.hub.turns_running == 1
        b.hub.detach(other.topic, other)
        await soon(lambda: not reader.topic.log.summary.asked)
        turns = await a.store.turns(reader.session, limit=1)

    assert [turn.reason for turn in turns] == ["cancelled"]


async def test_what_is_asked_from_another_node_is_abandoned_once_nobody_reads_it(redis: RedisServer) -> None:
    """The owner has had no reader of it."""
    policy = Policy(abandon_after=0.2)
    async with node(redis, ["one"], [asyncio.Event()], policy=policy) as a, node(redis, policy=policy) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.done()
        other = await b.attached(reader.session)
        a.hub.detach(reader.topic, reader)
        await b.hub.command(ANONYMOUS, reader.session, Ask("and?"))
        b.hub.detach(other.topic, other)
        await soon(lambda: a.upstream.stopped == 1)


async def test_what_ran_in_a_log_that_is_replaced_has_an_end(redis: RedisServer) -> None:
    """Its readers are closed and resume; nobody sends a command that would find out."""
    async with node(redis, ["one ", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        other = await b.attached(reader.session)
        a.store.follower.replaced(a.store.open_logs[reader.session])
        done = await other.done()

    assert done.reason == "interrupted"
    assert_proven(done, "one ")
    assert reader.codes == ["internal"]


async def test_a_takeover_that_fails_is_made_again_though_the_owner_lives_again(redis: RedisServer) -> None:
    """Nobody else would: the owner was told that it is none."""
    async with node(redis, ["one ", asyncio.Event()]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        follower = b.store.follower
        read_missing = follower.read_missing

        async def replaced_meanwhile(open_log: OpenLog) -> None:
            follower.read_missing = read_missing  # type: ignore[method-assign]
            follower.replaced(open_log)
            await read_missing(open_log)

        follower.read_missing = replaced_meanwhile  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await b.hub._shared.take_over(reader.session, instead_of=a.store.node)  # pyright: ignore[reportPrivateUsage]
        done = await reader.done()

    assert done.reason == "interrupted"
    assert_valid_log(reader.events)


@pytest.mark.parametrize("stored", ["nobody", "the node itself", "another node", "a node that is gone"])
async def test_a_turn_has_an_end_where_the_store_has_lost_who_its_owner_is(redis: RedisServer, stored: str) -> None:
    """As when a server loses its newest second. Nobody sends a command; the other node may be said to be the owner."""
    first, goes_on = asyncio.Event(), asyncio.Event()
    async with node(redis, ["one ", first, "two ", goes_on]) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        owner = {"nobody": "", "the node itself": a.store.node, "another node": b.store.node}.get(stored, "gone")
        redis.command("HSET", keys_of(reader.session).meta, "fence", f"0:{owner}")
        first.set()
        done = await reader.done()

    assert done.reason == "interrupted"
    assert_proven(done, "one ")
    assert_valid_log(reader.events)
    assert (len(a.upstream.prompts), len(b.upstream.prompts)) == (1, 0)


async def leave_without_owner(one: Node, session: str) -> None:
    """Have a node that owns a session know nothing of that any more; neither has its list in Redis the session."""
    one.placement._owned.discard(session)  # pyright: ignore[reportPrivateUsage]
    one.store.follower.lose_ownership(one.store.open_logs[session])
    one.hub._shared._close(session, Internal(), keep_claim=True)  # pyright: ignore[reportPrivateUsage]
    await one.placement._membership.remove_session(session)  # pyright: ignore[reportPrivateUsage]


async def ask_without_answer(one: Node) -> CheckedReader:
    """Ask a model that says nothing, and wait until it was asked; returns who reads it there."""
    reader = attach_reader(one.hub)
    await one.hub.command(ANONYMOUS, reader.session, Ask("why?"))
    await soon(lambda: len(one.upstream.prompts) == 1)
    return reader


async def ended_turn(one: Node, session: str) -> TurnRecord:
    """The newest turn of a session that nobody reads, once the store has its end."""
    async with asyncio.timeout(10):
        while True:
            (turn,) = await one.store.turns(session, limit=1)
            if turn.reason is not None:
                return turn
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("stored", ["nobody", "a reader's node", "another node", "a node that is gone"])
async def test_who_reads_a_turn_that_no_node_owns_sees_its_end(redis: RedisServer, stored: str) -> None:
    """The store has lost that it was given back, and no node's list of sessions has it."""
    async with node(redis, ["one ", asyncio.Event()]) as a, node(redis) as b, node(redis) as c:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        other = await b.attached(reader.session)
        await leave_without_owner(a, reader.session)
        owner = {"nobody": "", "a reader's node": b.store.node, "another node": c.store.node}.get(stored, "gone")
        redis.command("HSET", keys_of(reader.session).meta, "fence", f"7:{owner}")
        done = await other.done()

    assert done.reason == "interrupted"
    assert_proven(done, "one ")


async def test_what_may_have_been_asked_is_not_asked_again_after_a_claim_whose_outcome_is_unknown(
    redis: RedisServer,
) -> None:
    """The store names the node that took over then, and no longer the one that had asked the model."""
    async with node(redis, [asyncio.Event()]) as a, node(redis, ["again"]) as b:
        reader = await ask_without_answer(a)
        claim, session = b.store.claim, reader.session

        async def claim_and_fail(session: str, *, instead_of: str | None = None) -> str | None:
            b.store.claim = claim  # type: ignore[method-assign]
            await claim(session, instead_of=instead_of)
            b.store.open_logs[session].fence = None
            raise StoreError

        b.store.claim = claim_and_fail  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await b.placement.ensure_owner(session, instead_of=a.store.node)
        done = await reader.done()

    assert (done.reason, b.upstream.prompts) == ("interrupted", [])


async def test_what_may_have_been_asked_is_not_asked_again_by_its_reader(redis: RedisServer) -> None:
    """The store has lost who its owner is, and names the node at which it is read; it has no text yet."""
    async with node(redis, [asyncio.Event()]) as a, node(redis, ["again"]) as b:
        reader = await ask_without_answer(a)
        other = await b.attached(reader.session)
        await leave_without_owner(a, reader.session)
        redis.command("HSET", keys_of(reader.session).meta, "fence", f"7:{b.store.node}")
        done = await other.done()

    assert (done.reason, b.upstream.prompts) == ("interrupted", [])


async def test_what_may_have_been_asked_is_not_asked_again_where_a_takeover_finds_another_history(
    redis: RedisServer,
) -> None:
    """The log in memory is not the stored one, so the claim fails and is made again."""
    async with node(redis, [asyncio.Event()]) as a, node(redis, ["again"]) as b:
        reader = await ask_without_answer(a)
        await b.attached(reader.session)
        redis.command("HSET", keys_of(reader.session).meta, "history", "another")
        with pytest.raises(StoreError):
            await b.placement.ensure_owner(reader.session, instead_of=a.store.node)
        turn = await ended_turn(b, reader.session)

    assert (turn.reason, b.upstream.prompts) == ("interrupted", [])


async def test_a_turn_whose_end_was_refused_has_an_end_though_nobody_reads_it(redis: RedisServer) -> None:
    """The store has lost that this node claimed the session, and its memory has no room for it."""
    first = asyncio.Event()
    async with node(redis, ["one ", first], policy=Policy(memory=0)) as a, node(redis) as b:
        reader = attach_reader(a.hub)
        await a.hub.command(ANONYMOUS, reader.session, Ask("why?"))
        await reader.heard("one ")
        a.hub.detach(reader.topic, reader)
        redis.command("HSET", keys_of(reader.session).meta, "fence", f"0:{a.store.node}")
        first.set()
        turn = await ended_turn(b, reader.session)

    assert (turn.reason, turn.answer) == ("interrupted", "one ")
