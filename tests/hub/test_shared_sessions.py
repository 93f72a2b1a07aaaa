"""A hub whose store other nodes use too: what it takes over, hands over and follows, and how it waits for the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from askbot_ws.core.commands import Ask, Cancel, Command, Forget, Retry
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.errors import LogMoved, Overloaded, StoreError, TurnNotFound
from askbot_ws.events import Done, Event, Options, Question, Token, encode_event
from askbot_ws.hub import Hub, Policy, group_commit, turn_scheduler
from askbot_ws.hub.placement import ForwardedCommand, OwnedElsewhere, PriorState, Sessions
from askbot_ws.testing import ScriptedUpstream

from .fakes import CheckedReader, Clock, FragileStore, assert_proven, assert_valid_log, attach_reader, run_ticks

SESSION = "s-1"


class OtherNodes:
    """A placement whose other nodes are this test: it says what a claim finds, and keeps what the hub does."""

    shared = True

    def __init__(self, *, finds: PriorState = PriorState.FREE) -> None:
        self.finds = finds
        self.owner: str | None = None  # another node
        self.sessions: Sessions | None = None
        self.reminded: list[str] = []  # nodes, that they are owners
        self.released: list[str] = []
        self.handed_over: list[tuple[str, bool]] = []
        self.forwarded: list[ForwardedCommand] = []
        self.draining = False

    async def open(self, sessions: Sessions) -> None:
        self.sessions = sessions

    async def claim(self, session: str, *, is_new: bool, instead_of: str | None) -> PriorState:
        await asyncio.sleep(0)
        if self.owner is not None:
            raise OwnedElsewhere(self.owner)
        return PriorState.NEW if is_new else self.finds

    async def confirm(self, session: str) -> None:
        if self.owner is not None:
            raise LogMoved

    async def ensure_owner(self, session: str, *, instead_of: str | None = None, orphaned: bool = False) -> None:
        assert self.sessions is not None
        try:
            await self.sessions.take_over(session, instead_of=instead_of)
        except OwnedElsewhere as elsewhere:
            self.reminded.append(elsewhere.node)

    def release(self, session: str) -> None:
        self.released.append(session)

    async def hand_over(self, session: str, *, has_waiting: bool) -> None:
        self.handed_over.append((session, has_waiting))

    async def forward(
        self,
        forwarded: ForwardedCommand,
        error: OwnedElsewhere | LogMoved,
        run_here: Callable[[], Awaitable[int]],
    ) -> int:
        self.forwarded.append(forwarded)
        return 7

    async def is_followed(self, session: str) -> bool:
        raise NotImplementedError

    def stop_claiming(self) -> None:
        self.draining = True

    async def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests count ticks of the event loop."""
    monkeypatch.setattr(turn_scheduler, "SHARED_INTERVAL", None)


@asynccontextmanager
async def node(
    store: FragileStore,
    upstream: ScriptedUpstream,
    nodes: OtherNodes,
    *,
    wall_clock: Clock | None = None,
    **policy: object,
) -> AsyncGenerator[Hub]:
    hub = Hub(
        store,
        upstream,
        Policy(**policy),  # type: ignore[arg-type]
        clock=Clock(),
        wall_clock=wall_clock or Clock(),
        placement=nodes,
    )
    async with asyncio.timeout(20), hub:
        yield hub


def question(seq: int, text: str, **more: object) -> Question:
    fields = {"id": None, "created": Clock().now} | more
    return Question(session=SESSION, seq=seq, turn=f"t{seq}", text=text, **fields)  # type: ignore[arg-type]


def token(seq: int, turn: str, text: str) -> Token:
    return Token(session=SESSION, seq=seq, turn=turn, text=text)


def stored(*events: Event) -> FragileStore:
    """A store with a session that an owner has left."""
    store = FragileStore()
    store.create(SESSION)
    assert store.append({SESSION: (events, [encode_event(event) for event in events])}) == {}
    return store


LEFT: Sequence[Event] = (
    question(1, "first?"),
    token(5, "t1", "It i"),
    question(6, "second?", options=Options(temperature=0.5)),
    question(7, "third?"),
)


