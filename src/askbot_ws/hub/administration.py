"""Administration: what credentials with the right `admin` may do with everybody's sessions.

It is the only way past the owner of a session: the same credential finds its own user's sessions by all other ways.
"""

from __future__ import annotations

from ..core.access import check_administration, check_change, check_read
from ..core.principal import Principal
from ..errors import InvalidFrame
from ..store import SessionPage, SessionQuery, SessionSummary, Store, VacuumResult
from ..store.session_list import make_summary
from .command_handler import CommandHandler
from .history_page import HistoryPage, read_history_page
from .registry import SessionRegistry


class Administration:
    """Lists, reads and deletes anybody's sessions. Everything raises `Forbidden` without the right `admin`."""

    def __init__(self, registry: SessionRegistry, commands: CommandHandler, store: Store) -> None:
        self._registry = registry
        self._commands = commands
        self._store = store

    async def list_sessions(
        self, principal: Principal, query: SessionQuery, *, before: str | None, limit: int
    ) -> SessionPage:
        """Return a page of sessions, as `Store.list_sessions`.

        Raises `InvalidFrame` for a `before` that is not the `more` of a page, and `StoreError`.
        """
        check_administration(principal)
        try:
            return await self._store.list_sessions(query, before=before, limit=limit)
        except ValueError:
            raise InvalidFrame("before: it should be the `more` of the page before.") from None

    async def read(
        self, principal: Principal, session: str, *, before: int | None, limit: int
    ) -> tuple[SessionSummary, HistoryPage]:
        """Return a session's summary and a page of its turns. Raises `SessionNotFound` and `StoreError`."""
        check_administration(principal)
        check_read(principal, session)
        topic = await self._registry.load_topic(session)
        summary = make_summary(topic.log)
        self._registry.mark_idle(session)  # who only reads it must not keep it in memory
        return summary, await read_history_page(self._store, session, before=before, limit=limit)

    async def delete(self, principal: Principal, session: str) -> None:
        """Delete a session: its turns end, and its readers are told. Raises `SessionNotFound` and `StoreError`."""
        check_administration(principal)
        check_change(principal, session)
        await self._registry.load_topic(session)
        await self._commands.delete(await self._registry.load_owner(session))

    async def vacuum(self, principal: Principal) -> VacuumResult:
        """Make the store's files as small as what they hold. Raises `StoreError`."""
        check_administration(principal)
        return await self._store.vacuum()
