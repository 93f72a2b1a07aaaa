"""Bad frames: none costs the connection or the conversation, until there are too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from askbot_ws.dialects.askbot.frames import decode_server, schema
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import Json, Reader, Story, address, reading

DEEP = 100_000


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


@pytest.fixture
async def reader(server: Server) -> AsyncIterator[Reader]:
    async with reading(address(server.port)) as reader:
        yield reader


async def still_well(reader: Reader, text: str = "Still well?") -> None:
    """The connection lives, and the conversation goes on."""
    assert (await reader.answer(text)).reason == "stop"


# --- what is answered by an error ------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", "invalid_json"),
    "words": ("Hello?", "invalid_json"),
    "half an object": ('{"type":"ask","text":"', "invalid_json"),
    "two objects": ('{"type":"ping"}{"type":"ping"}', "invalid_json"),
    "a NUL": ("\0", "invalid_json"),
    "a NUL in a string": ('{"type":"ask","text":"\0"}', "invalid_json"),
    "a comma too many": ('{"type":"ping",}', "invalid_json"),
    "single quotes": ("{'type':'ping'}", "invalid_json"),
    "a lone surrogate": ('{"type":"ask","text":"\\ud83d"}', "invalid_json"),
    "a lone surrogate as a name": ('{"type":"ping","\\udc00":1}', "invalid_json"),
    "deep lists": ("[" * DEEP + "]" * DEEP, "invalid_json"),
    "deep objects in a field": ('{"type":"ping","x":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}", "invalid_json"),
    "null": ("null", "invalid_frame"),
    "a number": ("7", "invalid_frame"),
    "not a number": ("NaN", "invalid_frame"),
    "a list": ('["ask"]', "invalid_frame"),
    "a string": ('"ask"', "invalid_frame"),
    "no type": ("{}", "invalid_frame"),
    "a type that is none": ('{"type":null}', "unknown_type"),
    "a type that is a list": ('{"type":["ask"]}', "unknown_type"),
    "an unknown type": ('{"type":"sing"}', "unknown_type"),
    "a server's type": ('{"type":"token","text":"x"}', "unknown_type"),
    "no text": ('{"type":"ask"}', "invalid_frame"),
    "a text that is a number": ('{"type":"ask","text":7}', "invalid_frame"),
    "an id that is a number": ('{"type":"ping","id":7}', "invalid_frame"),
    "an empty id": ('{"type":"ping","id":""}', "invalid_frame"),
    "a long id": (json.dumps({"type": "ping", "id": "x" * 65}), "invalid_frame"),
    "a huge number": ('{"type":"history","before":' + "9" * 400 + "}", "invalid_frame"),
    "a number beyond JavaScript's": ('{"type":"history","before":9007199254740992}', "invalid_frame"),
    "an endless number": ('{"type":"ask","text":"?","temperature":1e999}', "invalid_frame"),
    "a temperature that is no number": ('{"type":"ask","text":"?","temperature":NaN}', "invalid_frame"),
    "a number in quotes": ('{"type":"history","limit":"5"}', "invalid_frame"),
    "half a turn": ('{"type":"history","limit":1.5}', "invalid_frame"),
    "true as a number": ('{"type":"history","limit":true}', "invalid_frame"),
    "too many turns": ('{"type":"history","limit":51}', "invalid_frame"),
    "no way to be busy": ('{"type":"ask","text":"?","when_busy":"panic"}', "invalid_frame"),
    "an edit of nothing": ('{"type":"edit","text":"?"}', "invalid_frame"),
    "a session that can't be one": ('{"type":"attach","session":"../etc"}', "invalid_frame"),
    "a session with a line after it": ('{"type":"attach","session":"abc\\n"}', "invalid_frame"),
    "a place before the first": ('{"type":"attach","session":"abc","after":-1}', "invalid_frame"),
    "an unknown session": ('{"type":"attach","session":"abc"}', "session_not_found"),
    "forgetting an unknown session": ('{"type":"forget","session":"abc"}', "session_not_found"),
    "another session": ('{"type":"ask","text":"?","session":"abc"}', "session_not_found"),
    "an unknown turn": ('{"type":"cancel","turn":"t99"}', "turn_not_found"),
    "what can't be a turn": ('{"type":"retry","turn":"\\u0000"}', "turn_not_found"),
    "a turn beyond all logs": ('{"type":"edit","turn":"t9999999999999999","text":"?"}', "turn_not_found"),
    "a turn in other digits": ('{"type":"retry","turn":"t\\u0661"}', "turn_not_found"),
    "nothing to retry": ('{"type":"retry"}', "turn_not_found"),
    "no question": ('{"type":"ask","text":""}', "question_empty"),
    "only blanks": ('{"type":"ask","text":" \\u200b\\u2060\\n"}', "question_empty"),
    "too long a question": (json.dumps({"type": "ask", "text": "x" * 8001}), "question_too_long"),
    "too long an edit": (json.dumps({"type": "edit", "turn": "t1", "text": "x" * 8001}), "question_too_long"),
    "another model": ('{"type":"ask","text":"?","model":"gpt-9"}', "forbidden"),
    "too much": ('{"type":"ask","text":"?","max_tokens":999999}', "forbidden"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_frame_changes_nothing(reader: Reader, name: str) -> None:
    """It is answered by an error that says what is wrong, and the next question is answered."""
    text, code = BAD[name]
    await reader.socket.send(text)
    error = await reader.next()

    assert (error["type"], error["code"]) == ("error", code), error
    assert error["message"]
    assert len(error["message"]) < 300
    assert reader.story.turns == {}
    await still_well(reader)


@pytest.mark.parametrize("text", ["a\0b", "\ufffe", "a\u2028b", '"\\', "x" * 8000, "🙂" * 8000, "\ud83d\ude00"])
async def test_an_odd_question_is_a_question(reader: Reader, text: str) -> None:
    """What can be seen may be asked; the log has it as it was."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")

    assert (await reader.answer(text)).answer == f"You asked: {text}"


