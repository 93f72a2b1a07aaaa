"""StoreFiles: the paths of a store's files, and a read-only connection to its database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class StoreFiles:
    """The paths of a database and of what lies beside it, with symlinks resolved: they are the same by any symlink."""

    def __init__(self, given_path: Path) -> None:
        self.given_path = given_path
        self.database = Path(os.path.realpath(given_path))
        self.journal = self.sibling(".journal")
        self.lock = self.sibling(".lock")

    def __str__(self) -> str:
        return str(self.given_path)

    def sibling(self, suffix: str) -> Path:
        """The path of the database with a suffix after its name."""
        return self.database.with_name(self.database.name + suffix)

    def database_files(self) -> Iterator[Path]:
        """SQLite's files that exist."""
        for end in ("", "-wal", "-shm"):
            file = self.sibling(end)
            if file.exists():
                yield file

    def segments(self) -> list[Path]:
        """The paths of the journal's segments, oldest first."""
        found = (file for file in self.journal.glob("*.log") if file.stem.isdigit())
        return sorted(found, key=lambda file: int(file.stem))

    def damaged_segments(self) -> list[Path]:
        """The paths of the damaged segments that a start has kept: see `set_aside_segment`."""
        return sorted(self.journal.glob("*.damaged*"))

    def size(self) -> int:
        """How many bytes the database's files and the journal's segments have."""
        total = 0
        for file in (*self.database_files(), *self.segments()):
            with suppress(FileNotFoundError):  # a segment whose sessions were flushed just now
                total += file.stat().st_size
        return total

    def link_count(self) -> int:
        """How many hard links the database has; SQLite's own files, and ours, go by the name. 0: it does not exist."""
        try:
            return self.database.stat().st_nlink
        except FileNotFoundError:
            return 0


def set_aside_segment(segment: Path) -> Path:
    """Rename a damaged segment, so that no start replays it; returns its new path."""
    free = segment.with_suffix(".damaged")
    number = 1
    while free.exists():
        number += 1
        free = segment.with_suffix(f".damaged-{number}")
    return segment.rename(free)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a power cut. Does nothing where a folder can't be opened."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def read_only_connection(
    files: StoreFiles, *, exclusive: bool, busy_timeout: float = 5.0
) -> Generator[sqlite3.Connection]:
    """Open a connection that changes nothing. Raises `sqlite3.Error`.

    `exclusive`: no other process has the file open, so that SQLite need not make files beside it.
    """
    wal = files.sibling("-wal")
    mode = "mode=ro&immutable=1" if exclusive and not (wal.exists() and wal.stat().st_size) else "mode=ro"
    uri = f"{files.database.as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_timeout)
    try:
        yield connection
    finally:
        connection.close()
