"""The command line, as people call it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from typer.testing import CliRunner

from askbot_ws import __version__, reload
from askbot_ws.cli import app
from askbot_ws.config import Settings, flag, variable
from askbot_ws.dialects.askbot.frames import schema

from .command import ASKBOT, call


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "OPENAI_"))}


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_is_there_at_once() -> None:
    """Whoever asks for help waits for no import of a server. It is processor time that is counted, not the clock."""
    times = list[float]()
    for _ in range(3):
        begun = children_worked()
        subprocess.run([sys.executable, "-c", QUIET_HELP], check=True)
        times.append(children_worked() - begun)

    assert min(times) < 0.4


def children_worked() -> float:
    """Seconds of processor time that processes had which have ended."""
    used = os.times()
    return used.children_user + used.children_system


QUIET_HELP = """
import os, sys
sys.stdout = open(os.devnull, "w")
from askbot_ws.cli import app
try:
    app(["--help"])
finally:
    late = {"openai", "uvloop", "websockets", "structlog", "askbot_ws.server", "asyncio", "rich", "prompt_toolkit"}
    assert not late & {*sys.modules}, late & {*sys.modules}
"""


def test_what_a_server_and_a_pipe_do_not_need_is_not_imported() -> None:
    """The terminal's libraries are for `askbot chat` on a terminal."""
    subprocess.run([sys.executable, "-c", LEAN], check=True)


LEAN = """
import sys
import askbot_ws.server.app, askbot_ws.terminal.asking, askbot_ws.terminal.chatting
late = {"prompt_toolkit", "markdown_it"}
assert not late & {*sys.modules}, late & {*sys.modules}
"""


def test_help_shows_every_setting() -> None:
    """Each with its flag, its name in the environment and its text; the key has no flag."""
    told = " ".join(
        CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "400"}, terminal_width=400).output.split()
    )

    for field, info in Settings.model_fields.items():
        shown = field != "openai_api_key"
        assert (f"{flag(field)} " in told) is shown
        assert (f"{info.description} [env: {variable(field)}" in told) is shown


def test_the_version_is_told() -> None:
    """By its usual flag."""
    assert CliRunner().invoke(app, ["--version"]).output == f"askbot-ws {__version__}\n"


def test_the_schema_is_printed_as_json() -> None:
    """For other programs."""
    assert json.loads(CliRunner().invoke(app, ["schema"]).output) == schema()


# --- serve -----------------------------------------------------------------------------------------------------------


async def test_a_wrong_setting_is_told_without_a_traceback(tmp_path: Path) -> None:
    """Exit code 2, and all faults, those in flags too."""
    code, out, err = await call("serve", "--port", "http", cwd=tmp_path, ASKBOT_DRAIN="soon")

    assert (code, out) == (2, "")
    assert "ASKBOT_PORT: 'http', as --port" in err
    assert "ASKBOT_DRAIN: 'soon', in the environment" in err
    assert "Traceback" not in err


async def test_a_server_starts_answers_and_ends(tmp_path: Path) -> None:
    """All of it, from the flags to SIGTERM, in a process of its own."""
    (tmp_path / "mine.py").write_text("async def answer(*_):\n    yield 'Because.'\n")
    server = await asyncio.create_subprocess_exec(
        *ASKBOT, "serve", "--store", "memory:", "--port", "0", "--upstream", "mine:answer", "--no-fsync",
        "--log-format", "json", stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=plain_environment() | {"PYTHONPATH": "."},
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            port = await listening(server)
            assert await call("ask", "Why?", "--url", f"ws://127.0.0.1:{port}") == (0, "Because.\n", "")
            server.terminate()
            await server.communicate()
    finally:
        if server.returncode is None:
            server.kill()
    assert server.returncode == 0


async def listening(server: Process) -> int:
    """The port, from the log."""
    assert server.stderr
    async for line in server.stderr:
        entry = json.loads(line)
        if entry["event"] == "listening":
            return int(entry["port"])
    raise AssertionError("the server never listened")


# --- reload ----------------------------------------------------------------------------------------------------------


def test_changes_of_files_are_seen(tmp_path: Path) -> None:
    """Sources, settings and the page; not what tools write beside them."""
    (tmp_path / "a.py").write_text("1")
    (tmp_path / ".venv").mkdir()
    before = reload.look([tmp_path])

    (tmp_path / ".venv" / "b.py").write_text("1")
    (tmp_path / "notes.txt").write_text("1")
    assert reload.look([tmp_path]) == before

    (tmp_path / ".env").write_text("ASKBOT_PORT=1")
    (tmp_path / "a.py").unlink()
    assert reload.changed(before, reload.look([tmp_path])) == [".env", "a.py"]


async def test_a_changed_file_starts_the_server_again(tmp_path: Path) -> None:
    """Ctrl-C ends both; a server that can't start waits for the change that repairs it."""
    (tmp_path / ".env").write_text("ASKBOT_PORT=wrong\n")
    process = await asyncio.create_subprocess_exec(
        *ASKBOT, "serve", "--reload", "--store", "memory:", "--upstream", "mine:answer", "--log-format", "json",
        stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=plain_environment() | {"PYTHONPATH": "."}, start_new_session=True,
    )  # fmt: skip
    assert process.stderr
    async with asyncio.timeout(20):
        assert b"a setting is wrong" in await process.stderr.readline()
        (tmp_path / "mine.py").write_text("async def answer(*_):\n    yield 'Because.'\n")
        (tmp_path / ".env").write_text("ASKBOT_PORT=0\n")
        while b"listening" not in await process.stderr.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
