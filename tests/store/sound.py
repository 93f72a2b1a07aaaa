"""Stores as a server leaves them: with proofs that are true, which `check` looks at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from askbot_ws.core.turn import answer_check
from askbot_ws.events import Done, Event, Reason, Token
from askbot_ws.store.sqlite.schema import APPLICATION
from askbot_ws.store.sqlite.store import SQLiteStore

from .story import Story, add, read_all


class Sound(Story):
    """A story whose ends prove their text."""

    def done(self, turn: str, reason: Reason = "stop") -> Event:
        answer = "".join(event.text for event in self.events if isinstance(event, Token) and event.turn == turn)
        done = super().done(turn, reason)
        assert isinstance(done, Done)
        self.events[-1] = replace(done, check=answer_check(answer.encode(), chars=len(answer)))
        return self.events[-1]


def told(session: str, *, turns: int, text: str = "Because 🙂. ") -> Sound:
    story = Sound(session)
    for number in range(turns):
        story.turn(f"t{number}", f"{number} {text}", id=f"a{number}")
    return story


async def stored(path: Path, *stories: Story, crash: bool = False) -> None:
    """A store that was closed with these stories in it, or that died and has them in its journal."""
    store = SQLiteStore(path)
    await store.open()
    for story in stories:
        store.create(story.session)
        await add(store, *story.events)
    await (store.abandon() if crash else store.close())


async def opened(path: Path, sessions: Iterable[str]) -> dict[str, list[Event]]:
    """What a server finds there."""
    store = SQLiteStore(path)
    await store.open()
    found = {session: await read_all(store, session) for session in sessions}
    await store.close()
    return found


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount, "nothing was changed"


def change_version(path: Path, version: int) -> None:
    """Let a file be one of ours, of this version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
