"""Commands: what may be asked of a session, whatever protocol a client speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..events import Options, WhenBusy


@dataclass(frozen=True, slots=True)
class Ask:
    """Append a question; it is answered when its turn comes."""

    text: str
    id: str | None = None  # a question with the same id is not asked twice
    options: Options = Options()
    when_busy: WhenBusy = "queue"


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask a turn's question again, with the options that it had unless others are given."""

    turn: str | None = None  # None: the last
    id: str | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Edit:
    """Ask something else in the place of a turn."""

    turn: str
    text: str
    id: str | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a turn now; the provider stops generating."""

    turn: str | None = None  # None: the running one


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the session and all it holds, everywhere."""


Command: TypeAlias = Ask | Retry | Edit | Cancel | Forget
