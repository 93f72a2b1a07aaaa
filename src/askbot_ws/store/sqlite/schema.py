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
    """
    CREATE TABLE store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        history TEXT NOT NULL,
        boot TEXT,
        age REAL NOT NULL,
        unscrubbed INTEGER NOT NULL
    );
    INSERT INTO store VALUES (1, lower(hex(randomblob(8))), NULL, 0, 0);
    UPDATE sessions SET touched = 0;  -- by the wall clock until now, by the age of the store from now on
    """,
)
APPLICATION = 0x61736B62  # "askb": in files from version 2 on


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


@contextmanager
def synced(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """What is committed in here is on the disk then, and all that was committed before."""
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA synchronous = {level}")


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move everything from the write-ahead log to the file, and empty the log.

    Raises `sqlite3.OperationalError` where another connection still reads from the log.
    """
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
            connection.execute(f"PRAGMA application_id = {APPLICATION}")


def known_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the tables; 0: there are none. Raises `ConfigError` where they are not ours, or of a later one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application == 0:  # version 1 had none
        ours = (version == 1 and {"sessions", "events"} <= tables) or (version == 0 and not tables)
    else:
        ours = application == APPLICATION
    if not ours:
        raise ConfigError(f"{path} is another program's database; set ASKBOT_STORE to another file.")
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the store {path} has schema version {version}, and this askbot knows versions up to "
            f"{len(MIGRATIONS)}; install a newer askbot, or set ASKBOT_STORE to another file."
        )
    return int(version)
