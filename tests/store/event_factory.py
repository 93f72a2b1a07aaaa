"""Events for stores, and functions that append and read them."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import cast

from askbot_ws.events import (
    Check,
    Done,
    Event,
    Question,
    Reason,
    TextSlice,
    Thinking,
    Timing,
    Title,
    Token,
    encode_event,
)
from askbot_ws.store import Entry, Failures, Store
from askbot_ws.store.sqlite.store import SQLiteStore


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class EventFactory:
    """Makes the events of one session, each at the position after the one before; `events` has all of them."""

    def __init__(self, session: str = "s", *, head: int = 0, user: str | None = None) -> None:
        self.session = session
        self.user = user
        self.head = head
        self.events: list[Event] = []

    def _add(self, event: Event) -> Event:
        self.head = event.seq
        self.events.append(event)
        return event

    def question(
        self, turn: str, text: str = "why?", *, id: str | None = None, created: float = 1_700_000_000.0
    ) -> Event:
        return self._add(
            Question(session=self.session, seq=self.head + 1, turn=turn, id=id, text=text, created=created)
        )

    def token(self, turn: str, text: str) -> Event:
        return self._add(Token(session=self.session, seq=self.head + len(text), turn=turn, text=text))

    def thinking(self, turn: str, text: str) -> Event:
        return self._add(Thinking(session=self.session, seq=self.head + len(text), turn=turn, text=text))

    def title(self, text: str) -> Event:
        return self._add(Title(session=self.session, seq=self.head + 1, text=text))

    def done(self, turn: str, reason: Reason = "stop") -> Event:
        timing = Timing(queued=0.0, first_token=None, total=1.0)
        check = Check(chars=0, sha256="0" * 64)
        return self._add(
            Done(
                session=self.session,
                seq=self.head + 1,
                turn=turn,
                reason=reason,
                model="m",
                usage=None,
                timing=timing,
                check=check,
            )
        )

    def turn(self, turn: str, *texts: str, id: str | None = None) -> list[Event]:
        return [self.question(turn, id=id), *(self.token(turn, text) for text in texts), self.done(turn)]


def make_batch(*events: Event) -> dict[str, Entry]:
    """Events of any sessions, as `append` takes them."""
    batch: dict[str, Entry] = {}
    for event in events:
        mine, frames = batch.setdefault(event.session, ([], []))
        cast("list[Event]", mine).append(event)
        cast("list[bytes]", frames).append(encode_event(event))
    return batch


async def try_append(store: Store, *events: Event) -> Failures:
    """Append events of any sessions; returns why some could not be appended."""
    outcome = store.append(make_batch(*events))
    return outcome if isinstance(outcome, dict) else await outcome


async def append(store: Store, *events: Event) -> None:
    """Append events of any sessions. Raises `StoreError` where that fails for any of them."""
    for error in (await try_append(store, *events)).values():
        raise error


def causes(failures: Failures) -> dict[str, str]:
    """The message of each failure's cause, by session."""
    return {session: str(error.__cause__) for session, error in failures.items()}


async def flush(store: Store) -> None:
    """Flush everything that is due, where a store has a flusher."""
    if isinstance(store, SQLiteStore):
        await store.flusher.flush()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for 10 s at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 — what it waits for is a file
            await asyncio.sleep(0.01)


async def read_merged(store: Store, session: str = "s", *, after: int = 0, limit: int = 1 << 20) -> list[Event]:
    found: list[Event] = []
    while more := await store.read(session, after=after, limit=limit):
        assert more[0].start == after, "a gap or an overlap"
        after = more[-1].seq
        found += more
    return found


def flatten(events: Iterable[Event]) -> list[object]:
    """Events without regard to slices: each code point with its position, type and turn, the rest whole."""
    return [
        part
        for event in events
        for part in (
            [(place, event.type, event.turn, point) for place, point in enumerate(event.text, event.start)]
            if isinstance(event, TextSlice)
            else [event]
        )
    ]


@contextmanager
def limited_file_size(size: int) -> Generator[None, None, None]:
    """A file that would grow beyond this gets a real error from the kernel (EFBIG), as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
