"""Conversation: one session, between the line input and the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..client import Answer, AnswerStream, Chat, Closed, Damaged, Turn
from ..client.view import End
from ..decoding import is_text
from ..errors import AskbotError, Forbidden, InvalidFrame, SessionNotFound, TurnNotFound, Unauthorized
from .choice import did_you_mean, list_names, near_names
from .commands import COMMANDS, HINT, SlashCommand, help_text, parse_command
from .line_input import LineInput
from .output import Screen, describe_ending, one_line
from .question import check_length
from .saved_sessions import SavedSessions
from .server_url import hide_credentials
from .session_list import SessionList, load_sessions
from .thinking_indicator import ThinkingIndicator
from .transcript import (
    load_turns,
    recap,
    stream_running_answer,
    stream_running_thinking,
    to_markdown,
    write_new_file,
)

HISTORY_TURNS = 10  # that /history shows
NO_TEXT = "This was not asked: it has bytes that are no text."


@dataclass(slots=True)
class TerminalContext:
    """What all conversations of one `askbot chat` share."""

    line_input: LineInput
    screen: Screen
    saved_sessions: SavedSessions
    model: str | None = None  # to ask; None is the server's own
    listed: SessionList | None = None  # that /sessions has shown, so that /open means the same by a number


@dataclass(frozen=True, slots=True)
class SwitchSession:
    """The user wants another session; without `session`, a new one."""

    session: str | None = None


Action: TypeAlias = Coroutine[Any, Any, SwitchSession | None]
"""What a line has the conversation do: ask a question, or run a command."""
_NOT_REFUSED = (Closed, SessionNotFound, Unauthorized, Forbidden)
_NOT_REFUSED_CODES = {"cancelled", "timeout"}


class Conversation:
    """Asks what the line input gives, shows the answers on the screen, runs the slash commands."""

    def __init__(self, chat: Chat, context: TerminalContext, closed: asyncio.Event) -> None:
        """`closed` is set once the chat is closed, for whatever reason."""
        self._chat = chat
        self._context = context
        self._closed = closed
        self._action: asyncio.Task[SwitchSession | None] | None = None  # that runs
        self._answering: AnswerStream | Turn | None = None  # whose answer it shows
        self._cancelling: asyncio.Task[None] | None = None
        self._interrupted = False  # the action was

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def run(self, *, resumed: bool) -> SwitchSession | None:
        """Read and answer until the end. Returns which session is wanted next; None where the user leaves."""
        view = self._chat.view
        signed_in = f" · signed in as {view.user}" if view.user else ""
        self._print_notice(f"{self._context.model or view.model}{signed_in} · {HINT}")
        if resumed:
            await self._run_action(self._show_recap())
        while (line := await self._context.line_input.read_question()) is not None:
            command = parse_command(line)
            if command and command.name == "quit":
                return None
            if not is_text(line):
                self._print_notice(f"({NO_TEXT})")
            elif switch := await self._run_action(self._run_command(command) if command else self._ask(line)):
                return switch
        return None

    async def _run_action(self, action: Action) -> SwitchSession | None:
        """Run an action to its end, or until it is interrupted; what the server refuses is shown."""
        self._action, self._interrupted = asyncio.create_task(action), False
        try:
            return await self._action
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return None
        except (Closed, SessionNotFound):
            raise
        except AskbotError as error:
            if self._closed.is_set():
                raise
            self._print_notice(f"({hide_credentials(error.message)})")
            return None
        finally:
            self._action = None

    def interrupt(self) -> bool:
        """Handle Ctrl-C: stop the answer, or give up the command. Returns False at the prompt, and the second time."""
        if self._action is None or self._interrupted:
            return False
        self._interrupted = True
        if self._answering and (turn := self._answering.turn):
            self._cancelling = asyncio.create_task(self._cancel_answer(turn))
        else:
            self._action.cancel()
        return True

    async def _cancel_answer(self, turn: str) -> None:
        with suppress(AskbotError):  # raised where the answer is awaited
            await self._chat.cancel(turn)

    async def _show_recap(self) -> None:
        """Show the title and the last turns, and go on with an answer that is still running."""
        turns = await load_turns(self._chat, limit=2)
        title = self._title() or (turns[0].question if turns else "")
        self._print_notice(f"Going on with: {one_line(title)} (/new begins another)\n")
        for turn in turns:
            if turn.end:
                self._print_notice(recap(turn) + "\n")
            else:
                self._print_notice(f"> {one_line(turn.question)}")
                await self._stream(
                    turn,
                    stream_running_answer(self._chat, turn, self._closed),
                    thinking=stream_running_thinking(self._chat, turn, self._closed),
                )
                if turn.end is None:
                    self._print_notice("(the server no longer has this answer)")
                self._show_ending(turn.end)

    async def _run_command(self, command: SlashCommand) -> SwitchSession | None:
        match command.name:
            case "new":
                return SwitchSession()
            case "sessions" | "open":
                return await self._choose_session(command)
            case "forget":
                return await self._forget()
            case _:
                await self._run_here(command)
                return None

    async def _run_here(self, command: SlashCommand) -> None:
        """Run a command after which the session is the same."""
        match command.name:
            case "retry":
                await self._show_answer(self._chat.retry, question="/retry")
            case "edit":
                await self._edit(command)
            case "history":
                await self._show_history(command)
            case "thinking":
                await self._show_thinking()
            case "title":
                await self._name_session(command.argument)
            case "model":
                self._choose_model(command.argument)
            case "export":
                await self._export(command.argument)
            case "help":
                self._print_notice(help_text())
            case name:
                near = "".join(f" Did you mean /{each}?" for each in near_names(name, COMMANDS)[:1])
                self._print_notice(f"There is no /{name}.{near} {HINT}.")

    def _print_notice(self, text: str) -> None:
        self._context.screen.print_notice(text)

    # --- questions and answers ---------------------------------------------------------------------------------------

    async def _ask(self, question: str) -> None:
        if question.strip():
            text, saved = question.strip(), self._context.saved_sessions.title(self._chat.id) is not None
            self._save_session(question)
            try:
                await self._show_answer(lambda: self._chat.ask(text, model=self._context.model), question=text)
            except BaseException:
                if not saved and self._chat.id and not self._chat.view.all_turns:
                    self._context.saved_sessions.remove(self._chat.id)  # it stays empty, and the server keeps no such
                raise
            self._save_session(question)  # a session that was lost while it was empty has another id now

    async def _show_answer(self, ask: Callable[[], AnswerStream], *, question: str) -> None:
        """Ask, and show the answer up to its end; a question that may not have been asked is given back."""
        if not is_text(question):
            raise InvalidFrame(NO_TEXT)
        check_length(question, self._chat.view)
        stream: AnswerStream | None = None
        try:
            stream = ask()
            await self._read_answer(stream)
        except BaseException as error:
            if not (stream and stream.turn) and not _is_refusal(error):
                self._print_notice(f"(The server has not taken this question:)\n{question}")
            raise

    async def _read_answer(self, stream: AnswerStream) -> None:
        try:
            await self._stream(stream, stream, thinking=stream.thinking())
        except Damaged:
            self._print_notice("(this is not what was answered; that is:)")
            self._print_answer((await stream).text)
        except AskbotError:
            await stream  # raises where it could not be asked at all; else the reason is in the answer
        self._show_ending(await stream)

    async def _stream(
        self, answer: AnswerStream | Turn, pieces: AsyncIterable[str], *, thinking: AsyncIterable[str]
    ) -> None:
        self._answering, self._interrupted = answer, False
        try:
            await ThinkingIndicator(self._context.screen).show_during(thinking)
            async for text in pieces:
                self._context.screen.write(text)
        finally:
            self._answering = None
            self._context.screen.end_answer()

    def _print_answer(self, text: str) -> None:
        if text:
            self._context.screen.write(text)
        self._context.screen.end_answer()

    def _show_ending(self, end: Answer | End | None) -> None:
        """Say why an answer is incomplete; nothing of one that is complete."""
        if end and end.reason != "stop":
            self._print_notice(f"({describe_ending(end)})")

    def _save_session(self, question: str) -> None:
        if self._chat.id:
            self._context.saved_sessions.save(self._chat.id, question=question)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _edit(self, command: SlashCommand) -> None:
        turns = await load_turns(self._chat)
        number = len(turns) if not command.argument else command.number or 0
        if not 0 < number <= len(turns):
            self._print_notice(f"There is no question {command.argument} here. /history shows their numbers.")
            return
        turn = turns[number - 1]
        text = await self._context.line_input.read_question("edit> ", text=turn.question)
        if text and text.strip():
            question = text.strip()
            await self._show_answer(lambda: self._chat.edit(turn.turn, question), question=question)

    async def _show_history(self, command: SlashCommand) -> None:
        limit = command.number or HISTORY_TURNS
        turns = await load_turns(self._chat)
        if not turns:
            self._print_notice("Nothing was asked yet.")
        for number, turn in [*enumerate(turns, 1)][-limit:]:
            self._print_notice(f"{number}> {turn.question}")
            self._print_answer(turn.answer)
            self._show_ending(turn.end)

    async def _show_thinking(self) -> None:
        turns = await load_turns(self._chat, limit=1)
        thinking = turns[-1].thinking.strip() if turns else ""
        self._print_notice(thinking or "Nothing was shown of what the model thought.")

    def _choose_model(self, name: str) -> None:
        """Ask another model from now on; without a name, list those that there are."""
        ready, models = self._chat.view.ready, self._chat.models
        default = ready.model if ready else ""
        if name and models and name not in models:
            self._print_notice(f"There is no model {name} here.{did_you_mean(name, models)} /model lists all.")
            return
        if name:
            self._context.model = None if name == default else name
        asked = self._context.model or default
        if models and not name:
            self._print_notice(list_names(models, chosen=asked))
        hint = f" (/model {default} goes back.)" if self._context.model else ""
        self._print_notice(f"{asked} is asked.{hint}")

    async def _choose_session(self, command: SlashCommand) -> SwitchSession | None:
        """Switch to a session by its number in the list; without a number, show the list and ask for one."""
        number = command.argument
        listed = self._context.listed if number else None
        if listed is None:
            listed = self._context.listed = await load_sessions(self._chat, self._context.saved_sessions)
        if not listed.sessions:
            self._print_notice("There is none yet." if self._chat.view.user else "None was held from here yet.")
            return None
        if not number:
            self._print_notice(listed.lines(self._chat.id))
            number = (await self._context.line_input.read_line("number> ")).strip()
        if not number:
            return None
        if chosen := listed.get(number):
            return SwitchSession(chosen.session) if chosen.session != self._chat.id else None
        self._print_notice(f"There is no conversation {number}. /sessions lists them.")
        return None

    def _title(self) -> str | None:
        """Return what the conversation is called, on the server or here."""
        return self._chat.title or self._context.saved_sessions.title(self._chat.id)

    async def _name_session(self, text: str) -> None:
        """Name the session; without a text, show its name."""
        if not text:
            self._print_notice(one_line(self._title() or "") or "It has no name yet: /title TEXT gives it one.")
            return
        try:
            await self._chat.set_title(text)
        except TurnNotFound:
            self._print_notice("(ask something first: an empty conversation has no name)")
        else:
            self._context.saved_sessions.rename(self._chat.id, text)
            self._print_notice(f"(it is called: {one_line(text)})")

    async def _forget(self) -> SwitchSession | None:
        reply = await self._context.line_input.read_line("Delete this conversation, everywhere? [y/N] ")
        if reply.strip().lower() not in {"y", "yes"} or not self._chat.id:
            return None
        session = self._chat.id
        await self._chat.forget()
        self._context.saved_sessions.remove(session)
        self._print_notice("(it is deleted)")
        return SwitchSession()

    async def _export(self, name: str) -> None:
        turns = await load_turns(self._chat)
        first = turns[0].question if turns else "Nothing was asked"
        title = one_line(self._title() or first)
        path = name or f"askbot-{time.strftime('%Y-%m-%d-%H%M%S')}.md"
        try:
            write_new_file(path, to_markdown(turns, title=title))
        except OSError as error:
            self._print_notice(f"({path}: {error.strerror})")
        else:
            self._print_notice(f"({path} has it: {len(turns)} question{'' if len(turns) == 1 else 's'})")


def _is_refusal(error: BaseException) -> bool:
    """Return whether an error is the server's word that it doesn't take a question."""
    known = isinstance(error, AskbotError) and not isinstance(error, _NOT_REFUSED)
    return known and getattr(error, "code", "") not in _NOT_REFUSED_CODES
