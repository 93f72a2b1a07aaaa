"""Backup: a copy of a store, also while a server uses it.

Events move from the journal into SQLite. So the journal is copied first: what leaves it meanwhile is in the copy of
SQLite, which comes after. Everything that anybody had been shown when the backup began is in the one or the other.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from ....errors import ConfigError
from .. import segments, state
from ..files import StoreFiles
from ..replay import replay
from ..schema import checkpoint, connect, migrate, transaction
from .check import Report, check, look


def backup(path: Path, to: Path) -> Report:
    """Make a copy in one file, of this version, and check it. Raises `ConfigError` where that can't be."""
    if to.exists():
        raise ConfigError(f"{to} exists already; a backup overwrites nothing, so name another file.")
    files, part = StoreFiles(path), StoreFiles(to.with_name(to.name + ".part"))
    if not files.database.is_file():
        raise ConfigError(f"there is no store {path}; name another with --store.")
    try:
        _remove(part)
        copy_segments(files, part.journal)
        copy_tables(files, part.database)
        damaged = _merge(part)
        part.database.rename(to)
    except ConfigError as error:  # the original is meant, not its copy
        raise ConfigError(str(error).replace(str(part.journal), str(files.journal))) from error
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the backup {to} of {path} can't be made ({error}); nothing was changed.") from error
    finally:
        _remove(part)
    report = check(to)
    report.facts.append(f"{to.stat().st_size} bytes")
    report.faults += [f"the journal's {name} is damaged: the copy has what can be read of it" for name in damaged]
    return report


def copy_segments(files: StoreFiles, folder: Path) -> None:
    """Copy what the journal's files hold now. All are opened first: an open file can be read after its removal."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        opened = [(path, stack.enter_context(file)) for path in files.segments() if (file := _opened(path))]
        for path, file in opened:
            (folder / path.name).write_bytes(file.read(os.fstat(file.fileno()).st_size))


def _opened(segment: Path) -> BinaryIO | None:
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return None  # all of it is in SQLite by now


def copy_tables(files: StoreFiles, to: Path) -> None:
    """In one go: in pieces, SQLite would begin anew whenever the server writes."""
    to.touch(mode=0o600)
    with look(files, alone=False) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


def _merge(part: StoreFiles) -> list[str]:
    """Let the copy take its journal in, as the next start of a server would; returns which segments are damaged.

    What is appended to the store from now on is not in the copy, and the other way round: two histories, two names.
    """
    left = part.segments()
    limits = segments.survey(left)
    with closing(connect(part.database, full_sync=True, busy_s=1)) as connection:
        migrate(connection, part.named)
        replay(connection, left, limits)
        with transaction(connection):
            state.begin_history(connection)
            state.set_boot(connection, None)
            state.set_unscrubbed(connection, unscrubbed=False)
        checkpoint(connection)
    return [path.with_suffix(".log").name for path in part.set_aside()]


def _remove(part: StoreFiles) -> None:
    for file in part.databases():
        file.unlink()
    shutil.rmtree(part.journal, ignore_errors=True)
