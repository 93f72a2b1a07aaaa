"""Administration: what credentials with the right `admin` may do with everybody's sessions.

It is the only way past the owner of a session: the same credential finds its own user's sessions by all other ways.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from ..core.access import check_administration, check_change, check_read
from ..core.principal import Principal
from ..errors import InvalidFrame, SessionNotFound
from ..store import SessionPage, SessionQuery, SessionSummary, Store, VacuumResult
from ..store.session_list import all_pages, make_summary
from .admission import Admission
from .command_handler import CommandHandler
from .history_page import HistoryPage, read_history_page
from .placement import OwnedElsewhere
from .registry import SessionRegistry

MAX_PASSES = 10  # of a deletion, through all sessions of a query


class Administration:
    """Lists, reads and deletes anybody's sessions. Everything raises `Forbidden` without the right `admin`."""

    def __init__(
        self,
        registry: SessionRegistry,
        commands: CommandHandler,
        store: Store,
        admission: Admission,
        *,
        delete_elsewhere: Callable[[Principal, str, OwnedElsewhere], Awaitable[None]],
    ) -> None:
        """`delete_elsewhere` deletes a session, for its user, where another node owns it."""
        self.store = store
        self._delete_elsewhere = delete_elsewhere
        self._registry = registry
        self._commands = commands
        self._admission = admission

    async def list_sessions(
        self, principal: Principal, query: SessionQuery, *, before: str | None, limit: int
    ) -> SessionPage:
        """Return a page of sessions, as `Store.list_sessions`.

        Raises `InvalidFrame` for a `before` that is not the `more` of a page, and `StoreError`.
        """
        check_administration(principal)
        try:
            return await self.store.list_sessions(query, before=before, limit=limit)
        except ValueError:
            raise InvalidFrame("before: it should be the `more` of the page before.") from None

    async def read(
        self, principal: Principal, session: str, *, before: int | None, limit: int
    ) -> tuple[SessionSummary, HistoryPage]:
        """Return a session's summary and a page of its turns. Raises `SessionNotFound` and `StoreError`."""
        check_administration(principal)
        check_read(principal, session)
        topic = await self._registry.load_topic_unchecked(session)
        summary = make_summary(topic.log)
        self._registry.mark_idle(session)  # who only reads it must not keep it in memory
        return summary, await read_history_page(self.store, session, before=before, limit=limit)

    async def delete(self, principal: Principal, session: str) -> None:
        """Delete a session: its turns end, and its readers are told. Raises `SessionNotFound` and `StoreError`."""
        check_administration(principal)
        check_change(principal, session)
        await self._delete(session)

    async def _delete(self, session: str) -> None:
        topic = await self._registry.load_topic_unchecked(session)
        try:
            await self._commands.delete(await self._registry.load_owner_unchecked(session))
        except OwnedElsewhere as error:
            await self._delete_elsewhere(Principal(topic.user), session, error)

    async def delete_all(self, principal: Principal, query: SessionQuery) -> int:
        """Delete all sessions of a query, also those that are used meanwhile; returns how many.

        Of a query by age, those that are used meanwhile stay. Raises `StoreError`; some may be deleted then.
        """
        check_administration(principal)
        total = 0
        for _ in range(MAX_PASSES):  # what is used meanwhile moves to the first page, behind a pass
            deleted = 0
            async for page in all_pages(self.store, query):
                deleted += await self._delete_page(page, unused_only=query.idle_longer_than is not None)
            total += deleted
            if not deleted:
                break
        return total

    async def _delete_page(self, found: Sequence[SessionSummary], *, unused_only: bool) -> int:
        """Delete sessions found just now; returns how many. Those in memory one by one, the others at once."""
        deleted = await self._registry.delete_unopened([summary.session for summary in found])
        count = len(deleted)
        for summary in found:
            if summary.session in deleted:
                self._admission.limits.session_deleted(summary.user)
            elif not (unused_only and self._is_used(summary)):
                with suppress(SessionNotFound):  # it was deleted meanwhile
                    await self._delete(summary.session)
                    count += 1
        return count

    def _is_used(self, summary: SessionSummary) -> bool:
        """Return whether a session was used since it was found."""
        topic, owner = self._registry.topics.get(summary.session), self._registry.owners.get(summary.session)
        return (topic is not None and topic.log.head != summary.seq) or (owner is not None and owner.busy)

    async def usage(self, principal: Principal, user: str) -> Mapping[str, int]:
        """Return a user's tokens by day, as `Store.usage`. Raises `StoreError`."""
        check_administration(principal)
        return await self._admission.limits.usage(user)

    async def delete_usage(self, principal: Principal, user: str) -> int:
        """Delete a user's counts of tokens, whose budget is whole then; returns of how many days.

        Raises `StoreError`.
        """
        days = len(await self.usage(principal, user))
        await self._admission.limits.forget_usage(user)
        return days

    async def vacuum(self, principal: Principal) -> VacuumResult:
        """Make the store's files as small as what they hold. Raises `StoreError`."""
        check_administration(principal)
        return await self.store.vacuum()
