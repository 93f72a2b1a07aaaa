"""Repair: a fresh store of all that can still be read of a damaged one."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

from ....errors import ConfigError
from ..files import StoreFiles
from ..lock import ProcessLock, refuse_links
from ..schema import checkpoint, connect, migrate
from .check import Report, check, look
from .rebuild import Rebuild


def repair(path: Path) -> Report:
    """Put what can be kept into a new file, and that in place of the old one; a copy of all files is kept.

    The report's faults are what is lost. Raises `ConfigError` where it can't be done; the store is as it was then.
    """
    before, files = check(path), StoreFiles(path)
    lock = ProcessLock(files)
    try:
        lock.acquire()  # first of all: beside a server, the journal was not looked at
        refuse_links(files)
        if not before.faults:
            return Report(facts=["nothing is wrong with it, and nothing was changed"])
        report = _repair(files)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the store {path} can't be repaired ({error}).") from error
    finally:
        lock.release()
    report.faults += [f"still wrong: {fault}" for fault in check(path).faults]
    return report


def _repair(files: StoreFiles) -> Report:
    fresh = StoreFiles(files.beside(".repaired"))
    for file in fresh.databases():
        file.unlink()
    with look(files, alone=False) as source:
        kept = _copy(files)
        fresh.database.touch(mode=0o600)
        with closing(connect(fresh.database, full_sync=True, busy_s=1)) as connection:
            migrate(connection, fresh.named)  # with a name of its own for its history
            rebuild = Rebuild(source, connection)
            rebuild.run(files.segments())
            checkpoint(connection)
    _replace(files, fresh)
    return Report(facts=[f"the store as it was is in {kept}", *rebuild.facts], faults=list(rebuild.lost()))


def _copy(files: StoreFiles) -> Path:
    """Copy the store's files into a folder, under their names: it can be opened there, or put back."""
    name = files.database.name
    folder = Path(mkdtemp(prefix=f"{name}.before-repair-{time.strftime('%Y%m%d')}-", dir=files.database.parent))
    for file in files.databases():
        shutil.copy2(file, folder / file.name)
    if files.journal.is_dir():
        shutil.copytree(files.journal, folder / files.journal.name)
    return folder


def _replace(files: StoreFiles, fresh: StoreFiles) -> None:
    """The old write-ahead log goes first: SQLite would play it into the new file."""
    for file in files.databases():
        if file != files.database:
            file.unlink()
    fresh.database.replace(files.database)
    for segment in (*files.segments(), *files.set_aside()):
        segment.unlink()
