"""Session list: what /sessions shows, a signed-in user's from the server, those of this machine otherwise."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..client import Chat
from .output import one_line
from .saved_sessions import SavedSessions

MAX_LISTED = 50  # of the server's, the newest


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session that can be opened.

    `updated` is when it was last used, in seconds since 1970; `running`, whether an answer was.
    """

    session: str
    title: str
    updated: float
    running: bool = False


@dataclass(frozen=True, slots=True)
class SessionList:
    """The sessions, the newest first; `more`: there are older ones that it doesn't have."""

    sessions: tuple[ListedSession, ...] = ()
    more: bool = False

    def get(self, number: str) -> ListedSession | None:
        """Return the session with this number, counted from 1; None where there is none."""
        known = number.isascii() and number.isdigit() and 0 < int(number) <= len(self.sessions)
        return self.sessions[int(number) - 1] if known else None

    def lines(self, current: str | None) -> str:
        """Return one line for each session; the current session has a star."""
        lines = [_line(number, each, current) for number, each in enumerate(self.sessions, 1)]
        return "\n".join([*lines, f"(the newest {len(lines)}; there are more)"] if self.more else lines)


async def load_sessions(chat: Chat, saved: SavedSessions) -> SessionList:
    """Return the sessions of the user, where the connection has one, or those that were held from this machine."""
    if chat.view.user is None:
        return SessionList(tuple(ListedSession(each.session, each.title, each.at) for each in saved.all()))
    page = await chat.sessions(limit=MAX_LISTED)
    found = (ListedSession(each.session, each.title or "", each.updated, each.running) for each in page.sessions)
    return SessionList(tuple(found), more=page.more is not None)


def _line(number: int, session: ListedSession, current: str | None) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(session.updated))
    running = " (answering)" if session.running else ""
    return f"{number:>3}{'*' if session.session == current else ' '} {when}  {one_line(session.title)}{running}"
