"""The credential of `askbot ask` and `askbot chat`: from the environment, a file or stdin, and never shown."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askbot_ws.cli import app
from askbot_ws.terminal import ask_command
from askbot_ws.terminal.ask_command import AskOptions
from askbot_ws.terminal.token_option import TokenOption
from askbot_ws.testing import Close, Cut, Receive, RequireToken, Script, ScriptedConnection, ScriptedLog, ScriptedServer

from ..command import call
from .tty import CTRL_D, ENTER, terminal

KEY = "ask_s3cret"


def signed_in() -> Script:
    """The script of a server that takes the key, and one question."""
    log = ScriptedLog()
    return [RequireToken({KEY}), log.ready(user="alice"), Receive("ask"), *log.answer("Because.")]


async def ask(url: str, *, file: Path | str | None = None, as_json: bool = False) -> int:
    """Ask in this process; returns the exit code."""
    options = AskOptions(("Why?",), url, token=TokenOption("ASKBOT_TOKEN", None if file is None else str(file)))
    return await ask_command.ask(options, timeout=10, as_json=as_json)


@pytest.mark.parametrize("way", ["environment", "file"])
async def test_a_token_comes_from_the_environment_or_a_file(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was named counts; white space around the token doesn't."""
    file = tmp_path / "key"
    file.write_text(f" {KEY}\n")
    monkeypatch.setenv("ASKBOT_TOKEN", f"{KEY} " if way == "environment" else "other")
    async with ScriptedServer(signed_in()) as server:
        assert await ask(server.url, file=file if way == "file" else None) == 0
    assert server.connections[0].token == KEY


async def test_a_token_comes_from_a_pipe_which_can_be_read_once() -> None:
    """As of the shell's `<(…)`; the mark that Windows writes at the beginning of a text is none of it."""
    reading, writing = os.pipe()
    os.write(writing, f"\ufeff{KEY}\r\n".encode())
    os.close(writing)
    async with ScriptedServer(signed_in()) as server:
        assert await ask(server.url, file=f"/dev/fd/{reading}") == 0
    os.close(reading)
    assert server.connections[0].token == KEY


