"""Reading and writing the tables: each function is one job for the thread that has the connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Connection, Row
from typing import Any, NamedTuple

from ...core.log import Log, cut, weight
from ...events import Event, Question, Token, decode_event, encode_event


class Part(NamedTuple):
    """Some events of one session, in order."""

    session: str
    events: Sequence[Event]


# --- writing, always within a transaction ----------------------------------------------------------------------------


def add(connection: Connection, part: Part, *, now: float) -> None:
    """Add what follows the session's head in the tables; what does not is there already."""
    if not part.events:
        return
    key, head = _place(connection, part.session, now)
    events = [_after(event, head) for event in part.events if event.seq > head]
    if not events:
        return
    connection.executemany(
        "INSERT OR REPLACE INTO events (session, seq, turn, type, ask, body) VALUES (?, ?, ?, ?, ?, ?)",
        [(key, *_row(event)) for event in events],
    )
    begun = sum(event.type == "question" for event in events)
    ended = sum(event.type == "done" for event in events)
    connection.execute(
        "UPDATE sessions SET head = ?, unfinished = max(0, unfinished + ?), touched = ? WHERE key = ?",
        (events[-1].seq, begun - ended, now, key),
    )


def _place(connection: Connection, session: str, now: float) -> tuple[int, int]:
    """The session's key and head; a new session gets them."""
    while (found := find(connection, session)) is None:
        connection.execute("INSERT INTO sessions VALUES (NULL, ?, 0, 0, ?, ?)", (session, now, now))
    return found


def _after(event: Event, head: int) -> Event:
    return cut(event, after=head) if type(event) is Token and event.start < head else event


def _row(event: Event) -> tuple[int, str, str, str | None, str]:
    match event:
        case Token():
            return event.seq, event.turn, event.type, None, event.text
        case Question():
            return event.seq, event.turn, event.type, event.id, encode_event(event).decode()
        case _:
            return event.seq, event.turn, event.type, None, encode_event(event).decode()


def delete(connection: Connection, sessions: Iterable[str]) -> None:
    """Delete sessions and all they hold."""
    for session in sessions:
        found = find(connection, session)
        if found:
            connection.execute("DELETE FROM events WHERE session = ?", found[:1])
            connection.execute("DELETE FROM sessions WHERE key = ?", found[:1])


# --- reading ---------------------------------------------------------------------------------------------------------


def find(connection: Connection, session: str) -> tuple[int, int] | None:
    """The key and the head of a session."""
    found: tuple[int, int] | None = connection.execute(
        "SELECT key, head FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    return found


def unfinished(connection: Connection) -> list[str]:
    """The sessions in which a turn has no end."""
    return [session for (session,) in connection.execute("SELECT id FROM sessions WHERE unfinished > 0 ORDER BY id")]


def untouched(connection: Connection, *, before: float, limit: int) -> list[str]:
    """The sessions to which nothing was added since, oldest first."""
    rows = connection.execute("SELECT id FROM sessions WHERE touched < ? ORDER BY touched LIMIT ?", (before, limit))
    return [session for (session,) in rows]


def newest(connection: Connection, session: str, *, budget: int) -> Log | None:
    """The session's log with its newest events, about `budget` bytes of them."""
    found = find(connection, session)
    if found is None:
        return None
    key, head = found
    rows = connection.execute("SELECT seq, turn, type, body FROM events WHERE session = ? ORDER BY seq DESC", (key,))
    events = _up_to(budget, session, rows)
    log = Log(session, start=events[-1].start if events else head)
    for event in reversed(events):
        log.append(event)
    return log


def after(connection: Connection, session: str, key: int, *, place: int, limit: int) -> list[Event]:
    """The events after a place, at least `limit` bytes of them where there are; the first may begin before it."""
    rows = connection.execute(
        "SELECT seq, turn, type, body FROM events WHERE session = ? AND seq > ? ORDER BY seq", (key, place)
    )
    return _up_to(limit, session, rows, place=place)


def turns(connection: Connection, session: str, key: int, *, before: int, until: int, limit: int) -> list[Event]:
    """The newest turns whose question stands before a place: their events up to another, oldest turn first."""
    found = connection.execute(
        "SELECT turn FROM events WHERE session = ? AND type = 'question' AND seq <= ? ORDER BY seq DESC LIMIT ?",
        (key, min(before - 1, until), limit),
    ).fetchall()
    of_turn = "SELECT seq, turn, type, body FROM events WHERE session = ? AND turn = ? AND seq <= ? ORDER BY seq"
    return [
        _event(session, row) for (turn,) in reversed(found) for row in connection.execute(of_turn, (key, turn, until))
    ]


def asked(connection: Connection, _session: str, key: int, *, id: str) -> str | None:
    """The turn of the question that was asked with this id."""
    row = connection.execute(
        "SELECT turn FROM events WHERE session = ? AND ask = ? ORDER BY seq LIMIT 1", (key, id)
    ).fetchone()
    return row[0] if row else None


def _event(session: str, row: Sequence[Any]) -> Event:
    seq, turn, kind, body = row
    if kind == "token":
        return Token(session=session, turn=turn, seq=seq, text=body)
    return decode_event(body)


def _up_to(limit: int, session: str, rows: Iterable[Row], *, place: int = 0) -> list[Event]:
    """Events until their weight after the place, in bytes, reaches a limit."""
    events: list[Event] = []
    for row in rows:
        event = _event(session, row)
        events.append(event)
        limit -= weight(_after(event, place))
        if limit <= 0:
            break
    return events
