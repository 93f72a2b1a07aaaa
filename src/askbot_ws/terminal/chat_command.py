"""Chat command: `askbot chat`, one session after another until the user leaves."""

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
from .conversation import Conversation, SwitchSession, TerminalContext
from .line_input import LineInput, PlainInput
from .output import ExitCode, PlainScreen, Screen, discard_stdout, print_notice
from .saved_sessions import SavedSessions

RECONNECT_NOTICE_SECONDS = 1.0  # a connection that is back sooner is not worth a notice


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """The options of `askbot chat`. `session` names the session to resume, `new` begins another."""

    url: str
    session: str | None = None
    new: bool = False
    save_history: bool = True
    plain: bool = False


async def chat(options: ChatOptions) -> int:
    """Run conversations until the user leaves. Returns the exit code."""
    context, task = _make_context(options), asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
    session = options.session or (None if options.new else context.saved_sessions.latest_id())
    switch: SwitchSession | None = SwitchSession(session)
    try:
        with context.line_input.without_echo():
            while switch:
                switch = await _run_conversation(options, context, switch)
    except AskbotError as error:
        print_notice(f"askbot: {error.message}")
        return ExitCode.from_error(error)
    except BrokenPipeError:
        return discard_stdout()
    except asyncio.CancelledError:
        pass
    return ExitCode.SUCCESS


async def _run_conversation(
    options: ChatOptions, context: TerminalContext, switch: SwitchSession
) -> SwitchSession | None:
    """Run one conversation. Returns the session to switch to, None where the user leaves."""
    notice = ReconnectNotice(
        lambda text: context.line_input.write_above_prompt(lambda: context.screen.print_notice(text))
    )
    session = switch.session
    try:
        async with connect(options.url, session=session, on_state=notice.on_state) as chat:
            conversation = Conversation(chat, context)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, conversation.interrupt)
            try:
                return await conversation.run(resumed=session is not None)
            finally:
                session = chat.id
    except SessionNotFound:
        if session is None or (session == options.session and not context.saved_sessions.title(session)):
            raise
        context.saved_sessions.remove(session)
        print_notice("(the conversation is not there any more; this is a new one)")
        return SwitchSession()


def _make_context(options: ChatOptions) -> TerminalContext:
    """Choose input and screen by what the terminal can do."""
    folder = data_folder() if options.save_history and sys.stdin.isatty() else None
    line_input: LineInput = PlainInput()
    screen: Screen = PlainScreen()
    if _can_move_cursor() and not options.plain:
        from .editor import LineEditor  # noqa: PLC0415 - a pipe waits for no import of rich and prompt_toolkit
        from .markdown_screen import MarkdownScreen  # noqa: PLC0415 - as above

        line_input, screen = LineEditor(folder and folder / "questions.jsonl"), MarkdownScreen()
    saved = SavedSessions(options.url, folder and folder / "places.json", on_error=print_notice)
    return TerminalContext(line_input, screen, saved)


def _can_move_cursor() -> bool:
    """Return whether stdin and stdout are a terminal that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


class ReconnectNotice:
    """Reports a connection that is lost for longer than `RECONNECT_NOTICE_SECONDS`, and its return."""

    def __init__(self, print_notice: Callable[[str], None]) -> None:
        self._print_notice = print_notice
        self._timer: asyncio.TimerHandle | None = None
        self._shown = False

    def on_state(self, state: State) -> None:
        """Note the connection's new state."""
        if state == "waiting" and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RECONNECT_NOTICE_SECONDS, self._show)
        elif state in {"open", "closed"} and self._timer:
            self._timer.cancel()
            self._timer = None
            if self._shown and state == "open":
                self._print_notice("(back)")
            self._shown = False

    def _show(self) -> None:
        self._shown = True
        self._print_notice("(the connection is lost; trying again)")
