"""Valid stores: as a server leaves them, with proofs that match the text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from askbot_ws.core.turn import answer_check
from askbot_ws.events import Done, Event, Reason, Token
from askbot_ws.store.sqlite.schema import APPLICATION_ID
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, read_merged


class ProvenEventFactory(EventFactory):
    """An `EventFactory` whose `done` events have the proof of their text."""

    def done(self, turn: str, reason: Reason = "stop") -> Event:
        answer = "".join(event.text for event in self.events if isinstance(event, Token) and event.turn == turn)
        done = super().done(turn, reason)
        assert isinstance(done, Done)
        self.events[-1] = replace(done, check=answer_check(answer.encode(), chars=len(answer)))
        return self.events[-1]


def make_turns(session: str, *, turns: int, text: str = "Because 🙂. ") -> ProvenEventFactory:
    factory = ProvenEventFactory(session)
    for number in range(turns):
        factory.turn(f"t{number}", f"{number} {text}", id=f"a{number}")
    return factory


async def write_store(path: Path, *factories: EventFactory, crash: bool = False) -> None:
    """Write a store with these events, and close it; with `crash`, they are left in its journal."""
    store = SQLiteStore(path)
    await store.open()
    for factory in factories:
        store.create(factory.session, user=factory.user)
        await append(store, *factory.events)
    await (store.close_without_flush() if crash else store.close())


async def read_store(path: Path, sessions: Iterable[str]) -> dict[str, list[Event]]:
    """The events of these sessions, as a server that starts reads them."""
    store = SQLiteStore(path)
    await store.open()
    found = {session: await read_merged(store, session) for session in sessions}
    await store.close()
    return found


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount, "nothing was changed"


def set_version(path: Path, version: int) -> None:
    """Make a file one of ours, of this version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def content(path: Path) -> bytes:
    return path.read_bytes()


def write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def file_names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
