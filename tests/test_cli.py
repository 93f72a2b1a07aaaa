"""The command line, as people call it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner
from watchfiles import Change

import askbot_ws
from askbot_ws import __version__, reload
from askbot_ws.cli import app
from askbot_ws.config import SECRETS, SECTIONS, Settings, env_variable, flag, section_title
from askbot_ws.dialects.askbot.frames import schema

from .command import ASKBOT, call


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "OPENAI_"))}


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_is_there_at_once() -> None:
    """Whoever asks for help waits for no import of a server. It is processor time that is counted, not the clock."""
    times = list[float]()
    for _ in range(3):
        begun = cpu_seconds_of_children()
        subprocess.run([sys.executable, "-c", QUIET_HELP], check=True)
        times.append(cpu_seconds_of_children() - begun)

    assert min(times) < 0.4


@pytest.mark.parametrize(
    ("arguments", "late"),
    [
        (["--version"], ["pydantic", "askbot_ws.config", "askbot_ws.client"]),
        (["ask", "--help"], ["askbot_ws.config", "askbot_ws.serve_commands", "askbot_ws.session_commands"]),
        (["key", "list", "--help"], ["askbot_ws.serve_commands", "askbot_ws.session_commands"]),
    ],
)
def test_a_command_does_not_wait_for_what_others_need(arguments: list[str], late: list[str]) -> None:
    """Modules of other commands are not imported."""
    run = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], capture_output=True, check=True)
    imported = {*run.stderr.decode().split()}

    assert "askbot_ws.lazy_commands" in imported
    assert not imported & {*late}


IMPORTED = """
import sys
from askbot_ws.cli import app
try:
    app()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def cpu_seconds_of_children() -> float:
    """Return the processor time of all child processes that have ended."""
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
    """The terminal's libraries are for `askbot chat` on a terminal, those of tokens for who asks for such tokens."""
    subprocess.run([sys.executable, "-c", LEAN], check=True)


LEAN = """
import sys
from askbot_ws.serve_commands import _import_structlog
_import_structlog()
import askbot_ws.server.process, askbot_ws.terminal.ask_command, askbot_ws.terminal.chat_command
late = {"rich.console", "prompt_toolkit", "markdown_it", "jwt", "cryptography", "openai"}
assert not late & {*sys.modules}, late & {*sys.modules}
"""


def test_help_shows_every_setting() -> None:
    """Each with its flag, its name in the environment and its text; the key has no flag."""
    told = " ".join(
        CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "400"}, terminal_width=400).output.split()
    )

    for field, info in Settings.model_fields.items():
        shown = field not in SECRETS
        assert (f"{flag(field)} " in told) is shown
        assert (f"{info.description} [env: {env_variable(field)}" in told) is shown


def test_the_help_of_a_server_is_in_sections_that_fit_a_terminal() -> None:
    """Each option is in one; that of its setting, in the settings' order."""
    told = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "80"}, terminal_width=80).output
    sections = dict[str, list[str]]()
    for line in told.splitlines():
        if title := re.fullmatch(r"([A-Z].*):", line):
            sections[title[1]] = []
        elif option := re.match(r"  (?:-h, )?(--[a-z-]+)", line):
            [*sections.values()][-1].append(option[1])

    assert max(map(len, told.splitlines())) <= 80
    assert sections.pop("Options") == ["--reload", "--help"]
    assert [*sections] == [*SECTIONS.values()]
    shown = [field for field in Settings.model_fields if field not in SECRETS]
    assert [(title, name) for title, names in sections.items() for name in names] == [
        (section_title(field), flag(field)) for field in shown
    ]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["serve", "--prot", "1"], "No such option: --prot. Did you mean --port or"),
        (["serve", "--no-fsnyc"], "Did you mean --no-fsync or --fsync?"),
        (["ask", "--modle", "x", "?"], "Did you mean --model?"),
        (["--port", "1"], "It is an option of `askbot serve` or `askbot check`, and stands behind that."),
        (["--url=ws://a", "ask"], "It is an option of `askbot ask`"),
        (["serve", "--openai-api-key=sk-secret"], "set OPENAI_API_KEY."),
        (["sevre"], "Did you mean 'serve'"),
        (["store", "chekc"], "Did you mean 'check'?"),
    ],
)
def test_a_command_line_that_is_wrong_is_told_what_may_be_meant(arguments: list[str], hint: str) -> None:
    """Commands and options, of subcommands too."""
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, hint in result.output, "secret" in result.output) == (2, True, False), result.output


@pytest.mark.parametrize("written", ["soon", "", "-1", "nan"])
def test_a_time_limit_that_is_none_is_told_in_our_words(written: str) -> None:
    """In a sentence of its own, as for settings."""
    result = CliRunner().invoke(app, ["ask", "--timeout", written, "Why?"])
    assert result.exit_code == 2
    assert "Invalid value for --timeout: it has to be a number of seconds, 0 or more" in result.output


def test_the_version_is_told() -> None:
    """By its usual flag."""
    assert CliRunner().invoke(app, ["--version"]).output == f"askbot-ws {__version__}\n"


