"""Commands: requests to change a session, independent of the protocol that a client speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..events import Options, WhenBusy

MAX_TITLE_CHARS = 200  # of a session's title, in code points


@dataclass(frozen=True, slots=True)
class Ask:
    """Append a question; it is answered after those that wait already."""

    text: str
    id: str | None = None  # a question with the same id is not appended twice (docs/protocol.md, promise 3)
    options: Options = Options()
    when_busy: WhenBusy = "queue"


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask a turn's question again, with the options that it had unless others are given."""

    turn: str | None = None  # None: the last one
    id: str | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a turn, and all turns after it, by another question."""

    turn: str
    text: str
    id: str | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a turn now, running or waiting; the upstream request of a running one is closed."""

    turn: str | None = None  # None: the running one


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the session from memory and from the store."""


@dataclass(frozen=True, slots=True)
class Title:
    """Name the session, which has a question; empty: it has no title then."""

    text: str  # one line of at most `MAX_TITLE_CHARS` code points


Command: TypeAlias = Ask | Retry | Edit | Cancel | Forget | Title


@dataclass(frozen=True, slots=True)
class Fork:
    """Make a new session of a turn that has ended, and of what the model was shown for it: see `Hub.fork`."""

    turn: str
    id: str | None = None  # the same id names the same new session
