"""The command line, as people call it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from typer.testing import CliRunner

from askbot_ws import __version__, reload
from askbot_ws.cli import app
from askbot_ws.config import Settings, flag, variable
from askbot_ws.errors import ContextTooLong
from askbot_ws.frames import schema
from askbot_ws.terminal import plain
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

ASKBOT = [sys.executable, "-m", "askbot_ws.cli"]


async def call(
    *arguments: str, stdin: str | None = None, cwd: Path | None = None, **environ: str
) -> tuple[int, str, str]:
    """Run `askbot` with these; returns the exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *ASKBOT, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=cwd, env=os.environ | environ
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode() if stdin is not None else b""), 20)
    return process.returncode or 0, out.decode(), err.decode()


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "OPENAI_"))}


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_is_there_at_once() -> None:
    """Whoever asks for help waits for no import of a server."""
    times = list[float]()
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", QUIET_HELP], check=True)
        times.append(time.perf_counter() - begun)

    assert min(times) < 0.4


QUIET_HELP = """
import os, sys
sys.stdout = open(os.devnull, "w")
from askbot_ws.cli import app
try:
    app(["--help"])
finally:
    late = {"openai", "uvloop", "websockets", "structlog", "askbot_ws.server", "asyncio"}
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


# --- ask -------------------------------------------------------------------------------------------------------------


async def test_an_answer_goes_to_stdout() -> None:
    """And nothing else; 0 says that it is complete."""
    async with serving(ScriptedUpstream(["Be", "cause."])) as server:
        assert await call("ask", "Why?", "--url", f"ws://127.0.0.1:{server.port}") == (0, "Because.\n", "")


async def test_what_is_piped_in_is_the_question_or_follows_it() -> None:
    """`git diff | askbot ask "What changed?"`."""
    upstream = ScriptedUpstream(["One."], ["Two."])
    async with serving(upstream) as server:
        url = f"ws://127.0.0.1:{server.port}"
        assert (await call("ask", "--url", url, stdin="Why?\n"))[0] == 0
        assert (await call("ask", "What changed?", "--url", url, stdin="+ a line\n"))[0] == 0

    assert [prompt.messages[-1].text.strip() for prompt in upstream.prompts] == ["Why?", "What changed?\n\n+ a line"]


async def test_an_answer_that_is_not_complete_is_told_by_the_exit_code() -> None:
    """The text so far is on stdout all the same, the reason on stderr."""
    upstream = ScriptedUpstream(["So", Ending("length")], ["So ", ContextTooLong()], ["So", 60.0])
    async with serving(upstream) as server:
        url = f"ws://127.0.0.1:{server.port}"
        assert await call("ask", "1?", "--url", url) == (1, "So\n", "askbot: the answer is longer than it may be\n")
        code, out, err = await call("ask", "2?", "--url", url)
        assert (code, out) == (1, "So \n")
        assert err == f"askbot: {ContextTooLong.default}\n"
        code, out, err = await call("ask", "3?", "--url", url, "--timeout", "0.5")
        assert (code, out, err) == (1, "So\n", "askbot: no complete answer within 0.5 s\n")
        assert (await call("ask", " x " * 5000, "--url", url))[2].startswith("askbot: The question")

    assert upstream.stopped == 1


async def test_no_server_is_told_at_once() -> None:
    """In words."""
    code, out, err = await call("ask", "Why?", "--url", "ws://127.0.0.1:1")

    assert (code, out) == (1, "")
    assert err.startswith("askbot: There is no answer from ws://127.0.0.1:1")


async def test_an_empty_question_is_not_asked() -> None:
    """That is a fault in the command line."""
    assert (await call("ask", stdin=" \n"))[0] == 2


async def test_ctrl_c_stops_the_answer_at_the_server_too() -> None:
    """The provider stops generating for nobody."""
    upstream = ScriptedUpstream(["So", 60.0])
    async with serving(upstream) as server:
        process = await asyncio.create_subprocess_exec(
            *ASKBOT, "ask", "Why?", "--url", f"ws://127.0.0.1:{server.port}", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stdout
        assert process.stdin
        process.stdin.close()
        assert await asyncio.wait_for(process.stdout.read(2), 10) == b"So"
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 10)

    assert process.returncode == 130
    assert upstream.stopped == 1


# --- chat ------------------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal with `askbot chat` in it."""

    def __init__(self) -> None:
        self.seen = ""

    async def open(self, url: str) -> None:
        """Start it."""
        self.master, slave = pty.openpty()
        self.process = await asyncio.create_subprocess_exec(
            *ASKBOT, "chat", url, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def _read(self) -> None:
        try:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self.master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C; without a controlling terminal the keyboard's way is not there."""
        self.process.send_signal(signal.SIGINT)

    async def sees(self, text: str) -> None:
        """Wait until this is on the screen, and forget what was up to there."""
        async with asyncio.timeout(10):
            while text not in self.seen:  # noqa: ASYNC110 - a screen has no events
                await asyncio.sleep(0.01)
        self.seen = self.seen.partition(text)[2]

    async def close(self) -> int:
        """The exit code."""
        try:
            return await asyncio.wait_for(self.process.wait(), 10)
        finally:
            asyncio.get_running_loop().remove_reader(self.master)
            os.close(self.master)


async def test_a_conversation_in_the_terminal() -> None:
    """Ask, stop, ask again, begin anew, leave."""
    upstream = ScriptedUpstream(["Wait", 60.0], ["Be", "cause."], ["Third."])
    terminal = Terminal()
    async with serving(upstream) as server:
        await terminal.open(f"ws://127.0.0.1:{server.port}")
        await terminal.sees("scripted")
        terminal.type("Why?\n")
        await terminal.sees("Wait")
        terminal.interrupt()
        await terminal.sees("(the answer was stopped)")
        terminal.type("/retry\n")
        await terminal.sees("Because.")
        terminal.type("/new\n")
        await terminal.sees("scripted")
        terminal.type("And ✨?\n")
        await terminal.sees("Third.")
        await terminal.sees("> ")
        terminal.interrupt()
        assert await terminal.close() == 0

    assert upstream.stopped == 1
    assert [message.text for message in upstream.prompts[-1].messages if message.role == "user"] == ["And ✨?"]


async def test_end_of_input_and_quit_leave_the_conversation() -> None:
    """As Ctrl-C at the prompt does."""
    async with serving() as server:
        for keys in ("\x04", "/quit\n", "/help\n\n/exit\n"):
            terminal = Terminal()
            await terminal.open(f"ws://127.0.0.1:{server.port}")
            await terminal.sees("> ")
            terminal.type(keys)
            assert await terminal.close() == 0


async def test_a_conversation_can_be_piped_in() -> None:
    """A line is a question."""
    async with serving() as server:
        code, out, _ = await call("chat", f"ws://127.0.0.1:{server.port}", stdin="One?\nTwo?\n")

    assert code == 0
    assert "You asked: One?" in out
    assert "You asked: Two?" in out


def test_answers_do_not_steer_the_terminal() -> None:
    """They come from a model, and what that has read, nobody knows."""
    assert plain("\x1b]0;title\x07a\tb\nc\r\x9b2J") == "]0;titlea\tb\nc2J"


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
