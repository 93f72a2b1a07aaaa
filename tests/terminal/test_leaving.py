"""How `askbot chat` and `askbot ask` end: by signals, whatever they wait for, and what becomes of what was typed."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import termios
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from askbot_ws.errors import AskbotError
from askbot_ws.terminal import ask_command
from askbot_ws.terminal.ask_command import AskOptions
from askbot_ws.terminal.output import ExitCode
from askbot_ws.testing import ScriptedUpstream, serving

from ..client.test_chat import ANSWER, running
from ..client.test_chat import Server as Liar
from ..command import ASKBOT, call, variables
from .tty import CTRL_C, CTRL_D, ENTER, terminal

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
SIGNALS = [*CODES]
AT_ONCE = 3.0  # a second, and what a busy machine adds


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}"


@pytest.fixture(autouse=True)
def hangups_end_what_is_started() -> Iterator[None]:
    """Under nohup too, which lets programs ignore them: that is inherited by what is started, a handler is not."""
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGHUP, before)


@asynccontextmanager
async def command(*arguments: str, stdin: int = PIPE, stdout: int | IO[bytes] = PIPE) -> AsyncGenerator[Process]:
    """`askbot` with pipes that stay open."""
    process = await asyncio.create_subprocess_exec(
        *ASKBOT, *arguments, stdin=stdin, stdout=stdout, stderr=PIPE, env=variables()
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def write(process: Process, text: str) -> None:
    assert process.stdin
    process.stdin.write(text.encode())
    await process.stdin.drain()


async def said(stream: asyncio.StreamReader | None, text: str) -> str:
    """Wait for a text; returns all up to it."""
    assert stream
    found = b""
    async with asyncio.timeout(10):
        while text.encode() not in found:
            more = await stream.read(1000)
            assert more, f"no {text} in {found!r}"
            found += more
    return found.decode()


async def signalled(process: Process, *numbers: int) -> tuple[int, str, str]:
    """Send signals; it has to end at once. Returns the exit code, and what it wrote."""
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
    async with asyncio.timeout(10):
        code = await process.wait()
    assert time.monotonic() - began < AT_ONCE
    out, err = [(await stream.read()).decode() if stream else "" for stream in (process.stdout, process.stderr)]
    return code, out, err


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_conversation_on_a_pipe_that_stays_open_ends_by_a_signal(number: int) -> None:
    """While it waits for a question; the socket is closed in order."""
    async with running(server := Liar()), command("chat", server.url) as process:
        await said(process.stdout, "> ")
        code, _, err = await signalled(process, number)
        await asyncio.wait_for(server.sockets[0].wait_closed(), 5)

    assert code == CODES[signal.Signals(number)]
    assert "Traceback" not in err
    assert server.sockets[0].close_code == 1000


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["one", "two"])
async def test_an_answer_is_stopped_by_a_signal(numbers: Sequence[int]) -> None:
    """At the server too; `timeout` sends two at once."""
    upstream = ScriptedUpstream(["Wait", 60.0])
    async with serving(upstream) as server, command("chat", url_of(server)) as process:
        await write(process, "Why?\n")
        await said(process.stdout, "Wait")
        code, _, err = await signalled(process, *numbers)

    assert (code, upstream.stopped) == (CODES[signal.Signals(numbers[0])], 1)
    assert "Why?" not in err


@pytest.mark.parametrize("arguments", [["chat"], ["ask", "Why?", "--url"]], ids=["chat", "ask"])
async def test_a_server_that_accepts_and_says_nothing_is_left_at_once(arguments: list[str]) -> None:
    """Before the first connection is there."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        async with command(*arguments, url, stdin=DEVNULL) as process:
            accepted, _ = await asyncio.to_thread(silent.accept)
            with accepted:
                code, _, err = await signalled(process, signal.SIGTERM)

    assert (code, err) == (143, "")


