"""Tables: reads and writes sessions and events. Each function is one job for the thread that has the connection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection, Row
from typing import Any

from ...core.log_tail import LogTail, suffix_after, wire_size
from ...events import MAX_SEQ, Event, Question, TextSlice, Thinking, Token, decode_event, encode_event

NO_SESSION_KEY = -1
"""The key of no session: every query about it finds nothing."""

# --- writing, always within a transaction ----------------------------------------------------------------------------


def append_events(connection: Connection, session: str, events: Sequence[Event], *, uptime: float) -> None:
    """Append the events that follow the session's head in the tables; the others are there already.

    `uptime` is how many seconds processes had the store open.
    """
    if not events:
        return
    key, head = _find_or_create_session(connection, session, uptime)
    events = [_part_after(event, head) for event in events if event.seq > head]
    if not events:
        return
    connection.executemany(
        "INSERT OR REPLACE INTO events (session, seq, turn, type, ask, body) VALUES (?, ?, ?, ?, ?, ?)",
        [(key, *_event_row(event)) for event in events],
    )
    begun = sum(event.type == "question" for event in events)
    ended = sum(event.type == "done" for event in events)
    connection.execute(
        "UPDATE sessions SET head = ?, unfinished = max(0, unfinished + ?), touched = ? WHERE key = ?",
        (events[-1].seq, begun - ended, uptime, key),
    )


def _find_or_create_session(connection: Connection, session: str, uptime: float) -> tuple[int, int]:
    """The session's key and head in the tables; a new session is added."""
    while (found := find_session(connection, session)) is None:
        values = (session, time.time(), uptime)  # when it was made is for people; by the wall clock nothing is deleted
        connection.execute("INSERT INTO sessions VALUES (NULL, ?, 0, 0, ?, ?)", values)
    return found


def _part_after(event: Event, head: int) -> Event:
    return suffix_after(event, after=head) if isinstance(event, TextSlice) and event.start < head else event


def _event_row(event: Event) -> tuple[int, str, str, str | None, str]:
    match event:
        case TextSlice():
            return event.seq, event.turn, event.type, None, event.text
        case Question():
            return event.seq, event.turn, event.type, event.id, encode_event(event).decode()
        case _:
            return event.seq, event.turn, event.type, None, encode_event(event).decode()


def delete_sessions(connection: Connection, sessions: Iterable[str]) -> None:
    """Delete sessions and all they hold."""
    for session in sessions:
        found = find_session(connection, session)
        if found:
            connection.execute("DELETE FROM events WHERE session = ?", found[:1])
            connection.execute("DELETE FROM sessions WHERE key = ?", found[:1])


# --- reading ---------------------------------------------------------------------------------------------------------


