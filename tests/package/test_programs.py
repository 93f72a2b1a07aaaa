"""The programs of the package's README and of the guide, as they stand: in Node, with the package installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import ThinkingText

from ..process import ROOT
from .npm import CLIENT, project, run

PORT = ":8765"
ANSWER = ["The capital of France ", "is Paris."]
README, GUIDE = CLIENT / "README.md", ROOT / "docs/clients-javascript.md"


def programs(page: Path, language: str = "js") -> list[str]:
    """Of a page, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


async def said(program: str, folder: Path, *scripts: Sequence[str]) -> str:
    """What a program writes, with a server where it looks for one."""
    await project(folder)
    async with serving(ScriptedUpstream(*scripts)) as server:
        assert PORT in program
        (folder / "program.mjs").write_text(program.replace(PORT, f":{server.port}"))
        return await run("node", "program.mjs", folder=folder)


def test_there_are_the_programs_that_are_tested_here_and_in_the_browser() -> None:
    """A further one wants a test."""
    kinds = ("js", "html", "jsx", "sh")
    assert [len(programs(README, kind)) for kind in kinds] == [1, 1, 1, 0]
    assert [len(programs(GUIDE, kind)) for kind in kinds] == [7, 1, 0, 0]
    assert README.read_text().count("```") == 2 * 3
    assert GUIDE.read_text().count("```") == 2 * 8


async def test_the_first_program_prints_the_answer_and_is_short(tmp_path: Path) -> None:
    """At most ten lines."""
    (program,) = programs(README)
    assert len(program.splitlines()) <= 10
    assert await said(program, tmp_path, ANSWER) == "".join(ANSWER)


async def test_the_guides_first_program_prints_the_answer_and_how_it_ended(tmp_path: Path) -> None:
    """Iterated, then awaited."""
    out = await said(programs(GUIDE)[0], tmp_path, ANSWER)
    assert re.fullmatch(r"The capital of France is Paris\.\nstop after \d+ ms\n", out)


@pytest.mark.parametrize(
    ("script", "more"), [(ANSWER, ""), ([ThinkingText("Paris?"), *ANSWER], r"It thought for \d+ ms\.\n")]
)
async def test_the_guides_program_about_thinking_prints_for_how_long(
    tmp_path: Path, script: list[str], more: str
) -> None:
    """Nothing of it where the model shows none."""
    out = await said(programs(GUIDE)[2], tmp_path, script)
    assert re.fullmatch(rf"The capital of France is Paris\.\n{more}", out)


@pytest.mark.parametrize(
    ("place", "scripts", "out"),
    [
        (1, [ANSWER, ["Rome."]], "Rome.\n"),
        (3, [], "scripted\n"),
        (4, [ANSWER, ["Rome."]], "true\n"),
        (5, [ANSWER], "Capitals\nforbidden\n"),
        (6, [ANSWER], "".join(ANSWER) + "\n"),
    ],
)
async def test_the_guides_other_programs_print_what_they_say(
    tmp_path: Path, place: int, scripts: list[list[str]], out: str
) -> None:
    """With what there is to see, once it is open, with names, and with a WebSocket of one's own."""
    assert await said(programs(GUIDE)[place], tmp_path, *scripts) == out
