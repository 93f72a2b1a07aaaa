"""Looking at a store without changing it, beside a server that runs or after one that died."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ConfigError
from .lock import ProcessLock
from .schema import known_version


@contextmanager
def lock(path: Path) -> Generator[bool]:
    """Keep servers away; False where one is there already."""
    held = ProcessLock(path)
    try:
        if path.with_name(path.name + ".lock").exists():  # else no server was ever here, and we leave no trace
            held.acquire()
    except ConfigError:
        yield False
        return
    except OSError:
        pass  # a read-only disk: no server can run on it
    try:
        yield True
    finally:
        held.release()


@contextmanager
def look(path: Path, *, alone: bool) -> Generator[sqlite3.Connection]:
    """A connection that reads. `alone`: nobody else has the file, so SQLite need not make files beside it.

    Raises `ConfigError`, with what to do, where there is no store that we can read.
    """
    if not path.is_file():
        raise ConfigError(f"there is no store {path}; name another with --store.")
    wal = path.with_name(path.name + "-wal")
    mode = "mode=ro&immutable=1" if alone and not (wal.exists() and wal.stat().st_size) else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
    try:
        try:
            connection.text_factory = _text
            known_version(connection, path)
        except sqlite3.Error as error:
            raise unreadable(path, error) from error
        yield connection
    finally:
        connection.close()


def unreadable(path: Path, error: Exception) -> ConfigError:
    """What to do with a file whose very beginning can't be read."""
    return ConfigError(
        f"the store {path} can't be read ({error}). Its beginning is damaged, or it is not a database, so askbot "
        "can't repair it: restore a copy (askbot store backup makes them), or move it away and begin anew; the "
        "journal beside it is not touched."
    )


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def segments(path: Path) -> list[Path]:
    """The journal's files, oldest first."""
    folder = path.with_name(path.name + ".journal")
    return sorted((file for file in folder.glob("*.log") if file.stem.isdigit()), key=lambda file: int(file.stem))
