"""docs/clients-python.md and examples/: the programs run as they stand."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import jwt
import pytest

from askbot_ws.testing import ScriptedUpstream, serving

from ..process import ROOT, environment

GUIDE = (ROOT / "docs/clients-python.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)
PORT = ":8765"
SECRET = "a secret of at least thirty-two bytes"


async def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> str:
    """Run a Python program to its end, which is a good one; returns what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *arguments, stdout=PIPE, stderr=PIPE, env=environment(**environ), cwd=cwd
    )
    async with asyncio.timeout(60):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert not errors
    return out.decode()


ANSWERS = {
    "the first one": ("Paris.", "Paris."),
    "without asyncio": ("Paris.", "Paris.\nYou asked: And of Italy? (stop, after 0.0 s)\n"),
    "thinking": ("Paris.", "Paris. None\n"),
    "leaving": ("One, ", "One, \nYou asked: What is the capital of France?\n"),
    "coming back": (
        "Paris.",
        (
            "connecting\nopen\nWhat is the capital of Italy? You asked: What is the capital of Italy?\n"
            "2 turns in the log\nclosed\n"
        ),
    ),
    "titles": ("Paris.", "Capitals 1 False\n1 None\n"),
    "several sessions": ("Paris.", "['You asked: Of Italy?', 'You asked: And of Spain?']\n"),
    "a fork": ("Paris.", "['You asked: And of Italy?', 'You asked: How many people live there?']\n"),
    "errors": ("Nothing.", "question_empty The question is empty.\n"),
    "tokens": ("Paris.", "alice Paris.\n"),
}


@pytest.mark.parametrize(("program", "name"), list(zip(PROGRAMS, ANSWERS, strict=True)), ids=ANSWERS)
async def test_the_programs_of_the_guide_print_what_they_should(program: str, name: str) -> None:
    """All of them, in their order; the first ones are the first that somebody writes."""
    said, printed = ANSWERS[name]
    token = jwt.encode({"sub": "alice", "exp": time.time() + 600}, SECRET)
    async with serving(ScriptedUpstream([said]), jwt_secret=SECRET, allow_anonymous=True) as server:
        assert PORT in program
        assert await run("-c", program.replace(PORT, f":{server.port}"), ASKBOT_TOKEN=token) == printed


def test_a_first_program_takes_ten_lines() -> None:
    """At most."""
    assert [len(program.strip().splitlines()) <= 10 for program in PROGRAMS[:2]] == [True, True]


async def test_two_sessions_argue() -> None:
    """examples/two_sessions.py: each is told what the other one said."""
    upstream = ScriptedUpstream(["Tea."], ["Coffee."], ["Tea!"])
    async with serving(upstream) as server:
        url = f"ws://127.0.0.1:{server.port}/v1/chat"
        out = await run("examples/two_sessions.py", "Tea or coffee?", "--url", url, "--rounds", "2")

    assert re.fullmatch(r"\none: Coffee.\nother: Tea!\n\n\S+ \S+\n", out)
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == [
        "In one sentence: Tea or coffee?",
        "Answer in one sentence: Tea.",
        "Answer in one sentence: Coffee.",
    ]


async def test_the_load_script_proves_all_answers() -> None:
    """examples/load.py, with a server of its own."""
    out = await run("examples/load.py", "--sessions", "200", "--rate", "400", "--words", "5")

    assert re.search(r"^answers proven +200 in ", out, flags=re.MULTILINE)
    assert re.search(r"^errors +none$", out, flags=re.MULTILINE)


async def test_the_load_script_takes_a_server_too() -> None:
    """Whatever answers there, the proofs are right."""
    async with serving() as server:
        url = f"ws://127.0.0.1:{server.port}/v1/chat"
        out = await run("examples/load.py", "--sessions", "20", "--url", url)

    assert re.search(r"^answers proven +20 in ", out, flags=re.MULTILINE)


async def test_the_load_script_says_when_it_may_not_open_so_many_files() -> None:
    """Rather than fail in the middle."""
    command = f"ulimit -n 256 && exec {sys.executable} examples/load.py --sessions 200"
    process = await asyncio.create_subprocess_exec("bash", "-c", command, stderr=PIPE, cwd=ROOT)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"200 sessions need 300 open files, and this process may have 256" in errors
