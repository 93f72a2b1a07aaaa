"""Streams: right in every locale, or an error in words."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from askbot_ws import cli
from askbot_ws.decoding import is_text, recover_text
from askbot_ws.terminal.streams import pop_encoding_warning, prepare_streams
from askbot_ws.testing import ScriptedUpstream, serving

from ..command import call


@pytest.fixture(autouse=True)
def encodings() -> Generator[None]:
    """What other tests have written is not reported here."""
    pop_encoding_warning()
    yield
    pop_encoding_warning()


def written(monkeypatch: pytest.MonkeyPatch, text: str, encoding: str) -> bytes:
    """What stdout gets of a text, in a locale of this encoding."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding))
    prepare_streams()
    sys.stdout.write(text)
    sys.stdout.flush()
    return output.getvalue()


# --- output ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "ANSI_X3.4-1968", "utf-8"])
def test_without_a_locale_text_is_utf_8(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """ASCII is what there is where nobody has chosen anything."""
    assert written(monkeypatch, "카페 é", encoding) == "카페 é".encode()
    assert pop_encoding_warning() is None


def test_what_an_encoding_does_not_have_is_written_as_wide_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table stays a table; who reads it knows that something is missing."""
    assert written(monkeypatch, "é 카 e\u0301 …", "latin-1") == "é ?? e .".encode("latin-1")
    assert written(monkeypatch, "카페 é", "euc_kr") == "카페 ?".encode("euc_kr")
    notice = pop_encoding_warning()
    assert notice
    assert "encoding euc_kr and latin-1" in notice
    assert "LC_ALL=C.UTF-8" in notice
    assert pop_encoding_warning() is None


def test_typography_that_an_encoding_does_not_have_becomes_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is nothing to report, and neither is a byte that is no text in any."""
    assert written(monkeypatch, "• “so” — it\u2019s ─┼", "latin-1") == b'* "so" - it\'s -?'
    pop_encoding_warning()
    assert written(monkeypatch, "“so”", "latin-1") == b'"so"'
    assert written(monkeypatch, "\udce9", "utf-8") == b"?"
    assert pop_encoding_warning() is None


@pytest.mark.parametrize("arguments", [["schema"], ["serve", "--help"], ["--version"], ["model", "--help"]])
def test_output_that_cannot_be_written_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """1 on a full disk, 141 where nobody reads it any more."""
    monkeypatch.setattr(sys, "argv", ["askbot", *arguments])
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (
        1,
        "askbot: the output can't be written: No space left on device\n",
    )

    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (141, "")


# --- input -----------------------------------------------------------------------------------------------------------


def test_bytes_that_are_utf_8_are_text_in_every_locale() -> None:
    """As arguments and as stdin; those that are not stay what they were, and can still name a file."""
    for encoding in ("ascii", "euc_kr", "utf-8"):
        for text in ("카페?", "“so”", "plain"):
            assert recover_text(text.encode().decode(encoding, "surrogateescape"), encoding) == text
    assert recover_text("caf\udce9") == "caf\udce9"
    assert not is_text("caf\udce9")


async def test_a_conversation_without_a_locale_is_right() -> None:
    """Arguments, a line of stdin, the answer and notices: with UTF-8 switched off everywhere."""
    none: Any = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    upstream = ScriptedUpstream(["카페 “é”."], ["또."])
    async with serving(upstream) as server:
        url = f"127.0.0.1:{server.port}"
        assert await call("ask", "카페?", "--url", url, **none) == (0, "카페 “é”.\n", "")
        code, out, err = await call("chat", url, stdin="또?\n/model 카\n", **none)

    assert (code, out) == (0, "> 또.\n> > \n")
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["카페?", "또?"]
    assert "scripted · /help" in err
    assert "카" in err
