"""Conversation: one session, held with the keyboard and the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from ..client import Answer, Asked, Chat, Closed, Damaged
from ..client.view import End
from ..errors import AskbotError, SessionNotFound
from .commands import HINT, Command, overview, parse
from .line_input import Keyboard
from .output import line_of, why
from .saved_sessions import Place, Places
from .screen import Screen
from .transcript import brief, document, running, save, turns

RECENT = 10  # turns that /history shows


@dataclass(slots=True)
class Desk:
    """What stays when one conversation follows another."""

    keyboard: Keyboard
    screen: Screen
    places: Places
    model: str | None = None  # to ask; None is the server's own


@dataclass(frozen=True, slots=True)
class Go:
    """Another conversation is wanted; without `session`, a new one."""

    session: str | None = None


class _Doing(Enum):
    """What a Ctrl-C would interrupt."""

    READING = auto()
    ANSWERING = auto()
    STOPPING = auto()


class Conversation:
    """Questions from the keyboard, answers to the screen."""

    def __init__(self, chat: Chat, desk: Desk) -> None:
        self._chat = chat
        self._desk = desk
        self._doing = _Doing.READING
        self._stopping: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()

    # --- its course --------------------------------------------------------------------------------------------------

    async def run(self, *, resumed: bool) -> Go | None:
        """Until the end. Returns which conversation is wanted next; None where somebody leaves."""
        ready = self._chat.view.ready
        self._note(f"{self._desk.model or (ready.model if ready else '')} · {HINT}")
        if resumed:
            await self._unless_refused(self._remind())
        while (line := await self._desk.keyboard.read()) is not None:
            command = parse(line)
            if command and command.name == "quit":
                return None
            if go := await self._unless_refused(self._obey(command) if command else self._ask(line)):
                return go
        return None

    async def _unless_refused(self, doing: Awaitable[Go | None]) -> Go | None:
        """What the server does not do, it says; the conversation goes on."""
        try:
            return await doing
        except (Closed, SessionNotFound):
            raise
        except AskbotError as error:
            self._note(f"({error.message})")
            return None

    def interrupt(self) -> None:
        """Ctrl-C: stops the answer; a second one, or one at the prompt, leaves."""
        if self._doing is _Doing.ANSWERING:
            self._doing = _Doing.STOPPING
            self._stopping = asyncio.create_task(self._stop())
        elif self._task:
            self._task.cancel()

    async def _stop(self) -> None:
        with suppress(AskbotError):  # whoever waits for the answer is told
            await self._chat.cancel()

    async def _remind(self) -> None:
        """Where it was left."""
        held = await turns(self._chat, most=2)
        title = self._desk.places.title(self._chat.id) or (held[0].text if held else "")
        self._note(f"Going on with: {line_of(title)} (/new begins another)\n")
        for turn in held:
            if turn.end:
                self._note(brief(turn) + "\n")
            else:
                self._note(f"> {line_of(turn.text)}")
                await self._show(running(self._chat, turn))
                self._tell(turn.end)

    async def _obey(self, command: Command) -> Go | None:
        """Do what a command says."""
        match command.name:
            case "new":
                return Go()
            case "sessions":
                return await self._sessions(command)
            case "forget":
                return await self._forget()
            case "retry":
                await self._answer(self._chat.retry())
            case "edit":
                await self._edit(command)
            case "history":
                await self._history(command)
            case "model":
                self._model(command.argument)
            case "export":
                await self._export(command.argument)
            case "help":
                self._note(overview())
            case name:
                self._note(f"There is no /{name}. {HINT}.")
        return None

    def _note(self, text: str) -> None:
        self._desk.screen.note(text)

    # --- questions and answers ---------------------------------------------------------------------------------------

    async def _ask(self, question: str) -> None:
        if question.strip():
            known = self._desk.places.title(self._chat.id) is not None
            self._keep(question)
            try:
                await self._answer(self._chat.ask(question.strip(), model=self._desk.model))
            except (Closed, SessionNotFound):
                raise
            except AskbotError:
                if not known and self._chat.id:
                    self._desk.places.drop(self._chat.id)  # it stays empty, and the server keeps nothing of it
                raise
            self._keep(question)  # a session that was lost while it was empty has another name now

    async def _answer(self, asked: Asked) -> None:
        try:
            await self._show(asked)
        except Damaged:
            self._note("(this is not what was answered; that is:)")
            self._recite((await asked).text)
        except AskbotError:
            await asked  # raises where it could not be asked at all; else the reason is in the answer
        self._tell(await asked)

    async def _show(self, pieces: AsyncIterable[str]) -> None:
        self._doing = _Doing.ANSWERING
        try:
            async for text in pieces:
                self._desk.screen.add(text)
        finally:
            self._desk.screen.end()
            self._doing = _Doing.READING

    def _recite(self, text: str) -> None:
        if text:
            self._desk.screen.add(text)
        self._desk.screen.end()

    def _tell(self, end: Answer | End | None) -> None:
        """Why an answer is not whole."""
        if end and end.reason != "stop":
            self._note(f"({why(end)})")

    def _keep(self, question: str) -> None:
        if self._chat.id:
            self._desk.places.keep(self._chat.id, question=question)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _edit(self, command: Command) -> None:
        held = await turns(self._chat)
        number = len(held) if not command.argument else command.number or 0
        if not 0 < number <= len(held):
            self._note(f"There is no question {command.argument} here. /history shows their numbers.")
            return
        turn = held[number - 1]
        text = await self._desk.keyboard.read("edit> ", text=turn.text)
        if text and text.strip():
            await self._answer(self._chat.edit(turn.turn, text.strip()))

    async def _history(self, command: Command) -> None:
        most = command.number or RECENT
        held = await turns(self._chat)
        if not held:
            self._note("Nothing was asked yet.")
        for number, turn in [*enumerate(held, 1)][-most:]:
            self._note(f"{number}> {turn.text}")
            self._recite(turn.answer)
            self._tell(turn.end)

    def _model(self, name: str) -> None:
        ready = self._chat.view.ready
        usual = ready.model if ready else ""
        if name:
            self._desk.model = None if name == usual else name
        back = f" (/model {usual} goes back.)" if self._desk.model else ""
        self._note(f"{self._desk.model or usual} is asked.{back}")

    async def _sessions(self, command: Command) -> Go | None:
        """One of them by its number, which is asked for if it was not given."""
        places = self._desk.places.all()
        if not places:
            self._note("None was held from here yet.")
            return None
        number = command.argument
        if not number:
            self._note("\n".join(_listed(at, place, self._chat.id) for at, place in enumerate(places, 1)))
            number = (await self._desk.keyboard.choose("number> ")).strip()
        if not number:
            return None
        if number.isascii() and number.isdigit() and 0 < int(number) <= len(places):
            chosen = places[int(number) - 1].session
            return Go(chosen) if chosen != self._chat.id else None
        self._note(f"There is no conversation {number}.")
        return None

    async def _forget(self) -> Go | None:
        answer = await self._desk.keyboard.choose("Delete this conversation, everywhere? [y/N] ")
        if answer.strip().lower() not in {"y", "yes"} or not self._chat.id:
            return None
        session = self._chat.id
        await self._chat.forget()
        self._desk.places.drop(session)
        self._note("(it is deleted)")
        return Go()

    async def _export(self, name: str) -> None:
        held = await turns(self._chat)
        title = line_of(self._desk.places.title(self._chat.id) or (held[0].text if held else "Nothing was asked"))
        path = name or f"askbot-{time.strftime('%Y-%m-%d-%H%M%S')}.md"
        try:
            save(path, document(held, title=title))
        except OSError as error:
            self._note(f"({path}: {error.strerror})")
        else:
            self._note(f"({path} has it: {len(held)} question{'' if len(held) == 1 else 's'})")


def _listed(number: int, place: Place, current: str | None) -> str:
    """A line of /sessions."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(place.at))
    return f"{number:>3}{'*' if place.session == current else ' '} {when}  {place.title}"
