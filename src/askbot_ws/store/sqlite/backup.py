"""Backup: a copy of a store, also while a server uses it.

Events move from the journal into SQLite. So the journal is copied first: what leaves it meanwhile is in the copy of
SQLite, which comes after. Everything that anybody had been shown when the backup began is in the one or the other.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from ...errors import ConfigError
from .check import Report, check
from .look import look, segments
from .replay import replay
from .schema import checkpoint, connect, migrate


def backup(path: Path, to: Path) -> Report:
    """Make a copy in one file, of this version, and check it. Raises `ConfigError` where that can't be."""
    if to.exists():
        raise ConfigError(f"{to} exists already; a backup overwrites nothing, so name another file.")
    part = to.with_name(to.name + ".part")
    if not path.is_file():
        raise ConfigError(f"there is no store {path}; name another with --store.")
    try:
        _remove(part)
        copy_segments(path, _folder(part))
        copy_tables(path, part)
        _merge(part)
        part.rename(to)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the backup {to} of {path} can't be made ({error}); nothing was changed.") from error
    finally:
        _remove(part)
    report = check(to)
    report.facts.append(f"{to.stat().st_size} bytes")
    return report


def copy_segments(path: Path, folder: Path) -> None:
    """Copy what the journal's files hold now. All are opened first: an open file can be read after its removal."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        files = [(segment, stack.enter_context(file)) for segment in segments(path) if (file := _opened(segment))]
        for segment, file in files:
            (folder / segment.name).write_bytes(file.read(os.fstat(file.fileno()).st_size))


def _opened(segment: Path) -> BinaryIO | None:
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return None  # all of it is in SQLite by now


def copy_tables(path: Path, to: Path) -> None:
    """In one go: in pieces, SQLite would begin anew whenever the server writes."""
    to.touch(mode=0o600)
    with look(path, alone=False) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


def _merge(part: Path) -> None:
    """Let the copy take its journal in, as the next start of a server would."""
    with closing(connect(part, full_sync=True, busy_s=1)) as connection:
        migrate(connection, part)
        replay(connection, segments(part), now=time.time())
        checkpoint(connection)


def _folder(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def _remove(part: Path) -> None:
    for file in (part, *(part.with_name(part.name + end) for end in ("-wal", "-shm"))):
        file.unlink(missing_ok=True)
    shutil.rmtree(_folder(part), ignore_errors=True)
