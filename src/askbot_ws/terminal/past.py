"""Past: the turns of a session, as the server has them, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ..client import Chat, Turn, View
from ..dialects.askbot.frames import History
from ..events import MAX_SEQ
from .words import line_of

PAGE = 50
BRIEF = 6  # lines of an answer that are enough to remember it by


async def turns(chat: Chat, *, most: int | None = None) -> list[Turn]:
    """The turns that a retry or an edit has not replaced, oldest first; `most` of them, or all."""
    view, before = View(session=chat.id), MAX_SEQ
    while True:
        page: History = await chat.history(before=before, limit=PAGE)
        view.fold(page)
        if not page.more or not page.turns or (most is not None and len(view.turns) >= most):
            return view.turns if most is None else view.turns[-most:]
        before = page.turns[0].from_ + 1


async def running(chat: Chat, turn: Turn) -> AsyncIterator[str]:
    """The text of an answer that was begun before we came, from its beginning; `turn` is made what it ends as."""
    given = 0
    while True:
        changed, known = chat.changed, chat.view.all_turns.get(turn.turn)
        if known is None and (chat.view.seq or 0) > turn.from_:
            return  # the server has lost it
        if known and (text := known.answer[given:]):
            given += len(text)
            yield text
        elif known and known.end:
            turn.end = known.end
            return
        else:
            await changed.wait()
            await chat.history(
                before=0, limit=1
            )  # raises where the conversation is over: nothing would change any more


def brief(turn: Turn) -> str:
    """A turn as a reminder: its question, and how the answer ended."""
    lines = turn.answer.strip().splitlines()
    shown = lines if len(lines) <= BRIEF else ["…", *lines[-BRIEF:]]
    return "\n".join([f"> {line_of(turn.text, width=76)}", *shown])


def document(turns: list[Turn], *, title: str) -> str:
    """A conversation as Markdown; the questions are quoted."""
    parts = [f"# {title}"]
    for turn in turns:
        parts += ["\n".join(f"> {line}".rstrip() for line in turn.text.splitlines() or [""]), turn.answer.strip()]
        if turn.end and turn.end.reason != "stop":
            parts.append(f"*({turn.end.reason})*")
    return "\n\n".join(part for part in parts if part) + "\n"


def save(name: str, text: str) -> None:
    """Write a file that must not be there yet. Raises OSError."""
    with Path(name).expanduser().open("x", encoding="utf-8") as file:
        file.write(text)