@pytest.mark.parametrize("value", ["one\ntwo", "one two", "tokén"])
async def test_a_variable_without_a_token_is_a_wrong_command_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named, and nothing of it is shown."""
    monkeypatch.setenv("ASKBOT_TOKEN", value)
    assert await ask("ws://127.0.0.1:1") == 2
    out, error = capsys.readouterr()
    assert (out, value in error) == ("", False)
    assert "ASKBOT_TOKEN has more than one line of ASCII characters" in error


async def test_a_token_is_the_first_line_of_stdin() -> None:
    """The question may be behind it."""
    async with ScriptedServer(signed_in()) as server:
        result = await call("ask", "--url", server.url, "--token-file", "-", stdin=f"{KEY}\nWhy?\n")
    assert result == (0, "Because.\n", "")
    assert [frame["text"] for frame in server.frames("ask")] == ["Why?"]


@pytest.mark.parametrize(
    ("value", "place", "told"),
    [
        (None, "environment", "This server wants a key or a token: set ASKBOT_TOKEN, or name a file by --token-file."),
        (" ", "environment", "This server wants a key or a token"),
        ("wr0ng", "environment", "doesn't take the token that ASKBOT_TOKEN has: it may be wrong, expired or revoked."),
        ("wr0ng", "file", "doesn't take the token that {file} has"),
    ],
)
async def test_a_server_that_refuses_is_told_with_what_to_set(
    value: str | None, place: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the object of `--json` with the wire's code; no message has the token."""
    file = tmp_path / "key"
    file.write_text("wr0ng\n")
    async with ScriptedServer(signed_in()) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ASKBOT_TOKEN", value or "")
            assert await ask(server.url, file=file if place == "file" else None, as_json=True) == 1
    out, error = capsys.readouterr()
    report = json.loads(out)["error"]
    assert (report["code"], report["retryable"]) == ("unauthorized", False)
    for message in (report["message"], error):
        assert told.format(file=file) in message
        assert "wr0ng" not in message
    assert not server.frames("ask")


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "is empty"), (b"one\ntwo\n", "more than one line"), (b"\xff", "is no text")],
)
async def test_a_file_without_a_token_is_a_wrong_command_line(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, and nothing of it is shown."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    assert await ask("ws://127.0.0.1:1", file=file) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert told in error
    assert str(file) in error
    assert "two" not in error


@pytest.mark.parametrize("option", ["--token", "--key", "--ticket"])
def test_there_is_no_option_for_the_token_itself(option: str) -> None:
    """Everybody on the machine could read it; what to do instead is said, and the token is not."""
    result = CliRunner().invoke(app, ["ask", "Why?", f"{option}={KEY}"])
    assert result.exit_code == 2
    assert "set ASKBOT_TOKEN" in result.stderr
    assert KEY not in result.stderr


async def test_a_file_is_read_again_for_each_connection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes a fresh token there keeps a long answer going."""
    file, log = tmp_path / "key", ScriptedLog()
    file.write_text("first")

    def rotate(connection: ScriptedConnection) -> None:
        assert connection.token == "first"
        file.write_text("second")

    begun: Script = [log.ready(), Receive("ask"), log.question(), log.token("Be"), rotate, Cut()]
    resumed: Script = [RequireToken({"second"}), log.resume(), log.token("cause."), log.done()]
    async with ScriptedServer(begun, resumed) as server:
        assert await ask(server.url, file=file) == 0
    assert capsys.readouterr().out == "Because.\n"


async def test_a_token_that_ends_in_a_conversation_ends_it(tmp_path: Path) -> None:
    """With the same advice."""
    log = ScriptedLog()
    async with (
        ScriptedServer(
            [log.ready(user="alice"), Receive("ask"), log.question(), log.token("Be"), Close(4401)]
        ) as server,
        terminal("chat", server.url, folder=tmp_path, ASKBOT_TOKEN=KEY) as shown,
    ):
        await shown.shows("signed in as alice")
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("doesn't take the token that ASKBOT_TOKEN has")
        assert await shown.ended() == 1
    assert KEY not in shown.text


async def test_a_terminal_does_not_show_the_token_that_is_typed(tmp_path: Path) -> None:
    """`askbot chat --token-file -`: it is asked for first."""
    log = ScriptedLog()
    async with (
        ScriptedServer([RequireToken({KEY}), log.ready(user="alice")]) as server,
        terminal("chat", server.url, "--token-file", "-", folder=tmp_path) as shown,
    ):
        await shown.shows("(the token, which is not shown")
        await asyncio.sleep(0.2)  # until its echo is off
        shown.type(KEY, ENTER)
        await shown.shows("signed in as alice")
        await shown.prompts()
        shown.type(CTRL_D)
        assert await shown.ended() == 0
    assert KEY not in shown.text


# --- what a signed-in user has ---------------------------------------------------------------------------------------


async def test_a_signed_in_user_has_the_sessions_of_the_server() -> None:
    """Whatever device they were begun on: they are listed, opened by number, and named."""
    here, other = ScriptedLog("here"), ScriptedLog("other")
    for log in (here, other):
        log.answer("Yes.", text=f"The question of {log.session}?", id="q")
    listed = here.sessions(here, other, more="there are more")
    opened: Script = [
        other.resume(user="alice"), Receive("history"), other.history(),
        Receive("title"), other.title(), Receive("title"), other.error("invalid_frame", id="$title.id"),
    ]  # fmt: skip
    server = ScriptedServer([here.ready(user="alice"), Receive("sessions"), listed], opened)
    commands = "/sessions\n2\n/title About the other\n/title\n/title \x07\n/open 7\n/quit\n"
    async with server:
        code, out, error = await call("chat", server.url, stdin=commands, ASKBOT_TOKEN=KEY)
    assert code == 0, error
    assert "  1*" in error
    assert "The question of other?" in error
    assert "(the newest 2; there are more)" in error
    assert server.connections[1].query["session"] == "other"
    assert "(it is called: About the other)\nAbout the other\n" in error
    assert "(invalid_frame.)" in error
    assert "There is no conversation 7. /sessions lists them." in error
    assert len(server.frames("sessions")) == 1  # the numbers are those that were shown
    assert "number> " in out


async def test_an_anonymous_user_has_the_sessions_of_this_machine() -> None:
    """The server is not asked."""
    log = ScriptedLog()
    script: Script = [
        log.ready(), Receive("title"), log.error("turn_not_found", id="$title.id"),
        Receive("ask"), *log.answer("Yes."),
    ]  # fmt: skip
    async with ScriptedServer(script) as server:
        commands = "/title\n/title Sky\nWhy?\n/open\n\n/quit\n"
        code, _, error = await call("chat", server.url, stdin=commands)
    assert code == 0
    assert "It has no name yet: /title TEXT gives it one." in error
    assert "(ask something first: an empty conversation has no name)" in error
    assert "  1* " in error
    assert not server.frames("sessions")
