"""Session list: what `Store.list_sessions` is asked and returns, and how its pages follow each other."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import orjson

from ..core.log_tail import LogTail
from ..core.summary import LogSummary

PAGE_SESSIONS = 100  # of a list that is read to its end


class _AnyUser(Enum):
    ANY = "any"


ANY_USER: Final = _AnyUser.ANY
"""Selects the sessions of all users, and those that nobody owns."""
AnyUser: TypeAlias = Literal[_AnyUser.ANY]


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Selects sessions.

    Attributes:
        user: Whose sessions; None: those that nobody owns; `ANY_USER`: all.
        idle_longer_than: Only sessions to which nothing was appended for so many seconds, counted as by `Store.sweep`;
            None: all.
    """

    user: str | AnyUser | None
    idle_longer_than: float | None = None


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One session of a list.

    Attributes:
        session: The session's id.
        user: Who made it; None: an anonymous client did.
        title: What it is called; None: it has no title.
        question: The beginning of its first question, in one line: at most 200 code points.
        created: When it was made, in seconds since 1970.
        updated: When its newest `question` or `done` was logged, in seconds since 1970.
        turns: How many questions it has.
        seq: The head of its log.
        running: Whether a turn runs or waits.
    """

    session: str
    user: str | None
    title: str | None
    question: str
    created: float
    updated: float
    turns: int
    seq: int
    running: bool


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, those with the newest `updated` first; `more` is the `before` of the next page, None at the end."""

    sessions: Sequence[SessionSummary]
    more: str | None


class Lists(Protocol):
    """What lists sessions: a store."""

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        """As `Store.list_sessions`."""
        ...


async def all_pages(store: Lists, query: SessionQuery) -> AsyncGenerator[Sequence[SessionSummary]]:
    """Yield the pages of a list, to its end. Raises `StoreError`."""
    before: str | None = None
    while True:
        page = await store.list_sessions(query, before=before, limit=PAGE_SESSIONS)
        if page.sessions:
            yield page.sessions
        before = page.more
        if before is None:
            return


async def count_sessions(store: Lists, user: str, *, limit: int) -> int:
    """Return how many sessions a user has, at most `limit`. Raises `StoreError`."""
    count = 0
    async with aclosing(all_pages(store, SessionQuery(user=user))) as pages:
        async for page in pages:
            count += len(page)
            if count >= limit:
                break
    return min(count, limit)


class Place(NamedTuple):
    """A session's place in a list; a list is in descending order of these."""

    updated: float
    session: str


FIRST_PLACE = Place(math.inf, "")
"""Before all sessions."""


def place_of(summary: SessionSummary) -> Place:
    """The place of a session."""
    return Place(summary.updated, summary.session)


def encode_place(place: Place) -> str:
    """Encode a place as an opaque text."""
    return base64.urlsafe_b64encode(orjson.dumps([*place])).rstrip(b"=").decode()


def decode_place(before: str | None) -> Place:
    """The place before which a page ends; None: the first page. Raises ValueError where it is not one of ours."""
    if before is None:
        return FIRST_PLACE
    try:
        found: object = orjson.loads(base64.b64decode(before + "=" * (-len(before) % 4), altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise ValueError("it is no base64") from error
    match found:
        case [int() | float() as updated, str() as session] if not isinstance(updated, bool):
            return Place(float(updated), session)
        case _:
            raise ValueError("it is no place")


def make_summary(log: LogTail) -> SessionSummary:
    """The summary of a log in memory."""
    return to_session_summary(log.session, log.summary, seq=log.head)


def to_session_summary(session: str, summary: LogSummary, *, seq: int) -> SessionSummary:
    """The summary of a session whose log's head is `seq`."""
    return SessionSummary(
        session=session,
        user=summary.user,
        title=summary.title or None,
        question=summary.question,
        created=summary.created,
        updated=summary.updated,
        turns=summary.turns,
        seq=seq,
        running=bool(summary.asked),
    )


def make_page(found: Iterable[SessionSummary], *, before: Place, limit: int) -> SessionPage:
    """The first `limit` of these sessions that come behind `before`. There is more where `found` has more of them."""
    behind = sorted((one for one in found if place_of(one) < before), key=place_of, reverse=True)
    page = behind[:limit]
    return SessionPage(page, encode_place(place_of(page[-1])) if len(behind) > limit and page else None)
