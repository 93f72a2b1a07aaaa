"""docs/protocol.md is true: its frames are the server's, its dialogues are played against it, and its program runs."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from askbot_ws.dialects.askbot.frames import ClientFrame, ServerFrame, fields_of, type_of
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from .browser.breakable_proxy import BreakableProxy
from .process import ROOT, Json, address, environment
from .test_wire import Player

PAGE = (ROOT / "docs/protocol.md").read_text("utf-8")
PARTS = [ROOT / "src/askbot_ws" / name for name in ("server", "dialects", "dialects/askbot")]
LEFT_OUT = "…"


def blocks(language: str) -> list[str]:
    """The code blocks in a language, as they stand."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def objects(text: str) -> Iterator[Json]:
    """A dialogue as it is on a page, where one object may take several lines."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        line, end = decoder.raw_decode(rest)
        yield line
        rest = rest[end:].strip()


DIALOGUES = [list(objects(block)) for block in blocks("dialogue")]
(PROGRAM,) = blocks("python")


class Teacher(Player):
    """Plays what a page shows: fields may be left out, and the server may drain."""

    server: Server
    draining: asyncio.Task[None] | None = None

    async def play(self, line: Json) -> None:
        match line:
            case {"settings": _}:
                pass
            case {"drain": _}:
                self.draining = asyncio.create_task(self.server.drain())
            case _:
                await super().play(line)

    def same(self, wanted: Any, told: Any, name: str = "") -> bool:
        if isinstance(wanted, dict) and isinstance(told, dict) and LEFT_OUT in wanted:
            shown = {key: value for key, value in cast(Json, wanted).items() if key != LEFT_OUT}
            return super().same(shown, {key: value for key, value in cast(Json, told).items() if key in shown}, name)
        return super().same(wanted, told, name)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=range(len(DIALOGUES)))
async def test_a_dialogue_on_the_page_is_played_as_it_is_written(dialogue: list[Json]) -> None:
    """Frame by frame, and nothing in between."""
    settings: Json = {}
    for line in dialogue:
        settings |= line.get("settings", {})
    upstream = ScriptedUpstream()
    async with serving(upstream, **settings) as server:
        teacher = Teacher(address(server.port), upstream)
        teacher.server = server
        await teacher.play_all(dialogue)
        if teacher.draining:
            await teacher.draining

    assert not upstream.scripts, "every answer was asked for"


def test_the_page_begins_with_the_promises() -> None:
    """Numbered from 1, as code and tests refer to them."""
    section = PAGE.split("\n## ")[1]
    numbers = re.findall(r"^(\d+)\. \*\*", section, flags=re.MULTILINE)

    assert section.startswith("The promises\n")
    assert [*map(int, numbers)] == [*range(1, len(numbers) + 1)]
    assert len(numbers) >= 3


@pytest.mark.parametrize(("side", "union"), [(0, ServerFrame), (1, ClientFrame)], ids=["server", "client"])
def test_the_page_lists_every_frame_with_all_its_fields(side: int, union: Any) -> None:
    """And no other; which of them may be left out, tests/test_frames.py holds to the code."""
    section = PAGE.split("\n## All frames\n")[1].split("\n## ")[0]
    table = section.split("\nFrom clients;")[side]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", table, flags=re.MULTILINE))

    assert set(rows) == {type_of(model) for model in union.__args__}
    for model in union.__args__:
        common = {"type", "id"} if side else {"type"}
        fields = {field.alias or name for name, field in fields_of(model).items()} - common
        assert fields <= set(re.findall(r"`(\w+)`", rows[type_of(model)])), model


def test_the_page_shows_every_close_code_that_the_server_sends() -> None:
    """Whoever writes a client decides for each whether to come back."""
    sent = set[str]()
    for path in [path for part in PARTS for path in part.glob("*.py")]:
        sent |= set(re.findall(r"close(?:_or_abort)?\([^)]*?\b(\d{4})\b", path.read_text()))
    told = set(re.findall(r"^\| (\d{4}) \|", PAGE, flags=re.MULTILINE))

    assert {"1012", "4404", "4408"} <= sent
    assert sent - {"1011"} <= told, "1011 is a fault of ours: the line broke"


# --- the program -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def program(folder: Path, port: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    """It asks a question."""
    (folder / "client.py").write_text(PROGRAM)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "client.py", address(port), "Why is the sky blue?",
        stdout=PIPE, stderr=PIPE, cwd=folder, env=environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdout
    async with asyncio.timeout(20):
        assert (await process.stdout.readexactly(len(text))).decode() == text


def test_the_program_is_a_page_long() -> None:
    """An afternoon's work."""
    assert len(PROGRAM.splitlines()) <= 60


async def test_the_program_prints_an_answer_over_several_connections(tmp_path: Path) -> None:
    """Each is lost in the middle of a sentence, and no letter is lost or printed twice."""
    first, second = asyncio.Event(), asyncio.Event()
    upstream = ScriptedUpstream(["Because of ", first, "Ray", second, "leigh scattering."])
    async with (
        serving(upstream) as server,
        BreakableProxy.start(server.port) as proxy,
        program(tmp_path, proxy.port) as process,
    ):
        await read(process, "Because of ")
        proxy.cut()
        first.set()
        await read(process, "Ray")
        proxy.cut()
        second.set()
        await read(process, "leigh scattering.")
        assert await asyncio.wait_for(process.wait(), 20) == 0

    assert len(upstream.prompts) == 1, "it was asked once"


async def test_the_program_tells_an_answer_that_is_not_whole(tmp_path: Path) -> None:
    """By its exit code."""
    never = asyncio.Event()
    async with serving(ScriptedUpstream(["Because of ", never])) as server, program(tmp_path, server.port) as process:
        await read(process, "Because of ")
        await server.hub.stop()
        assert await asyncio.wait_for(process.wait(), 20) == 1
        assert process.stderr
        assert (await process.stderr.read()).decode().strip() == "interrupted"


async def test_the_program_tells_why_its_question_was_not_taken(tmp_path: Path) -> None:
    """In the server's words."""
    async with serving(max_question=5) as server, program(tmp_path, server.port) as process:
        assert await asyncio.wait_for(process.wait(), 20) == 1
        assert process.stderr
        assert (await process.stderr.read()).decode() == "The question has 20 characters; 5 are the most.\n"
