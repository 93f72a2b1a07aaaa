"""Check: finds damage in a store. It changes nothing, and a server may run beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ....core.log_tail import suffix_after
from ....errors import ConfigError
from ....events import Done, Event, TextSlice
from ...audit import Audit, Report, describe_logs
from .. import segments
from ..files import StoreFiles, read_only_connection
from ..lock import ProcessLock
from ..schema import MIGRATIONS, read_version
from ..segments import DeletedRecord, TruncationRecord, UserSessionRecord
from .damaged_rows import EVENT_COLUMNS, decode_row

MAX_LISTED_FAULTS = 100  # of the database file


def check(path: Path) -> Report:
    """Check the database, every session's log and the journal; the journal only where no server runs.

    Raises `ConfigError` where the database can't be opened, or is of a newer version.
    """
    report, files = Report(), StoreFiles(path)
    with lock_out_servers(files) as exclusive, open_read_only(files, exclusive=exclusive) as connection:
        version = read_version(connection, path)
        report.facts.append(f"schema version {version} of {len(MIGRATIONS)}")
        report.faults += _check_pages(connection)
        logs = dict[str, Audit]()
        try:
            if version:
                _check_tables(connection, logs, report, has_owners=version > 3)
            if version > 1:
                report.faults += _check_state(connection)
        except sqlite3.Error as error:
            report.faults.append(f"the tables can't be read to their end: {error}")
        if exclusive:
            JournalCheck(logs, report).check_segments(files.segments())
        else:
            report.facts.append("a server uses it: its journal was left alone")
        report.facts.append(describe_logs(logs.values()))
        report.faults += _check_leftovers(files)
    return report


@contextmanager
def lock_out_servers(files: StoreFiles) -> Generator[bool]:
    """Hold the store's lock in the block, so that no server starts; yields False where a server runs already."""
    lock = ProcessLock(files)
    try:
        if files.lock.exists():  # without a lock file no server has used it, and none is made
            lock.acquire()
    except ConfigError:
        yield False
        return
    except OSError:
        pass  # a read-only disk: no server can run on it
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def open_read_only(files: StoreFiles, *, exclusive: bool) -> Generator[sqlite3.Connection]:
    """Open a read-only connection to a store's database; `exclusive`: no other process has it open.

    Raises `ConfigError`, with what to do, where there is no store that can be read.
    """
    if not files.database.is_file():
        raise ConfigError(f"there is no store {files}; name another with --store.")
    with read_only_connection(files, exclusive=exclusive) as connection:
        try:
            connection.text_factory = _decode_lossy
            read_version(connection, files.given_path)
        except sqlite3.Error as error:
            raise ConfigError(
                f"the store {files} can't be read ({error}). Its beginning is damaged, or it is not a database, so "
                "askbot can't repair it: restore a copy (askbot store backup makes them), or move it away and begin "
                "anew; the journal beside it is not touched."
            ) from error
        yield connection


def _decode_lossy(data: bytes) -> str:
    return data.decode(errors="replace")


def _check_leftovers(files: StoreFiles) -> Iterator[str]:
    """Damaged segments that earlier starts have set aside, and hard links."""
    for segment in files.damaged_segments():
        yield (
            f"the journal's {segment.name} was damaged when a server started, which took what it could read and lost "
            "the rest; once nobody needs the file any more, delete it"
        )
    if files.link_count() > 1:
        yield f"the file has {files.link_count()} names (hard links): servers that use two of them destroy it"


def _check_pages(connection: sqlite3.Connection) -> list[str]:
    """The faults that SQLite's own integrity check finds."""
    try:
        found = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({MAX_LISTED_FAULTS})")]
    except sqlite3.Error as error:
        return [f"the file is damaged: {error}"]
    return [] if found == ["ok"] else [f"the file is damaged: {line}" for line in found]


# --- the tables ------------------------------------------------------------------------------------------------------


def _check_state(connection: sqlite3.Connection) -> list[str]:
    (rows,) = connection.execute("SELECT count(*) FROM store").fetchone()
    return [] if rows == 1 else ["it does not say which history it has"]


def _check_tables(connection: sqlite3.Connection, logs: dict[str, Audit], report: Report, *, has_owners: bool) -> None:
    """Check each session in a read transaction of its own: a long one would keep a server from emptying its WAL."""
    keys = [key for (key,) in connection.execute("SELECT key FROM sessions ORDER BY key")]
    events = 0
    for key in keys:
        connection.execute("BEGIN")
        try:
            events += _check_session(connection, key, logs, report)
            if has_owners:
                report.faults += _check_row(connection, key, logs)
        finally:
            connection.execute("ROLLBACK")
    report.facts.append(f"sessions: {len(logs)}, events: {events}")
    orphans = "SELECT count(*) FROM events WHERE session NOT IN (SELECT key FROM sessions)"
    (strays,) = connection.execute(orphans).fetchone()
    if strays:
        report.faults.append(f"events that belong to no session: {strays}")


