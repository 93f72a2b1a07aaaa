"""Transcript: the turns of a session, read from the server, as text and as Markdown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ..client import Chat, Turn, View
from ..dialects.askbot.frames import History
from ..events import MAX_SEQ
from .output import one_line

PAGE_TURNS = 50
RECAP_LINES = 6  # of an answer, enough to remember it by


async def load_turns(chat: Chat, *, limit: int | None = None) -> list[Turn]:
    """Return the last `limit` turns, or all, oldest first, without those that a retry or an edit has replaced."""
    view, before = View(session=chat.id), MAX_SEQ
    while True:
        page: History = await chat.history(before=before, limit=PAGE_TURNS)
        view.fold(page)
        if not page.more or not page.turns or (limit is not None and len(view.turns) >= limit):
            return view.turns if limit is None else view.turns[-limit:]
        before = page.turns[0].from_ + 1


async def stream_running_thinking(chat: Chat, turn: Turn) -> AsyncIterator[str]:
    """Yield what the model thinks in a turn that was running before we connected, until its answer begins."""
    yielded = 0
    async for current in _follow_turn(chat, turn):
        if text := current.read_thinking(yielded):
            yielded += len(text)
            yield text
        if current.thinking_before_answer is not None or current.end:
            return


async def stream_running_answer(chat: Chat, turn: Turn) -> AsyncIterator[str]:
    """Yield the text of an answer that was running before we connected, from its beginning. Sets `turn.end`."""
    yielded = 0
    async for current in _follow_turn(chat, turn):
        if text := current.answer[yielded:]:
            yielded += len(text)
            yield text
        if current.end:
            turn.end = current.end
            return


async def _follow_turn(chat: Chat, turn: Turn) -> AsyncIterator[Turn]:
    """Yield a turn as the view has it, now and whenever something has changed; ends where the server has lost it."""
    while True:
        changed, current = chat.changed, chat.view.all_turns.get(turn.turn)
        if current is None and (chat.view.seq or 0) > turn.from_:
            return
        if current:
            yield current
        await changed.wait()
        await chat.history(before=0, limit=1)  # raises where the conversation is over and nothing will change


def recap(turn: Turn) -> str:
    """Return a turn's question on one line, and the last `RECAP_LINES` lines of its answer."""
    lines = turn.answer.strip().splitlines()
    shown = lines if len(lines) <= RECAP_LINES else ["…", *lines[-RECAP_LINES:]]
    return "\n".join([f"> {one_line(turn.text, width=76)}", *shown])


def to_markdown(turns: list[Turn], *, title: str) -> str:
    """Return a conversation as Markdown; the questions are quoted."""
    parts = [f"# {title}"]
    for turn in turns:
        parts += ["\n".join(f"> {line}".rstrip() for line in turn.text.splitlines() or [""]), turn.answer.strip()]
        if turn.end and turn.end.reason != "stop":
            parts.append(f"*({turn.end.reason})*")
    return "\n\n".join(part for part in parts if part) + "\n"


def write_new_file(name: str, text: str) -> None:
    """Write a file that must not exist yet; `~` is the home folder. Raises OSError."""
    with Path(name).expanduser().open("x", encoding="utf-8") as file:
        file.write(text)
