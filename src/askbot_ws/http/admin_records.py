"""Admin records: what the admin API sends of sessions."""

from __future__ import annotations

from pydantic import TypeAdapter

from ..events import Record, Seq, SessionId, Timestamp, TurnRecord, record
from ..store import SessionSummary


@record
class AdminSession(Record):
    """A session with its user (None: nobody's); `title` is None without one, `question` begins the first question."""

    session: SessionId
    user: str | None
    title: str | None
    question: str
    created: Timestamp
    updated: Timestamp
    turns: int
    seq: Seq
    running: bool


@record
class SessionList(Record):
    """Sessions, the one with the newest `question` or `done` first; `more` is `before` of the next page."""

    sessions: tuple[AdminSession, ...]
    more: str | None


@record
class SessionTurns(Record):
    """A session and its newest turns, oldest first; `more` is `before` of the next page, which has older ones."""

    session: AdminSession
    turns: list[TurnRecord]
    more: int | None


@record
class Deletion(Record):
    """How many sessions were deleted, and of how many days the user's counts of tokens."""

    sessions: int
    usage_days: int = 0


session_list: TypeAdapter[SessionList] = TypeAdapter(SessionList)
session_turns: TypeAdapter[SessionTurns] = TypeAdapter(SessionTurns)
deletion: TypeAdapter[Deletion] = TypeAdapter(Deletion)


def describe(summary: SessionSummary) -> AdminSession:
    """Return what is sent of a session."""
    return AdminSession(
        session=summary.session,
        user=summary.user,
        title=summary.title,
        question=summary.question,
        created=summary.created,
        updated=summary.updated,
        turns=summary.turns,
        seq=summary.seq,
        running=summary.running,
    )
