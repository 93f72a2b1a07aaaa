"""ProcessLock: allows one process at a time to use a store."""

from __future__ import annotations

import contextlib
import os
import sys

from ...errors import ConfigError
from .files import StoreFiles

if sys.platform == "win32":
    import msvcrt

    def _lock_file(fd: int) -> None:
        os.lseek(fd, 1 << 20, os.SEEK_SET)  # beyond the process id, so that others can read that
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_file(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class StoreInUseError(ConfigError):
    """Another process uses the store; `fact` says which, without what to do about it."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}; stop that one, or set ASKBOT_STORE to another file.")
        self.fact = fact


class ProcessLock:
    """A locked file beside the store, which the operating system unlocks when the process ends, however it ends."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._fd: int | None = None

    def acquire(self) -> None:
        """Lock the file. Raises `ConfigError` where another process has locked it, OSError where locking fails."""
        fd = os.open(self._files.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock_file(fd)
        except OSError as error:
            owner = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            if not isinstance(error, BlockingIOError | PermissionError):
                raise  # the file can't be locked at all, as on some network shares
            raise StoreInUseError(
                f"the store {self._files} is in use by another askbot process (pid {owner})"
            ) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # the process id is only for the error above: a full disk may prevent it
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Unlock the file. It is not deleted: else two processes could lock two files of the same name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def refuse_hard_links(files: StoreFiles) -> None:
    """Raise `ConfigError` where the database has a hard link: by that name, a process would use other lock files."""
    if files.link_count() > 1:
        raise ConfigError(
            f"the store {files} is one file with several names (hard links), which SQLite does not survive where two "
            "of them are used; delete the other names, or copy the file (askbot store backup)."
        )
