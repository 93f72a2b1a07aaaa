"""Editor: questions typed on a terminal, over several lines, with the history of earlier ones."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.data_structures import Size
from prompt_toolkit.history import DummyHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from ..decoding import recover_text
from .commands import COMMANDS
from .line_input import CONTINUATION_PROMPT, PROMPT, without_echo
from .output import terminal_size
from .saved_sessions import append_private, write_private
from .stdin_reader import StdinReader

MAX_QUESTIONS = 1000  # kept when the file is cut, which is when it has more than twice as many


class LineEditor:
    """Reads questions that can be edited until they are sent.

    Alt+Enter begins a further line, as a backslash at a line's end does; what is pasted keeps its lines.
    """

    def __init__(self, history: Path | None) -> None:
        """`history` is the file of earlier questions; without one, they are kept in memory."""
        self._questions: PromptSession[str] = PromptSession(
            multiline=True,
            key_bindings=_key_bindings(),
            prompt_continuation=CONTINUATION_PROMPT,
            history=QuestionHistory(history) if history else InMemoryHistory(),
            enable_history_search=True,
            completer=WordCompleter([f"/{name}" for name in COMMANDS], sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            input=create_input(sys.stdin),
            # Asking where the cursor is takes a round trip over ssh, and nothing here needs to know.
            output=Vt100_Output(sys.stdout, _size, enable_cpr=False),
        )
        self._replies: PromptSession[str] = PromptSession(
            history=DummyHistory(), input=self._questions.input, output=self._questions.output
        )
        self._reading = False
        self._write_task: asyncio.Future[None] | None = None

    async def read_question(self, prompt: str = PROMPT, *, text: str = "") -> str | None:
        """Read the next question; None after Ctrl-C and Ctrl-D."""
        return await self._read(self._questions, prompt, text)

    async def read_line(self, prompt: str) -> str:
        """Read a line that the history doesn't keep."""
        return await self._read(self._replies, prompt, "") or ""

    async def _read(self, session: PromptSession[str], prompt: str, text: str) -> str | None:
        self._reading = True
        try:
            typed = await session.prompt_async(prompt, default=text, handle_sigint=False, set_exception_handler=False)
            return recover_text(typed, sys.stdin.encoding)
        except (EOFError, KeyboardInterrupt):
            return None
        finally:
            self._reading = False

    def write_above_prompt(self, write: Callable[[], None]) -> None:
        """Call `write`, above what is being typed."""
        if self._reading:
            self._write_task = asyncio.ensure_future(run_in_terminal(write))
        else:
            write()

    def take_unread(self) -> str:
        """Return what was typed while nothing was read; it was not shown."""
        keys = "".join(key.data for key in get_typeahead(self._questions.input))
        unread = keys + StdinReader(sys.stdin.fileno(), sys.stdin.encoding).read_ready()
        return unread.replace("\r", "\n")

    def without_echo(self) -> AbstractContextManager[None]:
        """Don't show keys while nothing is read; the next question begins with them."""
        return without_echo(sys.stdin.fileno())


def _size() -> Size:
    columns, rows = terminal_size()
    return Size(rows=rows, columns=columns)


def _key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


class QuestionHistory(History):
    """The questions asked from this terminal, for the Up key, in a private file of one JSON string a line."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """Return the questions, the newest first; cut the file where it has grown too long."""
        questions = [*self._read()]
        if len(questions) > 2 * MAX_QUESTIONS:
            questions = questions[-MAX_QUESTIONS:]
            with suppress(OSError):
                write_private(self._file, b"".join(map(_json_line, questions)))
        return reversed(questions)

    def store_string(self, string: str) -> None:
        """Append a question; slash commands are not kept."""
        if not string.startswith("/"):
            with suppress(OSError):  # the history is a convenience: without it one can still ask
                append_private(self._file, _json_line(string))

    def _read(self) -> Iterator[str]:
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in lines:
            try:
                question = json.loads(line)
            except ValueError:
                continue
            if isinstance(question, str):
                yield question


def _json_line(question: str) -> bytes:
    return json.dumps(question).encode() + b"\n"
