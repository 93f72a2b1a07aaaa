"""Rebuild: copies what can be read of damaged tables and of a journal into new tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from pydantic import ValidationError

from ....core.summary import LogSummary
from ....events import Done, Event, Logged, decode_event, encode_event
from ...audit import Audit
from .. import segments, state
from ..replay import replay_records
from ..schema import read_version, transaction
from ..segments import DeletedRecord, TruncationRecord, UserSessionRecord
from ..tables import write_summary
from .damaged_rows import EVENT_COLUMNS, SLICE_TYPES, decode_row

ROWIDS_TRIED_ONE_BY_ONE = 2_000  # behind a damaged page, before a search with growing steps
MAX_ROWID = 2**62
INSERT_EVENT = f"INSERT OR IGNORE INTO events (session, {EVENT_COLUMNS}, user) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
INSERT_SESSION = """
    INSERT OR IGNORE INTO sessions (key, id, head, unfinished, created, touched) VALUES (?, ?, 0, 0, ?, ?)
"""
SET_USER = "UPDATE sessions SET user = (SELECT user FROM events WHERE session = ? ORDER BY seq LIMIT 1) WHERE key = ?"


@dataclass(slots=True)
class KnownSession:
    """What is known of a session that the damaged store had."""

    furthest_seq: int = 0  # the largest one that any row or record names
    created: float | None = None  # seconds since the epoch
    touched: float = 0.0  # the store's uptime at the last append, in seconds


class Rebuild:
    """Copies from `source`, which is only read, to `target`, which has empty tables."""

    def __init__(self, source: Connection, target: Connection) -> None:
        self.facts: list[str] = []
        self._source = source
        self._target = target
        self._uptime = 0.0  # of the store
        self._unknown_records = 0  # records of the journal
        self._session_ids: dict[int, str] = {}
        self._known: dict[str, KnownSession] = {}
        self._unnamed_keys: set[int] = set()
        self._heads: dict[str, int] = {}
        self._damaged_turns: dict[str, list[str]] = {}

    def run(self, paths: list[Path]) -> None:
        """Copy the tables up to each session's first hole, replay the journal's segments, recompute the counters."""
        # in version 1, `touched` is a time on the wall clock
        version = read_version(self._source, Path("the store"))
        has_age, user = version > 1, "user" if version > 3 else "NULL"
        with transaction(self._target):
            for row in read_rows(self._source, "sessions", "key, id, head, created, touched"):
                self._add_known_session(*row, has_age=has_age)
            for event in read_rows(self._source, "events", f"session, {EVENT_COLUMNS}, {user}"):
                self._copy_event(event[0], event[1:])
            self._uptime = max((known.touched for known in self._known.values()), default=0.0)
            if has_age:
                uptimes = (uptime for (uptime,) in read_rows(self._source, "store", "age") if uptime is not None)
                self._uptime = max([self._uptime, *uptimes])
            state.set_uptime(self._target, self._uptime)
            self._create_sessions()
            self._truncate_logs()
            if version > 3:
                self._copy_accounts()
        truncations: dict[int, int] = {}
        for path in paths:
            truncations |= segments.read_truncations(path)
        truncated = set[str]()
        deletions = segments.count_deletions(paths, truncations)
        for path in paths:
            payloads = segments.read_segment(path, truncations).payloads
            with transaction(self._target):
                replay_records(self._target, self._known_records(payloads), truncated, deletions)
        with transaction(self._target):
            self._truncate_logs()
        self._heads = dict(self._target.execute("SELECT id, head FROM sessions").fetchall())
        self.facts.append(f"kept: sessions: {self._count('sessions')}, events: {self._count('events')}")

    def losses(self) -> Iterator[str]:
        """What could not be kept, as lines for people."""
        for session, known in sorted(self._known.items()):
            head, end = self._heads.get(session, 0), known.furthest_seq
            if not head:
                yield f"session {session}: nothing could be kept"
            elif head < end:
                yield f"session {session}: kept up to {head}; what followed, at least up to {end}, is lost"
        for session, turns in sorted(self._damaged_turns.items()):
            listed = ", ".join(turns)
            yield f"session {session}: text of {listed} is damaged; it was kept, and is marked as interrupted"
        if self._unnamed_keys:
            yield f"sessions whose names can't be read, of which nothing could be kept: {len(self._unnamed_keys)}"
        if self._unknown_records:
            yield f"records in the journal of kinds that this askbot does not know: {self._unknown_records}"

    # --- the tables --------------------------------------------------------------------------------------------------

    def _add_known_session(self, key: Any, id: Any, head: Any, created: Any, touched: Any, *, has_age: bool) -> None:  # noqa: ANN401 - a damaged file holds anything
        whole = isinstance(key, int) and isinstance(id, str) and isinstance(head, int)
        if whole and isinstance(created, float) and isinstance(touched, float):
            self._session_ids[key] = id
            self._known[id] = KnownSession(head, created, touched if has_age else 0.0)

    def _copy_event(self, key: Any, row: tuple[Any, ...]) -> None:  # noqa: ANN401 - a damaged file holds anything
        """Copy an event's row. Where the table of sessions lacks its session, the frame in the row may name it."""
        if not isinstance(key, int) or not isinstance(row[0], int):
            return
        if key not in self._session_ids and row[2] not in SLICE_TYPES:
            try:
                event: Logged = decode_event(row[4])
            except ValidationError:
                return
            self._session_ids[key] = event.session
        self._target.execute(INSERT_EVENT, (key, *row))

    def _copy_accounts(self) -> None:
        for table, columns in (("spent", "name, expires"), ("usage", "user, day, tokens")):
            for row in read_rows(self._source, table, columns):
                values = ", ".join("?" * len(row))
                self._target.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({values})", row)  # noqa: S608 - ours

    def _create_sessions(self) -> None:
        """Insert the row of each session that has events; delete the events of sessions whose id is unknown."""
        for key, last_seq in self._target.execute("SELECT session, max(seq) FROM events GROUP BY session").fetchall():
            session = self._session_ids.get(key)
            if session is None:
                self._unnamed_keys.add(key)
                self._delete_after(key, 0)
                continue
            known = self._known.setdefault(session, KnownSession())
            known.furthest_seq = max(known.furthest_seq, last_seq)
            created = known.created or 0.0  # 0: that of its first question
            values = (key, session, created, self._uptime if known.created is None else known.touched)
            self._target.execute(INSERT_SESSION, values)

    # --- the journal -------------------------------------------------------------------------------------------------

    def _known_records(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the payloads of known kinds, and note what they say of their sessions."""
        for payload in records:
            try:
                record = segments.decode_payload(payload)
            except ValueError:
                self._unknown_records += 1
                continue
            match record:
                case DeletedRecord():
                    self._known.pop(record.session, None)
                case TruncationRecord():
                    pass
                case UserSessionRecord():
                    self._note_event(record.event)
                case _:
                    self._note_event(record)
            yield payload

    def _note_event(self, event: Event) -> None:
        known = self._known.setdefault(event.session, KnownSession())
        known.furthest_seq = max(known.furthest_seq, event.seq)

    # --- consistency -------------------------------------------------------------------------------------------------

    def _truncate_logs(self) -> None:
        """Truncate each log at its first hole, and recompute what its row says: its user is that of its first event."""
        for key, session, created in self._target.execute("SELECT key, id, created FROM sessions").fetchall():
            log = Audit(summary=LogSummary(created=created))
            query = f"SELECT {EVENT_COLUMNS} FROM events WHERE session = ? ORDER BY seq"  # noqa: S608 - ours
            for row in self._target.execute(query, (key,)).fetchall():
                event = decode_row(session, row)
                if event is None or log.find_fault(event):
                    break
                check = log.add(event)
                if check and isinstance(event, Done):
                    self._mark_interrupted(key, replace(event, check=check, reason="interrupted", error=None))
            self._delete_after(key, log.head)
            self._target.execute("UPDATE sessions SET head = ? WHERE key = ?", (log.head, key))
            self._target.execute(SET_USER, (key, key))
            write_summary(self._target, key, log.summary)
            if not log.head:
                self._target.execute("DELETE FROM sessions WHERE key = ?", (key,))

    def _mark_interrupted(self, key: int, done: Done) -> None:
        """Mark a turn whose text does not match its proof as interrupted, with a proof of the text that there is."""
        self._damaged_turns.setdefault(done.session, []).append(done.turn)
        change = "UPDATE events SET body = ? WHERE session = ? AND seq = ?"
        self._target.execute(change, (encode_event(done).decode(), key, done.seq))

    def _delete_after(self, key: int, head: int) -> None:
        self._target.execute("DELETE FROM events WHERE session = ? AND seq > ?", (key, head))

    def _count(self, table: str) -> int:
        (count,) = self._target.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
        return int(count)


# --- reading damaged tables ------------------------------------------------------------------------------------------


def read_rows(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that can be read, by rowid; damaged pages are skipped."""
    query = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid"  # noqa: S608 - ours

    def is_readable(first: int) -> bool:
        try:
            connection.execute(query + " LIMIT 1", (first,)).fetchone()
        except sqlite3.Error:
            return False
        return True

    rowid: int | None = 0
    while rowid is not None:
        try:
            for number, *row in connection.execute(query, (rowid,)):
                yield tuple(row)
                rowid = int(number) + 1
        except sqlite3.Error:
            rowid = _next_readable_rowid(rowid, is_readable)
        else:
            return


def _next_readable_rowid(rowid: int, is_readable: Callable[[int], bool]) -> int | None:
    """The next rowid from which on rows can be read again; None where there is none."""
    for candidate in range(rowid + 1, rowid + ROWIDS_TRIED_ONE_BY_ONE):
        if is_readable(candidate):
            return candidate
    step = ROWIDS_TRIED_ONE_BY_ONE
    while not is_readable(rowid + step):
        step *= 2
        if rowid + step > MAX_ROWID:
            return None
    low, high = rowid + step // 2, rowid + step  # the one is not readable, the other is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_readable(middle) else (middle, high)
    return high
