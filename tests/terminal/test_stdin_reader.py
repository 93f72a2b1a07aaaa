"""Stdin reader: pipes, files and what is none of both."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from askbot_ws.terminal.stdin_reader import StdinReader


async def test_a_character_that_comes_in_two_pieces_is_one() -> None:
    """Wherever a pipe cuts it; a byte that is none is kept as a surrogate."""
    reading, writing = os.pipe()
    reader = StdinReader(reading, "utf-8")
    text = ""
    for byte in "a✨".encode() + b"\xff":
        os.write(writing, bytes([byte]))
        text += reader.read_ready()
    os.close(writing)

    assert text == "a✨\udcff"
    assert await reader.read() == ""
    os.close(reading)


async def test_a_pipe_that_says_nothing_keeps_nobody() -> None:
    """Waiting for it can be cancelled; what comes later is still there."""
    reading, writing = os.pipe()
    reader = StdinReader(reading, "utf-8")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.01)
    os.write(writing, b"late")

    assert await reader.read() == "late"
    os.close(reading)
    os.close(writing)


async def test_files_are_read_to_their_end(tmp_path: Path) -> None:
    """Which a selector can't watch; nothing of a file counts as typed ahead."""
    file = tmp_path / "file"
    file.write_text("all")
    for path, text in ((file, "all"), (Path(os.devnull), "")):
        descriptor = os.open(path, os.O_RDONLY)
        reader = StdinReader(descriptor, "utf-8")
        assert reader.read_ready() == ""
        assert await reader.read() == text
        assert await reader.read() == ""
        os.close(descriptor)


async def test_what_cannot_be_read_has_ended(tmp_path: Path) -> None:
    """As a terminal that has hung up."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    reader = StdinReader(descriptor, "utf-8")
    assert await reader.read() == ""
    assert reader.read_ready() == ""
    os.close(descriptor)
