"""Question: what is asked, of the command line and of stdin."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from askbot_ws.cli import app
from askbot_ws.errors import InvalidFrame, QuestionTooLong
from askbot_ws.terminal import question
from askbot_ws.terminal.ask_command import AskOptions, ask
from askbot_ws.terminal.question import NothingAskedError, read_question
from askbot_ws.testing import ScriptedUpstream, serving


@contextmanager
def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes | None, *, encoding: str = "utf-8") -> Generator[None]:
    """Have stdin be a pipe: with these bytes and an end; without any, open and silent."""
    reading, writing = os.pipe()
    if data is not None:
        os.write(writing, data)
        os.close(writing)
    with os.fdopen(reading, encoding=encoding) as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", pipe)
        yield
    if data is None:
        os.close(writing)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ((), "a file"),
        (("-",), "a file"),
        (("Explain:", "-"), "Explain:\n\na file"),
        (("-", "Explain that."), "a file\n\nExplain that."),
        (("Why?",), "Why?"),
    ],
)
async def test_stdin_is_read_where_it_is_named_or_needed(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], asked: str
) -> None:
    """Nowhere else: `while read q; do askbot ask "$q"; done` keeps its lines."""
    with stdin(monkeypatch, b"a file\n"):
        assert await read_question(words) == asked
        assert (os.read(sys.stdin.fileno(), 100) == b"") is (asked != "Why?")


async def test_a_pipe_that_stays_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the question is in it; then the time limit counts from the start."""
    async with serving(ScriptedUpstream(["Because."])) as server:
        url = f"ws://127.0.0.1:{server.port}"
        with stdin(monkeypatch, None):
            assert await ask(AskOptions(("Why?",), url), timeout=10, as_json=False) == 0
            assert await ask(AskOptions((), url), timeout=0.05, as_json=False) == 124


@pytest.mark.parametrize(
    ("data", "encoding", "asked"),
    [
        (b"caf\xe9", "latin-1", "café"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "utf-8", "café"),
        ("카페".encode("euc_kr"), "euc_kr", "카페"),
        ("카페".encode(), "euc_kr", "카페"),
    ],
)
async def test_text_is_read_in_the_locales_encoding_or_as_utf_8(
    monkeypatch: pytest.MonkeyPatch, data: bytes, encoding: str, asked: str
) -> None:
    """Without a byte order mark."""
    with stdin(monkeypatch, data, encoding=encoding):
        assert await read_question(()) == asked


async def test_what_cannot_be_asked_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no text, nothing at all, and more than a server takes, or than anybody could ask."""
    with stdin(monkeypatch, b"caf\xe9"), pytest.raises(InvalidFrame, match=r"no text in the encoding utf-8.*iconv"):
        await read_question(())
    with stdin(monkeypatch, b" \n"), pytest.raises(NothingAskedError):
        await read_question(("-", " "))
    monkeypatch.setattr(question, "MAX_STDIN_CHARACTERS", 1000)
    with stdin(monkeypatch, b"x" * 1001), pytest.raises(QuestionTooLong, match="longer than 1,000 characters"):
        await read_question(())

    upstream = ScriptedUpstream()
    async with serving(upstream, max_question=20) as server:
        url = f"ws://127.0.0.1:{server.port}"
        assert await ask(AskOptions(("é" * 21,), url), timeout=10, as_json=False) == 1
    assert capsys.readouterr().err == "askbot: The question has 21 characters; this server allows 20.\n"
    assert not upstream.prompts


@pytest.mark.parametrize("words", [["a", "b"], ["a", "-", "-"]])
def test_a_question_without_quotes_is_told(words: list[str]) -> None:
    """Before anything is read or sent."""
    result = CliRunner().invoke(app, ["ask", *words])
    assert (result.exit_code, "there is one question, in quotes" in result.output) == (2, True)


async def test_a_terminal_is_read_up_to_ctrl_d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `-` says so."""
    terminal, ours = os.openpty()
    os.write(terminal, b"Why?\n\x04")
    with os.fdopen(ours, encoding="utf-8") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        async with asyncio.timeout(5):
            assert await read_question(("-",)) == "Why?"
    os.close(terminal)