async def test_an_error_repeats_the_id_of_its_frame(reader: Reader) -> None:
    """Also where everything else in the frame is wrong."""
    for text in ('{"id":"x1","type":"ask"}', '{"id":"x1","type":"sing"}', '{"id":"x1"}', '{"id":"x1","type":"retry"}'):
        await reader.socket.send(text)
        assert (await reader.next())["id"] == "x1"


async def test_what_a_bad_frame_held_is_not_told_back(reader: Reader) -> None:
    """An error names the field; it is no mirror for a megabyte, nor for a secret."""
    await reader.send(type="ask", text="?", temperature="my secret" * 1000)
    await reader.send(type="my secret")

    assert "secret" not in (await reader.next())["message"]
    assert "secret" not in (await reader.next())["message"]


@pytest.mark.parametrize("whose", ["another session", "the same session"])
async def test_bad_frames_do_not_disturb_an_answer(whose: str) -> None:
    """Another connection sends them, about its own session or about this one."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["So ", gate, "it is."])) as server, reading(address(server.port)) as reader:
        await reader.ask("Why?")
        await reader.until("token")
        story = Story() if whose == "another session" else Story(session=reader.story.session, head=0)
        async with reading(address(server.port), story) as other:
            for text in (text for text, _ in BAD.values() if text != '{"type":"retry"}'):
                await other.socket.send(text)
            await other.send(type="ping", id="end")
            await other.until("pong", 30)
        gate.set()
        await reader.until("done")

        assert reader.story.last.answer == "So it is."
        assert reader.story.last.reason == "stop"


# --- real frames, damaged --------------------------------------------------------------------------------------------

REAL: list[Json] = [
    {"type": "ask", "id": "q", "text": "Why?", "when_busy": "replace", "max_tokens": 5, "temperature": 0.5},
    {"type": "cancel", "turn": "t1"},
    {"type": "retry", "turn": "t1", "id": "r"},
    {"type": "edit", "turn": "t1", "text": "What?", "id": "e"},
    {"type": "history", "before": 5, "limit": 5, "id": "h"},
    {"type": "attach", "session": "abc", "after": 0},
    {"type": "detach", "session": "abc"},
    {"type": "forget", "session": "abc"},
    {"type": "ping", "id": "p"},
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["t1", "ask", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A frame with fields that are other, gone or new, or with other characters in its text."""
    frame: Json = dict(draw(st.sampled_from(REAL)))
    for name in draw(st.lists(st.sampled_from(["type", "text", "id", "turn", "session", "after", "x"]), max_size=2)):
        frame[name] = draw(VALUES)
    for name in draw(st.lists(st.sampled_from(sorted(frame)), max_size=1)):
        del frame[name]
    text = json.dumps(frame, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 5))
        text = text[:start] + draw(st.text(max_size=5)) + text[start + length :]
    return text.encode("utf-8", "replace").decode()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(texts=st.lists(damaged(), min_size=15, max_size=15))
