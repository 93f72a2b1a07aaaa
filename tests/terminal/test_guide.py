"""What docs/terminal.md says is true."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from askbot_ws.terminal.commands import COMMANDS
from askbot_ws.testing import ScriptedUpstream, serving

from ..command import call

GUIDE = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()
BIN = Path(sys.executable).parent

# A server of the test's own, and stand-ins for what a machine may lack.
STAGE = f"""
set -o pipefail
askbot() {{ if [ $1 = ask ]; then {BIN}/askbot "$@" --url $URL; else {BIN}/askbot "$@" $URL; fi; }}
git() {{ echo changed; }}
jq() {{ {BIN}/python -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[2][1:]])' "$@"; }}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("script", blocks("sh"))
async def test_its_commands_run(script: str, tmp_path: Path) -> None:
    """As they stand, each to a good end."""
    (tmp_path / "notes.txt").write_text("So.")
    (tmp_path / "token.txt").write_text("a-key\n")
    upstream = ScriptedUpstream(model="gpt-5-mini")
    async with serving(upstream) as server:
        process = await asyncio.create_subprocess_exec(
            "bash", "-ec", STAGE + script, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, cwd=tmp_path,
            env=os.environ | {"URL": f"ws://127.0.0.1:{server.port}"},
        )  # fmt: skip
        _, err = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 0, err.decode()
    assert len(upstream.prompts) == script.count("askbot ask") + 2 * script.count("askbot chat")


async def test_its_object_has_the_fields_that_there_are() -> None:
    """In their order."""
    (example,) = blocks("json")
    async with serving() as server:
        _, out, _ = await call("ask", "Why?", "--json", "--url", f"ws://127.0.0.1:{server.port}")

    assert [*json.loads(out)] == [*json.loads(example)]


def test_its_commands_are_those_of_the_help() -> None:
    """Names, arguments and words."""
    told = re.findall(r"^\| `/(\w+)(?: (\[\w+\]))?` \| (.*) \|$", GUIDE, flags=re.MULTILINE)

    assert told == [(name, argument, text) for name, (argument, text) in COMMANDS.items()]