def _check_session(connection: sqlite3.Connection, key: int, logs: dict[str, Audit], report: Report) -> int:
    found = connection.execute("SELECT id, head, unfinished FROM sessions WHERE key = ?", (key,)).fetchone()
    if found is None:
        return 0  # it was forgotten meanwhile
    session, head, unfinished = found
    rows = connection.execute(f"SELECT {EVENT_COLUMNS} FROM events WHERE session = ? ORDER BY seq", (key,))  # noqa: S608 - ours
    events = [(row[0], decode_row(session, row)) for row in rows]
    log = logs[session] = Audit()
    report.faults += [f"session {session}: {fault}" for fault in _find_faults(log, events)]
    if head != log.head:
        report.faults.append(f"session {session}: its head is said to be at {head}, and its events end at {log.head}")
    elif unfinished != len(log.open_turns):
        report.faults.append(f"session {session}: {len(log.open_turns)} turns have no end, not {unfinished} as it says")
    return len(events)


def _check_row(connection: sqlite3.Connection, key: int, logs: dict[str, Audit]) -> Iterator[str]:
    """Compare a session's row with its events: who made it, and the summary."""
    query = "SELECT id, user, title, question, turns FROM sessions WHERE key = ?"
    found = connection.execute(query, (key,)).fetchone()
    if found is None:
        return  # it was forgotten meanwhile
    session, user, *summary = found
    first = connection.execute("SELECT user FROM events WHERE session = ? ORDER BY seq LIMIT 1", (key,)).fetchone()
    if first is not None and first[0] != user:
        yield f"session {session}: its row and its first event do not say the same of who made it"
    log = logs[session]
    if found[4] is not None and summary != [log.summary.title, log.summary.question, log.summary.turns]:
        yield f"session {session}: its title, first question or number of turns is not what its events say"


def _find_faults(log: Audit, events: Iterable[tuple[int, Event | None]]) -> Iterator[str]:
    """The faults of these events, up to the first hole; events without one are added to `log`."""
    for seq, event in events:
        if event is None:
            yield f"the event at {seq} can't be read"
            return
        fault = log.find_fault(event)
        if fault:
            yield f"there is a hole: {fault}"
            return
        if log.add(event) and isinstance(event, Done):
            yield f"the text of turn {event.turn} is not what its proof says"


# --- the journal -----------------------------------------------------------------------------------------------------


class JournalCheck:
    """Checks the journal's records, applied to the logs in the tables as the next start would do it."""

    def __init__(self, logs: dict[str, Audit], report: Report) -> None:
        self._logs = logs
        self._report = report
        self._broken: set[str] = set()
        self._new_events = 0
        self._deletions: Counter[str] = Counter()  # by session, in the records that follow

    def check_segments(self, paths: list[Path]) -> None:
        """Check the segments, oldest first. Raises `ConfigError` for one of a newer version."""
        truncations: dict[int, int] = {}
        for path in paths:
            try:
                truncations |= segments.read_truncations(path)
            except OSError:
                continue  # reported below
        for path in paths:
            with contextlib.suppress(OSError):
                self._deletions += segments.count_deletions([path], truncations)
        for path in paths:
            try:
                self._check_segment(path, truncations)
            except OSError as error:
                self._report.faults.append(f"the journal's {path.name} can't be read: {error.strerror or error}")
        self._report.facts.append(
            f"journal segments: {len(paths)}, events in them that are in no table yet: {self._new_events}"
        )

    def _check_segment(self, path: Path, truncations: dict[int, int]) -> None:
        contents = segments.read_segment(path, truncations)  # a torn end is no fault: it was not acknowledged
        for payload in contents.payloads:
            self._check_record(path, payload)
        if contents.records_after_damage:
            self._report.faults.append(
                f"the journal's {path.name} is damaged; records behind that: {contents.records_after_damage}"
            )

    def _check_record(self, path: Path, payload: bytes) -> None:
        try:
            record = segments.decode_payload(payload)
        except ValueError:
            self._report.faults.append(
                f"the journal's {path.name} has a record of a kind that this askbot does not know"
            )
            return
        match record:
            case DeletedRecord():
                self._deletions[record.session] -= 1
                self._logs.pop(record.session, None)
                self._broken.discard(record.session)
            case TruncationRecord():
                pass  # all of them were read before
            case UserSessionRecord():
                self._check_event(record.event)
            case _:
                self._check_event(record)

    def _check_event(self, event: Event) -> None:
        if self._deletions[event.session] > 0:
            return  # it is deleted further on
        log = self._logs.setdefault(event.session, Audit())
        if event.seq <= log.head or event.session in self._broken:
            return
        rest = suffix_after(event, after=log.head) if isinstance(event, TextSlice) and event.start < log.head else event
        for fault in _find_faults(log, [(event.seq, rest)]):
            self._report.faults.append(f"session {event.session}, in the journal: {fault}")
            if log.head < event.seq:
                self._broken.add(event.session)
        self._new_events += 1
