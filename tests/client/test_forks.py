"""Forks by the Python client, and the models that it may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from askbot_ws import connect
from askbot_ws.client import Chat, Closed, TimedOut
from askbot_ws.dialects.askbot.frames import ClientFrame, Fork
from askbot_ws.errors import AskbotError, Busy, InvalidFrame, SessionNotFound, TurnNotFound
from askbot_ws.testing import Cut, Receive, ScriptedLog, ScriptedServer, ScriptedUpstream, ServerStep, serving

from ..process import address, eventually
from .internals import attached, cut
from .virtual import Line, chat_with, now, ready, run, virtual_endpoint


def turns(chat: Chat) -> list[tuple[str, str]]:
    return [(turn.question, turn.answer) for turn in chat.view.turns]


async def test_a_fork_goes_on_on_the_same_connection_and_by_itself() -> None:
    """The old session stays; the new one is a session like any other, also once the old one is gone."""
    async with serving() as server:
        url = address(server.port)
        async with connect(url) as chat:
            first = await chat.ask("1?")
            await chat.ask("2?")
            fork = await chat.fork(first.turn)
            assert turns(fork) == [("1?", "You asked: 1?")]
            assert attached(server) == [[chat.id, fork.id]]
            answers = await asyncio.gather(fork.ask("3?"), chat.ask("4?"))
            assert [answer.text for answer in answers] == ["You asked: 3?", "You asked: 4?"]
            assert [text for text, _ in turns(chat)] == ["1?", "2?", "4?"]
            async with fork.fork(fork.view.turns[-1].turn) as again:
                assert turns(again) == turns(fork)
            await eventually(lambda: attached(server) == [[chat.id, fork.id]])
            await chat.forget()
            assert (await fork.ask("5?")).text == "You asked: 5?"
            await fork.close()
        async with connect(url, session=fork.id) as back:
            assert [text for text, _ in turns(back)] == ["1?", "3?", "5?"]


async def test_a_fork_is_resumed_after_a_lost_connection() -> None:
    """From its own place, like any session."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["One."], ["Two ", gate, "and more."])
    async with serving(upstream) as server, connect(address(server.port), delay=lambda _: 0.0) as chat:
        first = await chat.ask("1?")
        async with chat.fork(first.turn) as fork:
            pieces = aiter(fork.ask("2?"))
            text = await anext(pieces)
            cut(server)
            gate.set()
            assert text + "".join([piece async for piece in pieces]) == "Two and more."


def begun() -> ScriptedLog:
    log = ScriptedLog()
    log.answer("One.", text="1?", id="q1")
    return log


async def test_a_fork_whose_answer_is_lost_is_sent_again_under_its_id() -> None:
    """On each connection, until `ready` names the session; from then on that is attached."""
    log = begun()
    new = log.fork("t1")
    named = new.ready(id="$fork.id", from_=0)
    scripts: Sequence[Sequence[ServerStep]] = [
        [log.resume(), Receive("fork"), Cut()],
        [log.resume(), Receive("fork"), Cut()],
        [log.resume(), Receive("fork"), named, new.events[0], Cut()],
        [log.resume(), Receive("attach"), new.ready(id="$attach.id", from_=1), *new.events[1:], asyncio.Event()],
    ]
    async with asyncio.timeout(10), ScriptedServer(*scripts) as server:
        async with connect(server.url, session="s1", delay=lambda _: 0.0) as chat:
            fork = await chat.fork("t1")
            assert turns(fork) == [("1?", "One.")]
        frames = server.frames("fork")
        (attach,) = server.frames("attach")

    assert len(frames) == 3
    assert frames == [{"type": "fork", "id": frames[0]["id"], "session": "s1", "turn": "t1"}] * 3
    assert len(frames[0]["id"]) == 32
    assert (attach["session"], attach["after"]) == ("s2", 1)


