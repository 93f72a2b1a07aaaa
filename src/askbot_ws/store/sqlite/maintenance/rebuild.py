"""Rebuild: what can be read of damaged tables and of a journal, as tables that are right."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from pydantic import ValidationError

from ....events import Done, Logged, decode_event, encode_event
from .. import segments, state
from ..replay import fold_in
from ..schema import known_version, transaction
from ..segments import Deleted, Limit
from .audit import COLUMNS, Audit, event_of

NEAR = 2_000  # row numbers behind a damaged page that are tried one by one
LAST = 2**62
INSERT = f"INSERT OR IGNORE INTO events (session, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours


@dataclass(slots=True)
class Known:
    """What is known of a session that was there."""

    end: int = 0  # the furthest place that anything speaks of
    created: float | None = None
    touched: float = 0.0  # the age of the store when something was added


class Rebuild:
    """From `source`, which is only read, into `fresh`, which has empty tables."""

    def __init__(self, source: Connection, fresh: Connection) -> None:
        self.facts: list[str] = []
        self._source = source
        self._fresh = fresh
        self._age = 0.0  # of the store
        self._unknown = 0  # records of the journal
        self._names: dict[int, str] = {}
        self._known: dict[str, Known] = {}
        self._nameless: set[int] = set()
        self._heads: dict[str, int] = {}
        self._doubtful: dict[str, list[str]] = {}

    def run(self, paths: list[Path]) -> None:
        """Do all of it: the tables up to each session's first hole, the journal on top, the counters anew."""
        aged = known_version(self._source, Path("the store")) > 1  # in version 1, `touched` is a time on the wall clock
        with transaction(self._fresh):
            for row in rows(self._source, "sessions", "key, id, head, created, touched"):
                self._take_session(*row, aged=aged)
            for event in rows(self._source, "events", f"session, {COLUMNS}"):
                self._take_event(event[0], event[1:])
            self._age = max((known.touched for known in self._known.values()), default=0.0)
            if aged:
                self._age = max([self._age, *(age for (age,) in rows(self._source, "store", "age") if age is not None)])
            state.set_age(self._fresh, self._age)
            self._begin()
            self._mend()
        limits: dict[int, int] = {}
        for path in paths:
            limits |= segments.limits(path)
        cut_off = set[str]()
        deletions = segments.deletions(paths, limits)
        for path in paths:
            with transaction(self._fresh):
                fold_in(self._fresh, self._noted(segments.read(path, limits).payloads), cut_off, deletions)
        with transaction(self._fresh):
            self._mend()
        self._heads = dict(self._fresh.execute("SELECT id, head FROM sessions").fetchall())
        self.facts.append(f"kept: sessions: {self._count('sessions')}, events: {self._count('events')}")

    def lost(self) -> Iterator[str]:
        """What is not there any more, a line each."""
        for session, known in sorted(self._known.items()):
            head = self._heads.get(session, 0)
            if not head:
                yield f"session {session}: nothing could be kept"
            elif head < known.end:
                yield f"session {session}: kept up to {head}; what followed, at least up to {known.end}, is lost"
        for session, turns in sorted(self._doubtful.items()):
            listed = ", ".join(turns)
            yield f"session {session}: text of {listed} is damaged; it was kept, and is marked as interrupted"
        if self._nameless:
            yield f"sessions whose names can't be read, of which nothing could be kept: {len(self._nameless)}"
        if self._unknown:
            yield f"records in the journal of kinds that this askbot does not know: {self._unknown}"

    # --- the tables --------------------------------------------------------------------------------------------------

    def _take_session(self, key: Any, id: Any, head: Any, created: Any, touched: Any, *, aged: bool) -> None:  # noqa: ANN401 - a damaged file holds anything
        whole = isinstance(key, int) and isinstance(id, str) and isinstance(head, int)
        if whole and isinstance(created, float) and isinstance(touched, float):
            self._names[key] = id
            self._known[id] = Known(head, created, touched if aged else 0.0)

    def _take_event(self, key: Any, row: tuple[Any, ...]) -> None:  # noqa: ANN401 - a damaged file holds anything
        """Keep the row for now. A frame in it names its session, where the table of sessions does not."""
        if not isinstance(key, int) or not isinstance(row[0], int):
            return
        if key not in self._names and row[2] != "token":
            try:
                event: Logged = decode_event(row[4])
            except ValidationError:
                return
            self._names[key] = event.session
        self._fresh.execute(INSERT, (key, *row))

    def _begin(self) -> None:
        """Give each session that has events its row."""
        for key, end in self._fresh.execute("SELECT session, max(seq) FROM events GROUP BY session").fetchall():
            name = self._names.get(key)
            if name is None:
                self._nameless.add(key)
                self._cut(key, 0)
                continue
            known = self._known.setdefault(name, Known())
            known.end = max(known.end, end)
            created = time.time() if known.created is None else known.created
            values = (key, name, created, self._age if known.created is None else known.touched)
            self._fresh.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, 0, 0, ?, ?)", values)

    # --- the journal -------------------------------------------------------------------------------------------------

    def _noted(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """The records, once what they speak of is known."""
        for payload in records:
            try:
                record = segments.parse(payload)
            except ValueError:
                self._unknown += 1
                continue
            match record:
                case Deleted():
                    self._known.pop(record.session, None)
                case Limit():
                    pass
                case _:
                    known = self._known.setdefault(record.session, Known())
                    known.end = max(known.end, record.seq)
            yield payload

    # --- making it right ---------------------------------------------------------------------------------------------

    def _mend(self) -> None:
        """Cut each log at its first hole, and count its head and its open turns."""
        for key, session in self._fresh.execute("SELECT key, id FROM sessions").fetchall():
            log = Audit()
            query = f"SELECT {COLUMNS} FROM events WHERE session = ? ORDER BY seq"  # noqa: S608 - ours
            for row in self._fresh.execute(query, (key,)).fetchall():
                event = event_of(session, row)
                if event is None or log.hole(event):
                    break
                check = log.take(event)
                if check and isinstance(event, Done):
                    self._doubt(key, replace(event, check=check, reason="interrupted", error=None))
            self._cut(key, log.head)
            counted = (log.head, len(log.open), key)
            self._fresh.execute("UPDATE sessions SET head = ?, unfinished = ? WHERE key = ?", counted)
            if not log.head:
                self._fresh.execute("DELETE FROM sessions WHERE key = ?", (key,))

    def _doubt(self, key: int, done: Done) -> None:
        """A turn whose text is not what was given: say so in the log itself, with a proof of what there is."""
        self._doubtful.setdefault(done.session, []).append(done.turn)
        change = "UPDATE events SET body = ? WHERE session = ? AND seq = ?"
        self._fresh.execute(change, (encode_event(done).decode(), key, done.seq))

    def _cut(self, key: int, head: int) -> None:
        self._fresh.execute("DELETE FROM events WHERE session = ? AND seq > ?", (key, head))

    def _count(self, table: str) -> int:
        (count,) = self._fresh.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
        return int(count)


# --- reading what is damaged -----------------------------------------------------------------------------------------


def rows(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that can be read, oldest first; damaged pages are passed over."""
    query = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid"  # noqa: S608 - ours

    def readable(place: int) -> bool:
        try:
            connection.execute(query + " LIMIT 1", (place,)).fetchone()
        except sqlite3.Error:
            return False
        return True

    place: int | None = 0
    while place is not None:
        try:
            for number, *row in connection.execute(query, (place,)):
                yield tuple(row)
                place = int(number) + 1
        except sqlite3.Error:
            place = _beyond(place, readable)
        else:
            return


def _beyond(place: int, readable: Callable[[int], bool]) -> int | None:
    """The next row number from which on something can be read again."""
    for near in range(place + 1, place + NEAR):
        if readable(near):
            return near
    step = NEAR
    while not readable(place + step):
        step *= 2
        if place + step > LAST:
            return None
    low, high = place + step // 2, place + step  # the one is not readable, the other is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if readable(middle) else (middle, high)
    return high
