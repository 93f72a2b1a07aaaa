"""The tables, and how a file of an older version gets them: forward only."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ConfigError

# One script a version, never changed once released: number n takes a file from `user_version` n to n + 1.
MIGRATIONS = (
    """
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        unfinished INTEGER NOT NULL,  -- turns that have a question and no end
        created REAL NOT NULL,
        touched REAL NOT NULL
    );
    CREATE INDEX sessions_by_age ON sessions (touched);
    CREATE INDEX sessions_unfinished ON sessions (id) WHERE unfinished > 0;
    CREATE TABLE events (
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        turn TEXT NOT NULL,
        type TEXT NOT NULL,
        ask TEXT,  -- the id of the `ask`, where a question had one
        body TEXT NOT NULL  -- a token's text, else the frame
    );
    CREATE UNIQUE INDEX events_in_order ON events (session, seq);
    CREATE INDEX events_by_turn ON events (session, turn, seq);
    CREATE INDEX questions ON events (session, seq) WHERE type = 'question';
    CREATE INDEX questions_by_ask ON events (session, ask, seq) WHERE ask IS NOT NULL;
    """,
)


def connect(path: Path, *, full_sync: bool, busy_s: float) -> sqlite3.Connection:
    """A connection that one thread shall use; transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if full_sync else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it already
            connection.execute("ROLLBACK")
        raise


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move everything from the write-ahead log to the file, and empty the log."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("another program reads the file")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date. Raises `ConfigError` where they are from a newer askbot, or from something else."""
    with transaction(connection):
        for number in range(known_version(connection, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";\n"):  # executescript would end the transaction
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")


def known_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the tables. Raises `ConfigError` where they are not ours, or of a version yet to come."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the store {path} has schema version {version}, and this askbot knows versions up to "
            f"{len(MIGRATIONS)}; install a newer askbot, or set ASKBOT_STORE to another file."
        )
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version == 0 and tables:
        raise ConfigError(f"{path} is another program's database; set ASKBOT_STORE to another file.")
    return int(version)
