"""Editor: questions typed on a terminal, over several lines, with what was asked before at hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.data_structures import Size
from prompt_toolkit.history import DummyHistory, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from .commands import COMMANDS
from .line_input import FURTHER, PROMPT, unseen
from .recall import Recall
from .screen import size


class Editor:
    """What is typed can be edited until it is sent.

    Alt+Enter begins a further line, as a backslash at a line's end does; what is pasted keeps its lines.
    """

    def __init__(self, history: Path | None) -> None:
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=FURTHER,
            history=Recall(history) if history else InMemoryHistory(),
            enable_history_search=True,
            completer=WordCompleter([f"/{name}" for name in COMMANDS], sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            input=create_input(sys.stdin),
            # Asking where the cursor is takes a round trip over ssh, and nothing here needs to know.
            output=Vt100_Output(sys.stdout, _size, enable_cpr=False),
        )
        self._short: PromptSession[str] = PromptSession(
            history=DummyHistory(), input=self._session.input, output=self._session.output
        )
        self._asking = False
        self._above: asyncio.Future[None] | None = None

    async def read(self, prompt: str = PROMPT, *, text: str = "") -> str | None:
        """What was sent; None after Ctrl-C and Ctrl-D."""
        return await self._ask(self._session, prompt, text)

    async def choose(self, prompt: str) -> str:
        """A line that is not remembered."""
        return await self._ask(self._short, prompt, "") or ""

    async def _ask(self, session: PromptSession[str], prompt: str, text: str) -> str | None:
        self._asking = True
        try:
            return await session.prompt_async(prompt, default=text, handle_sigint=False, set_exception_handler=False)
        except (EOFError, KeyboardInterrupt):
            return None
        finally:
            self._asking = False

    def aside(self, write: Callable[[], None]) -> None:
        """Above what is being typed."""
        if self._asking:
            self._above = asyncio.ensure_future(run_in_terminal(write))
        else:
            write()

    def quiet(self) -> AbstractContextManager[None]:
        """Keys wait for the next question."""
        return unseen(sys.stdin.fileno())


def _size() -> Size:
    columns, rows = size()
    return Size(rows=rows, columns=columns)


def _keys() -> KeyBindings:
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
