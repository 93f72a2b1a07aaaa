"""SessionIndex: lists sessions, and deletes those that nobody uses, by the sorted sets that appends keep."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from ...errors import StoreError
from .. import SessionPage, SessionQuery, SessionSummary
from ..session_list import ANY_USER, Place, decode_place, make_page, place_of, to_session_summary
from .codec import decode_summary
from .connections import RedisConnections
from .failures import translated
from .keys import ANONYMOUS_SESSIONS, SESSIONS_BY_UPDATE, SESSIONS_BY_USE, SWEEP_LOCK, index_of, keys_of
from .open_logs import OpenLog
from .repeated import as_optional_values, as_values, run_all_repeated, run_repeated
from .scripts import ScriptCall, load_script
from .server_connection import Argument
from .session_scripts import session_script

FORGOTTEN_MILLISECONDS = 3_600_000  # for which a late repetition of what made a session is refused
PAGE_SESSIONS = 100  # that are looked at together
LOCK_SECONDS = 60.0  # after which another node may sweep, where the one that did has died
DELETED, NOT_THERE, USED, IN_MEMORY = 1, 0, 2, 3
"""What the script `forget` returns."""


class _Described(NamedTuple):
    summaries: list[SessionSummary]
    removed: int  # entries whose session is gone


class SessionIndex:
    """Finds sessions by their users and their last use. An entry whose session is gone is removed when it is seen."""

    def __init__(
        self,
        connections: RedisConnections,
        open_logs: Mapping[str, OpenLog],
        *,
        node: str,
        age: Callable[[], float],
    ) -> None:
        """`age` is the store's, in seconds."""
        self._connections = connections
        self._open_logs = open_logs
        self._node = node
        self._age = age

    async def newest_use(self) -> float:
        """The greatest age of the store at which a session was used, in seconds. Raises `StoreError`."""
        found = await self._range(SESSIONS_BY_USE, -1, -1, "WITHSCORES")
        return float(found[1]) if found else 0.0

    async def _range(self, key: str, *args: Argument) -> list[str]:
        reply = await run_repeated(self._connections, ScriptCall(load_script("range"), (key,), args))
        return [value.decode() for value in as_values(reply)]

    # --- lists -------------------------------------------------------------------------------------------------------

    async def list_sessions(self, query: SessionQuery, *, before: str | None, limit: int) -> SessionPage:
        """As `Store.list_sessions`."""
        place = decode_place(before)
        key = SESSIONS_BY_UPDATE if query.user is ANY_USER else index_of(query.user)
        latest_use = math.inf if query.idle_longer_than is None else self._age() - query.idle_longer_than
        found: list[SessionSummary] = []
        offset = 0
        while len(found) <= limit:
            count = max(limit + 1, PAGE_SESSIONS)
            newest = "+inf" if place.updated == math.inf else repr(place.updated)
            sessions = await self._range(key, newest, "-inf", "BYSCORE", "REV", "LIMIT", offset, count)
            if not sessions:
                break
            page = await self._describe(key, sessions, place, latest_use)
            found += page.summaries
            offset += len(sessions) - page.removed
        return make_page(found, before=place, limit=limit)

    async def _describe(self, key: str, sessions: Sequence[str], place: Place, latest_use: float) -> _Described:
        """The summaries of sessions behind a place; the entries of those that are gone are removed."""
        calls = [ScriptCall(session_script("describe"), keys_of(session)[:1]) for session in sessions]
        outcomes = await run_all_repeated(self._connections, calls)
        found: list[SessionSummary] = []
        gone: list[str] = []
        for session, outcome in zip(sessions, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                raise outcome
            head, encoded, user, used = as_optional_values(outcome)
            if head is None or encoded is None:
                gone.append(session)
                continue
            summary = to_session_summary(session, decode_summary(encoded, user)[0], seq=int(head))
            if place_of(summary) < place and float(used or 0) < latest_use:
                found.append(summary)
        if gone:
            with translated():
                await self._connections.client.zrem(key, *gone)
        return _Described(found, removed=len(gone))

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def forget(self, sessions: Sequence[str]) -> None:
        """Delete sessions. Raises `StoreError`: some of them may be deleted then."""
        failure: StoreError | None = None
        for outcome in (await self._delete(sessions, unused_since="")).values():
            if isinstance(outcome, StoreError):
                failure = outcome
        if failure is not None:
            raise failure

    async def sweep(self, *, idle: float) -> int:
        """Delete sessions that no node has in memory and that were not used for `idle` seconds; returns how many.

        Returns 0 where another node sweeps just now.
        """
        async with self._sweep_lock() as is_ours:
            return await self._sweep(self._age() - idle) if is_ours else 0

    async def _sweep(self, before: float) -> int:
        deleted = kept = 0
        while True:
            with translated():
                await self._connections.client.set(SWEEP_LOCK, self._node, px=int(1000 * LOCK_SECONDS))
            chosen = await self._range(SESSIONS_BY_USE, "-inf", f"({before!r}", "BYSCORE", "LIMIT", kept, PAGE_SESSIONS)
            if not chosen:
                return deleted
            outcomes = await self._delete(
                [session for session in chosen if session not in self._open_logs], unused_since=repr(before)
            )
            for session in chosen:
                outcome = outcomes.get(session, IN_MEMORY)
                if isinstance(outcome, StoreError):
                    raise outcome
                deleted += outcome == DELETED
                kept += outcome == IN_MEMORY

    @asynccontextmanager
    async def _sweep_lock(self) -> AsyncGenerator[bool]:
        """Hold the lock of the sweep; yields whether it is held."""
        client = self._connections.client
        with translated():
            is_ours = bool(await client.set(SWEEP_LOCK, self._node, nx=True, px=int(1000 * LOCK_SECONDS)))
        try:
            yield is_ours
        finally:
            if is_ours:
                with translated():
                    await client.delete(SWEEP_LOCK)

    async def _delete(self, sessions: Sequence[str], *, unused_since: str) -> dict[str, int | StoreError]:
        """Delete sessions, then their entries in the indexes; returns the outcome of each."""
        args = (self._node, FORGOTTEN_MILLISECONDS, unused_since)
        calls = [ScriptCall(session_script("forget"), keys_of(session), args) for session in sessions]
        outcomes: dict[str, int | StoreError] = {}
        for session, reply in zip(sessions, await run_all_repeated(self._connections, calls), strict=True):
            if isinstance(reply, StoreError):
                outcomes[session] = reply
                continue
            assert isinstance(reply, list)  # noqa: S101 - the script's
            outcome, *details = reply
            assert isinstance(outcome, int)  # noqa: S101 - the script's
            outcomes[session] = outcome
            await self._correct_entries(session, outcome, details[0] if details else None)
        return outcomes

    async def _correct_entries(self, session: str, outcome: int, detail: object) -> None:
        client = self._connections.client
        with translated():
            if outcome == USED and isinstance(detail, bytes):
                await client.zadd(SESSIONS_BY_USE, {session: float(detail)}, xx=True)
            elif outcome in {DELETED, NOT_THERE}:
                for key in (SESSIONS_BY_UPDATE, SESSIONS_BY_USE, ANONYMOUS_SESSIONS):
                    await client.zrem(key, session)
                if isinstance(detail, bytes) and detail:
                    await client.zrem(index_of(detail.decode()), session)
