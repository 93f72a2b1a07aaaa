"""Reading and writing the tables: each function is one job for the thread that has the connection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection, Row
from typing import Any

from ...core.log_tail import LogTail, suffix_after, wire_size
from ...events import MAX_SEQ, Event, Question, Token, decode_event, encode_event

NOWHERE = -1
"""The key of no session: whatever is asked about it, nothing is there."""

# --- writing, always within a transaction ----------------------------------------------------------------------------


def add(connection: Connection, session: str, events: Sequence[Event], *, age: float) -> None:
    """Add what follows the session's head in the tables; what does not is there already. `age` is the store's."""
    if not events:
        return
    key, head = _place(connection, session, age)
    events = [_after(event, head) for event in events if event.seq > head]
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
        (events[-1].seq, begun - ended, age, key),
    )


def _place(connection: Connection, session: str, age: float) -> tuple[int, int]:
    """The session's key and head; a new session gets them."""
    while (found := find(connection, session)) is None:
        values = (session, time.time(), age)  # when it was made is for people; by the wall clock nothing is deleted
        connection.execute("INSERT INTO sessions VALUES (NULL, ?, 0, 0, ?, ?)", values)
    return found


def _after(event: Event, head: int) -> Event:
    return suffix_after(event, after=head) if type(event) is Token and event.start < head else event


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


def idle(
    connection: Connection, *, before: float, after: tuple[float, int], limit: int
) -> list[tuple[float, int, str]]:
    """The sessions that nothing was added to since the store was `before` seconds old, oldest first.

    Each with its age and key; `after` are those of the last one that is known already.
    """
    query = """
        SELECT touched, key, id FROM sessions WHERE touched < ? AND (touched, key) > (?, ?)
        ORDER BY touched, key LIMIT ?
    """
    return connection.execute(query, (before, *after, limit)).fetchall()


def newest(connection: Connection, session: str, *, budget: int, history: str) -> LogTail | None:
    """The session's log with its newest events, about `budget` bytes of them."""
    found = find(connection, session)
    if found is None:
        return None
    key, head = found
    rows = connection.execute("SELECT seq, turn, type, body FROM events WHERE session = ? ORDER BY seq DESC", (key,))
    events = _up_to(budget, session, rows)
    log = LogTail(session, start=events[-1].start if events else head, history=history)
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


def replay_start(
    connection: Connection, _session: str, key: int, *, until: int, unflushed: Sequence[Event], turns: int
) -> int:
    """The place after which the newest turns can be replayed; the tables count up to `until`, then come `unflushed`.

    As `core.cursor.newest` has it. Only places are read: of the questions, and of what is to be replayed.
    """
    asked = {event.turn: event.seq for event in unflushed if type(event) is Question}
    place = _begin_of_newest(connection, key, until, [*asked.values()], turns)
    beyond = MAX_SEQ
    while True:
        reaching = {event.turn for event in unflushed if place < event.seq <= beyond}
        reaching.update(_turns_within(connection, key, place, min(beyond, until)))
        questions = [asked.get(turn) or _question_of(connection, key, turn, until) for turn in reaching]
        first = min([place, *(question - 1 for question in questions)])
        if first == place:
            return place
        place, beyond = first, place


def _begin_of_newest(connection: Connection, key: int, until: int, unflushed: Sequence[int], turns: int) -> int:
    """The place before the question of the oldest of the newest `turns` turns; 0 where there are no more than those."""
    if len(unflushed) >= turns:
        return unflushed[-turns] - 1
    query = """
        SELECT seq FROM events WHERE session = ? AND type = 'question' AND seq <= ?
        ORDER BY seq DESC LIMIT 1 OFFSET ?
    """
    row = connection.execute(query, (key, until, turns - len(unflushed) - 1)).fetchone()
    return row[0] - 1 if row else 0


def _turns_within(connection: Connection, key: int, place: int, until: int) -> Iterator[str]:
    """The turns that have anything in (place, until]."""
    by_place = "INDEXED BY events_in_order"  # by itself SQLite goes through the whole session, turn by turn
    query = f"SELECT DISTINCT turn FROM events {by_place} WHERE session = ? AND seq > ? AND seq <= ?"  # noqa: S608 - ours
    return (turn for (turn,) in connection.execute(query, (key, place, until)))


def _question_of(connection: Connection, key: int, turn: str, until: int) -> int:
    """The place of a turn's question, which is its first event."""
    query = "SELECT seq FROM events WHERE session = ? AND turn = ? AND seq <= ? ORDER BY seq LIMIT 1"
    row = connection.execute(query, (key, turn, until)).fetchone()
    return row[0] if row else MAX_SEQ


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
        limit -= wire_size(_after(event, place))
        if limit <= 0:
            break
    return events