def _unread(pipe: int) -> int:
    """How many bytes are in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_output_that_nobody_reads_does_not_keep_it() -> None:
    """A pipe that is full stops everything but the end."""
    reading, writing = os.pipe()
    async with (
        serving(ScriptedUpstream(["x" * 1_000_000])) as server,
        command("chat", url_of(server), stdout=writing) as process,
    ):
        os.close(writing)
        await write(process, "Why?\n")
        async with asyncio.timeout(10):
            while _unread(reading) < 32_768:  # noqa: ASYNC110 - half of what a pipe holds
                await asyncio.sleep(0.01)
        code, _, _ = await signalled(process, signal.SIGTERM)
    os.close(reading)

    assert code == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_answer_of_ask(number: int) -> None:
    """What there is of it is on stdout."""
    upstream = ScriptedUpstream(["So", 60.0])
    async with (
        serving(upstream) as server,
        command("ask", "Why?", "--url", url_of(server), stdin=DEVNULL) as process,
    ):
        out = await said(process.stdout, "So")
        code, rest, err = await signalled(process, number)

    assert (code, out + rest, err) == (CODES[signal.Signals(number)], "So\n", "")
    assert upstream.stopped == 1


async def test_a_terminal_that_hangs_up_stops_the_answer(tmp_path: Path) -> None:
    """Nothing can be written to it any more."""
    upstream = ScriptedUpstream(["Wait", 60.0])
    async with serving(upstream) as server:
        async with terminal("chat", url_of(server), folder=tmp_path) as shown:
            await shown.prompts()
            shown.type("Why?", ENTER)
            await shown.shows("Wait")
            shown.hang_up()
            assert await asyncio.wait_for(shown.process.wait(), AT_ONCE) == 0
        assert upstream.stopped == 1


async def test_stdin_that_is_closed_or_a_file_has_an_end(tmp_path: Path) -> None:
    """So has /dev/null; stdout that is closed is one that nobody reads."""
    file = tmp_path / "questions"
    file.write_text("One?\nTwo?")
    async with serving() as server:
        for redirected, code, answers in (
            (f"<{file}", 0, 2),
            ("</dev/null", 0, 0),
            ("<&-", 0, 0),
            (f"<{file} >&-", 141, 0),
        ):
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", f'exec "$@" {redirected}', "sh", *ASKBOT, "chat", url_of(server),
                stdout=PIPE, stderr=PIPE, env=variables(),
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), 10)
            assert (process.returncode, out.count(b"You asked")) == (code, answers), err
            assert b"Traceback" not in err


async def test_output_that_cannot_be_written_is_told() -> None:
    """A full disk, for one."""
    async with serving() as server:
        with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - it is no file
            async with command("ask", "Why?", "--url", url_of(server), stdin=DEVNULL, stdout=full) as process:
                _, err = await asyncio.wait_for(process.communicate(), 10)

    assert process.returncode == 1
    assert err == b"askbot: the output can't be written: No space left on device\n"


async def test_messages_that_nobody_reads_end_it_quietly_too() -> None:
    """As behind `2>&1 | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *ASKBOT,
        "ask",
        "Why?",
        "--url",
        "ws://127.0.0.1:1",
        stdin=DEVNULL,
        stdout=writing,
        stderr=writing,
        env=variables(),
    )
    os.close(writing)
    assert await asyncio.wait_for(process.wait(), 10) == 141


async def test_an_answer_is_written_to_a_stdout_that_lacks_characters() -> None:
    """With question marks for those, and a word about them."""
    async with serving(ScriptedUpstream(["a ✨"])) as server:
        code, out, err = await call("ask", "Why?", "--url", url_of(server), PYTHONIOENCODING="latin-1")
    assert (code, out) == (0, "a ??\n")
    assert err.startswith("askbot: Some characters don't exist in the encoding latin-1")


# --- a server that is away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "server", [Liar(closes=[0, *[1013] * 100], cuts=[3]), Liar(cuts=[1] * 100)], ids=["away", "dying"]
)
async def test_ask_gives_up_a_server_that_stays_away(
    server: Liar, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so; one that comes back only to go again is away too."""
    monkeypatch.setattr(ask_command, "AWAY_SECONDS", 0.3)
    async with running(server):
        options = AskOptions(("Why?",), server.url)
        code = await asyncio.wait_for(ask_command.ask(options, timeout=None, as_json=True), 10)

    out, err = capsys.readouterr()
    assert (code, json.loads(out)["error"]["code"]) == (3, "closed")
    assert "askbot: The server was away for 0.3 s." in err


def test_a_server_that_does_not_answer_in_time_is_one_that_cannot_be_reached() -> None:
    """The client's own time limit, not `--timeout`."""
    error = AskbotError("There was no answer.")
    setattr(error, "code", "timeout")  # noqa: B010 - a class would count as one of the wire's
    assert ExitCode.from_error(error) is ExitCode.UNREACHABLE


async def test_an_answer_that_takes_long_is_no_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for as long as there is a connection."""
    monkeypatch.setattr(ask_command, "AWAY_SECONDS", 0.3)
    more = asyncio.Event()
    async with serving(ScriptedUpstream(["One", more])) as server:
        asking = asyncio.create_task(ask_command.ask(AskOptions(("?",), url_of(server)), timeout=None, as_json=False))
        await asyncio.sleep(0.5)
        more.set()
        assert await asyncio.wait_for(asking, 5) == 0


# --- what was typed --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lost() -> AsyncGenerator[tuple[Liar, Process]]:
    """A conversation whose server has gone."""
    async with running(server := Liar()), command("chat", server.url) as process:
        await said(process.stdout, "> ")
        server.closes = [1013] * 1000
        server.sockets[0].transport.abort()
        yield server, process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_question_that_was_not_sent_is_given_back(number: int) -> None:
    """And what was typed after it, all in full, where it can be copied."""
    async with lost() as (_, process):
        await write(process, "Why, for a reason that takes long to tell?\nAnd then?\n/new\n")
        await asyncio.sleep(0.3)
        _, out, err = await signalled(process, number)

    assert "asked:)\n" in err
    assert "\nWhy, for a reason that takes long to tell?\n" in err
    assert "\nAnd then?\n/new\n" in err
    assert "Why" not in out


async def test_a_question_in_a_conversation_that_is_over_is_given_back() -> None:
    """Deleted elsewhere: a new one begins, and the question is told."""
    async with running(server := Liar()), command("chat", server.url, "--session", "s") as process:
        await write(process, "Why?\n")
        await said(process.stdout, f"{ANSWER}\n> ")
        await server.sockets[0].close(4404)
        await asyncio.sleep(0.3)
        _, err = await asyncio.wait_for(process.communicate(b"How?\n"), 10)

    assert process.returncode == 0
    assert b"(The server has not taken this question:)\nHow?\n(the conversation is not there any more" in err


async def test_ctrl_c_gives_up_a_question_that_the_server_has_not_taken(tmp_path: Path) -> None:
    """It is told so, and the prompt is back; Ctrl-D leaves."""
    async with running(server := Liar()), terminal("chat", server.url, folder=tmp_path) as shown:
        await shown.prompts()
        server.closes = [1013] * 1000
        server.sockets[0].transport.abort()
        shown.type("Why?", ENTER)
        await shown.shows("(the connection is lost; trying again)")
        shown.type(CTRL_C)
        await shown.shows("(The server has not taken this question:)\nWhy?")
        await shown.prompts()
        for name in ("/history", "/retry", "/export", "/thinking", "/edit"):
            shown.type(name, ENTER)
            await shown.shows(name)
            await asyncio.sleep(0.1)
            shown.type(CTRL_C)
            await shown.prompts()
        shown.type(CTRL_D)
        assert await shown.ended() == 0


async def test_what_was_typed_ahead_is_given_back_too(tmp_path: Path) -> None:
    """Though it was never shown."""
    async with running(server := Liar()), terminal("chat", server.url, folder=tmp_path) as shown:
        await shown.prompts()
        server.closes = [1013] * 1000
        server.sockets[0].transport.abort()
        shown.type("One?", ENTER, "Two?", ENTER, "Three")
        await shown.shows("(the connection is lost; trying again)")
        shown.process.send_signal(signal.SIGTERM)
        assert await shown.ended() == 0
        await shown.shows("(The server has not taken this question:)\nOne?\n(This was not asked:)\nTwo?\nThree")


async def test_a_new_conversation_waits_for_a_server_that_is_away(tmp_path: Path) -> None:
    """It begins once the server is back."""
    async with serving() as server:
        port = server.port
        context = terminal("chat", url_of(server), folder=tmp_path)
        shown = await context.__aenter__()
        await shown.prompts()
    try:
        shown.type("/new", ENTER)
        await shown.shows("Trying again.)")
        async with serving(port=port):
            await shown.shows("/new", "scripted · /help")
            shown.type("Why?", ENTER)
            await shown.shows("You asked: Why?")
    finally:
        await context.__aexit__(None, None, None)


async def test_bytes_that_are_no_text_are_told_and_the_conversation_goes_on() -> None:
    """Nothing of them is sent; so it is with `askbot ask`, in its arguments too."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        async with command("chat", url_of(server)) as process:
            out, err = await asyncio.wait_for(process.communicate(b"W\xffhy?\nHow?\n"), 10)
        assert (process.returncode, b"You asked: How?" in out) == (0, True)
        assert b"(This was not asked: it has bytes that are no text.)" in err
        assert len(upstream.prompts) == 1

        async with command("ask", "--url", url_of(server)) as process:
            out, err = await asyncio.wait_for(process.communicate(b"W\xffhy?\n"), 10)
        assert (process.returncode, out) == (1, b"")
        assert err.startswith(b"askbot: The question has bytes that are no text in the encoding utf-8. Convert it")
        async with command("ask", os.fsdecode(b"\xff?"), "--url", url_of(server), stdin=DEVNULL) as process:
            out, err = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, out) == (1, b"")
        assert err.startswith(b"askbot: The question has bytes that are no text in the encoding utf-8. Convert it")
        async with command("ask", "?", "--session", os.fsdecode(b"\xff"), "--url", url_of(server)) as process:
            out, err = await asyncio.wait_for(process.communicate(b""), 10)
        assert (process.returncode, out, b"Traceback" in err) == (2, b"", False)
    assert len(upstream.prompts) == 1


# --- credentials -----------------------------------------------------------------------------------------------------

SECRET = "me:secret@127.0.0.1:1/v1/chat?ticket=secret#token=secret"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["chat", f"ws://{SECRET}"], 3),
        (["ask", "Why?", "--json", "--url", f"ws://{SECRET}"], 3),
        (["chat", f"foo://{SECRET}"], 2),
        (["chat", "ws://me:secret"], 2),
        (["ask", "Why?", f"ws://{SECRET}"], 2),
        (["chat", "ws://a", f"ws://{SECRET}"], 2),
        (["ask", "Why?", "--timeout", f"ws://{SECRET}"], 2),
        ([f"ws://{SECRET}"], 2),
        ([f"--url=ws://{SECRET}", "ask"], 2),
    ],
)
async def test_no_message_has_credentials(arguments: list[str], code: int) -> None:
    """Neither of a server that is away, nor of a command line that is wrong."""
    done, out, err = await call(*arguments)
    assert done == code
    assert "secret" not in out + err
    assert "Traceback" not in err
