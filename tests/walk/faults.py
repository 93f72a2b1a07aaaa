"""Faults of a disk and of other programs, which come and go."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from askbot_ws.store.sqlite import journal


class Disk:
    """What the journal calls, in the place of `os`: each call may fail, with the chance that is set for it."""

    def __init__(self, rng: Random) -> None:
        self.chances: dict[str, float] = {}
        self.failed = 0
        self.in_doubt = False  # what was refused is in a file still, and nothing could be written that says so
        self._rng = rng

    def _fails(self, name: str) -> bool:
        failed = self._rng.random() < self.chances.get(name, 0.0)
        self.failed += failed
        return failed

    def write(self, fd: int, data: bytes) -> int:
        if self._fails("write"):
            raise OSError(errno.ENOSPC, "No space left on device")
        if len(data) > 1 and self._fails("short"):
            return os.write(fd, data[: self._rng.randrange(1, len(data))])
        self.in_doubt = False
        return os.write(fd, data)

    def ftruncate(self, fd: int, size: int) -> None:
        if self._fails("ftruncate"):
            self.in_doubt = True
            raise OSError(errno.EIO, "Input/output error")
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        if self._fails("sync"):
            self.in_doubt = True
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        if self._fails("sync"):
            self.in_doubt = True
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@contextmanager
def on_disk(disk: Disk) -> Generator[None]:
    """Let the journal use this disk."""
    setattr(journal, "os", disk)  # noqa: B010 - the module does not export it
    try:
        yield
    finally:
        setattr(journal, "os", os)  # noqa: B010 - as above


class Neighbour(SimpleNamespace):
    """Another program that has the database open: it reads for long, or locks it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.01)

    def lock(self) -> bool:
        """Keep everybody else from writing, where nobody writes just now."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True

    def read(self) -> None:
        """Begin a read that does not end."""
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM sessions").fetchone()

    def stop(self) -> None:
        """Let go."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Be gone."""
        self._connection.close()
