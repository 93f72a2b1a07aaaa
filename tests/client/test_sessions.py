"""Several sessions on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from askbot_ws import connect
from askbot_ws.client import Chat, Closed, State
from askbot_ws.dialects.askbot.frames import Attach, ClientFrame, Detach, Error
from askbot_ws.errors import InvalidFrame, SessionNotFound
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import address, eventually
from .internals import attached, cut, forget, multiplexer_of, session_of
from .virtual import HOUR, Line, answer, chat_with, error, question, ready, run, token, virtual_endpoint


async def begun(server: Server) -> str:
    """A session with one turn; the next script of the upstream answers it."""
    async with connect(address(server.port)) as chat:
        await chat.ask("Hello?")
    return chat.id or ""


@asynccontextmanager
async def two_sessions(*scripts: list[str | asyncio.Event]) -> AsyncGenerator[tuple[Server, Chat, Chat]]:
    upstream = ScriptedUpstream(["Hello."], *scripts)
    async with asyncio.timeout(20), serving(upstream) as server:
        id = await begun(server)
        async with connect(address(server.port), delay=lambda _: 0.0) as one, one.session(id) as other:
            assert other.id == id
            yield server, one, other


async def test_two_sessions_are_read_on_one_connection() -> None:
    """Each has its own answers, its own view and its own history."""
    async with two_sessions() as (server, one, other):
        answers = await asyncio.gather(one.ask("A?"), other.ask("B?"))
        assert [answer.text for answer in answers] == ["You asked: A?", "You asked: B?"]
        assert [turn.question for turn in one.view.turns] == ["A?"]
        assert [turn.question for turn in other.view.turns] == ["Hello?", "B?"]
        assert [turn.text for turn in (await other.history(before=100)).turns] == ["Hello?", "B?"]
        assert len(attached(server)) == 1


async def test_both_are_resumed_after_a_lost_connection() -> None:
    """In the middle of their answers, each from its own place."""
    gate = asyncio.Event()
    async with two_sessions(["One ", gate, "two."], ["Three ", gate, "four."]) as (server, one, other):
        pieces = [aiter(one.ask("A?")), aiter(other.ask("B?"))]
        texts = [await anext(each) for each in pieces]
        cut(server)
        gate.set()
        rest = ["".join([text async for text in each]) for each in pieces]

    assert [text + more for text, more in zip(texts, rest, strict=True)] == ["One two.", "Three four."]


async def test_a_session_that_is_left_is_detached_and_the_other_goes_on() -> None:
    """It can be attached again, too."""
    async with two_sessions() as (server, one, other):
        await other.close()
        await eventually(lambda: attached(server) == [[one.id]])
        with pytest.raises(Closed):
            other.ask("Still there?")
        assert (await one.ask("A?")).text == "You asked: A?"
        async with one.session(other.id or "") as again:
            assert [turn.question for turn in again.view.turns] == ["Hello?"]


async def test_new_sessions_are_made_on_the_same_connection() -> None:
    """Without an id each is another one, and has a name once it is entered; it can be continued elsewhere."""
    async with serving() as server, connect(address(server.port)) as one, one.session() as other:
        third = await one.session()
        assert len({one.id, other.id, third.id} - {None}) == 3
        answers = await asyncio.gather(*(chat.ask(f"{chat.id}?") for chat in (one, other, third)))
        assert [answer.text for answer in answers] == [f"You asked: {chat.id}?" for chat in (one, other, third)]
        assert attached(server) == [[one.id, other.id, third.id]]
        async with connect(address(server.port), session=other.id) as elsewhere:
            assert [turn.question for turn in elsewhere.view.turns] == [f"{other.id}?"]
        cut(server)
        assert (await third.ask("Again?")).text == "You asked: Again?"


async def test_awaiting_a_session_enters_it() -> None:
    """Without a block, it is to be closed."""
    async with serving() as server:
        id = await begun(server)
        one = await connect(address(server.port))
        other = await one.session(id)
        assert (await other.ask("B?")).text == "You asked: B?"
        await one.close()
        with pytest.raises(Closed):
            other.ask("Still there?")


async def test_a_session_that_is_not_there_costs_the_others_nothing() -> None:
    """Nor does one that is read already."""
    async with two_sessions() as (_, one, other):
        with pytest.raises(SessionNotFound):
            await one.session("nowhere")
        with pytest.raises(ValueError, match="being read"):
            await one.session(other.id or "")
        assert (await one.ask("A?")).text == "You asked: A?"
        assert (await other.ask("B?")).text == "You asked: B?"


@pytest.mark.parametrize("lost", [0, 1], ids=["the first", "the other"])
async def test_a_session_that_is_forgotten_elsewhere_ends_alone(lost: int) -> None:
    """Whichever it is, the other one goes on, over further connections too."""
    async with two_sessions() as (server, *chats):
        await chats[0].ask("A?")
        gone, stays = chats[lost], chats[1 - lost]
        async with connect(address(server.port), session=gone.id) as elsewhere:
            await elsewhere.forget()
        await eventually(lambda: session_of(gone).close_reason is not None)
        with pytest.raises(SessionNotFound):
            gone.ask("Still there?")
        cut(server)
        assert (await stays.ask("B?")).text == "You asked: B?"


@pytest.mark.parametrize("lost", [0, 1], ids=["the first", "the other"])
async def test_a_session_that_is_gone_when_the_connection_is_back_ends_alone(lost: int) -> None:
    """4404 where the address names it, an error where it is attached: neither is the other's concern."""
    async with two_sessions() as (server, *chats):
        await chats[0].ask("A?")
        gone, stays = chats[lost], chats[1 - lost]
        cut(server)
        await forget(server, gone.id or "")
        with pytest.raises(SessionNotFound):
            await gone.ask("Still there?")
        assert (await stays.ask("B?")).text == "You asked: B?"


