"""Replay: what a process that died left in the journal goes into the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection

import structlog

from ...core.log import Log, cut
from ...events import Event, Token
from . import segments, state, tables
from .files import set_aside
from .schema import transaction
from .segments import Deleted, Limit

log = structlog.get_logger(__name__)


def replay(connection: Connection, paths: Iterable[Path], limits: Mapping[int, int]) -> None:
    """Add what the tables do not have yet, and remove each segment once they have all of it.

    To stop anywhere and begin again does no harm: what is at or below a session's head is passed over. A segment of
    which something is lost is not removed but set aside, and the store's history is another one from then on.
    """
    cut_off: set[str] = set()
    paths = [*paths]
    ahead = Counter(session for path in paths for session in segments.deletions(path, limits))
    for path in paths:
        contents = segments.read(path, limits)
        before = len(cut_off)
        with transaction(connection):
            fold = fold_in(connection, contents.payloads, cut_off, ahead)
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


def fold_in(
    connection: Connection, payloads: Iterable[bytes], cut_off: set[str], ahead: Counter[str] | None = None
) -> Fold:
    """Add the records of one segment to the tables, within a transaction. What is no event is passed over.

    `ahead` counts the deletions of each session that are still to come, here and in later segments.
    """
    fold = Fold(connection, cut_off, Counter() if ahead is None else ahead)
    for payload in payloads:
        fold.take(payload)
    age = state.read(connection).age
    for session, unflushed in fold.logs.items():
        tables.add(connection, session, unflushed.slices(after=unflushed.start), age=age)
    return fold


@dataclass(slots=True)
class Fold:
    """The events of one segment that the tables lack, as one log a session."""

    connection: Connection
    cut_off: set[str]  # sessions of which a record was lost: what comes after it cannot be placed
    ahead: Counter[str]
    logs: dict[str, Log] = field(default_factory=dict[str, Log])
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
        tables.delete(self.connection, [session])
        state.set_unscrubbed(self.connection, unscrubbed=True)
        self.logs.pop(session, None)
        self.cut_off.discard(session)
        self.ahead[session] -= 1

    def _add(self, event: Event) -> None:
        if self.ahead[event.session] > 0:
            return  # it is deleted further on; the tables may have none of it any more, and that is no loss
        known = self._log(event.session)
        if event.seq <= known.head:
            return
        if event.session in self.cut_off or event.start > known.head:
            self.cut_off.add(event.session)
            self.unplaced += 1
            return
        known.append(cut(event, after=known.head) if type(event) is Token else event)
        self.events += 1

    def _log(self, session: str) -> Log:
        if session not in self.logs:
            found = tables.find(self.connection, session)
            self.logs[session] = Log(session, start=found[1] if found else 0)
        return self.logs[session]