async def attached(hub: Hub, session: str = SESSION) -> CheckedReader:
    topic = await hub.open(ANONYMOUS, session)
    return attach_reader(hub, topic)


async def test_what_ran_on_a_dead_node_is_interrupted_with_its_text_and_what_waited_is_asked() -> None:
    """DESIGN: whether anybody is connected or not; each question is asked once, in order, as it was asked."""
    store, upstream, nodes = stored(*LEFT), ScriptedUpstream(["two"], ["three"]), OtherNodes(finds=PriorState.ORPHANED)
    async with node(store, upstream, nodes) as hub:
        reader = await attached(hub)
        assert nodes.sessions is not None
        await nodes.sessions.take_over(SESSION, instead_of="dead")
        await reader.done(3)

    assert [(done.turn, done.reason) for done in reader.dones] == [
        ("t1", "interrupted"),
        ("t6", "stop"),
        ("t7", "stop"),
    ]
    assert_proven(reader.dones[0], "It i")
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["second?", "third?"]
    assert upstream.prompts[0].options == Options(temperature=0.5)
    assert_valid_log(store.stored)


async def test_the_first_question_of_a_dead_node_counts_as_asked_and_that_of_a_drained_one_does_not() -> None:
    """No question is given to a model twice unless the operator wants it; after a drain it is known that none was."""
    for finds, reason in ((PriorState.ORPHANED, "interrupted"), (PriorState.FREE, "stop")):
        store, upstream = stored(question(1, "first?")), ScriptedUpstream(["one"])
        async with node(store, upstream, OtherNodes(finds=finds)) as hub:
            reader = await attached(hub)
            await hub.command(ANONYMOUS, SESSION, Ask(text="next?"))
            await reader.done(2)
        assert reader.dones[0].reason == reason
        assert_valid_log(store.stored)


async def test_questions_that_waited_too_long_are_not_asked_by_the_next_owner() -> None:
    """`ASKBOT_WAITING_TTL`: nobody waits for them any more."""
    now = Clock()
    now.now += 601
    store = stored(question(1, "first?"), question(2, "second?", created=now.now - 599))
    upstream = ScriptedUpstream(["two"])
    async with node(store, upstream, OtherNodes(), wall_clock=now) as hub:
        reader = await attached(hub)
        await hub._shared.take_over(SESSION)  # pyright: ignore[reportPrivateUsage]
        await reader.done(2)

    assert [(done.turn, done.reason) for done in reader.dones] == [("t1", "interrupted"), ("t2", "stop")]


@pytest.mark.parametrize("text", ["", "It i"], ids=["without text", "with text"])
async def test_what_ran_on_a_dead_node_is_asked_again_where_the_operator_wants_it(text: str) -> None:
    """`ASKBOT_ORPHANS=ask-again`: what a reader has seen ends, and a turn that replaces it begins."""
    events: list[Event] = [question(1, "first?")]
    if text:
        events.append(token(1 + len(text), "t1", text))
    store, upstream = stored(*events), ScriptedUpstream(["one"])
    async with node(store, upstream, OtherNodes(finds=PriorState.ORPHANED), orphans="ask-again") as hub:
        reader = await attached(hub)
        await hub._shared.take_over(SESSION)  # pyright: ignore[reportPrivateUsage]
        await reader.until(lambda: bool(reader.dones) and reader.dones[-1].reason == "stop")

    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["first?"]
    assert [done.reason for done in reader.dones] == (["interrupted", "stop"] if text else ["stop"])
    assert [asked.replaces for asked in reader.questions] == (["t1"] if text else [])
    assert_valid_log(store.stored)


async def test_what_is_asked_again_at_every_node_ends_with_its_age() -> None:
    """A question whose answer ends each node that asks it does not end all of them for ever."""
    now = Clock()
    now.now += 601
    store, upstream = stored(question(1, "first?")), ScriptedUpstream(["one"])
    async with node(store, upstream, OtherNodes(finds=PriorState.ORPHANED), wall_clock=now, orphans="ask-again") as hub:
        reader = await attached(hub)
        await hub._shared.take_over(SESSION)  # pyright: ignore[reportPrivateUsage]
        done = await reader.done()

    assert (done.reason, upstream.prompts) == ("interrupted", [])


# --- the store is away -----------------------------------------------------------------------------------------------


