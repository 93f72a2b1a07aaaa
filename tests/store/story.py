"""What the tests of the stores tell a store, and how they look at what it made of that."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import cast

from askbot_ws.events import Check, Done, Event, Question, Reason, Timing, Token, encode_event
from askbot_ws.store import Entry, Failures, Store
from askbot_ws.store.sqlite.store import SQLiteStore


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Story:
    """Tells the events of one session, one after the other."""

    def __init__(self, session: str = "s", *, head: int = 0) -> None:
        self.session = session
        self.head = head
        self.events: list[Event] = []

    def _tell(self, event: Event) -> Event:
        self.head = event.seq
        self.events.append(event)
        return event

    def question(self, turn: str, text: str = "why?", *, id: str | None = None) -> Event:
        return self._tell(
            Question(session=self.session, seq=self.head + 1, turn=turn, id=id, text=text, created=1_700_000_000.0)
        )

    def token(self, turn: str, text: str) -> Event:
        return self._tell(Token(session=self.session, seq=self.head + len(text), turn=turn, text=text))

    def done(self, turn: str, reason: Reason = "stop") -> Event:
        timing = Timing(queued=0.0, first_token=None, total=1.0)
        check = Check(chars=0, sha256="0" * 64)
        return self._tell(
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


def entries(*events: Event) -> dict[str, Entry]:
    """Events of any sessions, as `append` takes them."""
    batch: dict[str, Entry] = {}
    for event in events:
        mine, frames = batch.setdefault(event.session, ([], []))
        cast("list[Event]", mine).append(event)
        cast("list[bytes]", frames).append(encode_event(event))
    return batch


async def try_add(store: Store, *events: Event) -> Failures:
    """Add events of any sessions; returns why some could not be added."""
    outcome = store.append(entries(*events))
    return outcome if isinstance(outcome, dict) else await outcome


async def add(store: Store, *events: Event) -> None:
    """Add events of any sessions. Raises `StoreError` where that fails for any of them."""
    for error in (await try_add(store, *events)).values():
        raise error


def reasons(failures: Failures) -> dict[str, str]:
    """What is said to have failed, in words."""
    return {session: str(error.__cause__) for session, error in failures.items()}


async def flush(store: Store) -> None:
    """Let everything that is due move on, where a store has such a thing."""
    if isinstance(store, SQLiteStore):
        await store.flusher.now()


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for what happens by itself, off the loop."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 — what it waits for is a file
            await asyncio.sleep(0.01)


async def read_all(store: Store, session: str = "s", *, after: int = 0, limit: int = 1 << 20) -> list[Event]:
    found: list[Event] = []
    while more := await store.read(session, after=after, limit=limit):
        assert more[0].start == after, "a gap or an overlap"
        after = more[-1].seq
        found += more
    return found


def flat(events: Iterable[Event]) -> list[object]:
    """Events as they are whatever the slices: each code point of an answer with its place and turn, the rest whole."""
    return [
        part
        for event in events
        for part in (
            [(place, event.turn, point) for place, point in enumerate(event.text, event.start)]
            if isinstance(event, Token)
            else [event]
        )
    ]


@contextmanager
def file_limit(size: int) -> Generator[None, None, None]:
    """A file that would grow beyond this gets a real error from the kernel (EFBIG), as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
