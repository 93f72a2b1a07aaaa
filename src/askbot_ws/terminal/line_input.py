"""Line input: questions that are typed on a terminal, or piped in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol

import typer

from ..decoding import recover_text
from .stdin_reader import StdinReader
from .typed_line import EditingKeys, TypedLine

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

    def take_unread(self) -> str:
        """Return what was typed or piped in and not read as a question; nothing is read after that."""
        ...


class PlainInput:
    """Lines as they are typed or piped in; a backslash at a line's end continues it on the next."""

    def __init__(self) -> None:
        self._stdin = StdinReader(sys.stdin.fileno(), sys.stdin.encoding)
        self._unread = ""  # of what stdin gave
        self._ended = False
        self._reading = False
        self._terminal = _TypingTerminal() if sys.stdin.isatty() else None

    async def read_question(self, prompt: str = PROMPT, *, text: str = "") -> str | None:  # noqa: ARG002 - nothing to edit it with
        """Read the next question; the end of the input ends the last one too."""
        lines = list[str]()
        while True:
            try:
                line = await self._read_line(CONTINUATION_PROMPT if lines else prompt)
            except BaseException:
                if not self._terminal:
                    self._unread = "".join(f"{line}\\\n" for line in lines) + self._unread
                raise
            if line is None:
                return "\n".join(lines) if lines else None
            lines.append(line)
            if not line.endswith("\\"):
                return "\n".join(lines)
            lines[-1] = line[:-1]

    async def read_line(self, prompt: str) -> str:
        """Read one line."""
        return await self.read_question(prompt) or ""

    def write_above_prompt(self, write: Callable[[], None]) -> None:
        """Write on a new line; on a terminal, prompt and line are shown again below it."""
        if self._reading:
            typer.echo(err=True)
        write()
        if self._reading and self._terminal:
            self._terminal.show_again()

    def without_echo(self) -> AbstractContextManager[None]:
        """Don't show keys while nothing is read; the next line begins with them."""
        return without_echo(sys.stdin.fileno()) if self._terminal else nullcontext()

    def take_unread(self) -> str:
        """Return what was typed or piped in and not read as a question."""
        unread, self._unread = self._unread + self._stdin.read_ready(), ""
        return unread

    async def _read_line(self, prompt: str) -> str | None:
        """Show the prompt and read a line; None at the end of the input."""
        typer.echo(prompt, nl=False)
        self._reading = True
        try:
            line = await (self._read_typed_line(self._terminal, prompt) if self._terminal else self._read_piped_line())
        except BaseException:
            typer.echo()
            raise
        finally:
            self._reading = False
        if line is None:
            typer.echo()
        return line and recover_text(line, sys.stdin.encoding)

    async def _read_piped_line(self) -> str | None:
        pieces = [self._unread]
        try:
            while "\n" not in pieces[-1] and not self._ended:
                pieces.append(await self._read_more())
        finally:
            self._unread = "".join(pieces)
        line, newline, self._unread = self._unread.partition("\n")
        return line.removesuffix("\r") if line or newline else None

    async def _read_typed_line(self, terminal: _TypingTerminal, prompt: str) -> str | None:
        line = terminal.begin_line(prompt)
        while True:
            self._unread = line.feed(self._unread)
            if line.ended or not (more := self._stdin.read_ready()):
                # Not before: who pastes a lot reads nothing before all is written.
                terminal.write(line.take_echo())
                more = "" if line.ended else await self._read_more()
            if line.ended or self._ended:
                return None if line.at_end or not (line.text or line.ended) else line.text
            self._unread = more

    async def _read_more(self) -> str:
        text = await self._stdin.read()
        self._ended = not text
        return text


class _TypingTerminal:
    """The terminal that lines are typed on; it shows them unless it was set not to."""

    def __init__(self) -> None:
        import termios  # noqa: PLC0415 - not everywhere

        attributes = termios.tcgetattr(sys.stdin.fileno())
        self._output = sys.stdout.fileno() if sys.stdout.isatty() else sys.stdin.fileno()
        self._echo = bool(attributes[3] & termios.ECHO)
        self._keys = _editing_keys(attributes[6])
        self._line: TypedLine | None = None

    def begin_line(self, prompt: str) -> TypedLine:
        """Return a new line, whose prompt was written."""
        self._line = TypedLine(prompt, self._keys, columns=self._columns)
        return self._line

    def show_again(self) -> None:
        """Write prompt and line once more."""
        if self._line:
            self._line.take_echo()
            self.write(self._line.shown())

    def write(self, text: str) -> None:
        """Write what is typed; a terminal that can only be read shows nothing of it."""
        data = text.encode(sys.stdin.encoding, errors="replace") if self._echo else b""
        with suppress(OSError):
            while data:
                data = data[os.write(self._output, data) :]

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._output).columns or 80
        except OSError:
            return 80


def _editing_keys(characters: list[Any]) -> EditingKeys:
    """Return the keys of a terminal's settings, beside those that are common."""
    import termios  # noqa: PLC0415 - not everywhere

    def key(index: int, common: str) -> frozenset[str]:
        disabled = characters[index] in {b"\x00", b"\xff"}
        return frozenset(common) if disabled else frozenset(common + characters[index].decode("latin-1"))

    common = EditingKeys()
    return EditingKeys(
        erase=key(termios.VERASE, "".join(common.erase)),
        erase_word=key(termios.VWERASE, ""),
        kill=key(termios.VKILL, ""),
        end=key(termios.VEOF, ""),
    )


@contextmanager
def without_echo(terminal: int, *, line_editing: bool = False) -> Generator[None]:
    """Switch a terminal's echo off: keys don't show. Ctrl-C stays a signal.

    Line editing is switched off too, unless it is wanted: then Ctrl-D waits, and what is read comes without Enter.
    """
    import termios  # noqa: PLC0415 - not everywhere

    before = termios.tcgetattr(terminal)
    switched_off = termios.ECHO if line_editing else termios.ECHO | termios.ICANON
    after = [*before[:3], before[3] & ~switched_off, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSANOW, after)
    try:
        yield
    finally:
        with suppress(termios.error):  # it has hung up
            termios.tcsetattr(terminal, termios.TCSANOW, before)
