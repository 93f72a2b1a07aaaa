"""Transcript: turns read from the server, and an answer that runs already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from askbot_ws.client import Chat, Closed, Turn, connect
from askbot_ws.core.log_tail import LogTail
from askbot_ws.core.turn_records import turn_records
from askbot_ws.dialects.askbot.frames import ClientFrame, History, HistoryRequest, encode
from askbot_ws.errors import SessionNotFound
from askbot_ws.events import Event, Token
from askbot_ws.terminal.transcript import load_turns, stream_running_answer

from ..client.test_chat import ANSWER, Server, running


class Running(Server):
    """A server whose answer goes on as the test says."""

    async def say(self, *pieces: str) -> None:
        """Log text and show it to everybody, a frame each."""
        for piece in pieces:
            token = Token(session="s", seq=self.log.head + len(piece), turn="t1", text=piece)
            self.log.append(token)
            await self.show(token)

    async def finish(self) -> None:
        """End the answer."""
        await self.show(self.done("t1", "stop"))

    async def show(self, event: Event) -> None:
        for socket in self.sockets:
            await socket.send(encode(event), text=True)

    @property
    def histories(self) -> int:
        """How often history was requested."""
        return sum(isinstance(frame, HistoryRequest) for frame in self.received)


@dataclass
class Follower:
    """Who reads an answer that has begun before."""

    turn: Turn
    reading: asyncio.Task[str]
    closed: asyncio.Event


async def follow(chat: Chat) -> Follower:
    """Read the last answer on, from its beginning."""
    (turn,), closed = await load_turns(chat, limit=1), asyncio.Event()

    async def read() -> str:
        return "".join([text async for text in stream_running_answer(chat, turn, closed)])

    follower = Follower(turn, asyncio.create_task(read()), closed)
    await asyncio.sleep(0)
    return follower


async def test_an_answer_that_runs_is_read_without_a_request_for_each_piece() -> None:
    """However many there are: one request has told that it runs."""
    async with running(server := Running(hold=True)), connect(server.url) as asker:
        asker.ask("Why?")
        async with connect(server.url, session="s") as chat:
            follower = await follow(chat)
            await server.say(*(f" {number}" for number in range(200)))
            await server.finish()
            text = await asyncio.wait_for(follower.reading, 5)

    assert text == ANSWER + "".join(f" {number}" for number in range(200))
    assert follower.turn.end
    assert server.histories == 1


async def test_an_answer_that_the_view_does_not_keep_is_requested_once_more() -> None:
    """At its end, for all that was left out."""
    async with running(server := Running(hold=True)), connect(server.url) as asker:
        asker.ask("Why?")
        async with connect(server.url, session="s", keep=300) as chat:
            follower = await follow(chat)
            for _ in range(50):
                await server.say("longer" * 10)
            await server.finish()
            text = await asyncio.wait_for(follower.reading, 5)

    assert text == ANSWER + "longer" * 500
    assert server.histories == 2


async def test_a_conversation_that_is_closed_ends_the_reading() -> None:
    """With the reason, though nothing changes any more."""
    async with running(server := Running(hold=True)), connect(server.url) as asker:
        asker.ask("Why?")
        chat = await connect(server.url, session="s")
        follower = await follow(chat)
        await chat.close()
        follower.closed.set()
        with pytest.raises(Closed):
            await asyncio.wait_for(follower.reading, 5)

    assert server.histories == 1


async def test_an_answer_that_another_history_does_not_have_ends_the_reading() -> None:
    """After one request."""
    async with running(server := Running(hold=True)):
        async with connect(server.url) as asker:
            asker.ask("Why?")
        async with connect(server.url, session="s", delay=lambda _: 0) as chat:
            follower = await follow(chat)
            server.log = LogTail("s")
            for socket in server.sockets:
                socket.transport.abort()
            text = await asyncio.wait_for(follower.reading, 5)

    assert text == ANSWER
    assert follower.turn.end is None
    assert server.histories == 2


@dataclass
class Repeating(Server):
    """It says for ever that there are older turns, and shows the same ones."""

    async def apply(self, frame: ClientFrame, send: Any) -> None:
        if isinstance(frame, HistoryRequest):
            self.received.append(frame)
            if len(self.received) > 5:
                raise AssertionError("it is asked for ever")
            await send(History(session="s", id=frame.id, turns=turn_records(self.log.events), more=True))
        else:
            await super().apply(frame, send)


async def test_a_server_that_repeats_itself_is_not_asked_for_ever() -> None:
    """Older turns are older."""
    async with running(server := Repeating()), connect(server.url) as chat:
        await chat.ask("Why?")
        assert [turn.question for turn in await asyncio.wait_for(load_turns(chat), 5)] == ["Why?"]


async def test_a_session_that_is_gone_has_no_turns_to_load() -> None:
    """The request ends with the session."""
    async with running(Server()) as server, connect(server.url) as chat:
        await chat.forget()
        with pytest.raises(SessionNotFound):
            await load_turns(chat)
