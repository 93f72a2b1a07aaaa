"""Tables: reads and writes sessions and events. Each function is one job for the thread that has the connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from sqlite3 import Connection, Row
from typing import Any

from ...core.log_tail import LogTail, suffix_after, wire_size
from ...core.summary import LogSummary, first_line
from ...events import MAX_SEQ, Done, Event, Question, TextSlice, Thinking, Token, TurnEvent, decode_event, encode_event
from .. import ANY_USER, SessionSummary
from ..session_list import AnyUser, Place, to_session_summary

NO_SESSION_KEY = -1
"""The key of no session: every query about it finds nothing."""
NO_TURN = ""
"""The turn of events that belong to none."""
SUMMARY_COLUMNS = "key, id, head, unfinished, user, title, question, created, updated, turns"
"""The columns of `sessions` from which `_read_summary` makes a summary."""

# --- writing, always within a transaction ----------------------------------------------------------------------------


def append_events(
    connection: Connection, session: str, events: Sequence[Event], *, uptime: float, origin: LogSummary
) -> None:
    """Append the events that follow the session's head in the tables; the others are there already.

    `uptime` is how many seconds processes had the store open. A session that is new in the tables gets its user and the
    time when it was made from `origin`.
    """
    if not events:
        return
    key, head, summary = _find_or_create_session(connection, session, uptime, origin)
    events = [_part_after(event, head) for event in events if event.seq > head]
    if not events:
        return
    connection.executemany(
        "INSERT OR REPLACE INTO events (session, seq, turn, type, ask, body, user) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(key, *_event_row(event), None if event.start else summary.user) for event in events],
    )
    for event in events:
        summary.add(event)
    write_summary(connection, key, summary)
    connection.execute("UPDATE sessions SET head = ?, touched = ? WHERE key = ?", (events[-1].seq, uptime, key))


def _find_or_create_session(
    connection: Connection, session: str, uptime: float, origin: LogSummary
) -> tuple[int, int, LogSummary]:
    """The session's key, head and summary in the tables; a new session is added."""
    found = connection.execute(f"SELECT {SUMMARY_COLUMNS} FROM sessions WHERE id = ?", (session,)).fetchone()  # noqa: S608 - ours
    if found is not None:
        return found[0], found[2], _read_summary(connection, found)
    summary = LogSummary(origin.user, created=origin.created)
    key = connection.execute(
        "INSERT INTO sessions (id, head, unfinished, created, touched, user) VALUES (?, 0, 0, ?, ?, ?)",
        (session, summary.created, uptime, summary.user),
    ).lastrowid
    assert key is not None  # noqa: S101 - a row was inserted
    return key, 0, summary


def write_summary(connection: Connection, key: int, summary: LogSummary) -> None:
    """Write all that a session's row has of its summary, but for the user."""
    query = """
        UPDATE sessions SET unfinished = ?, title = ?, question = ?, created = ?, updated = ?, turns = ? WHERE key = ?
    """
    texts = (summary.title, summary.question)
    connection.execute(query, (len(summary.asked), *texts, summary.created, summary.updated, summary.turns, key))


def _part_after(event: Event, head: int) -> Event:
    return suffix_after(event, after=head) if isinstance(event, TextSlice) and event.start < head else event


def _event_row(event: Event) -> tuple[int, str, str, str | None, str]:
    match event:
        case TextSlice():
            return event.seq, event.turn, event.type, None, event.text
        case Question():
            return event.seq, event.turn, event.type, event.id, encode_event(event).decode()
        case Done():
            return event.seq, event.turn, event.type, None, encode_event(event).decode()
        case _:
            return event.seq, NO_TURN, event.type, None, encode_event(event).decode()


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
    found = connection.execute(f"SELECT {SUMMARY_COLUMNS} FROM sessions WHERE id = ?", (session,)).fetchone()  # noqa: S608 - ours
    if found is None:
        return None
    key, head = found[0], found[2]
    rows = connection.execute("SELECT seq, turn, type, body FROM events WHERE session = ? ORDER BY seq DESC", (key,))
    events = _read_up_to(max_bytes, session, rows)
    log = LogTail(session, start=events[-1].start if events else head, history=history)
    for event in reversed(events):
        log.append(event)
    log.summary = _read_summary(connection, found)  # which has these events already
    return log


def _read_summary(connection: Connection, row: Sequence[Any]) -> LogSummary:
    """The summary in a row of `SUMMARY_COLUMNS`; what the row lacks of it is read from the events."""
    key, session, _, unfinished, user, title, question, created, updated, turns = row
    summary = LogSummary(user, title, question, created, updated, turns or 0)
    if turns is None:  # a session of an earlier version
        query = "SELECT count(*), min(seq) FROM events WHERE session = ? AND type = 'question'"
        summary.turns, first = connection.execute(query, (key,)).fetchone()
        for event in read_after(connection, session, key, after=first - 1, limit=1) if first else ():
            summary.question = first_line(event) if isinstance(event, Question) else ""
    if unfinished:
        query = """
            SELECT seq, turn, type, body FROM events AS asked WHERE session = ? AND type = 'question' AND NOT EXISTS (
                SELECT 1 FROM events WHERE session = asked.session AND turn = asked.turn AND type = 'done'
            ) ORDER BY seq DESC LIMIT ?
        """
        questions = [_decode_event(session, found) for found in connection.execute(query, (key, unfinished))]
        summary.asked = {event.turn: event.created for event in questions if isinstance(event, Question)}
    return summary


def list_sessions(
    connection: Connection,
    *,
    user: str | AnyUser | None,
    before: Place,
    touched_before: float | None,
    hidden: Collection[str],
    limit: int,
) -> list[SessionSummary]:
    """Summaries of the sessions behind a place, the one with the newest `updated` first; `hidden` ones are left out.

    `touched_before`: only those to which nothing was added since the store's uptime was so many seconds.
    """
    conditions, values = ["(updated, id) < (?, ?)"], list[object](before)
    if user is None:
        conditions.append("user IS NULL")
    elif user is not ANY_USER:
        conditions.append("user = ?")
        values.append(user)
    if touched_before is not None:
        conditions.append("touched < ?")
        values.append(touched_before)
    query = f"SELECT {SUMMARY_COLUMNS} FROM sessions WHERE {' AND '.join(conditions)} ORDER BY updated DESC, id DESC"  # noqa: S608 - ours
    rows = (row for row in connection.execute(query, values) if row[1] not in hidden)
    return [to_session_summary(row[1], _read_summary(connection, row), seq=row[2]) for row in islice(rows, limit)]


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
    """The position after which the newest turns can be replayed, computed as by `core.cursor.replay_start`.

    Of the tables only events up to `until` count; `unflushed` are those after it. Only positions are read: those of the
    questions, and of what is to be replayed.
    """
    question_seqs = {event.turn: event.seq for event in unflushed if type(event) is Question}
    start = _start_of_newest(connection, key, until, [*question_seqs.values()], turns)
    end = MAX_SEQ
    while True:
        reaching = {event.turn for event in unflushed if start < event.seq <= end and isinstance(event, TurnEvent)}
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
    return (turn for (turn,) in connection.execute(query, (key, after, until)) if turn != NO_TURN)


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
