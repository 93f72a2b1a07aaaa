"""Open logs: the sessions that a SQLite store has in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...core.log_tail import LogTail
from .. import ANY_USER
from ..session_list import AnyUser


@dataclass(slots=True, eq=False)
class OpenLog:
    """A session whose log is in memory."""

    log: LogTail
    flushed_head: int  # the position up to which SQLite has it
    released: bool = False  # nobody uses it
    appending: bool = False  # events of it are being written to the journal
    deleted: bool = False  # it was deleted while somebody had it
    failed: bool = False  # the last flush failed, because of this session and not of the store

    @property
    def is_evictable(self) -> bool:
        """Whether it may be dropped from memory."""
        return self.released and not self.appending and self.flushed_head == self.log.head


class OpenLogs(dict[str, OpenLog]):
    """The open logs by session. They come and go by `add` and `remove` only, and can be found by user."""

    def __init__(self) -> None:
        super().__init__()
        self._by_user: dict[str | None, dict[str, OpenLog]] = {}

    def add(self, open_log: OpenLog) -> None:
        """Add a log whose session is not open."""
        self[open_log.log.session] = open_log
        self._by_user.setdefault(open_log.log.user, {})[open_log.log.session] = open_log

    def remove(self, session: str) -> OpenLog | None:
        """Remove and return the log of a session; None where it is not open."""
        removed = self.pop(session, None)
        if removed is not None:
            of_user = self._by_user[removed.log.user]
            del of_user[session]
            if not of_user:
                del self._by_user[removed.log.user]
        return removed

    def of_user(self, user: str | AnyUser | None) -> Collection[OpenLog]:
        """The open logs of a user's sessions; None: of nobody's."""
        return self.values() if user is ANY_USER else self._by_user.get(user, {}).values()
