"""Line input: questions that are typed on a terminal, or piped in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import typer

PROMPT = "> "
CONTINUATION_PROMPT = "  "


class LineInput(Protocol):
    """Where `askbot chat` reads from."""

    async def read_question(self, prompt: str = PROMPT, *, text: str = "") -> str | None:
        """Read the next question, pre-filled with `text` where that can be edited. None at the end of the input."""
        ...

    async def read_line(self, prompt: str) -> str:
        """Read a short reply, which the history doesn't keep; empty where there is none."""
        ...

    def write_above_prompt(self, write: Callable[[], None]) -> None:
        """Call `write`; where a prompt is shown, what it writes stands above it."""

    def without_echo(self) -> AbstractContextManager[None]:
        """Don't show keys that are typed while nothing is read; they are read later."""
        ...


class PlainInput:
    """Lines as the terminal or the pipe gives them; a backslash at a line's end continues it on the next."""

    def __init__(self) -> None:
        self._reading = False

    async def read_question(self, prompt: str = PROMPT, *, text: str = "") -> str | None:  # noqa: ARG002 - nothing to edit it with
        """Read the next question; the end of the input ends the last one too."""
        lines = list[str]()
        while True:
            typer.echo(CONTINUATION_PROMPT if lines else prompt, nl=False)
            line = await self._read_line()
            if line is None:
                typer.echo()
                return "\n".join(lines) if lines else None
            lines.append(line)
            if not line.endswith("\\"):
                return "\n".join(lines)
            lines[-1] = line[:-1]

    async def read_line(self, prompt: str) -> str:
        """Read one line."""
        return await self.read_question(prompt) or ""

    def write_above_prompt(self, write: Callable[[], None]) -> None:
        """Write on a new line; what was typed on the one before is kept."""
        if self._reading:
            typer.echo(err=True)
        write()

    def without_echo(self) -> AbstractContextManager[None]:
        """Do nothing: without moving the cursor, keys can't be shown again later."""
        return nullcontext()

    async def _read_line(self) -> str | None:
        self._reading = True
        try:
            if sys.stdin.isatty():
                line = await _read_terminal_line(sys.stdin.fileno())
            else:
                line = await asyncio.to_thread(sys.stdin.readline)
        except asyncio.CancelledError:
            typer.echo()
            raise
        finally:
            self._reading = False
        return line.removesuffix("\n") if line else None


async def _read_terminal_line(terminal: int) -> str:
    """Read a line from a terminal's file descriptor without blocking the loop: a terminal gives one at a time."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(terminal, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(terminal)
    return os.read(terminal, 65536).decode(errors="replace")


@contextmanager
def without_echo(terminal: int) -> Generator[None]:
    """Switch a terminal's echo and line editing off: keys don't show, and Ctrl-D waits. Ctrl-C stays a signal."""
    import termios  # noqa: PLC0415 - not everywhere

    before = termios.tcgetattr(terminal)
    after = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    termios.tcsetattr(terminal, termios.TCSANOW, after)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