def test_no_damage_is_too_strange(texts: list[str]) -> None:
    """Whatever a real frame becomes on its way: what comes back are frames, and the conversation goes on."""

    async def play() -> None:
        async with serving() as server, reading(address(server.port)) as reader:
            await reader.answer("Before?")
            for text in texts:
                await reader.socket.send(text)
            await reader.send(type="ping", id="the end of it")
            await reader.until(lambda frame: frame.get("id") == "the end of it" and frame["type"] == "pong")
            assert all(decode_server(data) is not None for data in reader.raw)
            if not any('"detach"' in text for text in texts):
                await reader.ask("After?", session=reader.story.session)
                await reader.until(lambda frame: frame["type"] == "question" and frame["text"] == "After?")

    asyncio.run(play())


async def test_every_frame_follows_the_schema(reader: Reader) -> None:
    """What the server publishes about its frames is what it sends, name by name."""
    await reader.answer("Why?", id="q1")
    await reader.send(type="history", id="h1")
    await reader.send(type="dance")
    await reader.send(type="ping")
    await reader.until("pong")
    definitions = schema()["$defs"]
    known = {one["properties"]["type"]["const"]: one for one in map(resolve, definitions["server"]["oneOf"])}

    for frame in reader.frames:
        definition = known[frame["type"]]
        assert set(frame) <= set(definition["properties"])
        assert set(frame) >= set(definition.get("required", ()))


def resolve(reference: Any) -> Json:
    found: Json = schema()["$defs"][reference["$ref"].rpartition("/")[2]]
    return found


# --- what costs the connection ---------------------------------------------------------------------------------------


async def test_a_binary_frame_ends_the_connection(reader: Reader) -> None:
    """1003; the session can be resumed."""
    await reader.socket.send(b'{"type":"ping"}')

    for _ in range(100):
        await reader.send(type="ping")

    assert await reader.rest(5) == 1003


async def test_a_frame_that_is_too_large_ends_the_connection() -> None:
    """1009; one that just fits is taken."""
    async with serving(max_frame="1KiB", max_question=2000) as server:
        async with reading(address(server.port)) as reader:
            frame = json.dumps({"type": "ask", "text": ""})
            await reader.ask("x" * (1024 - len(frame)))
            await reader.until("done")
            await reader.ask("x" * (1025 - len(frame)))
            assert await reader.rest(5) == 1009
        async with reading(address(server.port), reader.story) as back:
            await still_well(back)


async def test_too_many_bad_frames_end_the_connection(reader: Reader, server: Server) -> None:
    """1008: that is a client in a loop. It may come back and do better."""
    for _ in range(300):
        await reader.socket.send("?")
    assert await reader.rest(5) == 1008  # soon, with much that is unread
    assert 200 <= len(reader.frames) < 250

    async with reading(address(server.port)) as back:
        await still_well(back)


async def test_good_frames_that_are_refused_are_not_bad_frames(reader: Reader) -> None:
    """Impatience is no fault in a frame."""
    for _ in range(300):
        await reader.send(type="cancel")
    for _ in range(300):
        assert (await reader.next())["code"] == "turn_not_found"
    await still_well(reader)


async def test_a_frame_in_fragments_is_a_frame(reader: Reader) -> None:
    """Cut anywhere, within a character too, as the WebSocket protocol allows."""
    text = json.dumps({"type": "ask", "text": "Warum? 🙂"}, ensure_ascii=False)
    await reader.socket.send(list(text))
    await reader.until("done")
    assert reader.story.last.answer == "You asked: Warum? 🙂"

    await reader.socket.send([text.encode()[:-5], text.encode()[-5:]], text=True)
    await reader.until("done")
    assert reader.story.last.answer == "You asked: Warum? 🙂"


