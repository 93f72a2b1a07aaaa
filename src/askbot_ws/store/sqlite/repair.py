"""Repair: a fresh store of all that can still be read of a damaged one."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

from ...errors import ConfigError
from .check import Report, check
from .lock import ProcessLock
from .look import look, segments
from .rebuild import Rebuild
from .schema import MIGRATIONS, checkpoint, connect, known_version, migrate


def repair(path: Path) -> Report:
    """Put what can be kept into a new file, and that in place of the old one; a copy of all files is kept.

    The report's faults are what is lost. Raises `ConfigError` where it can't be done; the store is as it was then.
    """
    before, lock = check(path), ProcessLock(path)
    try:
        lock.acquire()  # first of all: beside a server, the journal was not looked at
        if not before.faults:
            return Report(facts=["nothing is wrong with it, and nothing was changed"])
        report = _repair(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the store {path} can't be repaired ({error}).") from error
    finally:
        lock.release()
    report.faults += [f"still wrong: {fault}" for fault in check(path).faults]
    return report


def _repair(path: Path) -> Report:
    fresh = path.with_name(path.name + ".repaired")
    _remove(fresh)
    fresh.touch(mode=0o600)
    with look(path, alone=False) as source, closing(connect(fresh, full_sync=True, busy_s=1)) as connection:
        if known_version(source, path) != len(MIGRATIONS):
            raise ConfigError(f"the store {path} is of an older version; repair it with the askbot that made it.")
        kept = _copy(path)
        migrate(connection, fresh)
        rebuild = Rebuild(source, connection, now=time.time())
        rebuild.run(segments(path))
        checkpoint(connection)
    _replace(path, fresh)
    return Report(facts=[f"the store as it was is in {kept}", *rebuild.facts], faults=list(rebuild.lost()))


def _copy(path: Path) -> Path:
    """Copy the store's files into a folder, under their names: it can be opened there, or put back."""
    folder = Path(mkdtemp(prefix=f"{path.name}.before-repair-{time.strftime('%Y%m%d')}-", dir=path.parent))
    for file in _files(path):
        shutil.copy2(file, folder / file.name)
    journal = path.with_name(path.name + ".journal")
    if journal.is_dir():
        shutil.copytree(journal, folder / journal.name)
    return folder


def _replace(path: Path, fresh: Path) -> None:
    """The old write-ahead log goes first: SQLite would play it into the new file."""
    for file in _files(path):
        if file != path:
            file.unlink()
    fresh.replace(path)
    for segment in segments(path):
        segment.unlink()


def _remove(fresh: Path) -> None:
    for file in _files(fresh):
        file.unlink()


def _files(path: Path) -> Iterator[Path]:
    """A database's files that are there."""
    for end in ("", "-wal", "-shm"):
        file = path.with_name(path.name + end)
        if file.exists():
            yield file
