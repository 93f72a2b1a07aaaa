"""State: what a store says of itself, in the one row of its table `store`. To change it takes a transaction."""

from __future__ import annotations

import secrets
from pathlib import Path
from sqlite3 import Connection, DatabaseError
from typing import NamedTuple


class State(NamedTuple):
    """The row."""

    history: str  # names what is kept here; another word once anything that was acknowledged is lost
    boot: str | None  # of the machine that has unsynced events of this store in its memory; None: all is on the disk
    age: float  # seconds that processes had the store open
    unscrubbed: bool  # the write-ahead log may hold text that is deleted


def read(connection: Connection) -> State:
    """The state as it is. Raises `sqlite3.DatabaseError` where there is none."""
    row = connection.execute("SELECT history, boot, age, unscrubbed FROM store").fetchone()
    if row is None:
        raise DatabaseError("it does not say which history it has")
    history, boot, age, unscrubbed = row
    return State(history, boot, age, bool(unscrubbed))


def begin_history(connection: Connection) -> None:
    """Name what is kept from now on by another word: readers of what was there before begin anew."""
    connection.execute("UPDATE store SET history = ?", (secrets.token_urlsafe(8),))


def set_boot(connection: Connection, boot: str | None) -> None:
    """Note under which boot of the machine events may be unsynced."""
    connection.execute("UPDATE store SET boot = ?", (boot,))


def set_age(connection: Connection, age: float) -> None:
    """Note how long the store has been open in all, in seconds. It never gets younger."""
    connection.execute("UPDATE store SET age = max(age, ?)", (age,))


def set_unscrubbed(connection: Connection, *, unscrubbed: bool) -> None:
    """Note whether the write-ahead log may hold text that is deleted."""
    connection.execute("UPDATE store SET unscrubbed = ?", (unscrubbed,))


def boot_id() -> str:
    """This boot of the machine; where that has no name, a new one each time, as if each end were a power cut."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return secrets.token_urlsafe(8)
