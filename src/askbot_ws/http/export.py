"""Export: all that a store has of sessions, as a stream of records; one JSON object a line over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from itertools import takewhile
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from ..core.turn_records import turn_records
from ..errors import SessionNotFound
from ..events import WHEN_USED, Done, Event, Record, SessionId, Timestamp, TurnRecord, record
from ..store import SessionQuery, SessionSummary, Store
from ..store.session_list import all_pages
from .admin_records import AdminSession, describe

READ_BYTES = 256 * 1024  # of a log that are read at once


@record
class ExportedSession(Record):
    """A session; its turns follow."""

    type: Literal["session"] = "session"
    session: AdminSession


@record
class ExportedTurn(Record):
    """A turn of the session before it, as in a `history` frame."""

    type: Literal["turn"] = "turn"
    session: SessionId
    turn: TurnRecord


@record
class ExportedUsage(Record):
    """The tokens that the user has used on a day (UTC)."""

    type: Literal["usage"] = "usage"
    day: str
    tokens: int


@record
class ExportEnd(Record):
    """The end: without it, an export is not complete."""

    type: Literal["end"] = "end"
    exported: Timestamp
    sessions: int
    turns: int


ExportRecord: TypeAlias = ExportedSession | ExportedTurn | ExportedUsage | ExportEnd
export_record: TypeAdapter[ExportRecord] = TypeAdapter(
    Annotated[ExportRecord, Field(discriminator="type")], config=WHEN_USED
)


async def export_records(
    store: Store, query: SessionQuery, usage: Mapping[str, int], *, now: float
) -> AsyncGenerator[ExportRecord]:
    """Yield each session of a query with all its turns, then the `usage` by day, then the end.

    No more is in memory than a page of the list, `READ_BYTES` of a log and the turns in it that have not ended.
    Raises `StoreError`; what was yielded is not complete then.
    """
    sessions = turns = 0
    async for page in all_pages(store, query):
        for summary in page:
            sessions += 1
            yield ExportedSession(session=describe(summary))
            async for turn in _read_turns(store, summary):
                turns += 1
                yield ExportedTurn(session=summary.session, turn=turn)
    for day, tokens in usage.items():
        yield ExportedUsage(day=day, tokens=tokens)
    yield ExportEnd(exported=now, sessions=sessions, turns=turns)


async def _read_turns(store: Store, summary: SessionSummary) -> AsyncGenerator[TurnRecord]:
    """Yield all turns of a session, oldest first; those that run, with the text so far.

    It ends early where the session is deleted meanwhile.
    """
    after, unended = 0, list[Event]()
    while True:
        try:
            events = await store.read(summary.session, after=after, limit=READ_BYTES)
        except SessionNotFound:
            return
        if not events:
            break
        after = events[-1].seq
        unended += events
        if any(isinstance(event, Done) for event in events):
            ended = [*takewhile(lambda turn: turn.reason is not None, turn_records(unended))]
            for turn in ended:
                yield turn
            known = {turn.turn for turn in ended}
            unended = [event for event in unended if getattr(event, "turn", None) not in known]
    for turn in turn_records(unended):
        yield turn
