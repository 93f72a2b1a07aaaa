"""ScriptedServer: it says what the script says, when it says so, and records what it was sent."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import textwrap
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from askbot_ws import connect as connect_chat
from askbot_ws.dialects.askbot.frames import Alive, decode_server
from askbot_ws.testing import (
    Close,
    Cut,
    Receive,
    Refuse,
    RequireToken,
    Script,
    ScriptedConnection,
    ScriptedLog,
    ScriptedServer,
    ServerStep,
    expires_in,
)


@asynccontextmanager
async def playing(*scripts: Script, query: str = "") -> AsyncGenerator[tuple[ScriptedServer, ClientConnection]]:
    """A server, and one connection to it."""
    async with asyncio.timeout(5), ScriptedServer(*scripts) as server, connect(server.url + query) as socket:
        yield server, socket


async def received(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


def test_a_log_is_forked_as_a_server_forks_it() -> None:
    """A turn, and what the model was shown for it, under new ids and in new places; the log stays as it is."""
    log = ScriptedLog()
    log.answer("One.", text="1?")
    log.answer("Two.", text="2?")
    log.question("2?", replaces="t2")
    log.thinking("hm")
    log.token("Deux.")
    log.done("length", model="other")
    events = [*log.events]
    forks = [log.fork(turn, session=turn) for turn in ("t2", "t3")]

    assert log.events == events
    assert [[turn["text"] for turn in fork.history()["turns"]] for fork in forks] == [["1?", "2?"], ["1?", "2?"]]
    assert [[turn["answer"] for turn in fork.history()["turns"]] for fork in forks] == [
        ["One.", "Two."],
        ["One.", "Deux."],
    ]
    (question, thinking, token, done) = forks[1].events[3:]
    assert question == {"type": "question", "session": "t3", "seq": 7, "turn": "t2"} | {
        name: events[6][name] for name in ("text", "created")
    }
    assert [event["seq"] for event in (thinking, token, done)] == [9, 14, 15]
    assert {**events[-1], "session": "t3", "seq": 15, "turn": "t2"} == done
    assert not [decode_server(json.dumps(event)) for event in forks[1].events if event["seq"] < 0]


async def test_frames_and_raw_messages_are_sent_in_their_order() -> None:
    """A dict, a model, text that is no JSON, and a binary message."""
    async with playing([{"type": "new"}, Alive(), "{", b"\x00"]) as (_, socket):
        assert [await socket.recv() for _ in range(4)] == ['{"type": "new"}', '{"type":"alive"}', "{", b"\x00"]


async def test_a_frame_refers_to_what_the_client_sent() -> None:
    """By the type of the frame that was taken, or by a name; other frames are passed over."""
    script: Script = [Receive("ask", "first"), Receive("ask"), {"ids": ["$first.id", {"id": "$ask.id"}], "text": "$5"}]
    async with playing(script) as (server, socket):
        for id, type in enumerate(("ask", "ping", "ask")):
            await socket.send(json.dumps({"type": type, "id": str(id)}))
        assert await received(socket) == {"ids": ["0", {"id": "2"}], "text": "$5"}

    assert [frame["id"] for frame in server.frames()] == ["0", "1", "2"]
    assert [frame["id"] for frame in server.frames("ask")] == ["0", "2"]


async def test_pauses_and_events_are_waited_for() -> None:
    """Nothing after them is sent before."""
    go = asyncio.Event()
    async with playing(["a", go, "b", 0.01, "c"]) as (_, socket):
        assert await socket.recv() == "a"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.01)
        go.set()
        assert [await socket.recv(), await socket.recv()] == ["b", "c"]


async def test_a_function_sees_the_connection_and_returns_frames() -> None:
    """What was received until then, and the URL."""
    script: Script = [Receive(), lambda connection: [{"seen": len(connection.frames()), **connection.query}]]
    async with playing(script, query="?after=7") as (_, socket):
        await socket.send("{}")
        assert await received(socket) == {"seen": 1, "after": "7"}


@pytest.mark.parametrize(
    ("end", "code"), [(Close(4404, "gone"), 4404), (Close(), 1000), (Cut(), None), (Cut(reset=True), None)], ids=str
)
async def test_a_connection_ends_as_the_script_says(end: ServerStep, code: int | None) -> None:
    """With a close code, or without a close frame."""
    async with playing([end]) as (server, socket):
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        await server.connections[0].finished.wait()

    assert (caught.value.rcvd and caught.value.rcvd.code) == code


async def test_a_handshake_is_refused() -> None:
    """With the status and the headers of the script; the attempt is counted."""
    async with ScriptedServer([Refuse(503, {"Retry-After": "3"}, "later")]) as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.url)

    response = caught.value.response
    assert (response.status_code, response.headers["Retry-After"], response.body) == (503, "3", b"later")
    assert len(server.connections) == 1


async def test_each_connection_plays_the_next_script_and_the_last_one_is_repeated() -> None:
    """One server, three connections."""
    async with ScriptedServer(["first"], ["last"]) as server:
        for expected in ("first", "last", "last"):
            async with connect(server.url) as socket:
                assert await socket.recv() == expected

    assert len(server.connections) == 3


async def test_what_clients_send_is_recorded() -> None:
    """The URL, the headers, the token, frames with their times, and how the connection ended."""
    async with ScriptedServer([]) as server:
        began = asyncio.get_running_loop().time()
        subprotocols = [Subprotocol("askbot.v1"), Subprotocol("askbot.bearer.secret")]
        async with connect(f"{server.url}?session=s1", subprotocols=subprotocols) as socket:
            await socket.send("no JSON")
            await socket.send('{"type": "ping"}')
            await socket.close(4000)
        connection = await server.connected()
        await connection.finished.wait()
        ended = asyncio.get_running_loop().time()

    assert (connection.path, connection.query, connection.token) == ("/v1/chat", {"session": "s1"}, "secret")
    assert [(each.data, each.frame) for each in connection.received] == [
        ("no JSON", {}),
        ('{"type": "ping"}', {"type": "ping"}),
    ]
    times = [connection.opened, *(each.time for each in connection.received)]
    assert began <= times[0] <= times[1] <= times[2] <= ended
    assert connection.close_code == 4000


async def test_connections_are_waited_for() -> None:
    """Also those that come later."""
    async with asyncio.timeout(5), ScriptedServer([]) as server:
        waiting = asyncio.create_task(server.connected(2))
        async with connect(server.url), connect(f"{server.url}?second=1"):
            assert (await waiting).query == {"second": "1"}


async def test_a_fault_of_a_script_is_raised_at_the_end_of_the_block() -> None:
    """Else a test would wait for what never comes."""
    server = ScriptedServer([{"id": "$ask.id"}])
    await server.__aenter__()
    async with connect(server.url) as socket:
        await socket.wait_closed()

    with pytest.raises(KeyError, match="ask"):
        await server.__aexit__(None, None, None)


async def test_leaving_the_block_leaves_nothing_behind() -> None:
    """Neither tasks nor threads nor a client that still believes to be connected."""
    before, threads = asyncio.all_tasks(), threading.active_count()
    async with ScriptedServer([Receive("never")]) as server:
        sockets = [await connect(server.url) for _ in range(3)]
    for socket in sockets:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        await socket.wait_closed()

    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert threading.active_count() == threads


async def test_outside_its_block_a_server_has_no_address() -> None:
    """The error says why; and so does one without a script."""
    with pytest.raises(RuntimeError, match="block"):
        _ = ScriptedServer([]).url
    with pytest.raises(ValueError, match="script"):
        ScriptedServer()


@pytest.mark.parametrize(
    ("query", "headers", "offered", "expected"),
    [
        ("", {"Authorization": "Bearer right"}, [], "alive"),
        ("", {}, ["askbot.v1", "askbot.bearer.right"], "alive"),
        ("?ticket=right", {}, [], "alive"),
        ("", {"Authorization": "Bearer wrong"}, [], 401),
        ("", {}, [], 401),
        ("?ticket=wrong", {}, [], 401),
        ("", {"Origin": "https://page.example"}, [], 4401),
        ("", {}, ["askbot.v1", "askbot.bearer.wrong"], 4401),
    ],
)
async def test_a_server_can_require_a_token(
    query: str, headers: dict[str, str], offered: list[str], expected: str | int
) -> None:
    """One that a page has to know of is closed, as a page can't read the status of a handshake."""
    offering = [Subprotocol(each) for each in offered]
    async with asyncio.timeout(5), ScriptedServer([RequireToken({"right"}), {"type": "alive"}]) as server:
        connecting = connect(server.url + query, additional_headers=headers, subprotocols=offering or None)
        try:
            async with connecting as socket:
                found = (await received(socket))["type"]
        except InvalidStatus as refused:
            found = refused.response.status_code
        except ConnectionClosed as closed:
            found = closed.rcvd and closed.rcvd.code
        assert found == expected


