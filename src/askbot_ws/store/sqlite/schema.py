"""Schema: the tables' definition, migrations from older versions, and how connections and transactions are opened."""

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
    """
    -- No table changes. Rows of the type `thinking` have their text as `body`, like a token's: older programs, which
    -- would take it for a frame, are kept from reading them.
    """,
    """
    -- Who made the session; NULL: an anonymous client did. Its first event has it too, in case the row is damaged.
    ALTER TABLE sessions ADD COLUMN user TEXT;
    ALTER TABLE events ADD COLUMN user TEXT;
    -- The summary. NULL in `turns`: an earlier version noted neither them nor the beginning of the first question.
    ALTER TABLE sessions ADD COLUMN title TEXT NOT NULL DEFAULT '';
    ALTER TABLE sessions ADD COLUMN question TEXT NOT NULL DEFAULT '';
    ALTER TABLE sessions ADD COLUMN updated REAL NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN turns INTEGER;
    UPDATE sessions SET updated = created;
    CREATE INDEX sessions_by_user ON sessions (user, updated, id);
    CREATE INDEX sessions_by_update ON sessions (updated, id);
    CREATE TABLE spent (name TEXT NOT NULL UNIQUE, expires REAL NOT NULL);
    CREATE TABLE usage (user TEXT NOT NULL, day TEXT NOT NULL, tokens INTEGER NOT NULL, UNIQUE (user, day));
    """,
)
APPLICATION_ID = 0x61736B62  # "askb": in files from version 2 on


def connect(path: Path, *, full_sync: bool, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection for use in one thread. Transactions are explicit: see `transaction`. Raises `sqlite3.Error`.

    `full_sync` syncs each commit; `busy_timeout` is how many seconds SQLite waits for another program's lock.
    """
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
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
    """Run the block in a transaction, which is rolled back where the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def full_sync(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Sync the commits of the block, and with them all that was committed before."""
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


def vacuum(connection: sqlite3.Connection) -> None:
    """Rewrite the file without its free pages. Raises like `checkpoint`, and where the disk has no room for a copy."""
    connection.execute("VACUUM")
    checkpoint(connection)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate the tables to this version. Raises `ConfigError` where they are of a newer one, or another program's."""
    with transaction(connection):
        for version in range(read_version(connection, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[version].split(";\n"):  # executescript would end the transaction
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The tables' version; 0: there are none. Raises `ConfigError` where it is a newer one, or they aren't ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application == 0:  # version 1 had none
        ours = (version == 1 and {"sessions", "events"} <= tables) or (version == 0 and not tables)
    else:
        ours = application == APPLICATION_ID
    if not ours:
        raise ConfigError(f"{path} is another program's database; set ASKBOT_STORE to another file.")
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the store {path} has schema version {version}, and this askbot knows versions up to "
            f"{len(MIGRATIONS)}; install a newer askbot, or set ASKBOT_STORE to another file."
        )
    return int(version)
