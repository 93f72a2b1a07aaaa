"""Chatting: `askbot chat`, conversations one after another until somebody leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ..client import State, connect
from ..errors import AskbotError, SessionNotFound
from ..setting_types import data_folder
from .conversation import Conversation, Desk, Go
from .line_input import Keyboard, Lines
from .output import Exit, leave_pipe, note
from .saved_sessions import Places
from .screen import Plain, Screen

QUIET = 1.0  # a connection that is back sooner is not worth a word


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was given on the command line."""

    url: str
    session: str | None = None
    new: bool = False
    remember: bool = True
    plain: bool = False


async def chat(wishes: Wishes) -> int:
    """Hold conversations. Returns the exit code."""
    desk, task = _desk(wishes), asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
    go: Go | None = Go(wishes.session or (None if wishes.new else desk.places.last()))
    try:
        with desk.keyboard.quiet():
            while go:
                go = await _hold(wishes, desk, go)
    except AskbotError as error:
        note(f"askbot: {error.message}")
        return Exit.of(error)
    except BrokenPipeError:
        return leave_pipe()
    except asyncio.CancelledError:
        pass
    return Exit.WHOLE


async def _hold(wishes: Wishes, desk: Desk, go: Go) -> Go | None:
    """One conversation. Returns the one that is wanted next."""
    reconnects = Reconnects(lambda text: desk.keyboard.aside(lambda: desk.screen.note(text)))
    session = go.session
    try:
        async with connect(wishes.url, session=session, on_state=reconnects.show) as held:
            conversation = Conversation(held, desk)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, conversation.interrupt)
            try:
                return await conversation.run(resumed=session is not None)
            finally:
                session = held.id
    except SessionNotFound:
        if session is None or (session == wishes.session and not desk.places.title(session)):
            raise
        desk.places.drop(session)
        note("(the conversation is not there any more; this is a new one)")
        return Go()


def _desk(wishes: Wishes) -> Desk:
    """As good as the terminal allows."""
    folder = data_folder() if wishes.remember and sys.stdin.isatty() else None
    keyboard: Keyboard = Lines()
    screen: Screen = Plain()
    if _capable() and not wishes.plain:
        from .editor import Editor  # noqa: PLC0415 - a pipe waits for no import of rich and prompt_toolkit
        from .markdown_screen import Rendered  # noqa: PLC0415 - as above

        keyboard, screen = Editor(folder and folder / "questions.jsonl"), Rendered()
    return Desk(keyboard, screen, Places(wishes.url, folder and folder / "places.json", tell=note))


def _capable() -> bool:
    """Whether this is a terminal, both ways, that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


class Reconnects:
    """Tells of a connection that is away for longer than a moment."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._say = tell
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def show(self, state: State) -> None:
        """The connection's state has changed."""
        if state == "waiting" and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET, self._tell)
        elif state in {"open", "closed"} and self._timer:
            self._timer.cancel()
            self._timer = None
            if self._told and state == "open":
                self._say("(back)")
            self._told = False

    def _tell(self) -> None:
        self._told = True
        self._say("(the connection is lost; trying again)")
