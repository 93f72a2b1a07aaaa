"""RedisQueries: reads sessions, from memory where that has what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.log_tail import merge
from ...core.turn_records import turn_records
from ...errors import SessionNotFound
from ...events import Done, Event, Question, TextSlice, TurnRecord
from .codec import decode_entries
from .open_logs import OpenLog
from .repeated import as_optional_values, as_values
from .server_connection import Argument, Reply
from .session_reader import SessionReader

PAGE_BYTES = 1024 * 1024  # of events that are read at a time
PAGE_ENTRIES = 64  # of the index of turns


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn in the index of turns."""

    name: str  # empty where its question is before what was read
    question: int  # its `seq`
    end: int | None  # the `seq` of its `done`


class RedisQueries:
    """The methods of `Store` that read one session."""

    def __init__(self, reader: SessionReader, open_logs: Mapping[str, OpenLog]) -> None:
        self._reader = reader
        self._open_logs = open_logs

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """As `Store.read`."""
        open_log = self._open_logs.get(session)
        if open_log is not None and after >= open_log.log.start:
            return open_log.log.read(after=after, limit=limit)
        return merge(await self._events_after(session, after, limit), after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """As `Store.turns`."""
        events = self._events_in_memory(session, before, limit)
        if events is None:
            index, _ = await self._index(session, before, 2 * max(limit, 0) + PAGE_ENTRIES)
            questions = [turn.question for turn in index[-limit:]] if limit > 0 else []
            if not questions:
                return []
            events = await self._events_of_turns(session, questions[0] - 1, {*questions})
        found = [turn for turn in turn_records(events) if before is None or turn.from_ + 1 < before]
        return found[-limit:] if limit > 0 else []

    async def replay_start(self, session: str, *, turns: int) -> int:
        """As `Store.replay_start`.

        The index is read as far as the first of those turns, and as far as turns reach into the replay.
        """
        if self._is_unstored(session):
            return 0
        count = 2 * turns + PAGE_ENTRIES
        while True:
            index, is_whole = await self._index(session, None, count)
            if not index:
                return 0
            first = max(0, len(index) - turns)
            start = index[first].question - 1
            for turn in reversed(index[:first]):
                if await self._reaches(session, turn, start):
                    start = turn.question - 1
            if is_whole or start > index[0].question - 1:
                return start
            count *= 2

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """As `Store.find_turn`."""
        if self._is_unstored(session):
            return None
        (turn,) = as_optional_values(await self._ask(session, "find_turn", ask_id))
        return None if turn is None else turn.decode()

    # --- reading the log ---------------------------------------------------------------------------------------------

    def _is_unstored(self, session: str) -> bool:
        open_log = self._open_logs.get(session)
        return open_log is not None and not open_log.stored

    def _events_in_memory(self, session: str, before: int | None, limit: int) -> Sequence[Event] | None:
        """The events in memory, where all of the newest turns before a position are there; else None."""
        open_log = self._open_logs.get(session)
        if open_log is None:
            return None
        log = open_log.log
        found = sum(type(event) is Question and (before is None or event.seq < before) for event in log.events)
        return log.read_merged(after=log.start) if log.start == 0 or 0 < limit <= found else None

    async def _events_after(self, session: str, after: int, limit: int) -> list[Event]:
        return decode_entries(as_values((await self._ask(session, "read", after, limit))[3]))

    async def _events_of_turns(self, session: str, after: int, questions: set[int]) -> list[Event]:
        """The events after a position, up to where the turns of these questions have ended."""
        found: list[Event] = []
        running: set[str] = set()
        last = max(questions)
        while True:
            page = merge(await self._events_after(session, after, PAGE_BYTES), after=after, limit=PAGE_BYTES)
            for event in page:
                if isinstance(event, Question) and event.seq in questions:
                    running.add(event.turn)
                elif isinstance(event, Done):
                    running.discard(event.turn)
                found.append(event)
                if event.seq >= last and not running:
                    return found
            if not page:
                return found
            after = page[-1].seq

    # --- the index of turns ------------------------------------------------------------------------------------------

    async def _index(self, session: str, before: int | None, count: int) -> tuple[list[_Turn], bool]:
        """The turns of which the newest `count` entries before a position tell, oldest first; whether those are all."""
        reply = await self._ask(session, "turns", "+inf" if before is None else f"({before}", count)
        ends: dict[int, int] = {}
        names: dict[int, str] = {}
        entries = as_values(reply)
        for entry, seq in zip(entries[::2], map(int, entries[1::2]), strict=True):
            if entry.startswith(b"d"):
                ends[int(entry[1:])] = seq
            else:
                names[seq] = entry[1:].decode()
        turns = [_Turn(names.get(question, ""), question, ends.get(question)) for question in sorted({*names, *ends})]
        return turns, len(entries) < 2 * count

    async def _reaches(self, session: str, turn: _Turn, start: int) -> bool:
        """Whether a turn has events after a position that is after its question."""
        if turn.end is not None:
            return turn.end > start
        after = start
        while events := merge(await self._events_after(session, after, PAGE_BYTES), after=after, limit=PAGE_BYTES):
            if any(isinstance(event, TextSlice) and event.turn == turn.name for event in events):
                return True
            after = events[-1].seq
        return False

    async def _ask(self, session: str, script: str, *args: Argument) -> list[Reply]:
        """Run a script that returns nothing where there is no such session. Raises `SessionNotFound`."""
        reply = await self._reader.run(script, session, *args)
        if not isinstance(reply, list):
            raise SessionNotFound
        return reply
