"""Histories: what the client does where the server tells another log, an event of a later version, or a new session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest

from askbot_ws.client import AnswerStream, Chat, Closed, Damaged, View
from askbot_ws.client.attachment import AttachState
from askbot_ws.client.multiplexer import SessionMultiplexer
from askbot_ws.client.text_stream import MAX_UNREAD_CODE_POINTS
from askbot_ws.dialects.askbot.frames import Attach, Detach, decode_client
from askbot_ws.errors import InvalidFrame

from ..process import Json
from . import virtual
from .internals import session_of
from .test_wire import DialoguePlayer, playing

SESSION = "one"


def ready(log: str, *, at: int = 0, head: int | None = None, session: str = SESSION, **more: Any) -> Json:
    limits = {"frame_bytes": 1_048_576, "question_chars": 1, "waiting_turns": 1}
    place = {"session": session, "seq": at if head is None else head, "from": at, "log": log}
    said = {"resumed": True, "protocol": "askbot.v1", "server": "x", "model": "m", "limits": limits}
    return {"type": "ready", **place, **said, **more}


def unknown(seq: int) -> Json:
    return {"type": "fireworks", "session": SESSION, "seq": seq, "turn": "t1", "text": "?"}


def answer(id: str, *slices: str | Json, at: int = 0, end: bool = True) -> list[Json]:
    """The events of a turn whose question follows the place `at`; those of unknown types say where they are."""
    place: Json = {"session": SESSION, "turn": f"t{at + 1}"}
    seq, text = at + 1, ""
    events: list[Json] = [
        {"type": "question", **place, "seq": seq, "id": id, "text": "Why?", "created": "2026-01-01T00:00:00.000Z"}
    ]
    for slice in slices:
        if isinstance(slice, dict):
            seq = slice["seq"]
            events.append(slice)
            continue
        seq, text = seq + len(slice), text + slice
        events.append({"type": "token", **place, "seq": seq, "text": slice})
    if end:
        check = {"chars": len(text), "sha256": sha256(text.encode()).hexdigest()}
        timing = {"queued": 0, "first_token": 0, "total": 0}
        done = {"reason": "stop", "model": "m", "usage": None, "timing": timing, "check": check}
        events.append({"type": "done", **place, "seq": seq + 1, **done})
    return events


class Peer:
    """The server's side of a client's connections."""

    def __init__(self, player: DialoguePlayer) -> None:
        self.player = player

    async def send(self, *frames: Json) -> None:
        assert self.player.socket
        for frame in frames:
            await self.player.socket.send(json.dumps(frame))

    async def receive(self) -> Json:
        assert self.player.socket
        frame: Json = json.loads(await self.player.socket.recv())
        return frame

    async def receive_question(self) -> str:
        """The id of the question that comes next."""
        frame = await self.receive()
        assert frame["type"] == "ask"
        return str(frame["id"])

    async def reconnect(self) -> str:
        """Cut the connection; returns the query that the client reconnects with."""
        assert self.player.socket
        self.player.socket.transport.abort()
        self.player.socket = await self.player.connections.get()
        assert self.player.socket.request
        return self.player.socket.request.path.partition("?")[2]


@asynccontextmanager
async def conversation() -> AsyncGenerator[tuple[Peer, Chat]]:
    """A client that has read an empty session, in its history `first`."""
    async with playing() as player:
        await player.connect({})
        peer = Peer(player)
        await peer.send(ready("first"))
        chat = await player.entered()
        assert chat
        yield peer, chat


async def seen(chat: Chat, seq: int) -> None:
    while chat.view.seq != seq:
        await chat.changed.wait()


async def text_of(stream: AnswerStream) -> str:
    return "".join([text async for text in stream])


async def text_of_whole(stream: AnswerStream) -> str:
    return (await stream).text


# --- events of later versions ----------------------------------------------------------------------------------------

EVENTS: Sequence[str | Json] = ("One, ", unknown(9), "two.")


async def test_an_answer_is_read_through_an_event_of_an_unknown_type() -> None:
    """docs/protocol.md, promise 8: it shows nothing and moves on, on one connection."""
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        await peer.send(*answer(await peer.receive_question(), *EVENTS), unknown(17))
        assert await text_of(stream) == (await stream).text == "One, two."
        await seen(chat, 17)
        assert await peer.reconnect() == "session=one&after=17&log=first"


async def test_an_answer_is_read_a_second_time_through_an_event_of_an_unknown_type() -> None:
    """Who reads what was passed already attaches again from there; the event stands in the same place."""
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        events = answer(await peer.receive_question(), *EVENTS)
        await peer.send(*events)
        assert await text_of(stream) == "One, two."
        again = asyncio.ensure_future(text_of(stream))
        attach = await peer.receive()
        assert attach == {"type": "attach", "id": attach["id"], "session": SESSION, "after": 0, "log": "first"}
        await peer.send(ready("first", head=14, id=attach["id"]), *events)
        assert await again == "One, two."


async def test_who_is_behind_stays_there_at_an_event_of_an_unknown_type() -> None:
    """A reader without room did not take what stands before it, so it does not stand behind it either."""
    long = "x" * MAX_UNREAD_CODE_POINTS
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        seq = 3 + MAX_UNREAD_CODE_POINTS
        events = answer(await peer.receive_question(), "ab", long, "cd", unknown(seq + 9), "e")
        pieces = aiter(stream)
        await peer.send(*events[:2])
        assert await anext(pieces) == "ab"
        await peer.send(*events[2:5])
        waiting = asyncio.ensure_future(chat.history())  # who waits for something else keeps the socket open
        await seen(chat, seq + 9)
        assert (await peer.receive())["type"] == "history"
        assert await anext(pieces) == long
        rest = asyncio.ensure_future(anext(pieces))
        attach = await peer.receive()
        assert (attach["type"], attach["after"]) == ("attach", seq)
        await peer.send(ready("first", at=seq, head=seq + 11, id=attach["id"]), *events[3:])
        assert await rest + "".join([text async for text in pieces]) == "cde"
        waiting.cancel()


# --- another history -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["on the next connection", "on the same one"])
async def test_an_acknowledged_question_goes_on_where_it_is_in_another_history(where: str) -> None:
    """docs/protocol.md, promise 5: even where the replay begins at our place. Only what has no answer is sent again."""
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        pieces = aiter(stream)
        id = await peer.receive_question()
        await peer.send(*answer(id, "One, ", end=False))
        assert await anext(pieces) == "One, "
        older = asyncio.ensure_future(chat.history(before=1))
        stopped = asyncio.ensure_future(chat.cancel("t99"))
        waiting = [(await peer.receive())["id"] for _ in range(2)]
        if where == "on the next connection":
            assert await peer.reconnect() == "session=one&after=6&log=first"
        await peer.send(ready("second", at=6, head=17))
        assert [(await peer.receive())["id"] for _ in range(2)] == waiting
        assert chat.view.turns == []
        await peer.send(*answer(id, "One, ", "two.", at=6))
        await peer.send({"type": "history", "session": SESSION, "id": waiting[0], "turns": [], "more": False})
        await peer.send(
            {"type": "error", "code": "turn_not_found", "message": "", "retryable": False, "id": waiting[1]}
        )
        assert "".join([text async for text in pieces]) == "two."
        assert ((await stream).turn, (await older).more) == ("t7", False)
        await stopped
        assert [turn.turn for turn in chat.view.turns] == ["t7"]
        assert await peer.reconnect() == "session=one&after=17&log=second"


async def test_an_acknowledged_question_that_is_not_in_another_history_is_interrupted() -> None:
    """Once all of it was read; one that was not acknowledged is sent as always."""
    async with conversation() as (peer, chat):
        stream, other = chat.ask("Why?"), chat.ask("And?")
        pieces = aiter(stream)
        ids = [await peer.receive_question() for _ in range(2)]
        await peer.send(*answer(ids[0], "One, ", end=False))
        assert await anext(pieces) == "One, "
        await peer.send({**answer(ids[0], "two", at=3, end=False)[1], "turn": "t1", "seq": 9})
        await seen(chat, 9)
        await peer.reconnect()
        await peer.send(ready("second", head=7), *answer("somebody's", "else", end=False))
        assert await peer.receive_question() == ids[1]
        await seen(chat, 5)
        assert stream.turn is None
        assert not session_of(chat).requests.questions()[0].outcome.done()
        await peer.send(*answer("somebody's", "else", "!")[2:])
        assert [text async for text in pieces] == ["two"]
        whole = await stream
        assert (whole.text, whole.reason, whole.model) == ("One, two", "interrupted", "m")
        assert whole.timing.total > 0  # measured here, as the server has nothing of it
        await peer.send(*answer(ids[1], "Yes.", at=7))
        assert (await other).text == "Yes."


async def test_an_answer_that_ended_in_a_history_that_was_lost_is_damaged_where_it_was_not_received_whole() -> None:
    """It is not asked again, and nobody has the rest. What stands in its place now is never given for it."""
    long = "x" * MAX_UNREAD_CODE_POINTS
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        pieces = aiter(stream)
        id = await peer.receive_question()
        await peer.send(*answer(id, "ab", end=False))
        assert await anext(pieces) == "ab"
        waiting = asyncio.ensure_future(chat.history())  # who waits for something else keeps the socket open
        await peer.receive()
        await peer.send(*answer(id, "ab", long, "cd")[2:])
        await seen(chat, MAX_UNREAD_CODE_POINTS + 6)
        await peer.send(ready("second", at=0))
        assert (await peer.receive())["type"] == "history"
        await peer.send(*answer("somebody's", "other"))
        await seen(chat, 7)
        for reading in (pieces, aiter(stream)):
            with pytest.raises(Damaged):
                await anext(reading)
        whole = asyncio.ensure_future(text_of_whole(stream))
        request = await peer.receive()
        turn = {
            "turn": "t1",
            "text": "?",
            "created": "2026-01-01T00:00:00.000Z",
            "answer": "other",
            "from": 0,
            "seq": 7,
        }
        await peer.send({"type": "history", "session": SESSION, "id": request["id"], "turns": [turn], "more": False})
        with pytest.raises(Damaged):
            await whole
        waiting.cancel()


async def test_a_history_that_changes_while_nobody_reads_is_told_when_somebody_does() -> None:
    """Its `ready` came after the session was left: it begins nothing. Whoever attaches says which log it knows."""
    async with conversation() as (peer, chat):
        entering = asyncio.ensure_future(chat.session("other"))
        attach = await peer.receive()
        await peer.send(ready("x", session="other", id=attach["id"]))
        other = await entering
        pieces = aiter(chat.ask("Why?"))
        id = await peer.receive_question()
        await peer.send(*answer(id, "a", end=False))
        assert await anext(pieces) == "a"
        await peer.send(*answer(id, "a", "b" * (MAX_UNREAD_CODE_POINTS + 1), end=False)[2:])
        assert isinstance(decode_client(json.dumps(await peer.receive())), Detach)
        await peer.send(ready("second"), unknown(1) | {"session": "other"})
        await seen(other, 1)
        assert session_of(chat).attachment.state is AttachState.PAUSED
        assert await anext(pieces) == "b" * (MAX_UNREAD_CODE_POINTS + 1)
        rest = asyncio.ensure_future(anext(pieces))
        attach = await peer.receive()
        assert isinstance(decode_client(json.dumps(attach)), Attach)
        assert (attach["after"], attach["log"]) == (MAX_UNREAD_CODE_POINTS + 3, "first")
        events = answer(id, "a", "b" * (MAX_UNREAD_CODE_POINTS + 1), "c")
        await peer.send(ready("second", head=events[-1]["seq"], id=attach["id"]), *events)
        assert await rest == "c"
        assert [text async for text in pieces] == []


async def test_a_server_that_does_not_name_its_log_is_believed() -> None:
    """An earlier version: `from` is all there is to go by."""
    async with conversation() as (peer, chat):
        stream = chat.ask("Why?")
        events = answer(await peer.receive_question(), "One, ", "two.")
        await peer.send(*events[:2])
        await seen(chat, 6)
        await peer.reconnect()
        unnamed = ready("", at=6, head=11)
        del unnamed["log"]
        await peer.send(unnamed, *events[2:])
        assert (await stream).text == "One, two."
        assert await peer.reconnect() == "session=one&after=11&log=first"


# --- new sessions ----------------------------------------------------------------------------------------------------


async def test_each_new_session_has_the_name_that_answers_its_frame() -> None:
    """They have none before, and the answers may come in any order."""
    async with conversation() as (peer, chat):
        entering = [asyncio.ensure_future(chat.session()) for _ in range(2)]
        attaches = [await peer.receive() for _ in range(2)]
        assert attaches == [{"type": "attach", "id": attach["id"]} for attach in attaches]
        for name, attach in zip(("b", "a"), reversed(attaches), strict=True):
            await peer.send(ready("x", session=name, id=attach["id"]))
        assert [each.id for each in await asyncio.gather(*entering)] == ["a", "b"]


async def test_a_new_session_that_was_left_before_it_had_a_name_is_detached() -> None:
    """Else the server would go on reading it to nobody; and a detach without a name would mean another one."""
    async with conversation() as (peer, chat):
        entering = asyncio.ensure_future(chat.session())
        attach = await peer.receive()
        entering.cancel()
        await asyncio.wait([entering])
        await peer.send(ready("x", session="new", id=attach["id"]))
        detach = await peer.receive()
        assert (detach["type"], detach["session"]) == ("detach", "new")
        chat.ask("Why?")
        await peer.receive_question()


async def test_a_new_session_that_was_lost_while_empty_begins_anew() -> None:
    """The server keeps nothing of it, so nothing is lost with it, whatever else is on the connection."""
    async with conversation() as (peer, chat):
        entering = asyncio.ensure_future(chat.session())
        attach = await peer.receive()
        await peer.send(ready("x", session="new", id=attach["id"]))
        other = await entering
        await peer.reconnect()
        await peer.send(ready("first"))
        attach = await peer.receive()
        assert attach["session"] == "new"
        gone = {"type": "error", "code": "session_not_found", "message": "", "retryable": False, "id": attach["id"]}
        await peer.send(gone)
        attach = await peer.receive()
        assert attach == {"type": "attach", "id": attach["id"]}
        assert other.id == "new"  # until the server says another
        other.ask("Why?")
        await peer.send(ready("x", session="newer", id=attach["id"]))
        assert (await peer.receive())["session"] == other.id == "newer"


async def test_a_server_that_makes_no_new_sessions_here_is_told() -> None:
    """An earlier version: the session's name is missing, and the others go on."""
    async with conversation() as (peer, chat):
        entering = asyncio.ensure_future(chat.session())
        attach = await peer.receive()
        words = {"code": "invalid_frame", "message": "session: Field required.", "retryable": False}
        await peer.send({"type": "error", **words, "id": attach["id"]})
        with pytest.raises(InvalidFrame, match="session: Field required"):
            await entering
        chat.ask("Why?")
        await peer.receive_question()
        await chat.close()
        with pytest.raises(Closed):
            await chat.session()