def test_a_log_has_the_frames_of_a_signed_in_user() -> None:
    """As a server sends them; a title has a place like any event, and a fork has it too."""
    log = ScriptedLog()
    log.answer("Yes.", text="Why?", id="q")
    assert log.summary()["title"] == "Why?"
    event = log.title("Sky")
    log.question("And?", id="q2")
    assert (event["seq"], log.head) == (7, 8)
    assert (log.ready()["title"], log.fork("t1").ready()["title"]) == ("Sky", "Sky")
    frames = [
        log.ready(user="alice", expires=expires_in(60)), log.authorized(id="a", expires=expires_in(60)), event,
        log.sessions(log, log.fork("t1"), id="s", more="next"),
    ]  # fmt: skip
    decoded: list[Any] = [decode_server(json.dumps(frame)) for frame in frames]
    assert [type(frame).__name__ for frame in decoded] == ["Ready", "Authorized", "Title", "Sessions"]
    assert decoded[0].expires == pytest.approx(time.time() + 60, abs=5)
    assert [(each.title, each.turns, each.running) for each in decoded[3].sessions] == [
        ("Sky", 2, True),
        ("Sky", 1, False),
    ]


async def test_a_log_has_the_positions_and_proofs_of_a_real_one() -> None:
    """The client takes it for one: with reasoning, an unknown event, two turns, and characters beyond the BMP."""
    log = ScriptedLog()
    script: Script = [
        log.ready(), Receive("ask"), log.question(), log.thinking("Hm 🤔"), log.event("weather", wind=3),
        log.token("Be"), log.token("cause 🙂."), log.done(),
        Receive("ask"), *log.answer("Yes."),
    ]  # fmt: skip
    async with asyncio.timeout(5), ScriptedServer(script) as server, connect_chat(server.url) as chat:
        first, second = await chat.ask("Why?"), await chat.ask("Sure?")
        assert (first.text, first.thinking, second.text) == ("Because 🙂.", "Hm 🤔", "Yes.")
        assert chat.view.seq == log.head

    assert all(decode_server(json.dumps(event)) for event in log.events)


