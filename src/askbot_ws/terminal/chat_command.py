"""Chat command: `askbot chat`, one session after another until the user leaves."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from ..client import Chat, Closed, State, connect
from ..client.credentials import TokenSource
from ..errors import AskbotError, SessionNotFound, Unauthorized
from ..setting_types import data_folder
from .conversation import Conversation, SwitchSession, TerminalContext
from .exit_signals import ExitSignals
from .line_input import LineInput, PlainInput
from .output import ExitCode, PlainScreen, Screen, print_error, print_notice, report_output_error
from .saved_sessions import SavedSessions
from .server_url import hide_credentials
from .streams import discard_unwritten
from .token_option import NO_TOKEN, TokenOption, TokenUnreadableError

RECONNECT_NOTICE_SECONDS = 1.0  # a connection that is back sooner is not worth a notice


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """The options of `askbot chat`. `session` names the session to resume, `new` begins another.

    `token` says where the credential is.
    """

    url: str
    session: str | None = None
    new: bool = False
    save_history: bool = True
    plain: bool = False
    token: TokenOption = NO_TOKEN


async def chat(options: ChatOptions) -> int:
    """Run conversations until the user leaves. Returns the exit code."""
    context = _make_context(options)
    code = ExitCode.SUCCESS
    with ExitSignals() as signals:
        try:
            token = await options.token.read()
            with context.line_input.without_echo():
                await _run_conversations(options, context, token, signals)
        except TokenUnreadableError as unreadable:
            code = ExitCode.USAGE
            print_error(str(unreadable))
        except AskbotError as error:
            code = ExitCode.from_error(error)
            print_error(options.token.describe_refusal() if isinstance(error, Unauthorized) else error.message)
            _print_unread(context)
        except OSError as error:
            code = report_output_error(error)
        except asyncio.CancelledError:
            if signals.exit_code is None:
                raise
            with suppress(OSError):
                _print_unread(context)
        discard_unwritten()
    return code if signals.exit_code is None else signals.exit_code


async def _run_conversations(
    options: ChatOptions, context: TerminalContext, token: TokenSource | None, signals: ExitSignals
) -> None:
    """Run one conversation after another. The first one ends with an error where there is no server."""
    session = options.session or (None if options.new else context.saved_sessions.latest_id())
    switch: SwitchSession | None = SwitchSession(session)
    connect_once = True
    while switch:
        session = switch.session
        try:
            chat, closed = await _open(options.url, session, token, context, once=connect_once)
            connect_once = False
            async with chat:
                conversation = Conversation(chat, context, closed)
                if sys.stdin.isatty():
                    signals.on_interrupt = conversation.interrupt
                try:
                    switch = await conversation.run(resumed=session is not None)
                finally:
                    session = chat.id
        except SessionNotFound:
            if session is None or (session == options.session and not context.saved_sessions.title(session)):
                raise
            context.saved_sessions.remove(session)
            print_notice("(the conversation is not there any more; this is a new one)")
            switch = SwitchSession()


async def _open(
    url: str, session: str | None, token: TokenSource | None, context: TerminalContext, *, once: bool
) -> tuple[Chat, asyncio.Event]:
    """Connect; unless `once`, until the server answers. Returns an event, too, that is set when the chat is closed."""
    for attempt in count():
        status = ConnectionStatus(
            lambda text: context.line_input.write_above_prompt(lambda: context.screen.print_notice(text))
        )
        try:
            return await connect(url, session=session, token=token, on_state=status.on_state), status.closed
        except Closed as error:
            if once:
                raise
            if attempt == 0:
                print_notice(f"({hide_credentials(error.message)} Trying again.)")
        await asyncio.sleep(random.uniform(0.1, min(30.0, 0.5 * 2 ** min(attempt, 6))))  # noqa: S311 - not a secret
    raise AssertionError("count() has no end")


def _print_unread(context: TerminalContext) -> None:
    """Give back what was typed ahead, which a user may want to ask another time."""
    if unread := context.line_input.take_unread().strip():
        print_notice(f"(This was not asked:)\n{unread}")


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


class ConnectionStatus:
    """Reports a connection that is lost for longer than `RECONNECT_NOTICE_SECONDS`, and its return.

    `closed` is set once it will not come back.
    """

    def __init__(self, print_notice: Callable[[str], None]) -> None:
        self.closed = asyncio.Event()
        self._print_notice = print_notice
        self._timer: asyncio.TimerHandle | None = None
        self._shown = False

    def on_state(self, state: State) -> None:
        """Note the connection's new state."""
        if state == "closed":
            self.closed.set()
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
