"""Keyboard: lines that people type, or pipe in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import typer

PROMPT = "> "
FURTHER = "  "


class Keyboard(Protocol):
    """Where questions come from."""

    async def read(self, prompt: str = PROMPT, *, text: str = "") -> str | None:
        """The next question, begun with `text` where that can be edited; None where there is none any more."""
        ...

    async def choose(self, prompt: str) -> str:
        """A short answer to a question of ours; empty where there is none."""
        ...

    def aside(self, write: Callable[[], None]) -> None:
        """Write something, above the prompt where there is one."""

    def quiet(self) -> AbstractContextManager[None]:
        """While it lasts, keys that nobody has asked for are not shown; they are read later."""
        ...


class Lines:
    """Lines as the terminal or the pipe gives them; one that ends with a backslash goes on."""

    def __init__(self) -> None:
        self._asking = False

    async def read(self, prompt: str = PROMPT, *, text: str = "") -> str | None:  # noqa: ARG002 - nothing to edit it with
        """The next question; the end of the input is the end of the last one too."""
        lines = list[str]()
        while True:
            typer.echo(FURTHER if lines else prompt, nl=False)
            line = await self._line()
            if line is None:
                typer.echo()
                return "\n".join(lines) if lines else None
            lines.append(line)
            if not line.endswith("\\"):
                return "\n".join(lines)
            lines[-1] = line[:-1]

    async def choose(self, prompt: str) -> str:
        """One line."""
        return await self.read(prompt) or ""

    def aside(self, write: Callable[[], None]) -> None:
        """On a line of its own; what was typed in the one before is not lost."""
        if self._asking:
            typer.echo(err=True)
        write()

    def quiet(self) -> AbstractContextManager[None]:
        """They are shown: who can't move a cursor can't do much about it."""
        return nullcontext()

    async def _line(self) -> str | None:
        self._asking = True
        try:
            line = await (_typed(sys.stdin.fileno()) if sys.stdin.isatty() else asyncio.to_thread(sys.stdin.readline))
        except asyncio.CancelledError:
            typer.echo()
            raise
        finally:
            self._asking = False
        return line.removesuffix("\n") if line else None


async def _typed(terminal: int) -> str:
    """A line, while the event loop runs: a terminal gives one at a time."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(terminal, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(terminal)
    return os.read(terminal, 65536).decode(errors="replace")


@contextmanager
def unseen(terminal: int) -> Generator[None]:
    """Typing does not show in the middle of an answer, and Ctrl-D waits; Ctrl-C stays a signal."""
    import termios  # noqa: PLC0415 - not everywhere

    before = termios.tcgetattr(terminal)
    after = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    termios.tcsetattr(terminal, termios.TCSANOW, after)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
