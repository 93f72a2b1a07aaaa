"""ProcessLock: one process a store."""

from __future__ import annotations

import contextlib
import os
import sys

from ...errors import ConfigError
from .files import StoreFiles

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, 1 << 20, os.SEEK_SET)  # beyond the number, which others shall be able to read
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class ProcessLock:
    """A file beside the store that the operating system unlocks when we end, however that is."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `ConfigError` where another process has it, OSError where the file can't be made."""
        fd = os.open(self._files.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(fd)
        except OSError as error:
            owner = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            if not isinstance(error, BlockingIOError | PermissionError):
                raise  # it cannot be locked at all, as on some network shares
            raise ConfigError(
                f"the store {self._files} is in use by another askbot process (pid {owner}); "
                "stop that one, or set ASKBOT_STORE to another file."
            ) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # the number is a courtesy, and a full disk no reason not to start
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go. The file stays: to delete it would let two processes lock two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def refuse_links(files: StoreFiles) -> None:
    """Raises `ConfigError` where the database has a second name: there, a process would lock and write other files."""
    if files.links() > 1:
        raise ConfigError(
            f"the store {files} is one file with several names (hard links), which SQLite does not survive where two "
            "of them are used; delete the other names, or copy the file (askbot store backup)."
        )
