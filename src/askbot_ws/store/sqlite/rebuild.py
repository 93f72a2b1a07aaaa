"""Rebuild: what can be read of damaged tables and of a journal, as tables that are right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from pydantic import ValidationError

from ...events import Done, Logged, decode_event, encode_event
from . import journal
from .audit import COLUMNS, Audit, event_of
from .replay import settle
from .salvage import payloads, rows
from .schema import transaction

INSERT = f"INSERT OR IGNORE INTO events (session, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours


@dataclass(slots=True)
class Known:
    """What is known of a session that was there."""

    end: int = 0  # the furthest place that anything speaks of
    created: float | None = None
    touched: float | None = None


class Rebuild:
    """From `source`, which is only read, into `fresh`, which has empty tables."""

    def __init__(self, source: Connection, fresh: Connection, *, now: float) -> None:
        self.facts: list[str] = []
        self._source = source
        self._fresh = fresh
        self._now = now
        self._names: dict[int, str] = {}
        self._known: dict[str, Known] = {}
        self._nameless: set[int] = set()
        self._heads: dict[str, int] = {}
        self._doubtful: dict[str, list[str]] = {}

    def run(self, segments: list[Path]) -> None:
        """Do all of it: the tables up to each session's first hole, the journal on top, the counters anew."""
        with transaction(self._fresh):
            for row in rows(self._source, "sessions", "key, id, head, created, touched"):
                self._take_session(*row)
            for event in rows(self._source, "events", f"session, {COLUMNS}"):
                self._take_event(event[0], event[1:])
            self._begin()
            self._mend()
        broken = set[str]()
        for path in segments:
            settle(self._fresh, self._noted(payloads(path.read_bytes())), broken, now=self._now)
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

    # --- the tables --------------------------------------------------------------------------------------------------

    def _take_session(self, key: Any, id: Any, head: Any, created: Any, touched: Any) -> None:  # noqa: ANN401 - a damaged file holds anything
        whole = isinstance(key, int) and isinstance(id, str) and isinstance(head, int)
        if whole and isinstance(created, float) and isinstance(touched, float):
            self._names[key] = id
            self._known[id] = Known(head, created, touched)

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
            created, touched = (self._now if at is None else at for at in (known.created, known.touched))
            values = (key, name, created, touched)
            self._fresh.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, 0, 0, ?, ?)", values)

    # --- the journal -------------------------------------------------------------------------------------------------

    def _noted(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """The records, once what they speak of is known."""
        for payload in records:
            if payload.startswith(journal.FORGET):
                self._known.pop(payload.removeprefix(journal.FORGET).decode(errors="replace"), None)
            else:
                try:
                    event: Logged = decode_event(payload)
                except ValidationError:
                    continue
                known = self._known.setdefault(event.session, Known())
                known.end = max(known.end, event.seq)
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