async def test_answers_go_on_while_the_store_is_away_and_readers_see_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is shown what the store does not have; new questions are refused; then all of it comes, once."""
    monkeypatch.setattr(group_commit, "STALL_SECONDS", 0.0)
    lost, go = asyncio.Event(), asyncio.Event()
    store, upstream = FragileStore(), ScriptedUpstream(["one ", lost, "two ", "three ", go, "four"])
    store.slow = True
    async with node(store, upstream, OtherNodes()) as hub:
        reader = attach_reader(hub, store=store)
        await hub.command(ANONYMOUS, reader.session, Ask(text="why?"))
        await reader.heard("one ")
        store.gate.clear()
        lost.set()
        await run_ticks()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Ask(text="and?"))
        go.set()
        await run_ticks()
        assert (reader.answer("t1"), hub.turns_running) == ("one ", 0)
        store.gate.set()
        done = await reader.done()

    assert (done.reason, reader.answer("t1"), len(reader.questions)) == ("stop", "one two three four", 1)
    assert_valid_log(store.stored)


async def test_an_answer_ends_as_interrupted_where_the_store_is_away_for_too_long() -> None:
    """What the store gave up is dropped, what was shown stays, and no end is shown that other nodes don't have."""
    more = asyncio.Event()
    store, upstream = FragileStore(), ScriptedUpstream(["one ", more, "two ", asyncio.Event()])
    async with node(store, upstream, OtherNodes(finds=PriorState.ORPHANED)) as hub:
        reader = attach_reader(hub, store=store)
        session = reader.session
        await hub.command(ANONYMOUS, session, Ask(text="why?"))
        await reader.heard("one ")
        store.broken = lambda events: isinstance(events[0], Token)
        more.set()
        await run_ticks()
        assert (reader.codes, reader.dones) == (["internal"], [])
        again = await attached(hub, session)
        await run_ticks()
        assert not again.topic.log.summary.asked

    assert_valid_log(store.stored)
    (end,) = [event for event in store.stored if isinstance(event, Done)]
    assert end.reason == "interrupted"
    assert_proven(end, "one ")


# --- draining --------------------------------------------------------------------------------------------------------


async def test_a_draining_node_lets_its_turns_end_and_hands_the_waiting_ones_over() -> None:
    """What waits is asked by another node, also a question that comes while a turn runs; idle sessions go at once."""
    go = asyncio.Event()
    store, upstream, nodes = FragileStore(), ScriptedUpstream(["one", go, "."]), OtherNodes()
    async with node(store, upstream, nodes) as hub:
        idle, busy = attach_reader(hub), attach_reader(hub)
        await hub.command(ANONYMOUS, busy.session, Ask(text="first?"))
        await busy.heard("one")
        await hub.command(ANONYMOUS, busy.session, Ask(text="second?"))
        draining = asyncio.create_task(hub.drain(10))
        await run_ticks()
        await hub.command(ANONYMOUS, busy.session, Ask(text="third?"))
        with pytest.raises(Overloaded):
            await hub.command(ANONYMOUS, idle.session, Ask(text="fourth?"))
        go.set()
        await draining
        assert nodes.draining
        assert (busy.session, True) in nodes.handed_over
        assert [(done.turn, done.reason) for done in busy.dones] == [("t1", "stop")]
        assert len(upstream.prompts) == 1


async def test_a_turn_that_a_drain_cuts_is_interrupted_and_the_next_is_handed_over() -> None:
    """Its reader has the exact text; nothing that waits is lost."""
    store, upstream, nodes = FragileStore(), ScriptedUpstream(["one", asyncio.Event()]), OtherNodes()
    async with node(store, upstream, nodes) as hub:
        reader = attach_reader(hub)
        await hub.command(ANONYMOUS, reader.session, Ask(text="first?"))
        await reader.heard("one")
        await hub.command(ANONYMOUS, reader.session, Ask(text="second?"))
        await hub.drain(0.1)
        await hub.stop()
        assert nodes.handed_over == [(reader.session, True)]

    assert [(done.turn, done.reason) for done in reader.dones] == [("t1", "interrupted")]
    assert_proven(reader.dones[0], "one")


# --- other nodes -----------------------------------------------------------------------------------------------------