async def test_text_that_is_not_utf_8_ends_the_connection(reader: Reader) -> None:
    """1007: the WebSocket protocol itself says so."""
    await reader.socket.send(b'{"type":"ask","text":"\xff"}', text=True)

    assert await reader.rest() == 1007


# --- the address -----------------------------------------------------------------------------------------------------


async def refused(server: Server, query: str) -> tuple[str, int]:
    """The error and the close code that an address gets."""
    async with connect(f"{address(server.port)}?{query}", proxy=None) as socket:
        error = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    return error["code"], socket.close_code or 0


@pytest.mark.parametrize(
    "after", ["-1", "x", "1.5", "9" * 30, "9" * 5000, "3x", "1e3", "0x1", "1_0", " 1", "%00", "\u0661"]
)
async def test_an_after_that_is_no_place_is_refused(server: Server, after: str) -> None:
    """With the reason, before anything is made."""
    code, closed = await refused(server, f"after={quote(after, safe='%')}")

    assert (code, closed) == ("invalid_frame", 1008)
    assert server.hub.session_count == 0


@pytest.mark.parametrize("session", ["unknown", "x" * 100, "../etc", "a%0a", "%00", "%f0%9f%99%82", "$ne", "'--"])
async def test_an_unknown_session_is_told_from_a_lost_connection(server: Server, session: str) -> None:
    """An error, then 4404: the client knows that coming back will not help."""
    assert await refused(server, f"session={session}") == ("session_not_found", 4404)


async def test_what_the_address_says_besides_is_ignored(server: Server) -> None:
    """A parameter from the future, or an empty one."""
    for query in ("?flavour=mint", "?session=&after=", "?&&&", "?after=0"):
        async with reading(address(server.port) + query) as reader:
            await still_well(reader)


# --- several sessions ------------------------------------------------------------------------------------------------


async def test_with_several_sessions_a_frame_says_which(server: Server) -> None:
    """Else it is refused, and neither has changed."""
    async with reading(address(server.port)) as first, reading(address(server.port)) as second:
        await first.answer("First?")
        await second.send(type="attach", session=first.story.session)
        await second.until("done")
        for frame in (
            {"type": "ask", "text": "?"},
            {"type": "cancel"},
            {"type": "retry"},
            {"type": "history"},
            {"type": "detach"},
        ):
            await second.send(**frame)
            assert (await second.until("error"))["code"] == "invalid_frame"
        for one in (first, second):
            await one.answer(f"{one.story.session}?", session=one.story.session)


async def test_a_session_that_is_not_attached_takes_no_commands(server: Server) -> None:
    """To know its name is not enough: attach it first."""
    async with reading(address(server.port)) as first, reading(address(server.port)) as second:
        await first.answer("First?")
        for type in ("retry", "cancel", "history", "detach"):
            await second.send(type=type, session=first.story.session)
            assert (await second.until("error"))["code"] == "session_not_found"
        await second.send(type="detach")
        await second.ask("Of nobody?")
        assert (await second.until("error"))["code"] == "session_not_found"
        assert len(first.story.turns) == 1


async def test_a_session_that_is_attached_again_is_read_from_there(server: Server) -> None:
    """It is not read twice."""
    async with reading(address(server.port)) as reader:
        await reader.answer("First?")
        reader.story.head, reader.story.turns = 0, {}
        await reader.send(type="attach", session=reader.story.session, after=0)
        await reader.until("done")
        await still_well(reader)


async def test_a_connection_reads_a_hundred_sessions(server: Server) -> None:
    """And no more."""
    async with reading(address(server.port)) as reader:
        for _ in range(100):
            async with reading(address(server.port)) as other:
                await other.answer("?")
            await reader.send(type="attach", session=other.story.session, after=other.story.head)
        error = await reader.until("error")

        assert error["code"] == "invalid_frame"
        assert len([frame for frame in reader.frames if frame["type"] == "ready"]) == 100
        await reader.answer("Still?", session=reader.story.session)


async def test_a_session_larger_than_the_memory_for_sessions_can_be_resumed() -> None:
    """With no memory for those that rest, they rest in the store."""
    async with serving(memory=0) as server:
        story = Story()
        for number in range(5):
            async with reading(address(server.port), story) as reader:
                await reader.answer(f"{number}?")
