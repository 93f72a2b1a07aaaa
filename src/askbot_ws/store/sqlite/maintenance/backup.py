"""Backup: copies a store, also while a server uses it.

Events move from the journal into SQLite. So the journal is copied first: what leaves it meanwhile is in the copy of
SQLite, which is made after. Everything that anybody had been shown when the backup began is in the one or the other.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from ....errors import ConfigError
from ...audit import Report
from .. import segments, state
from ..files import StoreFiles
from ..replay import replay_segments
from ..schema import checkpoint, connect, migrate, transaction
from .check import check, open_read_only


def backup(path: Path, to: Path) -> Report:
    """Copy a store into one file, migrated to this version, and check the copy; returns the check's report.

    Raises `ConfigError` where `to` exists, or the store can't be copied.
    """
    if to.exists():
        raise ConfigError(f"{to} exists already; a backup overwrites nothing, so name another file.")
    files, partial_copy = StoreFiles(path), StoreFiles(to.with_name(to.name + ".part"))
    if not files.database.is_file():
        raise ConfigError(f"there is no store {path}; name another with --store.")
    try:
        _remove_files(partial_copy)
        copy_segments(files, partial_copy.journal)
        copy_tables(files, partial_copy.database)
        damaged = _replay_journal(partial_copy)
        partial_copy.database.rename(to)
    except ConfigError as error:  # name the original's journal, not the copy's
        raise ConfigError(str(error).replace(str(partial_copy.journal), str(files.journal))) from error
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the backup {to} of {path} can't be made ({error}); nothing was changed.") from error
    finally:
        _remove_files(partial_copy)
    report = check(to)
    report.facts.append(f"{to.stat().st_size} bytes")
    report.faults += [f"the journal's {name} is damaged: the copy has what can be read of it" for name in damaged]
    return report


def copy_segments(files: StoreFiles, folder: Path) -> None:
    """Copy what the journal's files hold now. All are opened first: an open file can be read after its removal."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        paths = files.segments()
        open_files = [(path, stack.enter_context(file)) for path in paths if (file := _open_if_present(path))]
        for path, file in open_files:
            (folder / path.name).write_bytes(file.read(os.fstat(file.fileno()).st_size))


def _open_if_present(segment: Path) -> BinaryIO | None:
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return None  # all of it is in SQLite by now


def copy_tables(files: StoreFiles, to: Path) -> None:
    """Copy the database in one step: in several, SQLite would start again whenever the server writes."""
    to.touch(mode=0o600)
    with open_read_only(files, exclusive=False) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


def _replay_journal(partial_copy: StoreFiles) -> list[str]:
    """Replay the copy's journal, as the next start of a server would; returns the names of the damaged segments.

    What is appended to the store from now on is not in the copy, and the other way round, so a new history begins.
    """
    left = partial_copy.segments()
    truncations = segments.validate_segments(left)
    with closing(connect(partial_copy.database, full_sync=True, busy_timeout=1)) as connection:
        migrate(connection, partial_copy.given_path)
        replay_segments(connection, left, truncations)
        with transaction(connection):
            state.start_new_history(connection)
            state.set_boot(connection, None)
            state.set_unscrubbed(connection, unscrubbed=False)
        checkpoint(connection)
    return [path.with_suffix(".log").name for path in partial_copy.damaged_segments()]


def _remove_files(partial_copy: StoreFiles) -> None:
    for file in partial_copy.database_files():
        file.unlink()
    shutil.rmtree(partial_copy.journal, ignore_errors=True)
