"""Replay: moves what a process that died left in the journal to the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection

import structlog

from ...core.log_tail import LogTail, suffix_after
from ...core.summary import LogSummary
from ...events import Event, TextSlice
from . import segments, state, tables
from .files import set_aside_segment
from .schema import transaction
from .segments import DeletedRecord, TruncationRecord, UserSessionRecord

log = structlog.get_logger(__name__)


def replay_segments(connection: Connection, paths: Sequence[Path], truncations: Mapping[int, int]) -> None:
    """Append to the tables what they do not have yet, and remove each segment once they have all of it.

    It may be interrupted anywhere and run again: events at or below a session's head are skipped. A segment of which
    something is lost is not removed but set aside, and a new history begins.
    """
    truncated: set[str] = set()
    deletions = segments.count_deletions(paths, truncations)
    for path in paths:
        contents = segments.read_segment(path, truncations)
        behind, before = contents.records_after_damage, len(truncated)
        with transaction(connection):
            replayed = replay_records(connection, contents.payloads, truncated, deletions)
            lost = bool(behind or replayed.skipped_events)
            if lost:
                state.start_new_history(connection)
        log.info("journal_replayed", segment=path.name, events=replayed.events, sessions=len(replayed.logs))
        if lost:
            _log_damage(set_aside_segment(path), records_after_damage=behind, sessions=len(truncated) - before)
        else:
            path.unlink()


def _log_damage(path: Path, *, records_after_damage: int, sessions: int) -> None:
    log.error(
        "journal_damaged",
        file=str(path),
        lost="what the damaged records held, and what followed it in the same sessions",
        sessions_cut_short=sessions,
        records_kept_behind_damage=records_after_damage,
        hint="the file is kept; once nobody needs it any more, delete it",
    )


def replay_records(
    connection: Connection, payloads: Iterable[bytes], truncated: set[str], deletions: Counter[str]
) -> SegmentReplay:
    """Apply the records of one segment to the tables, within the caller's transaction. Unknown records are skipped.

    `truncated` are the sessions of which an earlier record was lost; those of this segment are added to it. `deletions`
    counts each session's deletions in this segment and the later ones.
    """
    replayed = SegmentReplay(connection, truncated, deletions)
    for payload in payloads:
        replayed.apply(payload)
    uptime = state.read_state(connection).uptime
    for session, unflushed in replayed.logs.items():
        events = unflushed.read_merged(after=unflushed.start)
        tables.append_events(connection, session, events, uptime=uptime, origin=unflushed.summary)
    return replayed


@dataclass(slots=True)
class SegmentReplay:
    """The events of one segment that the tables lack, as one log for each session."""

    connection: Connection
    truncated: set[str]  # sessions of which a record was lost: the events after it are skipped
    deletions: Counter[str]  # by session, in the records that follow
    logs: dict[str, LogTail] = field(default_factory=dict[str, LogTail])
    events: int = 0
    skipped_events: int = 0

    def apply(self, payload: bytes) -> None:
        """Apply one record. An unknown one is skipped: a start has refused it before, and `repair` reports it."""
        try:
            record = segments.decode_payload(payload)
        except ValueError:
            return
        match record:
            case DeletedRecord():
                self._delete(record.session)
            case TruncationRecord():
                pass  # all of them were read before
            case UserSessionRecord():
                self._add(record.event, LogSummary(record.user, created=record.created))
            case _:
                self._add(record)

    def _delete(self, session: str) -> None:
        self.deletions[session] -= 1
        tables.delete_sessions(self.connection, [session])
        state.set_unscrubbed(self.connection, unscrubbed=True)
        self.logs.pop(session, None)
        self.truncated.discard(session)

    def _add(self, event: Event, origin: LogSummary | None = None) -> None:
        """Add an event; `origin` says who made the session of which it is the first one."""
        if self.deletions[event.session] > 0:
            return  # it is deleted further on
        session_log = self._session_log(event.session, origin)
        if event.seq <= session_log.head:
            return
        if event.session in self.truncated or event.start > session_log.head:
            self.truncated.add(event.session)
            self.skipped_events += 1
            return
        session_log.append(suffix_after(event, after=session_log.head) if isinstance(event, TextSlice) else event)
        self.events += 1

    def _session_log(self, session: str, origin: LogSummary | None) -> LogTail:
        if session not in self.logs:
            found = tables.find_session(self.connection, session)
            self.logs[session] = LogTail(session, start=found[1] if found else 0, summary=origin)
        return self.logs[session]
