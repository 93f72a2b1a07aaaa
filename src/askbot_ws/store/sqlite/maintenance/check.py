"""Check: whether a store keeps what it promises. It changes nothing, and a server may run beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ....core.log_tail import suffix_after
from ....errors import ConfigError
from ....events import Event, Token
from .. import segments
from ..files import StoreFiles, reading
from ..lock import ProcessLock
from ..schema import MIGRATIONS, known_version
from ..segments import Deleted, Limit
from .audit import COLUMNS, Audit, event_of

MOST = 100  # faults that are told one by one


@dataclass
class Report:
    """What was found: plain facts, and what is wrong."""

    facts: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])


def check(path: Path) -> Report:
    """Look at everything. Raises `ConfigError` where the file can't be opened, or is of a version yet to come."""
    report, files = Report(), StoreFiles(path)
    with _kept_alone(files) as alone, look(files, alone=alone) as connection:
        version = known_version(connection, path)
        report.facts.append(f"schema version {version} of {len(MIGRATIONS)}")
        report.faults += _pages(connection)
        logs = dict[str, Audit]()
        try:
            if version:
                _tables(connection, logs, report)
            if version > 1:
                report.faults += _state(connection)
        except sqlite3.Error as error:
            report.faults.append(f"the tables can't be read to their end: {error}")
        if alone:
            Records(logs, report).take(files.segments())
        else:
            report.facts.append("a server uses it: its journal was left alone")
        report.faults += _remains(files)
    return report


@contextmanager
def _kept_alone(files: StoreFiles) -> Generator[bool]:
    """Keep servers away; False where one is there already."""
    lock = ProcessLock(files)
    try:
        if files.lock.exists():  # else no server was ever here, and we leave no trace
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
def look(files: StoreFiles, *, alone: bool) -> Generator[sqlite3.Connection]:
    """A connection that reads. `alone`: nobody else has the file.

    Raises `ConfigError`, with what to do, where there is no store that we can read.
    """
    if not files.database.is_file():
        raise ConfigError(f"there is no store {files}; name another with --store.")
    with reading(files, alone=alone) as connection:
        try:
            connection.text_factory = _text
            known_version(connection, files.named)
        except sqlite3.Error as error:
            raise ConfigError(
                f"the store {files} can't be read ({error}). Its beginning is damaged, or it is not a database, so "
                "askbot can't repair it: restore a copy (askbot store backup makes them), or move it away and begin "
                "anew; the journal beside it is not touched."
            ) from error
        yield connection


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _remains(files: StoreFiles) -> Iterator[str]:
    """What earlier damage, or somebody, has left beside the store."""
    for segment in files.set_aside():
        yield (
            f"the journal's {segment.name} was damaged when a server started, which took what it could read and lost "
            "the rest; once nobody needs the file any more, delete it"
        )
    if files.links() > 1:
        yield f"the file has {files.links()} names (hard links): servers that use two of them destroy it"


