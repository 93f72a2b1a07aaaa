"""Repair: replaces a damaged store by a new one with all that can still be read of it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

from ....errors import ConfigError
from ...audit import Report
from ..files import StoreFiles
from ..lock import ProcessLock, refuse_hard_links
from ..schema import checkpoint, connect, migrate
from .check import check, open_read_only
from .rebuild import Rebuild


def repair(path: Path) -> Report:
    """Rebuild a damaged store in place, after a copy of its files was made; a sound one is not changed.

    The report's faults are what is lost. Raises `ConfigError` where it can't be repaired; nothing has changed then.
    """
    report_before, files = check(path), StoreFiles(path)
    lock = ProcessLock(files)
    try:
        lock.acquire()  # first of all: while a server runs, the check skips the journal
        refuse_hard_links(files)
        if not report_before.faults:
            return Report(facts=["nothing is wrong with it, and nothing was changed"])
        report = _repair(files)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the store {path} can't be repaired ({error}).") from error
    finally:
        lock.release()
    report.faults += [f"still wrong: {fault}" for fault in check(path).faults]
    return report


def _repair(files: StoreFiles) -> Report:
    new_files = StoreFiles(files.sibling(".repaired"))
    for file in new_files.database_files():
        file.unlink()
    with open_read_only(files, exclusive=False) as source:
        old_files = _copy_files(files)
        new_files.database.touch(mode=0o600)
        with closing(connect(new_files.database, full_sync=True, busy_timeout=1)) as connection:
            migrate(connection, new_files.given_path)  # which begins a new history
            rebuild = Rebuild(source, connection)
            rebuild.run(files.segments())
            checkpoint(connection)
    _replace_files(files, new_files)
    return Report(facts=[f"the store as it was is in {old_files}", *rebuild.facts], faults=list(rebuild.losses()))


def _copy_files(files: StoreFiles) -> Path:
    """Copy the store's files into a new folder, under their names, and return it: they can be opened there."""
    name = files.database.name
    folder = Path(mkdtemp(prefix=f"{name}.before-repair-{time.strftime('%Y%m%d')}-", dir=files.database.parent))
    for file in files.database_files():
        shutil.copy2(file, folder / file.name)
    if files.journal.is_dir():
        shutil.copytree(files.journal, folder / files.journal.name)
    return folder


def _replace_files(files: StoreFiles, new_files: StoreFiles) -> None:
    """Replace the old files. The old write-ahead log goes first: SQLite would replay it into the new file."""
    for file in files.database_files():
        if file != files.database:
            file.unlink()
    new_files.database.replace(files.database)
    for segment in (*files.segments(), *files.damaged_segments()):
        segment.unlink()
