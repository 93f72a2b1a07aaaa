"""StoreState: the one row of the table `store`. Functions that change it need a transaction."""

from __future__ import annotations

import secrets
from pathlib import Path
from sqlite3 import Connection, DatabaseError
from typing import NamedTuple


class StoreState(NamedTuple):
    """What a store records about itself."""

    history: str  # identifies the store's contents; replaced once anything that was acknowledged is lost
    boot: str | None  # during which events may not be synced; None: all of them are on the disk
    uptime: float  # seconds that processes had the store open
    unscrubbed: bool  # the write-ahead log may hold text that is deleted


def read_state(connection: Connection) -> StoreState:
    """Read the row. Raises `sqlite3.DatabaseError` where there is none."""
    row = connection.execute("SELECT history, boot, age, unscrubbed FROM store").fetchone()
    if row is None:
        raise DatabaseError("it does not say which history it has")
    history, boot, uptime, unscrubbed = row
    return StoreState(history, boot, uptime, bool(unscrubbed))


def start_new_history(connection: Connection) -> None:
    """Replace the history's id, so that readers of what was there before start from the beginning."""
    connection.execute("UPDATE store SET history = ?", (secrets.token_urlsafe(8),))


def set_boot(connection: Connection, boot: str | None) -> None:
    """Record the boot of the machine during which events may not be synced."""
    connection.execute("UPDATE store SET boot = ?", (boot,))


def set_uptime(connection: Connection, uptime: float) -> None:
    """Record how many seconds the store has been open in all. A smaller number than the recorded one is ignored."""
    connection.execute("UPDATE store SET age = max(age, ?)", (uptime,))


def set_unscrubbed(connection: Connection, *, unscrubbed: bool) -> None:
    """Record whether the write-ahead log may hold text that is deleted."""
    connection.execute("UPDATE store SET unscrubbed = ?", (unscrubbed,))


def boot_id() -> str:
    """The id of this boot of the machine; where the system has none, a new one each time, as after a reboot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return secrets.token_urlsafe(8)
