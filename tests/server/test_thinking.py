"""Reasoning over real sockets: resumed, kept and told like text, and never taken for the answer."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from askbot_ws.testing import ScriptedUpstream, Step, serving
from askbot_ws.upstream import ThinkingText

from ..process import Json, Reader, Story, Told, address, askbot, eventually, reading
from ..seeds import seed

SEED = seed(1)
SCRIPT: list[Step] = [
    *(ThinkingText("Let me "), ThinkingText("see 🙂")),
    *("So", " it "),
    ThinkingText("Sure?"),
    "is é.",
]
STEPS = [
    {"type": "thinking", "text": "Let me see 🙂"},
    {"type": "text", "text": "So it "},
    {"type": "thinking", "text": "Sure?"},
    {"type": "text", "text": "is é."},
]
SLICES = ("token", "thinking")


def points(frames: list[Json]) -> list[tuple[str, str]]:
    """What stands at each position: the type, and of a slice the code point."""
    return [
        (frame["type"], point) for frame in frames for point in (frame["text"] if frame["type"] in SLICES else [""])
    ]


async def rest(port: int, session: str | None, *, after: int, head: int) -> list[Json]:
    """What a client is sent that comes back with `after`."""
    frames: list[Json] = []
    async with connect(f"{address(port)}?session={session}&after={after}", proxy=None) as socket:
        ready = json.loads(await socket.recv())
        assert (ready["from"], ready["seq"]) == (after, head)
        while after < head:
            frame = json.loads(await asyncio.wait_for(socket.recv(), 5))
            frames.append(frame)
            after = frame["seq"]
    return frames


async def history(reader: Reader) -> list[Json]:
    await reader.send(type="history", limit=50)
    turns: list[Json] = (await reader.until("history"))["turns"]
    return turns


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
async def test_whoever_comes_back_anywhere_misses_nothing(tmp_path: Path, store: str) -> None:
    """Promise 1 for every place to stop, inside reasoning and text; from the store of the next server too."""
    url = store if store == "memory:" else f"sqlite:///{tmp_path}/a.db"
    async with serving(ScriptedUpstream(SCRIPT), store=url) as server:
        async with reading(address(server.port)) as reader:
            turn = await reader.answer("Why?")
        session, head = reader.story.session, reader.story.head
        whole = points(await rest(server.port, session, after=0, head=head))
        assert turn.steps == STEPS
        assert [kind for kind, _ in whole] == (
            ["question"] + ["thinking"] * 12 + ["token"] * 6 + ["thinking"] * 5 + ["token"] * 5 + ["done"]
        )
        for after in range(head + 1):
            assert points(await rest(server.port, session, after=after, head=head)) == whole[after:]
    if store == "sqlite":
        async with serving(ScriptedUpstream(), store=url) as server:
            for after in range(head + 1):
                assert points(await rest(server.port, session, after=after, head=head)) == whole[after:]


async def test_connections_that_are_lost_in_the_middle_add_up() -> None:
    """A reader that is cut off between any two pieces goes on with the next."""
    script: list[Step] = []
    gates = [asyncio.Event() for _ in SCRIPT]
    for gate, piece in zip(gates, SCRIPT, strict=True):
        script += [piece, gate]
    story = Story()
    async with serving(ScriptedUpstream(script)) as server:
        for number, gate in enumerate(gates):
            async with reading(address(server.port), story) as reader:
                if number == 0:
                    await reader.ask("Why?")
                await reader.until(lambda frame: frame["type"] in SLICES)
                reader.cut()
            gate.set()
        async with reading(address(server.port), story) as reader:
            await reader.until("done")

    assert (story.last.steps, story.last.answer, story.last.reason) == (STEPS, "So it is é.", "stop")


async def test_history_tells_reasoning_in_its_place() -> None:
    """While the turn runs and once it has ended; a turn without reasoning has no steps."""
    held = asyncio.Event()
    upstream = ScriptedUpstream(["Plain."], [*SCRIPT[:3], held, *SCRIPT[3:]])
    async with serving(upstream) as server, reading(address(server.port)) as reader:
        await reader.answer("1?")
        await reader.ask("2?")
        await reader.until(lambda frame: frame.get("text") == "So")
        plain, running = await history(reader)
        assert "steps" not in plain
        assert (running["steps"], running["answer"]) == ([STEPS[0], {"type": "text", "text": "So"}], "So")
        held.set()
        await reader.until("done")
        _, ended = await history(reader)

    assert (ended["steps"], ended["answer"], ended["check"]["chars"]) == (STEPS, "So it is é.", 11)
    assert ended["seq"] == reader.story.head


async def test_a_page_of_history_counts_reasoning_too() -> None:
    """A frame has a size."""
    upstream = ScriptedUpstream(*[[ThinkingText("x" * 200_000), "so"]] * 4)
    async with serving(upstream) as server, reading(address(server.port)) as reader:
        for number in range(4):
            await reader.answer(f"{number}?")
        turns = await history(reader)

    assert [turn["text"] for turn in turns] == ["2?", "3?"]


async def test_a_slow_reader_gets_all_of_it_in_slices() -> None:
    """What it could not be sent is read from the log again: its kinds apart, none larger than a frame may be."""
    script: list[Step] = []
    for number in range(20):
        script += [ThinkingText(f"{number} thinks. " * 4000), f"{number} says. " * 4000]
    written = asyncio.Event()
    upstream = ScriptedUpstream([*script, written, 0.1])
    async with serving(upstream) as server, reading(address(server.port)) as reader:
        session = reader.story.session or ""
        reader.socket.transport.pause_reading()
        await reader.ask("Much?")
        await eventually(lambda: server.hub.is_busy(session))
        written.set()
        await eventually(lambda: not server.hub.is_busy(session))
        reader.socket.transport.resume_reading()
        await reader.until("done", 30)

    assert [step["text"] for step in reader.story.last.steps] == [str(piece) for piece in script]


async def test_a_server_that_stops_keeps_what_was_thought(tmp_path: Path) -> None:
    """Stopped between reasoning and text: the turn ends `interrupted` with both, and the model is shown the text."""
    url, story = f"sqlite:///{tmp_path}/a.db", Story()
    upstream = ScriptedUpstream([*SCRIPT[:3], asyncio.Event()])
    async with serving(upstream, store=url) as server, reading(address(server.port), story) as reader:
        await reader.ask("Why?")
        await reader.until(lambda frame: frame.get("text") == "So")
    upstream = ScriptedUpstream(["Well."])
    async with serving(upstream, store=url) as server, reading(address(server.port), story) as reader:
        await reader.until("done")
        told = await history(reader)
        await reader.answer("And?")

    [first, _] = story.turns.values()
    assert (first.reason, first.steps) == ("interrupted", [STEPS[0], {"type": "text", "text": "So"}])
    assert [turn["steps"] for turn in told] == [first.steps]
    assert [message.text for message in upstream.prompts[0].messages] == ["Why?", "So", "And?"]


@pytest.mark.parametrize("round", range(2))
async def test_a_kill_takes_no_thought_back(tmp_path: Path, round: int) -> None:
    """All that any client saw is there, in its order; the turn is `interrupted`, and the model is shown its text."""
    shutil.copy(Path(__file__).with_name("thinking_function.py"), tmp_path)
    flags, nowhere = ("--upstream", "thinking_function:answer"), "http://127.0.0.1:9/v1"
    stories = [Story() for _ in range(10)]
    with askbot(tmp_path, *flags, upstream=nowhere) as server:
        watching = [asyncio.create_task(_watch(server.url, story)) for story in stories]
        await eventually(lambda: all(story.turns and story.last.steps for story in stories))
        await asyncio.sleep(random.Random(SEED + round).uniform(0, 0.3))
        server.signal(signal.SIGKILL)
        await server.ended()
        await asyncio.gather(*watching)
    seen = [_text(story.last) for story in stories]

    with askbot(tmp_path, *flags, upstream=nowhere) as server:
        for story, before in zip(stories, seen, strict=True):
            first = story.last
            async with reading(server.url, story) as reader:
                if first.done is None:
                    await reader.until("done")
                [told] = await history(reader)
                shown = (await reader.answer("What was said?")).answer
            assert _text(first).startswith(before)
            assert (told["steps"], told["answer"], told["reason"]) == (first.steps, first.answer, "interrupted")
            assert shown == "|".join(filter(None, ["100000" if first.answer else "", first.answer, "What was said?"]))


async def _watch(url: str, story: Story) -> None:
    """Ask, and read until the server dies."""
    async with reading(url, story) as reader:
        await reader.ask("100000")
        await reader.rest(30)


def _text(turn: Told) -> str:
    return "".join(step["text"] for step in turn.steps)


async def test_reasoning_that_is_switched_off_is_nowhere() -> None:
    """As if the model had not thought."""
    async with serving(ScriptedUpstream(SCRIPT), thinking=False) as server, reading(address(server.port)) as reader:
        turn = await reader.answer("Why?")
        [told] = await history(reader)

    assert (turn.steps, turn.answer) == ([{"type": "text", "text": "So it is é."}], "So it is é.")
    assert "steps" not in told
    assert reader.story.head == 1 + 11 + 1
