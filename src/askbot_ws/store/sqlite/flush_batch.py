"""Flush batch: the events that the flusher writes to SQLite at a time, and the transactions that write them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from ...events import Event
from . import state, tables
from .open_logs import OpenLog
from .schema import transaction

STORE_WIDE_ERROR_CODES = {  # SQLite's error codes whose cause is not a single session
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
}


Job: TypeAlias = Callable[[sqlite3.Connection], None]


class SessionFlush(NamedTuple):
    """The events of one session that are written in one transaction."""

    open_log: OpenLog
    events: Sequence[Event]
    more: bool  # whether the log has events after these

    @property
    def session(self) -> str:
        """The session's id."""
        return self.open_log.log.session


def is_store_wide(error: BaseException | None) -> bool:
    """Whether an error's cause is not a single session, but the disk, a lock or the end of the store (None)."""
    code = getattr(error, "sqlite_errorcode", None)
    return error is None or isinstance(error, OSError) or (code is not None and code & 0xFF in STORE_WIDE_ERROR_CODES)


def write_in_one_transaction(
    connection: sqlite3.Connection, *, batch: Sequence[SessionFlush], deleted: Collection[str], uptime: float
) -> None:
    """Delete and append all in one transaction. Raises what SQLite or the encoding raises; nothing has changed then."""
    with transaction(connection):
        _delete(connection, deleted)
        for flush in batch:
            _append(connection, flush, flush.events, uptime=uptime)
        state.set_uptime(connection, uptime)


def _append(connection: sqlite3.Connection, flush: SessionFlush, events: Sequence[Event], *, uptime: float) -> None:
    tables.append_events(connection, flush.session, events, uptime=uptime, origin=flush.open_log.log.summary)


def _delete(connection: sqlite3.Connection, deleted: Collection[str]) -> None:
    if deleted:
        tables.delete_sessions(connection, deleted)
        state.set_unscrubbed(connection, unscrubbed=True)


def write_separately(
    connection: sqlite3.Connection,
    *,
    batch: Sequence[SessionFlush],
    deleted: Collection[str],
    uptime: float,
    flushed_heads: dict[str, int],
) -> dict[str, Exception]:
    """Delete and append in a transaction for each session; where that fails, in one for each event up to the error.

    Returns the errors by session, and sets in `flushed_heads` up to where each session was written. Raises errors that
    are store-wide.
    """
    failures: dict[str, Exception] = {}
    for session in deleted:
        _try_in_transaction(connection, session, failures, partial(_delete, deleted=[session]))
    for flush in batch:
        session = flush.session
        flushed_heads[session] = flush.open_log.flushed_head
        if session in failures:
            continue  # an older session of that name could not be deleted
        append = partial(_append, flush=flush, uptime=uptime)
        if _try_in_transaction(connection, session, failures, partial(append, events=flush.events)):
            flushed_heads[session] = flush.events[-1].seq
            continue
        for event in flush.events:
            if not _try_in_transaction(connection, session, failures, partial(append, events=[event])):
                break
            flushed_heads[session] = event.seq
    return failures


def _try_in_transaction(
    connection: sqlite3.Connection,
    session: str,
    failures: dict[str, Exception],
    job: Job,
) -> bool:
    """Run a job in a transaction of its own; returns whether it succeeded. Raises errors that are store-wide."""
    try:
        with transaction(connection):
            job(connection)
    except Exception as error:
        if is_store_wide(error):
            raise
        failures[session] = error
        return False
    return True