def test_the_package_can_be_run_as_a_module() -> None:
    """`python -m askbot_ws` is `askbot`."""
    command = [sys.executable, "-m", "askbot_ws", "--version"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == f"askbot-ws {__version__}\n"


def test_the_schema_is_printed_as_json() -> None:
    """For other programs."""
    assert json.loads(CliRunner().invoke(app, ["schema"]).output) == schema()


# --- serve -----------------------------------------------------------------------------------------------------------


async def test_a_wrong_setting_is_told_without_a_traceback(tmp_path: Path) -> None:
    """Exit code 2, and all faults, those in flags too."""
    code, out, err = await call("serve", "--port", "http", cwd=tmp_path, ASKBOT_DRAIN="soon")

    assert (code, out) == (2, "")
    assert "--port: 'http', on the command line: it should be a whole number" in err
    assert "ASKBOT_DRAIN: 'soon', in the environment" in err
    assert "Traceback" not in err


async def test_a_server_starts_answers_and_ends(tmp_path: Path) -> None:
    """All of it, from the flags to SIGTERM, in a process of its own."""
    async with answering(tmp_path, "async def answer(*_):\n    yield 'Because.'\n") as (server, url):
        assert await call("ask", "Why?", "--url", url) == (0, "Because.\n", "")
        server.terminate()
        await server.communicate()
    assert server.returncode == 0


async def test_a_function_of_the_users_has_all_of_structlog_and_pydantic(tmp_path: Path) -> None:
    """What the server does without, to start sooner: rich's tracebacks, and plug-ins."""
    async with answering(tmp_path, DEMANDING) as (_, url):
        assert await call("ask", "Why?", "--url", url) == (0, "True None\n", "")


DEMANDING = """
import io, os, structlog
async def answer(*_):
    drawn = io.StringIO()
    try:
        1 / 0
    except ZeroDivisionError as error:
        structlog.dev.rich_traceback(drawn, (type(error), error, error.__traceback__))
    yield f"{'ZeroDivisionError' in drawn.getvalue()} {os.environ.get('PYDANTIC_DISABLE_PLUGINS')}"
"""


@asynccontextmanager
async def answering(folder: Path, module: str) -> AsyncGenerator[tuple[Process, str]]:
    """A server whose upstream is the function `answer` of this module, and its URL."""
    (folder / "mine.py").write_text(module)
    environ = plain_environment() | {"PYTHONPATH": "."}
    environ.pop("PYDANTIC_DISABLE_PLUGINS", None)  # as commands that were called in this process leave it
    server = await asyncio.create_subprocess_exec(
        *ASKBOT, "serve", "--store", "memory:", "--port", "0", "--upstream", "mine:answer", "--no-fsync",
        "--log-format", "json", stdout=PIPE, stderr=PIPE, cwd=folder, env=environ,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            yield server, f"ws://127.0.0.1:{await listening(server)}"
    finally:
        if server.returncode is None:
            server.kill()
            await server.communicate()


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("[::1]", "[::1]"), ("localhost", "localhost")]
)
async def test_the_address_of_a_server_can_be_opened(host: str, address: str) -> None:
    """Also where it listens on all addresses, and on a port that was free."""

    async def answer(*_: object) -> AsyncIterator[str]:
        yield "Because."

    async with askbot_ws.serve(answer, host=host, allow_anonymous=True, port=0, store="memory:") as server:
        assert server.url == f"ws://{address}:{server.port}/v1/chat"
        async with askbot_ws.connect(server.url) as chat:
            assert (await chat.ask("Why?")).text == "Because."


async def listening(server: Process) -> int:
    """The port, from the log."""
    assert server.stderr
    async for line in server.stderr:
        entry = json.loads(line)
        if entry["event"] == "server_started":
            return int(entry["port"])
    raise AssertionError("the server never listened")


# --- reload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.py", "askbot.toml", ".env", "page/index.html", "page/a.css", "page/a.js"])
def test_changes_of_sources_settings_and_the_page_are_seen(name: str) -> None:
    """Whatever the change is."""
    assert all(reload.WATCHED(change, f"/home/me/project/{name}") for change in Change)


@pytest.mark.parametrize(
    "name", ["notes.txt", "a.pyc", ".venv/b.py", ".git/b.toml", "node_modules/a/b.js", ".a.py.swp"]
)
def test_what_tools_write_is_no_change(name: str) -> None:
    """Beside the sources."""
    assert not any(reload.WATCHED(change, f"/home/me/project/{name}") for change in Change)


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
        while b"server_started" not in await process.stderr.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


async def test_sigterm_ends_the_server_too(tmp_path: Path) -> None:
    """As a supervisor ends them; 143, as after a signal."""
    (tmp_path / "mine.py").write_text("async def answer(*_):\n    yield 'Because.'\n")
    process = await asyncio.create_subprocess_exec(
        *ASKBOT, "serve", "--reload", "--store", "memory:", "--port", "0", "--upstream", "mine:answer",
        "--log-format", "json", stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=plain_environment() | {"PYTHONPATH": "."},
    )  # fmt: skip
    async with asyncio.timeout(20):
        port = await listening(process)
        process.terminate()
        await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2"])
def test_a_signal_for_a_server_does_not_end_one_that_starts(name: str) -> None:
    """Nor, as SIGUSR2 asks for a rolling restart, one without workers."""
    program = f"""
import sys
sys.argv = ["askbot", "serve"]
import askbot_ws.cli, os, signal
os.kill(os.getpid(), signal.{name})
"""

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
