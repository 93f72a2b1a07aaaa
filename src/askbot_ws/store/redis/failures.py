"""What servers refuse, and what is done about it: the table of kinds of errors."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto
from typing import TypeVar

from hiredis import ReplyError
from redis.exceptions import RedisClusterException, RedisError

from ...errors import StoreError
from .redis_url import Address, endpoint


class Remedy(Enum):
    """What is done about a call that a server has refused, without having done anything of it."""

    LOAD = auto()
    """Load the script, send again."""
    MOVE = auto()
    """Send to the server that is named, from now on."""
    ASK = auto()
    """Send to the server that is named, this once."""
    WAIT = auto()
    """Send again a little later."""
    FIND = auto()
    """Find out anew which server is the primary, send again a little later."""
    GIVE_UP = auto()
    """Report it at once: it takes an operator, or longer than a caller waits."""


REMEDIES = {
    "NOSCRIPT": Remedy.LOAD,
    "MOVED": Remedy.MOVE,
    "ASK": Remedy.ASK,
    "TRYAGAIN": Remedy.WAIT,
    "LOADING": Remedy.WAIT,
    "BUSY": Remedy.WAIT,
    "NONLOCAL": Remedy.FIND,
    "CLUSTERDOWN": Remedy.FIND,
    "READONLY": Remedy.FIND,
    "MASTERDOWN": Remedy.FIND,
}
"""By the first word of an error; others are given up."""

EXPLANATIONS = {
    "NOSCRIPT": "it forgets scripts as soon as they are loaded",
    "MOVED": "it says that another server has the slot, and that one says so too",
    "ASK": "a slot is on the move, and neither server takes it",
    "TRYAGAIN": "a slot is on the move; keys of one call are on two servers",
    "NONLOCAL": "what the script uses is on another server, as its slot has moved, or is on the move",
    "LOADING": "it still loads its data",
    "BUSY": "a script runs there for too long",
    "CLUSTERDOWN": "the Cluster has no primary for the slot",
    "READONLY": "it is a replica, and no primary was found",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "OOM": "it is out of memory; raise its maxmemory, or lower ASKBOT_SESSION_TTL",
    "MISCONF": "it can't write to its disk; see its log",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
    "NOAUTH": "it asks for a password; put it into the URL",
    "WRONGPASS": "the user or the password is wrong",
    "NOPERM": "the user may not do what is needed: it needs the keys ~askbot:*, channels &askbot:*, scripts and INFO",
    "DENIED": "it is in protected mode, which lets nobody in from other machines; set a password there, and in the URL",
    "UNKNOWN": "it does not know a command that is needed; use Redis 7 or newer, or Valkey",
    "MAXCLIENTS": "it has as many clients as its maxclients allows",
    "CROSSSLOT": "the keys of a call are in several slots",
}
"""What it means, for the operator."""

WRONG_SETTINGS = {"ERR", "NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "UNKNOWN", "NOPROTO"}
"""Kinds of errors that stay until somebody changes the URL or the server."""

_WORDLESS = {
    "user executing the script": "NOPERM",
    "ACL failure in script": "NOPERM",
    "max number of clients": "MAXCLIENTS",
    "non local key": "NONLOCAL",
    "unknown command": "UNKNOWN",
}
"""Kinds of errors that have no word of their own, by a part of their text."""

_Error = TypeVar("_Error", bound=StoreError)
_WORD = re.compile(r"[A-Z]{2,20}(?= |$)")
_MOVED = re.compile(r"(?:MOVED|ASK) (\d+) (\S*):(\d+)")
_LINE = re.compile(r"user_script:(\d+)")


class ServerRefusedError(Exception):
    """A server answered with an error. The message has nothing of its text, which may repeat keys and arguments.

    Attributes:
        kind: The first word of the error, as `NOSCRIPT`.
        remedy: What can be done about it.
        target: The slot and the address of the server that the error names: those of `MOVED` and `ASK`.
    """

    def __init__(self, reply: ReplyError | str, *, name: str = "", said_by: Address = "") -> None:
        text = str(reply)
        word = _WORD.match(text)
        self.kind = next((kind for part, kind in _WORDLESS.items() if part in text), word.group() if word else "ERR")
        self.remedy = REMEDIES.get(self.kind, Remedy.GIVE_UP)
        self.target: tuple[int, Address] | None = None
        if moved := _MOVED.match(text):
            self.target = int(moved[1]), endpoint(moved[2], int(moved[3]), said_by)
        line = _LINE.search(text)
        place = f" (script {name}{', line ' + line.group(1) if line else ''})" if name else ""
        super().__init__(f"Redis: {self.kind}{place}: {EXPLANATIONS.get(self.kind, 'it refuses the command')}")


class OutcomeUnknown(StoreError):
    """The connection was lost after the call was sent: whether it was done is not known.

    The caller sends it again unchanged; the script finds out whether it had been done.
    """


class NotReplicated(OutcomeUnknown):
    """The call was done, but fewer replicas than asked for have confirmed it in time. To be sent again as well."""


def refused(error: ServerRefusedError) -> StoreError:
    """What is reported where a server refuses a call for good."""
    return _caused_by(StoreError(), error)


def unreachable(reason: str) -> StoreError:
    """What is reported where a call can't be sent at all."""
    return _caused_by(StoreError(), ConnectionError(f"Redis: {reason}"))


def unknown(reason: str) -> OutcomeUnknown:
    """What is reported where a call was sent and its reply has not come."""
    return _caused_by(OutcomeUnknown(), ConnectionError(f"Redis: {reason}"))


def not_replicated(confirmed: int, wanted: int) -> NotReplicated:
    """What is reported where too few replicas have confirmed a call."""
    return _caused_by(NotReplicated(), ConnectionError(f"Redis: {confirmed} of {wanted} replicas have confirmed"))


@contextmanager
def translated() -> Generator[None]:
    """Raise what `RedisConnections.client` raises as `StoreError`; nothing of a server's text is in it."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError, RuntimeError) as error:  # uvloop's, for a closed connection
        words = str(error) if isinstance(error, RedisError) else ""
        failure = refused(ServerRefusedError(words)) if _WORD.match(words) else unreachable(type(error).__name__)
        raise failure from failure.__cause__  # and nothing of what the server said


def _caused_by(error: _Error, cause: Exception) -> _Error:
    error.__cause__ = cause
    return error
