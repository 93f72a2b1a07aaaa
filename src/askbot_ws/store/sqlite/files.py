"""StoreFiles: where a store's files are, and how they are opened by whoever only reads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreFiles:
    """A database and what lies beside it. By whatever symlink the store is named, its files are the same."""

    def __init__(self, named: Path) -> None:
        self.named = named
        self.database = Path(os.path.realpath(named))
        self.journal = self.beside(".journal")
        self.lock = self.beside(".lock")

    def __str__(self) -> str:
        return str(self.named)

    def beside(self, end: str) -> Path:
        """The database's name with something at its end."""
        return self.database.with_name(self.database.name + end)

    def databases(self) -> Iterator[Path]:
        """The files of SQLite that are there."""
        for end in ("", "-wal", "-shm"):
            file = self.beside(end)
            if file.exists():
                yield file

    def segments(self) -> list[Path]:
        """The journal's segments, oldest first."""
        found = (file for file in self.journal.glob("*.log") if file.stem.isdigit())
        return sorted(found, key=lambda file: int(file.stem))

    def set_aside(self) -> list[Path]:
        """The damaged segments that a start has kept: see `set_aside`."""
        return sorted(self.journal.glob("*.damaged*"))

    def links(self) -> int:
        """How many names the database has; SQLite's own files, and ours, go by the name. 0: there is none."""
        try:
            return self.database.stat().st_nlink
        except FileNotFoundError:
            return 0


def set_aside(segment: Path) -> Path:
    """Give a damaged segment a name that no start replays."""
    free = segment.with_suffix(".damaged")
    number = 1
    while free.exists():
        number += 1
        free = segment.with_suffix(f".damaged-{number}")
    return segment.rename(free)


def sync_folder(folder: Path) -> None:
    """Wait until the names in it survive a power cut."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def reading(files: StoreFiles, *, alone: bool, busy_s: float = 5.0) -> Generator[sqlite3.Connection]:
    """A connection that changes nothing. `alone`: nobody else has the file, so SQLite need not make files beside it.

    Raises what SQLite raises.
    """
    wal = files.beside("-wal")
    mode = "mode=ro&immutable=1" if alone and not (wal.exists() and wal.stat().st_size) else "mode=ro"
    uri = f"{files.database.as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_s)
    try:
        yield connection
    finally:
        connection.close()
