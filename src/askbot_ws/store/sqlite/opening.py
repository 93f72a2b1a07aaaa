"""Opening: what is looked at, in which order, before a store may be used."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from ...errors import ConfigError, StoreError
from . import segments, state
from .files import StoreFiles, reading, sync_folder
from .lock import refuse_links
from .replay import replay
from .schema import known_version, migrate, synced, transaction

log = structlog.get_logger(__name__)


class Opened(NamedTuple):
    """A store that is up to date."""

    connection: sqlite3.Connection
    state: state.State
    left: list[Path]  # the segments that another process had left


def prepare(files: StoreFiles, connect: Callable[[], sqlite3.Connection], *, boot: str, fsync: bool) -> Opened:
    """Bring a store up to date, and let it take in its journal. The caller has its lock.

    `boot` names this boot of the machine, `fsync` says whether what is acknowledged from now on survives its end.
    Raises `ConfigError` where anything is of a kind that this version does not know; then nothing was touched.
    """
    refuse_links(files)
    left = files.segments()
    if files.database.exists() and files.database.stat().st_size:
        with reading(files, alone=True) as connection:
            known_version(connection, files.named)
    limits = segments.survey(left)
    files.database.touch(mode=0o600)  # SQLite would let everybody read it
    connection = connect()
    try:
        migrate(connection, files.named)
        lost = state.read(connection).boot not in {None, boot}
        replay(connection, left, limits)
        _begin(connection, lost=lost, boot=None if fsync else boot)
        with contextlib.suppress(OSError):  # there are file systems on which no folder can be synced
            sync_folder(files.database.parent)
        return Opened(connection, state.read(connection), left)
    except BaseException:
        connection.close()
        raise


def _begin(connection: sqlite3.Connection, *, lost: bool, boot: str | None) -> None:
    """Note that events may be in the machine's memory only, before there are any.

    The last process without fsync did the same. If it could not take the note back, and the machine has been booted
    since, what it had acknowledged last may be lost.
    """
    with synced(connection), transaction(connection):
        if lost:
            state.begin_history(connection)
        state.set_boot(connection, boot)
    if lost:
        log.warning("event_loss_suspected", reason="the machine ended while a server ran without ASKBOT_FSYNC")


def end(connection: sqlite3.Connection, *, age: float) -> None:
    """Note that all there is is on the disk; it is, once this is done. Nothing may be left in the journal."""
    with synced(connection), transaction(connection):
        state.set_age(connection, age)
        state.set_boot(connection, None)


def refusal(files: StoreFiles, error: Exception) -> ConfigError:
    """What keeps a store from opening, and what to do about it."""
    cause = error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest of the number are details
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT} or type(cause) is sqlite3.DatabaseError:
        fix = (
            "it is not a database, or a damaged one; `askbot store check` says what is wrong and `askbot store repair` "
            "keeps what can be kept, or restore a copy, or set ASKBOT_STORE to another file"
        )
    elif code == sqlite3.SQLITE_FULL:
        fix = "the disk is full; make room"
    elif code == sqlite3.SQLITE_BUSY:
        fix = "another program has it locked; stop that one"
    else:
        fix = "see that its folder exists and that we may write there, or set ASKBOT_STORE to another file"
    return ConfigError(f"the store {files} cannot be opened ({cause}): {fix}.")
