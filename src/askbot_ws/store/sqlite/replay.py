"""Replay: what a process that died left in the journal goes into the tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Connection

import structlog
from pydantic import ValidationError

from ...core.log import Log, cut
from ...events import Event, Token, decode_event
from . import journal, tables
from .schema import transaction

log = structlog.get_logger(__name__)


def replay(connection: Connection, segments: Iterable[Path], *, now: float) -> None:
    """Add what the tables do not have yet, and remove each segment once they have all of it.

    To stop anywhere and begin again does no harm: what is at or below a session's head is skipped.
    """
    broken: set[str] = set()
    for path in segments:
        fold = settle(connection, journal.read(path), broken, now=now)
        path.unlink()
        log.info("journal_replayed", segment=path.name, events=fold.events, sessions=len(fold.logs))


def settle(connection: Connection, payloads: Iterable[bytes], broken: set[str], *, now: float) -> Fold:
    """Add the records of one segment to the tables."""
    with transaction(connection):
        fold = Fold(connection, broken)
        for payload in payloads:
            fold.take(payload)
        for session, unsettled in fold.logs.items():
            tables.add(connection, tables.Part(session, unsettled.slices(after=unsettled.start)), now=now)
    return fold


class Fold:
    """The events of one segment that the tables lack, as one log a session."""

    def __init__(self, connection: Connection, broken: set[str]) -> None:
        self.logs: dict[str, Log] = {}
        self.events = 0
        self._connection = connection
        self._broken = broken  # sessions of which a record was lost: what comes after it cannot be placed

    def take(self, payload: bytes) -> None:
        """Take one record."""
        if payload.startswith(journal.FORGET):
            self._forget(payload.removeprefix(journal.FORGET).decode())
            return
        try:
            event = decode_event(payload)
        except ValidationError:
            log.error("journal_record_unreadable", bytes=len(payload))  # noqa: TRY400 — the traceback quotes the text
            return
        if event.session not in self._broken:
            self._add(event)

    def _forget(self, session: str) -> None:
        tables.delete(self._connection, [session])
        self.logs.pop(session, None)
        self._broken.discard(session)

    def _add(self, event: Event) -> None:
        known = self._log(event.session)
        if event.seq <= known.head:
            return
        if event.start > known.head:
            log.error("journal_has_a_gap", session=event.session, head=known.head, start=event.start)
            self._broken.add(event.session)
            return
        known.append(cut(event, after=known.head) if type(event) is Token else event)
        self.events += 1

    def _log(self, session: str) -> Log:
        if session not in self.logs:
            found = tables.find(self._connection, session)
            self.logs[session] = Log(session, start=found[1] if found else 0)
        return self.logs[session]
