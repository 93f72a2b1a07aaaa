"""Transcript: the turns of a session, read from the server, as text and as Markdown."""

from __future__ import annotations

import asyncio
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
    view, before, more = View(session=chat.id), MAX_SEQ, True
    while more and (limit is None or len(view.turns) < limit):
        page: History = await chat.history(before=before, limit=PAGE_TURNS)
        view.fold(page)
        oldest = page.turns[0].from_ + 1 if page.turns else before
        more, before = page.more and oldest < before, oldest  # a server that repeats itself has no more
    return view.turns if limit is None else view.turns[-limit:]


async def stream_running_thinking(chat: Chat, turn: Turn, closed: asyncio.Event) -> AsyncIterator[str]:
    """Yield what the model thinks in a turn that was running before we connected, until its answer begins.

    `closed` is set once the conversation is closed: then this raises why.
    """
    yielded = 0
    async for current in _follow_turn(chat, turn, closed):
        if text := current.read_thinking(yielded):
            yielded += len(text)
            yield text
        if current.thinking_before_answer is not None or current.end:
            return


async def stream_running_answer(chat: Chat, turn: Turn, closed: asyncio.Event) -> AsyncIterator[str]:
    """Yield the text of an answer that was running before we connected, from its beginning.

    Sets `turn.end`, unless the server no longer has the answer. `closed` as for `stream_running_thinking`.
    """
    yielded = 0
    async for current in _follow_turn(chat, turn, closed):
        if text := current.answer_buffer.read_after(yielded):
            yielded += len(text)
            yield text
        if current.end:
            turn.end = current.end
            return


async def _follow_turn(chat: Chat, turn: Turn, closed: asyncio.Event) -> AsyncIterator[Turn]:
    """Yield a turn as the view has it, now and whenever something has changed; ends where the server has lost it.

    What the view has not, or not whole once it has ended, is requested once.
    """
    requested = False
    while True:
        changed, current = chat.changed, _find(chat.view, turn)
        missing = _is_read_without(chat.view, turn) if current is None else current.end and not current.whole
        if closed.is_set() or (missing and not requested):
            requested = True
            page = await chat.history(before=turn.from_ + 2, limit=1)  # raises where the conversation is closed
            current = next((Turn.from_record(record) for record in page.turns if record.turn == turn.turn), None)
            missing = current is None or not _is_same(current, turn)
        if missing and (current is None or not current.end):
            return
        if current:
            yield current
            if current.end:
                return
        await _wait_for_any(changed, closed)


def _find(view: View, turn: Turn) -> Turn | None:
    """Return the turn as a view has it; another history may have another turn by its id."""
    current = view.all_turns.get(turn.turn)
    return current if current and _is_same(current, turn) else None


def _is_same(one: Turn, other: Turn) -> bool:
    return (one.turn, one.id, one.from_, one.question) == (other.turn, other.id, other.from_, other.question)


def _is_read_without(view: View, turn: Turn) -> bool:
    """Return whether a view that has not the turn will not get it any more: it has read on, or to the log's end."""
    seq = view.seq or 0
    return seq > turn.from_ or seq >= view.head


async def _wait_for_any(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def recap(turn: Turn) -> str:
    """Return a turn's question on one line, and the last `RECAP_LINES` lines of its answer."""
    lines = turn.answer.strip().splitlines()
    shown = lines if len(lines) <= RECAP_LINES else ["…", *lines[-RECAP_LINES:]]
    return "\n".join([f"> {one_line(turn.question, width=76)}", *shown])


def to_markdown(turns: list[Turn], *, title: str) -> str:
    """Return a conversation as Markdown; the questions are quoted."""
    parts = [f"# {title}"]
    for turn in turns:
        parts += ["\n".join(f"> {line}".rstrip() for line in turn.question.splitlines() or [""]), turn.answer.strip()]
        if turn.end and turn.end.reason != "stop":
            parts.append(f"*({turn.end.reason})*")
    return "\n\n".join(part for part in parts if part) + "\n"


def write_new_file(name: str, text: str) -> None:
    """Write a file that must not exist yet; `~` is the home folder. Raises OSError."""
    with Path(name).expanduser().open("x", encoding="utf-8") as file:
        file.write(text)