@pytest.mark.parametrize("keep", [None, 505])
@pytest.mark.parametrize("losses", [1, 2])
def test_an_answer_that_is_lost_has_the_longest_text_that_was_received(keep: int | None, losses: int) -> None:
    """Also where a history in between had less of it, and where the view keeps less."""

    async def main() -> tuple[str, str, str]:
        def accept(line: virtual.Line) -> None:
            line.on_frame = lambda frame: line.send(
                virtual.question(frame.id), virtual.token("Be", at=1), virtual.token("cause", at=3)
            )
            line.send(virtual.ready())

        endpoint = virtual.virtual_endpoint(accept)
        async with Chat(SessionMultiplexer(endpoint, on_state=lambda _: None), View(keep=keep), first=True) as chat:
            stream = chat.ask("Why?")
            pieces = aiter(stream)
            read = ""
            while len(read) < 7:
                read += await anext(pieces)
            if losses == 2:
                again = [virtual.question(stream.id), virtual.token("B", at=1)]
                endpoint.lines[0].send(virtual.ready(log="other", seq=9), *again)
            endpoint.lines[0].send(virtual.ready(log="empty"))
            read += "".join([text async for text in pieces])
            answer = await stream
            return read, answer.text, answer.reason

    assert virtual.run(main()) == ("Because", "Because", "interrupted")
