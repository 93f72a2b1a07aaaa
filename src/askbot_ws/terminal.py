"""Terminal: conversations in plain text."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from enum import Enum, auto

import typer

from .client import Answer, Asked, Chat, Closed, State, connect
from .errors import AskbotError

PROMPT = "> "
HELP = "/new begins a new conversation, /retry asks again, /quit or Ctrl-C leaves; Ctrl-C while it answers stops it."
QUIET = 1.0  # a connection that is back sooner is not worth a word
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text without what would steer the terminal: it comes from a model, and that read who knows what."""
    return _CONTROL.sub("", text)


def note(text: str) -> None:
    """A word aside."""
    typer.secho(plain(text), dim=True, err=True)


# --- askbot ask ------------------------------------------------------------------------------------------------------


async def ask(question: str, *, url: str, timeout: float | None) -> int:  # noqa: ASYNC109 - it is the user's
    """One answer to stdout, as it comes. Returns the exit code: 0 where it is complete."""
    try:
        async with asyncio.timeout(timeout), connect(url) as chat:
            answer = await _print(chat, chat.ask(question))
    except TimeoutError:
        note(f"askbot: no complete answer within {timeout:g} s")
        return 1
    except AskbotError as error:
        note(f"askbot: {error.message}")
        return 1
    if answer.reason != "stop":
        note(f"askbot: {_why(answer)}")
    return 0 if answer.reason == "stop" else 1


async def _print(chat: Chat, asked: Asked) -> Answer:
    """Print an answer; leaving early, by Ctrl-C or the time limit, stops it at the server too."""
    last = "\n"
    try:
        async for text in _pieces(asked):
            last = text[-1]
            typer.echo(plain(text) if sys.stdout.isatty() else text, nl=False)
        return await asked
    except asyncio.CancelledError:
        async with asyncio.timeout(1):
            await chat.cancel()
        raise
    finally:
        if last != "\n":
            typer.echo()


async def _pieces(asked: Asked) -> AsyncIterator[str]:
    """The text; an answer that failed has its reason in the `Answer`."""
    try:
        async for text in asked:
            yield text
    except AskbotError:
        await asked  # raises, if it could not be asked at all


def _why(answer: Answer) -> str:
    if answer.error:
        return answer.error.message
    return {
        "length": "the answer is longer than it may be",
        "cancelled": "the answer was stopped",
        "refused": "the model declined",
        "interrupted": "the server stopped during the answer",
    }.get(answer.reason, answer.reason)


# --- askbot chat -----------------------------------------------------------------------------------------------------


class Doing(Enum):
    """What a Ctrl-C would interrupt."""

    READING = auto()
    ANSWERING = auto()
    STOPPING = auto()


class Conversation:
    """Questions from the keyboard, answers to the screen."""

    def __init__(self, chat: Chat, lines: Lines) -> None:
        self._chat = chat
        self._lines = lines
        self._doing = Doing.READING
        self._stopping: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()

    async def run(self) -> bool:
        """Until the end; True where a new conversation is wanted."""
        while True:
            typer.echo(PROMPT, nl=False)
            line = await self._lines.read()
            match line.strip() if line is not None else "/quit":
                case "":
                    pass
                case "/quit" | "/exit":
                    return False
                case "/new":
                    return True
                case "/retry":
                    await self._show(self._chat.retry())
                case "/help" | "/?":
                    note(HELP)
                case question:
                    await self._show(self._chat.ask(question))

    async def _show(self, asked: Asked) -> None:
        self._doing = Doing.ANSWERING
        try:
            answer = await _print(self._chat, asked)
        except Closed:
            raise
        except AskbotError as error:
            note(f"({error.message})")
        else:
            if answer.reason != "stop":
                note(f"({_why(answer)})")
        finally:
            self._doing = Doing.READING

    def interrupt(self) -> None:
        """Ctrl-C: stops the answer; a second one, or one at the prompt, leaves."""
        if self._doing is Doing.ANSWERING:
            self._doing = Doing.STOPPING
            self._stopping = asyncio.create_task(self._chat.cancel())
        elif self._task:
            self._task.cancel()


async def chat(url: str) -> int:
    """Conversations, one after another, until somebody leaves. Returns the exit code."""
    lines, reconnects = Lines(), Reconnects()
    try:
        while True:
            async with connect(url, on_state=reconnects.show) as chat:
                conversation = Conversation(chat, lines)
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, conversation.interrupt)
                note(f"{chat.view.ready.model if chat.view.ready else url}. {HELP}")
                if not await conversation.run():
                    return 0
    except AskbotError as error:
        note(f"askbot: {error.message}")
        return 1
    except asyncio.CancelledError:
        return 0
    finally:
        typer.echo()


class Reconnects:
    """Tells of a connection that is away for longer than a moment."""

    def __init__(self) -> None:
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
                note("(back)")
            self._told = False

    def _tell(self) -> None:
        self._told = True
        note("\n(the connection is lost; trying again)")


class Lines:
    """Lines from the keyboard, or from a pipe, while the event loop runs."""

    async def read(self) -> str | None:
        """The next line; None at the end."""
        if not sys.stdin.isatty():
            return await asyncio.to_thread(sys.stdin.readline) or None
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())
        line = os.read(sys.stdin.fileno(), 65536)  # a terminal gives a line at a time
        return line.decode(errors="replace") or None