@pytest.mark.parametrize(
    ("query", "from_", "texts"),
    [
        ("?session=s1&after=4&log=l1", 4, ["def", None]),
        ("?session=s1&after=8&log=l1", 8, []),
        ("?session=s1&after=9&log=l1", 0, ["$ask.text", "abcdef", None]),
        ("?session=s1&after=4&log=other", 0, ["$ask.text", "abcdef", None]),
        ("", 0, ["$ask.text", "abcdef", None]),
    ],
)
async def test_a_log_is_resumed_after_what_the_client_has(query: str, from_: int, texts: list[str | None]) -> None:
    """From the middle of a slice too; wholly where the client has nothing, too much, or another history."""
    log = ScriptedLog()
    log.answer("abcdef")
    step = log.resume()
    log.answer("what comes later is not sent")

    ready, *events = step(ScriptedConnection("/v1/chat", dict(parse_qsl(query.strip("?"))), {}, 0.0))

    assert (ready["from"], ready["seq"]) == (from_, 8)
    assert [event.get("text") for event in events] == texts


def test_a_history_page_has_the_turns_of_the_log() -> None:
    """As a server sends it; here of one turn that has ended and one that runs."""
    log = ScriptedLog()
    log.answer("One.")
    log.question()
    log.token("Tw")
    page = json.loads(json.dumps(log.history()).replace('"$', '"'))

    assert decode_server(json.dumps(page))
    assert [(turn["turn"], turn["answer"], turn["reason"], turn["from"], turn["seq"]) for turn in page["turns"]] == [
        ("t1", "One.", "stop", 0, 6),
        ("t2", "Tw", None, 6, 9),
    ]
    assert [turn["turn"] for turn in log.history("t2")["turns"]] == ["t2"]


def test_the_example_runs() -> None:
    """As it is written."""
    program = re.search(r"```python\n(.*?)```", inspect.cleandoc(ScriptedServer.__doc__ or ""), re.DOTALL)
    assert program
    exec(compile(textwrap.dedent(program[1]), "example", "exec"), {})


async def test_a_scripted_log_may_be_named() -> None:
    """`ready` has the newest title, a fork gets it, and a client reads on behind it in the middle of an answer."""
    log = ScriptedLog()
    before = log.ready()
    asked = [log.question("Why?"), log.token("Be"), log.title("Reasons"), log.token("cause."), log.done()]

    assert (before["title"], log.ready()["title"]) == (None, "Reasons")
    assert [event["seq"] for event in asked] == [1, 3, 4, 10, 11]
    assert log.fork("t1").events[-1] == {"session": "s2", "seq": 11, "type": "title", "text": "Reasons"}
    async with ScriptedServer([before, Receive("ask"), *asked]) as server, connect_chat(server.url) as chat:
        assert (await chat.ask("Why?")).answer == "Because."
        assert log.title("")["seq"] == 12
        assert log.ready()["title"] is None
