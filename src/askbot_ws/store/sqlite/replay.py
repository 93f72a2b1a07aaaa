"""Replay: what a process that died left in the journal goes into the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection

import structlog

from ...core.log_tail import LogTail, suffix_after
from ...events import Event, Token
from . import segments, state, tables
from .files import set_aside
from .schema import transaction
from .segments import Deleted, Limit

log = structlog.get_logger(__name__)


def replay(connection: Connection, paths: Sequence[Path], limits: Mapping[int, int]) -> None:
    """Add what the tables do not have yet, and remove each segment once they have all of it.

    To stop anywhere and begin again does no harm: what is at or below a session's head is passed over. A segment of
    which something is lost is not removed but set aside, and the store's history is another one from then on.
    """
    cut_off: set[str] = set()
    deletions = segments.deletions(paths, limits)
    for path in paths:
        contents = segments.read(path, limits)
        before = len(cut_off)
        with transaction(connection):
            fold = fold_in(connection, contents.payloads, cut_off, deletions)
            lost = bool(contents.behind or fold.unplaced)
            if lost:
                state.begin_history(connection)
        log.info("journal_replayed", segment=path.name, events=fold.events, sessions=len(fold.logs))
        if lost:
            _say(set_aside(path), contents.behind, sessions=len(cut_off) - before)
        else:
            path.unlink()


def _say(kept: Path, behind: int, *, sessions: int) -> None:
    log.error(
        "journal_damaged",
        file=str(kept),
        lost="what the damaged records held, and what followed it in the same sessions",
        sessions_cut_short=sessions,
        records_kept_behind_damage=behind,
        hint="the file is kept; once nobody needs it any more, delete it",
    )


def fold_in(connection: Connection, payloads: Iterable[bytes], cut_off: set[str], deletions: Counter[str]) -> Fold:
    """Add the records of one segment to the tables, within a transaction. What is no event is passed over.

    `deletions` counts those in this segment and the later ones.
    """
    fold = Fold(connection, cut_off, deletions)
    for payload in payloads:
        fold.take(payload)
    age = state.read(connection).age
    for session, unflushed in fold.logs.items():
        tables.add(connection, session, unflushed.read_slices(after=unflushed.start), age=age)
    return fold


@dataclass(slots=True)
class Fold:
    """The events of one segment that the tables lack, as one log a session."""

    connection: Connection
    cut_off: set[str]  # sessions of which a record was lost: what comes after it cannot be placed
    deletions: Counter[str]  # that are still to come
    logs: dict[str, LogTail] = field(default_factory=dict[str, LogTail])
    events: int = 0
    unplaced: int = 0

    def take(self, payload: bytes) -> None:
        """Take one record. One of an unknown kind is passed over: a start has refused it before, `repair` names it."""
        try:
            record = segments.parse(payload)
        except ValueError:
            return
        match record:
            case Deleted():
                self._delete(record.session)
            case Limit():
                pass  # all of them were read before
            case _:
                self._add(record)

    def _delete(self, session: str) -> None:
        self.deletions[session] -= 1
        tables.delete(self.connection, [session])
        state.set_unscrubbed(self.connection, unscrubbed=True)
        self.logs.pop(session, None)
        self.cut_off.discard(session)

    def _add(self, event: Event) -> None:
        if self.deletions[event.session] > 0:
            return  # it is deleted further on
        known = self._log(event.session)
        if event.seq <= known.head:
            return
        if event.session in self.cut_off or event.start > known.head:
            self.cut_off.add(event.session)
            self.unplaced += 1
            return
        known.append(suffix_after(event, after=known.head) if type(event) is Token else event)
        self.events += 1

    def _log(self, session: str) -> LogTail:
        if session not in self.logs:
            found = tables.find(self.connection, session)
            self.logs[session] = LogTail(session, start=found[1] if found else 0)
        return self.logs[session]
