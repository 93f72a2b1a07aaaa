"""Accounts: the tables of names that were spent and of the tokens that users used. Each function is one job."""

from __future__ import annotations

from sqlite3 import Connection

from .. import SPENT_SECONDS, first_day_of_usage
from . import state
from .schema import transaction


def spend(connection: Connection, *, name: str, expires: float) -> bool:
    """Record a name; returns whether it was not recorded yet."""
    with transaction(connection):
        added = connection.execute("INSERT OR IGNORE INTO spent (name, expires) VALUES (?, ?)", (name, expires))
        return added.rowcount == 1


def add_usage(connection: Connection, *, user: str, day: str, tokens: int) -> int:
    """Add to the count of a user's tokens on a day; returns the count."""
    if not tokens:
        row = connection.execute("SELECT tokens FROM usage WHERE user = ? AND day = ?", (user, day)).fetchone()
        return int(row[0]) if row else 0
    query = """
        INSERT INTO usage (user, day, tokens) VALUES (?, ?, ?)
        ON CONFLICT (user, day) DO UPDATE SET tokens = tokens + excluded.tokens RETURNING tokens
    """
    with transaction(connection):
        (count,) = connection.execute(query, (user, day, tokens)).fetchone()
    return int(count)


def usage(connection: Connection, *, user: str) -> dict[str, int]:
    """A user's tokens by day."""
    return dict(connection.execute("SELECT day, tokens FROM usage WHERE user = ? ORDER BY day", (user,)).fetchall())


def forget_usage(connection: Connection, *, user: str) -> None:
    """Delete the counts of a user."""
    with transaction(connection):
        connection.execute("DELETE FROM usage WHERE user = ?", (user,))
        state.set_unscrubbed(connection, unscrubbed=True)


def remove_old(connection: Connection, *, now: float) -> None:
    """Remove spent names that have expired, and counts of days that are over; `now` is in seconds since 1970."""
    with transaction(connection):
        connection.execute("DELETE FROM spent WHERE expires < ?", (now - SPENT_SECONDS,))
        connection.execute("DELETE FROM usage WHERE day < ?", (first_day_of_usage(now),))
