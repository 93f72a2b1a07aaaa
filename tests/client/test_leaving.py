"""Whoever leaves an answer stops it at the server, however the leaving is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from askbot_ws import connect
from askbot_ws.client import Chat, Closed
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import address, eventually


class Left(Exception):
    """By an exception of the caller's."""


async def by_break(chat: Chat) -> None:
    async for _ in chat.ask("Why?"):
        break


async def by_an_exception(chat: Chat) -> None:
    with suppress(Left):
        async for _ in chat.ask("Why?"):
            raise Left


async def by_return(chat: Chat) -> str | None:
    async for text in chat.ask("Why?"):
        return text
    return None


async def by_closing(chat: Chat) -> None:
    pieces = aiter(chat.ask("Why?"))
    async with aclosing(pieces):
        assert await anext(pieces) == "Because "


async def by_the_end_of_a_block(chat: Chat) -> None:
    async with chat.ask("Why?") as stream:
        pieces = aiter(stream)
        assert await anext(pieces) == "Because "


async def by_cancelling_who_iterates(chat: Chat) -> None:
    async def read() -> None:
        async for _ in chat.ask("Why?"):
            pass

    await cancelled(read())


async def by_cancelling_who_awaits(chat: Chat) -> None:
    async def read() -> None:
        await chat.ask("Why?")

    await cancelled(read())


async def by_a_time_limit(chat: Chat) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await chat.ask("Why?")


async def by_cancelling_who_awaits_after_iterating(chat: Chat) -> None:
    stream = chat.ask("Why?")
    pieces = aiter(stream)
    assert await anext(pieces) == "Because "

    async def read() -> None:
        await stream

    await cancelled(read())


async def by_asking_for_it(chat: Chat) -> None:
    stream = chat.ask("Why?")
    await stream.cancel()
    assert (await stream).reason == "cancelled"


async def cancelled(reading: Awaitable[None]) -> None:
    task = asyncio.ensure_future(reading)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


WAYS = [
    by_break,
    by_an_exception,
    by_return,
    by_closing,
    by_the_end_of_a_block,
    by_cancelling_who_iterates,
    by_cancelling_who_awaits,
    by_a_time_limit,
    by_cancelling_who_awaits_after_iterating,
    by_asking_for_it,
]


@asynccontextmanager
async def endless() -> AsyncGenerator[tuple[ScriptedUpstream, str]]:
    """A server whose first answer does not end by itself."""
    upstream = ScriptedUpstream(["Because ", asyncio.Event()])
    async with asyncio.timeout(20), serving(upstream) as server:
        yield upstream, address(server.port)


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_leaving_an_answer_stops_it(leave: Callable[[Chat], Awaitable[object]]) -> None:
    """The provider generates no more, and the conversation goes on."""
    async with endless() as (upstream, url), connect(url) as chat:
        await leave(chat)
        await eventually(lambda: upstream.stopped == 1)
        assert (await chat.ask("And?")).text == "You asked: And?"
        assert [turn.end.reason for turn in chat.view.turns if turn.end] == ["cancelled", "stop"]


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_leaving_an_answer_and_the_conversation_at_once_stops_it_too(
    leave: Callable[[Chat], Awaitable[object]],
) -> None:
    """The cancel arrives before the connection is closed."""
    async with endless() as (upstream, url):
        async with connect(url) as chat:
            await leave(chat)
        await eventually(lambda: upstream.stopped == 1)


async def test_a_question_left_before_it_is_in_the_log_is_stopped() -> None:
    """Leaving the conversation waits until the server knows."""
    async with endless() as (upstream, url):
        async with connect(url) as chat:
            chat.ask("Why?")
            await chat.cancel()
        await eventually(lambda: upstream.stopped == 1)


async def test_a_question_that_nobody_waits_for_is_answered() -> None:
    """Letting go of it is not leaving: nobody began to read."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, connect(address(server.port)) as chat:
        chat.ask("Why?")
        await chat.ask("And?")

    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["Why?", "And?"]
    assert upstream.stopped == 0


async def test_leaving_the_conversation_lets_the_answer_go_on() -> None:
    """It is the session's; whoever still waits here is told that it is over."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["Because ", gate, "so."])) as server:
        async with connect(address(server.port)) as chat:
            stream = chat.ask("Why?")
            pieces = aiter(stream)
            assert await anext(pieces) == "Because "
        with pytest.raises(Closed):
            await anext(pieces)
        gate.set()
        async with connect(address(server.port), session=chat.id) as again:
            await again.ask("And?")
            assert again.view.turns[0].answer == "Because so."


async def test_a_shielded_question_goes_on_without_the_one_who_waits() -> None:
    """As with everything that can be awaited."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["Because ", gate, "so."])
    async with serving(upstream) as server, connect(address(server.port)) as chat:
        answer = asyncio.ensure_future(chat.ask("Why?"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.05)
        gate.set()
        assert (await answer).text == "Because so."