async def test_forgetting_the_first_leaves_the_other() -> None:
    """And forgetting both ends the connection."""
    states = list[State]()
    async with serving() as server:
        id = await begun(server)
        async with connect(address(server.port), on_state=states.append) as one:
            await one.ask("A?")
            async with one.session(id) as other:
                await one.forget()
                assert (await other.ask("B?")).text == "You asked: B?"
                await other.forget()
                await eventually(lambda: states[-1] == "closed")
                with pytest.raises(Closed):
                    await one.session(id)


async def test_a_session_is_entered_once_the_connection_is_back() -> None:
    """Whoever comes while it is away waits for it."""
    async with serving() as server:
        id = await begun(server)
        states = list[State]()
        async with connect(address(server.port), delay=lambda _: 0.1, on_state=states.append) as one:
            cut(server)
            await eventually(lambda: states[-1] == "waiting")
            async with one.session(id) as other:
                assert (await other.ask("B?")).text == "You asked: B?"


async def test_what_was_not_entered_can_not_be_used() -> None:
    """It says what to do."""
    with pytest.raises(Closed, match="async with"):
        connect("ws://127.0.0.1:1").ask("Why?")


def test_a_session_whose_id_can_not_be_sent_is_refused_and_costs_the_others_nothing() -> None:
    """At once, also while there is no connection."""

    async def main() -> tuple[int, str]:
        def accept(line: Line) -> None:
            line.on_frame = lambda frame: line.send(*answer(frame.id, "Yes."))
            line.send(ready())

        endpoint = virtual_endpoint(accept, delay=lambda _: 1.0)
        async with chat_with(endpoint) as chat:
            endpoint.lines[0].end()
            with pytest.raises(InvalidFrame, match="surrogate"):
                await chat.session("\ud800")
            return len(endpoint.attempts), (await chat.ask("Why?")).text

    assert run(main()) == (1, "Yes.")


@pytest.mark.parametrize("first", ["session", "question"])
def test_what_is_asked_in_an_empty_session_that_is_gone_is_asked_in_another(first: str) -> None:
    """The server has told another client that there is none, so it makes none: it says so of both, in either order."""

    async def main() -> tuple[str, str | None, list[str | None]]:
        def accept(line: Line) -> None:
            def on_frame(frame: ClientFrame) -> None:
                if len(endpoint.lines) == 2:
                    line.send(*answer(frame.id, "Yes."))
                    return
                gone = [error("session_not_found"), error("session_not_found", id=frame.id)]
                line.send(*(gone if first == "session" else reversed(gone)))

            line.on_frame = on_frame
            line.send(ready(log=f"l{len(endpoint.lines)}"))

        endpoint = virtual_endpoint(accept)
        async with chat_with(endpoint) as chat:
            text = (await chat.ask("Why?")).text
            return text, chat.id, [line.point.session for line in endpoint.lines]

    assert run(main()) == ("Yes.", "s", [None, None])


def test_a_new_session_is_not_taken_for_another_new_one_that_was_left() -> None:
    """The first of them was to be made by the connection's URL, and was left before it was."""

    async def main() -> tuple[str | None, list[ClientFrame]]:
        gate = asyncio.Event()

        async def accept(line: Line) -> None:
            def on_frame(frame: ClientFrame) -> None:
                if isinstance(frame, Attach):
                    line.send(ready(session="second", log="l2", id=frame.id))

            line.on_frame = on_frame
            if len(endpoint.lines) > 1:
                await gate.wait()
            line.send(ready(session="empty" if len(endpoint.lines) == 1 else "first"))

        endpoint = virtual_endpoint(accept, delay=lambda _: 1.0)
        async with chat_with(endpoint) as chat:
            endpoint.lines[0].end(4404)  # as it was empty, it is made again
            await asyncio.sleep(2)
            entering = asyncio.ensure_future(chat.session())
            await asyncio.sleep(1)
            await multiplexer_of(chat).close_session(session_of(chat))
            gate.set()
            other = await entering
            return other.id, endpoint.lines[-1].received

    name, received = run(main())
    assert name == "second"
    assert [frame.session for frame in received if isinstance(frame, Detach)] == ["first"]


@pytest.mark.parametrize("refusal", ["error", "gap"])
def test_a_session_that_can_not_be_read_has_the_others_not_hammer(refusal: str) -> None:
    """Another connection may help it; that an answer goes on in another session is no sign that it has."""

    async def main() -> tuple[int, int]:
        def accept(line: Line) -> None:
            def on_frame(frame: ClientFrame) -> None:
                if not isinstance(frame, Attach):
                    return
                if refusal == "error" and len(endpoint.lines) > 1:
                    line.send(Error(code="overloaded", message="No.", retryable=True, retry_after=None, id=frame.id))
                    return
                line.send(ready(session="other", log="l2", id=frame.id))
                if len(endpoint.lines) > 1:
                    line.send(replace(question(None, at=5), session="other"))

            line.on_frame = on_frame
            after = line.point.after or 0
            line.send(ready(seq=after, from_=after), question("q", at=after) if after == 0 else token("x", at=after))

        endpoint = virtual_endpoint(accept)
        async with chat_with(endpoint, session="s") as chat, chat.session() as other:
            endpoint.lines[0].end()
            await asyncio.sleep(HOUR)
            attempts, read = len(endpoint.attempts), chat.view.seq or 0
            assert other.id == "other"
            return attempts, read

    attempts, read = run(main())
    assert attempts < 300
    assert read >= attempts
