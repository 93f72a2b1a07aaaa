"""Case: what a scripted server says, what the client is told to do, and what must come out, for every client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from askbot_ws.testing import Receive, Script, ScriptedLog, ServerStep

Outcome: TypeAlias = Mapping[str, Any]
"""What came of a call.

`code`: that of the error, or None. Of a question also `text` and `reason` of its answer; `read`, what iterating gave,
and `read_code`, that of the error at its end. Of a page of history `answers`, of one of sessions `titles`. Of all
`message`, the error's.
"""
ALL = frozenset({"async", "sync", "js"})
PYTHON = frozenset({"async", "sync"})
JS = frozenset({"js"})
NEVER = "never settled"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to any of these."""

    values: tuple[object, ...]

    def __eq__(self, other: object) -> bool:
        return other in self.values

    def __hash__(self) -> int:
        return hash(self.values)


# --- what a client does ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """Call a method of the conversation, and go on; `name` is that of its outcome."""

    method: str
    arguments: tuple[Any, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Wait until the answer of the newest turn in the view is this."""

    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """Wait until who reads the answer of a call has got this of it: what comes then may take it back."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Wait until the server has received this many frames of a type."""

    type: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Connected:
    """Wait until there were this many attempts to connect."""

    count: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Wait for the outcome of a call."""

    name: str


@dataclass(frozen=True, slots=True)
class State:
    """Wait until the connection is in this state."""

    state: str


Step: TypeAlias = Call | Shown | Read | Sent | Connected | Settled | State | float | asyncio.Event
"""A float is a pause in seconds; an Event is set."""


def ask(text: str = "Why?", *, name: str = "ask") -> Call:
    """Ask, read the answer's text as it comes, and wait for its end."""
    return Call("ask", (text,), name)


def retry(turn: str | None = None) -> Call:
    return Call("retry", (turn,), "retry")


def edit(turn: str, text: str) -> Call:
    return Call("edit", (turn, text), "edit")


def cancel(turn: str | None = None) -> Call:
    return Call("cancel", (turn,), "cancel")


def cancel_answer(name: str = "ask") -> Call:
    """Cancel what another call has asked: by its `AnswerStream`, or by its id."""
    return Call("cancel_answer", (name,), "cancel")


def history() -> Call:
    return Call("history", (), "history")


def set_title(text: str = "Sky") -> Call:
    return Call("set_title", (text,), "set_title")


def sessions() -> Call:
    return Call("sessions", (), "sessions")


def forget() -> Call:
    return Call("forget", (), "forget")


def close() -> Call:
    return Call("close", (), "close")


# --- what must come out ----------------------------------------------------------------------------------------------


def answered(text: str, reason: str = "stop", **other: object) -> dict[str, object]:
    """The answer, from the iterator too."""
    return {"code": None, "text": text, "reason": reason, "read": text, "read_code": None} | other


def failed(code: object, **other: object) -> dict[str, object]:
    """The code of the error that the call raises."""
    return {"code": code} | other


def lost(code: object, read: str = "") -> dict[str, object]:
    """The code of the error that awaiting a question and iterating over it raise, and the text before it."""
    return {"code": code, "read_code": code, "read": read}


RETURNED: dict[str, object] = {"code": None}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case, with a fresh server and a fresh client.

    Attributes:
        scripts: The server's, one for each connection.
        steps: What the client does.
        outcomes: What must come of calls, by their names: the fields that matter. It is waited for at the end.
        connections: How many attempts to connect there are at most, until all calls have ended.
        sent: How many frames of a type the server receives until then, exactly.
        after: The `after` of some of the connections, which are counted from 0.
        attempts: The numbers of failed attempts that the pauses before reconnecting are chosen by, in order.
        pauses: The least seconds between an attempt to connect and the one before, by its number.
        answers: Those of the view at the end.
        tokens: The tokens that connections presented.
        opened: The code of the error that opening the conversation raises, in Python.
        options: Options of `connect`: `token` and `ticket` are strings, or lists of those that a function returns, one
            after another; of them, None is an error that it raises. `limit` makes every limit of a minute this many
            seconds.
        clients: Those that play it.
    """

    scripts: Sequence[Script]
    steps: Sequence[Step]
    outcomes: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    connections: int | None = None
    sent: Mapping[str, int] = field(default_factory=dict[str, int])
    after: Mapping[int, int] = field(default_factory=dict[int, int])
    attempts: Sequence[int] | None = None
    pauses: Mapping[int, float] = field(default_factory=dict[int, float])
    answers: Sequence[str] | None = None
    tokens: Sequence[str | None] | None = None
    opened: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    clients: frozenset[str] = ALL


CASES: dict[str, Callable[[], Case]] = {}
"""How to make each case, by its name."""
VARIANTS: set[str] = set()
"""The names of cases that differ from another one by what is on the wire only."""


def case(build: Callable[[], Case]) -> Callable[[], Case]:
    """Add a case, which has its function's name."""
    assert build.__name__ not in CASES
    CASES[build.__name__] = build
    return build


def cases(*values: Any) -> Callable[[Callable[[Any], Case]], Callable[[Any], Case]]:
    """Add a case for each of these values; all but the first one are variants."""

    def add(build: Callable[[Any], Case]) -> Callable[[Any], Case]:
        for number, value in enumerate(values):
            shown = value if isinstance(value, int) or (isinstance(value, str) and len(value) < 80) else number
            name = f"{build.__name__}[{shown}]"
            assert name not in CASES
            if number:
                VARIANTS.add(name)
            CASES[name] = lambda value=value: build(value)  # type: ignore[misc]
        return build

    return add


def running(log: ScriptedLog) -> list[ServerStep]:
    """The script of a server that takes a question and gives the beginning of its answer, `Be`."""
    return [log.ready(), Receive("ask"), log.question(), log.token("Be")]
