"""Pieces: what the flusher writes in a transaction, and the sessions in memory that they are taken from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from ...core.log_tail import LogTail
from ...events import Event
from . import state, tables
from .schema import transaction

STORE_WIDE = {  # errors of SQLite that are no single session's
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
}


@dataclass(slots=True, eq=False)
class OpenLog:
    """A session in memory."""

    log: LogTail
    flushed: int  # the head in SQLite
    released: bool = False  # nobody uses it
    appending: bool = False  # events of it are on their way to the disk
    deleted: bool = False  # it was deleted while somebody had it
    failed: bool = False  # the last attempt to flush it failed, and not because of the store

    @property
    def idle(self) -> bool:
        """Whether it may leave the memory."""
        return self.released and not self.appending and self.flushed == self.log.head


Job: TypeAlias = Callable[[sqlite3.Connection], None]


class Piece(NamedTuple):
    """Events of a session that go into SQLite at once."""

    opened: OpenLog
    events: Sequence[Event]
    more: bool  # some follow them

    @property
    def session(self) -> str:
        """Whose they are."""
        return self.opened.log.session


def store_wide(error: BaseException | None) -> bool:
    """Whether it is no single session's: the disk, a lock, the end of the store."""
    code = getattr(error, "sqlite_errorcode", None)
    return error is None or isinstance(error, OSError) or (code is not None and code & 0xFF in STORE_WIDE)


def together(connection: sqlite3.Connection, *, pieces: Sequence[Piece], deleted: Collection[str], age: float) -> None:
    """All of it in one transaction. Raises whatever is raised; nothing has changed then."""
    with transaction(connection):
        _delete(connection, deleted)
        for piece in pieces:
            tables.add(connection, piece.session, piece.events, age=age)
        state.set_age(connection, age)


def _delete(connection: sqlite3.Connection, deleted: Collection[str]) -> None:
    if deleted:
        tables.delete(connection, deleted)
        state.set_unscrubbed(connection, unscrubbed=True)


def apart(
    connection: sqlite3.Connection,
    *,
    pieces: Sequence[Piece],
    deleted: Collection[str],
    age: float,
    places: dict[str, int],
) -> dict[str, Exception]:
    """A transaction for each; of those that fail, as much as can be written. Sets their `places`, returns why."""
    failures: dict[str, Exception] = {}
    for session in deleted:
        _attempt(connection, session, failures, partial(_delete, deleted=[session]))
    for piece in pieces:
        session = piece.session
        places[session] = piece.opened.flushed
        if session in failures:
            continue  # an older session of that name could not be deleted
        if _attempt(connection, session, failures, partial(_add, piece=piece, events=piece.events, age=age)):
            places[session] = piece.events[-1].seq
            continue
        for event in piece.events:
            if not _attempt(connection, session, failures, partial(_add, piece=piece, events=[event], age=age)):
                break
            places[session] = event.seq
    return failures


def _add(connection: sqlite3.Connection, *, piece: Piece, events: Sequence[Event], age: float) -> None:
    tables.add(connection, piece.session, events, age=age)


def _attempt(
    connection: sqlite3.Connection,
    session: str,
    failures: dict[str, Exception],
    job: Job,
) -> bool:
    """Do a job in a transaction of its own. Raises what is no single session's fault."""
    try:
        with transaction(connection):
            job(connection)
    except Exception as error:
        if store_wide(error):
            raise
        failures[session] = error
        return False
    return True