def _pages(connection: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file."""
    try:
        found = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({MOST})")]
    except sqlite3.Error as error:
        return [f"the file is damaged: {error}"]
    return [] if found == ["ok"] else [f"the file is damaged: {line}" for line in found]


# --- the tables ------------------------------------------------------------------------------------------------------


def _state(connection: sqlite3.Connection) -> list[str]:
    (rows,) = connection.execute("SELECT count(*) FROM store").fetchone()
    return [] if rows == 1 else ["it does not say which history it has"]


def _tables(connection: sqlite3.Connection, logs: dict[str, Audit], report: Report) -> None:
    """Each session, in a read of its own: a long one would keep a server from emptying its write-ahead log."""
    keys = [key for (key,) in connection.execute("SELECT key FROM sessions ORDER BY key")]
    events = 0
    for key in keys:
        connection.execute("BEGIN")
        try:
            events += _session(connection, key, logs, report)
        finally:
            connection.execute("ROLLBACK")
    report.facts.append(f"sessions: {len(logs)}, events: {events}")
    orphans = "SELECT count(*) FROM events WHERE session NOT IN (SELECT key FROM sessions)"
    (strays,) = connection.execute(orphans).fetchone()
    if strays:
        report.faults.append(f"events that belong to no session: {strays}")


def _session(connection: sqlite3.Connection, key: int, logs: dict[str, Audit], report: Report) -> int:
    found = connection.execute("SELECT id, head, unfinished FROM sessions WHERE key = ?", (key,)).fetchone()
    if found is None:
        return 0  # it was forgotten meanwhile
    session, head, unfinished = found
    rows = connection.execute(f"SELECT {COLUMNS} FROM events WHERE session = ? ORDER BY seq", (key,))  # noqa: S608 - ours
    events = [(row[0], event_of(session, row)) for row in rows]
    log = logs[session] = Audit()
    report.faults += [f"session {session}: {fault}" for fault in _faults(log, events)]
    if head != log.head:
        report.faults.append(f"session {session}: its head is said to be at {head}, and its events end at {log.head}")
    elif unfinished != len(log.open):
        report.faults.append(f"session {session}: {len(log.open)} turns have no end, not {unfinished} as it says")
    return len(events)


def _faults(log: Audit, events: Iterable[tuple[int, Event | None]]) -> Iterator[str]:
    """What is wrong with these events, up to the first hole."""
    for seq, event in events:
        if event is None:
            yield f"the event at {seq} can't be read"
            return
        hole = log.hole(event)
        if hole:
            yield f"there is a hole: {hole}"
            return
        if log.take(event):
            yield f"the text of turn {event.turn} is not what its proof says"


# --- the journal -----------------------------------------------------------------------------------------------------


class Records:
    """The journal's records, laid over the tables as the next start would do it."""

    def __init__(self, logs: dict[str, Audit], report: Report) -> None:
        self._logs = logs
        self._report = report
        self._broken: set[str] = set()
        self._new = 0
        self._deletions: Counter[str] = Counter()  # that are still to come

    def take(self, paths: list[Path]) -> None:
        """Read the segments, oldest first. Raises `ConfigError` for one of a version yet to come."""
        limits: dict[int, int] = {}
        for path in paths:
            try:
                limits |= segments.limits(path)
            except OSError:
                continue  # it is told below
        for path in paths:
            with contextlib.suppress(OSError):
                self._deletions += segments.deletions([path], limits)
        for path in paths:
            try:
                self._segment(path, limits)
            except OSError as error:
                self._report.faults.append(f"the journal's {path.name} can't be read: {error.strerror or error}")
        self._report.facts.append(
            f"journal segments: {len(paths)}, events in them that are in no table yet: {self._new}"
        )

    def _segment(self, path: Path, limits: dict[int, int]) -> None:
        contents = segments.read(path, limits)  # a torn end is no fault: nobody was shown what it held
        for payload in contents.payloads:
            self._record(path, payload)
        if contents.behind:
            self._report.faults.append(f"the journal's {path.name} is damaged; records behind that: {contents.behind}")

    def _record(self, path: Path, payload: bytes) -> None:
        try:
            record = segments.parse(payload)
        except ValueError:
            self._report.faults.append(
                f"the journal's {path.name} has a record of a kind that this askbot does not know"
            )
            return
        match record:
            case Deleted():
                self._deletions[record.session] -= 1
                self._logs.pop(record.session, None)
                self._broken.discard(record.session)
            case Limit():
                pass  # all of them were read before
            case _:
                self._event(record)

    def _event(self, event: Event) -> None:
        if self._deletions[event.session] > 0:
            return  # it is deleted further on
        log = self._logs.setdefault(event.session, Audit())
        if event.seq <= log.head or event.session in self._broken:
            return
        rest = suffix_after(event, after=log.head) if type(event) is Token and event.start < log.head else event
        for fault in _faults(log, [(event.seq, rest)]):
            self._report.faults.append(f"session {event.session}, in the journal: {fault}")
            if log.head < event.seq:
                self._broken.add(event.session)
        self._new += 1
