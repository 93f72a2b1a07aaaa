"""A terminal: a pty with a program in it, and an emulator that shows what people would see."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

from ..command import ASKBOT, variables

# A program that is started here has no terminal to send it signals, until it says that this is its own.
LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP, TAB = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A", "\t"


class Emulator:
    """What a terminal shows, with what has scrolled out of it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def feed(self, data: bytes) -> None:
        """Show what a program wrote."""
        self.raw += data
        self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """All lines, those that have scrolled out too; no spaces at their ends."""
        columns = range(self.screen.columns)
        above = ["".join(line[at].data for at in columns) for line in self.screen.history.top]
        return [line.rstrip() for line in [*above, *self.screen.display]]

    @property
    def text(self) -> str:
        """All of it, without the free lines at the end."""
        return "\n".join(self.lines).rstrip()

    def bold(self, text: str) -> bool:
        """Whether a text on the screen is shown as bold, all of it."""
        for row, line in enumerate(self.screen.display):
            if (at := line.find(text)) >= 0:
                return all(self.screen.buffer[row][column].bold for column in range(at, at + len(text)))
        raise AssertionError(f"{text!r} is not on the screen")


class Terminal(Emulator):
    """A terminal with `askbot chat` in it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self._news = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._master, self._slave = pty.openpty()
        self._fit()

    async def start(self, *arguments: str, **environ: str) -> None:
        """Run `askbot` in it."""
        named = {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | environ
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LOGIN, *ASKBOT, *arguments,
            stdin=self._slave, stdout=self._slave, stderr=self._slave, env=variables(**named),
        )  # fmt: skip
        os.close(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _fit(self) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _read(self) -> None:
        try:
            self.feed(os.read(self._master, 65536))
        except OSError:  # nobody is there any more
            asyncio.get_running_loop().remove_reader(self._master)
            self._hung_up.set()
        self._news.set()

    def resize(self, columns: int, rows: int) -> None:
        """Another size; the program gets to know."""
        self.screen.resize(rows, columns)
        self._fit()

    def type(self, *keys: str) -> None:
        """Press keys."""
        os.write(self._master, "".join(keys).encode())

    def hang_up(self) -> None:
        """Close it, as a window or a lost ssh connection does."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = -1

    def modes(self) -> list[object]:
        """What the terminal does with keys by itself."""
        return [*termios.tcgetattr(self._master)]

    def paste(self, text: str) -> None:
        """As terminals do that bracket what is pasted."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    async def shows(self, *texts: str) -> None:
        """Wait until all of these were on the screen, and show nothing of them any more."""
        await self._until(lambda: all(text in self.text for text in texts), texts)

    async def prompts(self, prompt: str = ">") -> None:
        """Wait until the cursor stands behind a prompt."""
        await self._until(lambda: self._line == prompt, [prompt])

    @property
    def _line(self) -> str:
        return self.screen.display[self.screen.cursor.y].rstrip()

    async def _until(self, condition: Callable[[], bool], wanted: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await self._news.wait()
                    self._news.clear()
        except TimeoutError:
            raise AssertionError(f"there is no {wanted} in:\n{self.text}") from None

    async def ended(self) -> int:
        """The exit code, once all is shown that was written."""
        async with asyncio.timeout(10):
            await self._hung_up.wait()
            return await self.process.wait()

    async def close(self) -> None:
        """Whatever is in it ends."""
        if self.process.returncode is None:
            self.process.terminate()
        await asyncio.wait_for(self.process.wait(), 10)
        if self._master >= 0:
            self.hang_up()


@asynccontextmanager
async def terminal(
    *arguments: str, folder: Path, columns: int = 80, rows: int = 24, **environ: str
) -> AsyncGenerator[Terminal]:
    """A terminal with `askbot` in it, whose user's data are in `folder`."""
    shown = Terminal(columns, rows)
    await shown.start(*arguments, XDG_DATA_HOME=str(folder), **environ)
    try:
        yield shown
    finally:
        await shown.close()
