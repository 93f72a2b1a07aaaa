"""A caller who reads slowly, or not at all, costs little memory and holds up nobody."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from askbot_ws import connect
from askbot_ws.client import Chat, State, multiplexer
from askbot_ws.client.attachment import AttachState
from askbot_ws.client.text_stream import MAX_UNREAD_CODE_POINTS
from askbot_ws.server.app import Server
from askbot_ws.testing import serving
from askbot_ws.upstream.function import FunctionUpstream

from ..process import ROOT, address, askbot, eventually, resident
from .internals import cut, session_of
from .upstream import PIECE, long, piece

MIB = 1024**2
LONGEST = 4 * MIB // PIECE - 1  # pieces; the server ends what is longer than 4 Mi code points


@asynccontextmanager
async def serving_long_answers() -> AsyncGenerator[Server]:
    async with asyncio.timeout(60), serving(FunctionUpstream("tests.client.upstream:answer")) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket waits for nobody: what has no room is left to the server at once."""
    monkeypatch.setattr(multiplexer, "MAX_BLOCKED_SECONDS", 0.01)


async def paused(chat: Chat) -> None:
    """Until the client reads no more."""
    while session_of(chat).attachment.state is not AttachState.PAUSED:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)


async def test_answers_of_32_megabytes_are_read_slowly_in_little_memory(tmp_path: Path, impatient: None) -> None:
    """Every byte, in its order, while this process hardly grows; the server is another one."""
    flags = ["--upstream", "tests.client.upstream:answer", "--no-limits", "--store", "memory:"]
    with askbot(tmp_path, *flags, upstream="http://127.0.0.1:9/v1", PYTHONPATH=str(ROOT)) as server:
        async with connect(server.url) as chat:
            await chat.ask("says:hello")  # all that is imported late is there
            before, most = resident(os.getpid()), 0
            for _ in range(2):
                proof, read = hashlib.sha256(), 0
                async for text in chat.ask(f"long:{LONGEST}"):
                    proof.update(text.encode())
                    read += 1
                    most = max(most, resident(os.getpid()))
                    await asyncio.sleep(0.1 if read % 20 == 0 else 0)
                assert proof.hexdigest() == expected(LONGEST)

    print(f"{(most - before) / MIB:.1f} MiB more")
    assert most - before < 8 * MIB


def expected(count: int) -> str:
    """The proof of a long answer."""
    proof = hashlib.sha256()
    for number in range(count):
        proof.update(piece(number).encode())
    return proof.hexdigest()


async def test_a_caller_that_stops_reading_holds_no_more_than_the_limit(impatient: None) -> None:
    """The session is left to the server, and read on from the same place."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        pieces = aiter(chat.ask("long:1000"))
        text = await anext(pieces)
        await paused(chat)
        assert MAX_UNREAD_CODE_POINTS <= pieces.unread < MAX_UNREAD_CODE_POINTS + 32 * 1024

        text += "".join([more async for more in pieces])

    assert text == long(1000)


async def test_a_pause_outlives_the_connection(impatient: None) -> None:
    """Who comes back reads on from the place that the caller has reached, and leaves what there is no room for."""
    states = list[State]()
    async with serving_long_answers() as server, connect(address(server.port), on_state=states.append) as chat:
        pieces = aiter(chat.ask("long:1000"))
        text = await anext(pieces)
        await paused(chat)
        states.clear()
        cut(server)
        await eventually(lambda: states[-1:] == ["open"])
        await paused(chat)
        text += "".join([more async for more in pieces])

    assert text == long(1000)


async def test_the_socket_waits_for_a_caller_who_is_only_a_little_slow() -> None:
    """It has the socket to itself, so nothing need be sent twice."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        states, text = set[AttachState](), ""
        async for more in chat.ask("long:1000"):
            text += more
            states.add(session_of(chat).attachment.state)
            await asyncio.sleep(0.01)

    assert text == long(1000)
    assert states == {AttachState.ATTACHED}


async def test_a_slow_session_does_not_block_another_on_the_same_connection() -> None:
    """The other's answer comes whole while this one stands still."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        async with connect(address(server.port)) as begun:
            await begun.ask("says:hello")
        async with chat.session(begun.id or "") as other:
            pieces = aiter(chat.ask("long:1000"))
            text = await anext(pieces)
            assert (await other.ask("long:2000")).text == long(2000)
            assert session_of(chat).attachment.state is AttachState.PAUSED
            text += "".join([more async for more in pieces])

    assert text == long(1000)


async def test_a_question_is_answered_while_the_one_before_is_read_slowly(impatient: None) -> None:
    """Whoever waits comes first; then the log is read again from where the slow one is."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        pieces = aiter(chat.ask("long:1000"))
        text = await anext(pieces)
        await paused(chat)
        assert (await chat.ask("says:hello")).text == "hello"
        text += "".join([more async for more in pieces])

    assert text == long(1000)


@pytest.mark.parametrize("command", ["cancel", "history", "forget"])
async def test_commands_are_followed_while_an_answer_stands_still(command: str, impatient: None) -> None:
    """The server is told in a session that it knows us to read."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        pieces = aiter(chat.ask("long:1000"))
        await anext(pieces)
        await paused(chat)
        match command:
            case "cancel":
                await chat.cancel(chat.view.turns[0].turn)
            case "history":
                assert (await chat.history(before=2)).turns[0].answer == long(1000)
            case _:
                await chat.forget()


async def test_a_question_that_nobody_reads_is_answered_and_holds_up_nothing() -> None:
    """What it says is read from the log if somebody comes for it."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        stream = chat.ask("long:1000")
        assert (await chat.ask("says:hello")).text == "hello"
        assert (await stream).text == long(1000)


async def test_a_long_answer_that_was_iterated_over_can_be_read_again() -> None:
    """It is not kept, but the log has it."""
    async with serving_long_answers() as server, connect(address(server.port)) as chat:
        stream = chat.ask("long:300")
        assert "".join([text async for text in stream]) == long(300)
        assert (await stream).text == long(300)
        assert "".join([text async for text in stream]) == long(300)


async def test_a_short_answer_that_was_iterated_over_is_not_read_again() -> None:
    """It is remembered."""
    async with AsyncExitStack() as stack:
        async with serving_long_answers() as server:
            chat = await stack.enter_async_context(connect(address(server.port)))
            stream = chat.ask("says:hello")
            assert [text async for text in stream] == ["hello"]
        async with asyncio.timeout(60):  # the server has ended
            assert (await stream).text == "hello"


async def test_the_view_keeps_the_newest_within_its_limit() -> None:
    """`keep` bounds what a long conversation costs; the oldest turns go first, and of a longer answer its end."""
    async with serving_long_answers() as server, connect(address(server.port), keep=14_000) as chat:
        for number in range(5):
            await chat.ask(f"says:{str(number) * 3000}")
        assert [turn.answer[:1] for turn in chat.view.turns] == ["3", "4"]
        assert chat.view.earlier
        await chat.ask("long:100")
        (turn,) = chat.view.turns
        assert not turn.whole
        assert turn.answer == long(100)[: len(turn.answer)]
        assert len(turn.answer) < 14_000