async def test_a_fork_outlives_the_conversation_that_it_was_made_of() -> None:
    """Its frame is sent on a connection that names no session; the one that this makes is left at once."""
    log, other = begun(), ScriptedLog("s3")
    new = log.fork("t1")
    deleted = log.error("session_not_found", session="s1")
    scripts: list[list[ServerStep]] = [
        [log.resume(), Receive("fork"), deleted, Cut()],
        [other.ready(), Receive("fork"), new.ready(id="$fork.id", from_=0), *new.events, asyncio.Event()],
    ]
    async with asyncio.timeout(10), ScriptedServer(*scripts) as server:
        async with connect(server.url, session="s1", delay=lambda _: 0.0) as chat:
            async with chat.fork("t1") as fork:
                assert turns(fork) == [("1?", "One.")]
                connection = server.connections[1]
                assert "session" not in connection.query
                await eventually(lambda: [frame["session"] for frame in connection.frames("detach")] == ["s3"])
            with pytest.raises(SessionNotFound):
                await chat.ask("2?")
        frames = server.frames("fork")

    assert frames == frames[:1] * 2


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("busy", Busy),
        ("turn_not_found", TurnNotFound),
        ("session_not_found", SessionNotFound),
        ("internal", AskbotError),
    ],
)
async def test_a_fork_that_is_refused_raises_and_is_not_sent_again(code: str, raised: type[AskbotError]) -> None:
    """The conversation goes on."""
    log = begun()
    refused = log.error(code, id="$fork.id", session="s1", retryable=code in {"busy", "internal"})
    script: list[ServerStep] = [log.resume(), Receive("fork"), refused, Receive("ask")]
    script += [log.question(), log.token("Two."), log.done(), asyncio.Event()]
    async with asyncio.timeout(10), ScriptedServer(script) as server, connect(server.url, session="s1") as chat:
        with pytest.raises(raised) as failure:
            await chat.fork("t1")
        assert failure.value.code == code
        assert (await chat.ask("2?")).text == "Two."
        assert len(server.frames("fork")) == 1


async def test_what_cannot_be_sent_or_is_over_raises_at_once() -> None:
    """Nothing is sent."""
    async with serving() as server:
        url = address(server.port)
        with pytest.raises(Closed):
            connect(url).fork("t1")
        async with connect(url) as chat:
            turn = (await chat.ask("1?")).turn
            with pytest.raises(InvalidFrame):
                await chat.fork("t\ud800")
            with pytest.raises(TurnNotFound):
                await chat.fork("t9")
            async with chat.session() as other:
                with pytest.raises(TurnNotFound):
                    await other.fork("t1")
            with pytest.raises(Closed):
                other.fork("t1")
        with pytest.raises(Closed):
            chat.fork(turn)


async def test_a_fork_that_nobody_waits_for_any_more_is_detached() -> None:
    """Once the server has named it."""
    log = begun()
    new, named = log.fork("t1"), asyncio.Event()
    script: list[ServerStep] = [
        log.resume(), Receive("fork"), named, new.ready(id="$fork.id", from_=0), *new.events, Receive("detach"),
    ]  # fmt: skip
    async with asyncio.timeout(10), ScriptedServer(script) as server, connect(server.url, session="s1") as chat:
        forking = asyncio.ensure_future(chat.fork("t1"))
        await eventually(lambda: len(server.frames("fork")) == 1)
        forking.cancel()
        await asyncio.wait([forking])
        named.set()
        await eventually(lambda: [frame["session"] for frame in server.frames("detach")] == ["s2"])


def test_a_fork_without_an_answer_has_a_time_limit() -> None:
    """60 seconds on a connection that is open; each connection begins them anew."""

    async def main() -> tuple[float, list[ClientFrame]]:
        def accept(line: Line) -> None:
            line.send(ready(seq=line.point.after or 0, from_=line.point.after or 0))
            if len(endpoint.lines) < 3:
                asyncio.get_running_loop().call_later(50, line.end)

        endpoint = virtual_endpoint(accept, delay=lambda _: 1.0)
        async with chat_with(endpoint) as chat:
            begun = now()
            with pytest.raises(TimedOut):
                await chat.fork("t1")
            return now() - begun, [frame for line in endpoint.lines for frame in line.received]

    seconds, frames = run(main())

    assert seconds == 50 + 1 + 50 + 1 + 60
    assert len(set(frames)) == 1
    assert [type(frame) for frame in frames] == [Fork] * 3


async def test_the_models_that_may_be_asked_are_those_of_the_server() -> None:
    """The default first; none are known before it is entered, nor where an older server does not say."""
    async with serving(models="other, third") as server:
        chat = connect(address(server.port))
        assert not chat.models
        async with chat:
            assert chat.models == ("scripted", "other", "third")
            assert (await chat.ask("1?", model=chat.models[1])).reason == "stop"
    log = ScriptedLog()
    older: Any = {name: value for name, value in log.ready().items() if name != "models"}
    async with ScriptedServer([older, asyncio.Event()]) as scripted, connect(scripted.url) as chat:
        assert chat.models == ()