def find_session(connection: Connection, session: str) -> tuple[int, int] | None:
    """The key and the head of a session; None where the tables do not have it."""
    found: tuple[int, int] | None = connection.execute(
        "SELECT key, head FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    return found


def unfinished_sessions(connection: Connection) -> list[str]:
    """The ids of the sessions in which a turn has a question but no end."""
    return [session for (session,) in connection.execute("SELECT id FROM sessions WHERE unfinished > 0 ORDER BY id")]


def idle_sessions(
    connection: Connection, *, before: float, after: tuple[float, int], limit: int
) -> list[tuple[float, int, str]]:
    """The sessions to which nothing was added since the store's uptime was `before` seconds, oldest first.

    Each is the uptime at its last append, its key and its id; `after` are the uptime and the key of the last one of
    the page before.
    """
    query = """
        SELECT touched, key, id FROM sessions WHERE touched < ? AND (touched, key) > (?, ?)
        ORDER BY touched, key LIMIT ?
    """
    return connection.execute(query, (before, *after, limit)).fetchall()


def read_newest(connection: Connection, session: str, *, max_bytes: int, history: str) -> LogTail | None:
    """The session's log with its newest events, about `max_bytes` of them; None where the tables do not have it."""
    found = find_session(connection, session)
    if found is None:
        return None
    key, head = found
    rows = connection.execute("SELECT seq, turn, type, body FROM events WHERE session = ? ORDER BY seq DESC", (key,))
    events = _read_up_to(max_bytes, session, rows)
    log = LogTail(session, start=events[-1].start if events else head, history=history)
    for event in reversed(events):
        log.append(event)
    return log


def read_after(connection: Connection, session: str, key: int, *, after: int, limit: int) -> list[Event]:
    """The events after a position, at least `limit` bytes if there are as many; the first may begin before it."""
    rows = connection.execute(
        "SELECT seq, turn, type, body FROM events WHERE session = ? AND seq > ? ORDER BY seq", (key, after)
    )
    return _read_up_to(limit, session, rows, after=after)


def read_turns(connection: Connection, session: str, key: int, *, before: int, until: int, limit: int) -> list[Event]:
    """The events up to `until` of the newest `limit` turns whose question has a `seq` less than `before`.

    The oldest turn comes first.
    """
    found = connection.execute(
        "SELECT turn FROM events WHERE session = ? AND type = 'question' AND seq <= ? ORDER BY seq DESC LIMIT ?",
        (key, min(before - 1, until), limit),
    ).fetchall()
    of_turn = "SELECT seq, turn, type, body FROM events WHERE session = ? AND turn = ? AND seq <= ? ORDER BY seq"
    return [
        _decode_event(session, row)
        for (turn,) in reversed(found)
        for row in connection.execute(of_turn, (key, turn, until))
    ]


def find_replay_start(
    connection: Connection, _session: str, key: int, *, until: int, unflushed: Sequence[Event], turns: int
) -> int:
    """The position after which the newest turns can be replayed, computed as in `core.cursor.newest`.

    Of the tables only events up to `until` count; `unflushed` are those after it. Only positions are read: those of the
    questions, and of what is to be replayed.
    """
    question_seqs = {event.turn: event.seq for event in unflushed if type(event) is Question}
    start = _start_of_newest(connection, key, until, [*question_seqs.values()], turns)
    end = MAX_SEQ
    while True:
        reaching = {event.turn for event in unflushed if start < event.seq <= end}
        reaching.update(_turns_within(connection, key, start, min(end, until)))
        questions = [question_seqs.get(turn) or _question_seq(connection, key, turn, until) for turn in reaching]
        earlier = min([start, *(question - 1 for question in questions)])
        if earlier == start:
            return start
        start, end = earlier, start


def _start_of_newest(
    connection: Connection, key: int, until: int, unflushed_questions: Sequence[int], turns: int
) -> int:
    """The position before the question of the oldest of the newest `turns` turns; 0 where there are no more turns."""
    if len(unflushed_questions) >= turns:
        return unflushed_questions[-turns] - 1
    query = """
        SELECT seq FROM events WHERE session = ? AND type = 'question' AND seq <= ?
        ORDER BY seq DESC LIMIT 1 OFFSET ?
    """
    row = connection.execute(query, (key, until, turns - len(unflushed_questions) - 1)).fetchone()
    return row[0] - 1 if row else 0


def _turns_within(connection: Connection, key: int, after: int, until: int) -> Iterator[str]:
    """The turns that have events in (after, until]."""
    by_seq = "INDEXED BY events_in_order"  # by itself SQLite goes through the whole session, turn by turn
    query = f"SELECT DISTINCT turn FROM events {by_seq} WHERE session = ? AND seq > ? AND seq <= ?"  # noqa: S608 - ours
    return (turn for (turn,) in connection.execute(query, (key, after, until)))


def _question_seq(connection: Connection, key: int, turn: str, until: int) -> int:
    """The `seq` of a turn's question, which is its first event; `MAX_SEQ` where there is none up to `until`."""
    query = "SELECT seq FROM events WHERE session = ? AND turn = ? AND seq <= ? ORDER BY seq LIMIT 1"
    row = connection.execute(query, (key, turn, until)).fetchone()
    return row[0] if row else MAX_SEQ


def find_turn(connection: Connection, _session: str, key: int, *, ask_id: str) -> str | None:
    """The turn of the first question that was asked with this id; None where there is none."""
    row = connection.execute(
        "SELECT turn FROM events WHERE session = ? AND ask = ? ORDER BY seq LIMIT 1", (key, ask_id)
    ).fetchone()
    return row[0] if row else None


def _decode_event(session: str, row: Sequence[Any]) -> Event:
    seq, turn, kind, body = row
    if kind == "token":
        return Token(session=session, turn=turn, seq=seq, text=body)
    if kind == "thinking":
        return Thinking(session=session, turn=turn, seq=seq, text=body)
    return decode_event(body)


def _read_up_to(limit: int, session: str, rows: Iterable[Row], *, after: int = 0) -> list[Event]:
    """Decode rows until the events' size after a position reaches `limit` bytes."""
    events: list[Event] = []
    for row in rows:
        event = _decode_event(session, row)
        events.append(event)
        limit -= wire_size(_part_after(event, after))
        if limit <= 0:
            break
    return events
