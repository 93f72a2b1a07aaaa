"""Keys: the names of what the store keeps in Redis. Everything of one session has one hash tag, so one slot."""

from __future__ import annotations

import re
from typing import NamedTuple

FORMAT = "1"  # of all that is below; a store of another one is refused
FORMAT_KEY = "askbot:format"
SWEEP_LOCK = "askbot:sweep"
PING_KEY = "askbot:ping"

SESSIONS_BY_UPDATE = "askbot:{sessions}:updated"  # all sessions by the time of their newest `question` or `done`
SESSIONS_BY_USE = "askbot:{sessions}:used"  # all sessions by the store's age at their last use
ANONYMOUS_SESSIONS = "askbot:{sessions}:anonymous"  # as `SESSIONS_BY_UPDATE`, of those that nobody owns

_CHANNEL = re.compile(r"askbot:\{([^}]+)\}(:owner)?")


class SessionKeys(NamedTuple):
    """The keys of one session, in the order in which scripts take them. Each is there from the first event on.

    Attributes:
        meta: A hash: who owns it, its history, head and summary. Once it is deleted, the fence with which it was made,
            for a while. And that nobody may make it, for a while (`SharedStore.prevent_creation`).
        log: A stream of its newest events; the id of an entry is the `seq` of its last one.
        parts: A sorted set of its older events, merged; the score of a part is the `seq` of its last event. (A stream
            takes 4 KB at least.) The first one is empty.
        turns: A sorted set of its questions and ends of turns, by their `seq`.
        asks: A hash from the ids of questions to their turns. The first field is empty.
    """

    meta: str
    log: str
    parts: str
    turns: str
    asks: str

    @property
    def followers(self) -> str:
        """The channel of the nodes that follow it."""
        return self.meta.removesuffix(":meta")

    @property
    def owner(self) -> str:
        """The channel of the node that owns it."""
        return f"{self.followers}:owner"


def keys_of(session: str) -> SessionKeys:
    """The keys of a session."""
    channel = f"askbot:{{{session}}}"
    return SessionKeys(
        meta=f"{channel}:meta",
        log=f"{channel}:log",
        parts=f"{channel}:parts",
        turns=f"{channel}:turns",
        asks=f"{channel}:asks",
    )


def session_of(channel: str) -> str:
    """The session of one of its channels. Raises ValueError for any other."""
    found = _CHANNEL.fullmatch(channel)
    if found is None:
        raise ValueError("it is no session's channel")
    return found[1]


def index_of(user: str | None) -> str:
    """The sorted set of a user's sessions by the time of their newest `question` or `done`; None: of nobody's."""
    return ANONYMOUS_SESSIONS if user is None else f"askbot:user:{{{user}}}"


def spent_key(name: str) -> str:
    """The key of a name that was spent."""
    return f"askbot:spent:{{{name}}}"


def usage_key(user: str) -> str:
    """The hash of a user's tokens by day."""
    return f"askbot:usage:{{{user}}}"


def usage_call_key(user: str, word: str) -> str:
    """The key that says that a call which adds to a user's tokens was made."""
    return f"askbot:usage:{{{user}}}:{word}"
