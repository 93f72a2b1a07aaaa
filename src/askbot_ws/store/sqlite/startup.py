"""Startup: checks, migrates and replays a store before it is used, and notes that it was closed cleanly."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from ...errors import ConfigError, StoreError
from . import segments, state
from .files import StoreFiles, read_only_connection, sync_folder
from .lock import refuse_hard_links
from .replay import replay_segments
from .schema import full_sync, migrate, read_version, transaction

log = structlog.get_logger(__name__)


class PreparedStore(NamedTuple):
    """A store that is migrated and replayed."""

    connection: sqlite3.Connection
    state: state.StoreState
    old_segments: list[Path]  # that a process before this one had left


def prepare_store(
    files: StoreFiles, connect: Callable[[], sqlite3.Connection], *, boot: str, fsync: bool
) -> PreparedStore:
    """Migrate a store and replay its journal. The caller holds its lock.

    Args:
        files: The store's files.
        connect: Opens a connection to the database.
        boot: Identifies this boot of the machine.
        fsync: Whether what is acknowledged from now on survives a power cut.

    Raises:
        ConfigError: Something is of a kind that this version does not know. Nothing was changed then.
        sqlite3.Error: The database can't be read or written.
        OSError: A file can't be read or written.
    """
    refuse_hard_links(files)
    old_segments = files.segments()
    if files.database.exists() and files.database.stat().st_size:
        with read_only_connection(files, exclusive=True) as connection:
            read_version(connection, files.given_path)
    truncations = segments.validate_segments(old_segments)
    files.database.touch(mode=0o600)  # SQLite would let everybody read it
    connection = connect()
    try:
        migrate(connection, files.given_path)
        may_have_lost = state.read_state(connection).boot not in {None, boot}
        replay_segments(connection, old_segments, truncations)
        _record_boot(connection, may_have_lost=may_have_lost, boot=None if fsync else boot)
        with contextlib.suppress(OSError):  # there are file systems on which no folder can be synced
            sync_folder(files.database.parent)
        return PreparedStore(connection, state.read_state(connection), old_segments)
    except BaseException:
        connection.close()
        raise


def _record_boot(connection: sqlite3.Connection, *, may_have_lost: bool, boot: str | None) -> None:
    """Note in the store that events may be in the machine's memory only, before there are any.

    The last process without fsync did the same, and removed the note when it closed the store. If it did not, and the
    machine has been booted since, what it had acknowledged last may be lost.
    """
    with full_sync(connection), transaction(connection):
        if may_have_lost:
            state.start_new_history(connection)
        state.set_boot(connection, boot)
    if may_have_lost:
        log.warning("event_loss_suspected", reason="the machine ended while a server ran without ASKBOT_FSYNC")


def mark_clean_shutdown(connection: sqlite3.Connection, *, uptime: float) -> None:
    """Note that all events are on the disk, and sync them. The journal must be empty."""
    with full_sync(connection), transaction(connection):
        state.set_uptime(connection, uptime)
        state.set_boot(connection, None)


def open_error(files: StoreFiles, error: Exception) -> ConfigError:
    """The `ConfigError` for an error that kept a store from opening, with what to do about it."""
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