async def test_an_owner_that_is_fenced_stops_and_its_readers_stay() -> None:
    """What it has not stored is shown to nobody; the next command goes to the new owner."""
    store, upstream, nodes = FragileStore(), ScriptedUpstream(["one", asyncio.Event()]), OtherNodes()
    async with node(store, upstream, nodes) as hub:
        reader = attach_reader(hub)
        await hub.command(ANONYMOUS, reader.session, Ask(text="first?"))
        await reader.heard("one")
        nodes.owner = "other"
        hub._shared.fenced(reader.session)  # pyright: ignore[reportPrivateUsage]
        await run_ticks()
        assert (hub.turns_running, hub.is_busy(reader.session), nodes.reminded) == (0, False, ["other"])
        assert await hub.command(ANONYMOUS, reader.session, Ask(text="second?"), address="::1") == 7
        assert nodes.forwarded == [ForwardedCommand(ANONYMOUS, reader.session, Ask(text="second?"), "::1")]
        ended = Token(session=reader.session, seq=5, turn="t1", text="!")
        hub._shared.appended(reader.session, [ended], [encode_event(ended)])  # pyright: ignore[reportPrivateUsage]

    assert (reader.codes, reader.dones, reader.answer("t1")) == ([], [], "one!")


async def test_what_another_node_deletes_ends_here_too() -> None:
    """Its readers are told, its turn is not answered any more, and nothing is written."""
    store, upstream, nodes = FragileStore(), ScriptedUpstream(["one", asyncio.Event()]), OtherNodes()
    async with node(store, upstream, nodes) as hub:
        reader = attach_reader(hub)
        await hub.command(ANONYMOUS, reader.session, Ask(text="first?"))
        await reader.heard("one")
        await store.forget(reader.session)
        hub._shared.deleted(reader.session)  # pyright: ignore[reportPrivateUsage]
        await run_ticks()
        assert (reader.codes, hub.turns_running, hub.session_count) == (["session_not_found"], 0, 0)


async def test_readers_of_a_log_that_was_replaced_are_sent_to_resume() -> None:
    """They read another history then: a retryable end, never mixed text."""
    store = stored(question(1, "first?"))
    nodes = OtherNodes()
    nodes.owner = "other"
    async with node(store, ScriptedUpstream(), nodes) as hub:
        reader = await attached(hub)
        hub._shared.replaced(SESSION)  # pyright: ignore[reportPrivateUsage]
        assert (reader.codes, hub.session_count) == (["internal"], 0)


@pytest.mark.parametrize("command", [Cancel(), Cancel(turn="t9"), Retry(turn="t9"), Ask(text="again?", id="q9")])
async def test_what_an_owner_does_not_find_is_asked_of_the_next_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was fenced and has not heard of it: the turn may be the other's. Nothing that it would append shows that."""
    store, nodes = stored(question(1, "first?")), OtherNodes()
    async with node(store, ScriptedUpstream(["one"]), nodes) as hub:
        reader = await attached(hub)
        await hub.command(ANONYMOUS, SESSION, Ask(text="next?", id="q2"))
        await reader.done(2)
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, SESSION, Cancel())
        assert nodes.forwarded == []

        async def find_turn(session: str, id: str) -> str | None:
            del session
            return "t9" if id == "q9" else None

        monkeypatch.setattr(store, "find_turn", find_turn)
        monkeypatch.setattr(hub._registry.owners[SESSION].state, "knows_all_questions", False)  # pyright: ignore[reportPrivateUsage]
        nodes.owner = "other"
        assert await hub.command(ANONYMOUS, SESSION, command) == 7
        assert [forwarded.command for forwarded in nodes.forwarded] == [command]


async def test_a_session_of_another_node_is_deleted_there_by_an_administrator() -> None:
    """Its turns end where they run; the command goes on behalf of the session's user."""
    store, nodes = stored(question(1, "first?")), OtherNodes()
    nodes.owner = "other"
    async with node(store, ScriptedUpstream(), nodes) as hub:
        await hub.administration.delete(Principal("root", rights=frozenset({"admin"})), SESSION)

    assert nodes.forwarded == [ForwardedCommand(ANONYMOUS, SESSION, Forget())]
