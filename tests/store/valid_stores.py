"""Stores as a server leaves them: with proofs that are true, which `check` looks at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from askbot_ws.core.turn import proof
from askbot_ws.events import Done, Event, Reason, Token
from askbot_ws.store.sqlite.schema import APPLICATION_ID
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, read_all


class ProvenEventFactory(EventFactory):
    """A story whose ends prove their text."""

    def done(self, turn: str, reason: Reason = "stop") -> Event:
        answer = "".join(event.text for event in self.events if isinstance(event, Token) and event.turn == turn)
        done = super().done(turn, reason)
        assert isinstance(done, Done)
        self.events[-1] = replace(done, check=proof(answer.encode(), chars=len(answer)))
        return self.events[-1]


def make_turns(session: str, *, turns: int, text: str = "Because 🙂. ") -> ProvenEventFactory:
    factory = ProvenEventFactory(session)
    for number in range(turns):
        factory.turn(f"t{number}", f"{number} {text}", id=f"a{number}")
    return factory


async def write_store(path: Path, *stories: EventFactory, crash: bool = False) -> None:
    """A store that was closed with these stories in it, or that died and has them in its journal."""
    store = SQLiteStore(path)
    await store.open()
    for story in stories:
        store.create(story.session)
        await append(store, *story.events)
    await (store.close_without_flush() if crash else store.close())


async def read_store(path: Path, sessions: Iterable[str]) -> dict[str, list[Event]]:
    """What a server finds there."""
    store = SQLiteStore(path)
    await store.open()
    found = {session: await read_all(store, session) for session in sessions}
    await store.close()
    return found


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount, "nothing was changed"


def set_version(path: Path, version: int) -> None:
    """Let a file be one of ours, of this version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def content(path: Path) -> bytes:
    return path.read_bytes()


def write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def file_names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
