"""Session copier: executes `Fork`, which makes a new session of a turn and of what the model was shown for it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ..core.commands import Fork
from ..core.context import ContextWindow
from ..core.principal import Principal
from ..core.session_id import fork_session_id, new_session_id
from ..core.turn import seq_of
from ..errors import Busy, LogMoved, SessionNotFound, TurnNotFound
from ..events import TurnRecord
from ..store import Store
from .admission import Admission
from .group_commit import GroupCommit
from .owner import Owner
from .placement import OwnedElsewhere
from .policy import Policy
from .registry import ExclusiveOwner, SessionRegistry

PAGE_TURNS = 20  # read from the store at once: an answer may have megabytes
APPEAR_SECONDS = 2.0  # for which is waited for a session that another node made at the same time
MAX_EARLIER_CHARS = 4 * 2**20  # code points of answers and reasoning in the turns that are copied with the forked one


class ForkedSession(NamedTuple):
    """The session that a `Fork` names."""

    session: str
    existed: bool  # an earlier `Fork` with the same id has made it


class SessionCopier:
    """Copies turns to a new session, all in one append. The old session is only read."""

    def __init__(
        self, registry: SessionRegistry, store: Store, policy: Policy, group_commit: GroupCommit, admission: Admission
    ) -> None:
        self._registry = registry
        self._store = store
        self._context_bytes = 4 * policy.context_tokens
        self._group_commit = group_commit
        self._admission = admission

    async def fork(self, principal: Principal, session: str, command: Fork, *, address: str) -> ForkedSession:
        """Return the new session, once it is stored; with the same id as before, the one that was made then.

        Raises `SessionNotFound`, `TurnNotFound`, `Busy` where the turn has not ended, what `Admission.admit_fork`
        raises, and `StoreError`. There is no new session then.
        """
        if command.id is None:
            name = new_session_id()
        else:
            name = fork_session_id(principal.user, session, command.id)
            if await self._exists(principal, name):
                return ForkedSession(name, existed=True)
        topic = await self._registry.open_topic(principal, session)
        client = self._admission.client_of(principal, address)
        try:
            self._admission.check_load()
            turns = await self._read_turns(session, command.turn)
        finally:
            self._registry.mark_idle(session)
        try:
            owner = await self._open_owner(principal, name)
        except OwnedElsewhere:  # the same frame was faster, at another node
            return ForkedSession(name, existed=True)

        def check() -> None:
            if owner.closed is not None:
                raise owner.closed

        try:
            async with ExclusiveOwner(self._registry, owner):
                if owner.state.head:  # the same frame on another connection was faster
                    return ForkedSession(name, existed=True)
                await self._admission.admit_fork(client, check=check)
                self._group_commit.add(owner, owner.state.copy_turns(turns, title=topic.title))
                await self._group_commit.wait_stored(owner)
        except LogMoved:
            if command.id is None or not await self._appears(principal, name):
                raise
            return ForkedSession(name, existed=True)
        return ForkedSession(name, existed=False)

    async def _appears(self, principal: Principal, session: str) -> bool:
        """Return whether another node made a session at the same time, once it is read here."""
        loop = asyncio.get_running_loop()
        until = loop.time() + APPEAR_SECONDS
        while not (found := await self._exists(principal, session)) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(APPEAR_SECONDS / 100)
        return found

    async def _exists(self, principal: Principal, session: str) -> bool:
        try:
            topic = await self._registry.open_topic(principal, session)
        except SessionNotFound:
            return False
        return topic.log.head > 0

    async def _open_owner(self, principal: Principal, session: str) -> Owner:
        """Return the owner of a session, which is made where there is none."""
        try:
            return await self._registry.open_owner(principal, session)
        except SessionNotFound:
            self._registry.create(principal, session)  # nothing is awaited between, so no other task has made it
            return await self._registry.open_owner(principal, session)

    async def _read_turns(self, session: str, turn: str) -> list[TurnRecord]:
        """Return a turn that has ended and, before it, those that the model was shown for it."""
        seq = seq_of(turn)
        found = await self._store.turns(session, before=seq + 1, limit=1)
        if not found or found[0].turn != turn:
            raise TurnNotFound
        if found[0].reason is None:
            raise Busy("This turn has not ended.")
        return [*await self._read_context(session, found[0]), found[0]]

    async def _read_context(self, session: str, turn: TurnRecord) -> list[TurnRecord]:
        """Return the turns that the model was shown for this one, oldest first: as far as they fit its context."""
        window = ContextWindow(replaced_from=seq_of(turn.replaces) if turn.replaces else None)
        shown: list[TurnRecord] = []
        room = MAX_EARLIER_CHARS
        before = turn.from_ + 1
        while page := await self._store.turns(session, before=before, limit=PAGE_TURNS):
            fits = window.add_older(page, budget=self._context_bytes)
            in_window = {seq for seq, _ in window.turns}
            for record in reversed(page):
                if seq_of(record.turn) in in_window:
                    room -= _chars_of(record)
                    if room < 0:
                        return shown
                    shown.insert(0, record)
            if not fits:
                break
            before = page[0].from_ + 1
        return shown


def _chars_of(record: TurnRecord) -> int:
    """Return how many code points the answer and the reasoning of a turn have."""
    return sum(len(step.text) for step in record.steps) if record.steps else len(record.answer)
