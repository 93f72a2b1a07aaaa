"""Placement: in which process a session is written. `nodes/` has the form for several that share a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from ..core.commands import Command
from ..core.principal import Principal
from ..errors import Internal, LogMoved, Overloaded


class OwnedElsewhere(Overloaded):
    """Another node is the session's owner.

    Attributes:
        node: The id of that node.
    """

    def __init__(self, node: str) -> None:
        """Make the error; a client is shown it only where the command could not be executed there."""
        super().__init__(retry_after=1.0)
        self.node: str = node


class PriorState(Enum):
    """What a session that is written here from now on has been before."""

    NEW = auto()  # it has no event yet
    FREE = auto()  # nobody's: none of its turns runs, and those that have not ended wait
    ORPHANED = auto()  # of an owner that died, or was reset: the oldest turn that has not ended may have run


@dataclass(frozen=True, slots=True)
class ForwardedCommand:
    """A command that another node executes, with what it has to know of who sends it."""

    principal: Principal
    session: str
    command: Command
    address: str = ""


class Sessions(Protocol):
    """What a placement calls: the sessions of this process."""

    async def execute_forwarded(self, forwarded: ForwardedCommand) -> int:
        """Execute a command of another node, as `Hub.command` does; also raises `OwnedElsewhere`."""
        ...

    async def take_over(self, session: str, *, instead_of: str | None = None) -> None:
        """Own a session, and go on with its turns; `instead_of`: it is this node's, which is gone.

        Raises `OwnedElsewhere`, `SessionNotFound` and `StoreError`.
        """


class Placement(Protocol):
    """Decides which process writes a session; all its methods are called by the hub."""

    @property
    def shared(self) -> bool:
        """Whether there may be other nodes; else nothing but `open` and `close` is called."""
        ...

    async def open(self, sessions: Sessions) -> None:
        """Begin: other nodes may forward commands. The store is open. Raises `ConfigError` and `StoreError`."""

    async def claim(self, session: str, *, is_new: bool, instead_of: str | None) -> PriorState:
        """Become the owner of a session whose log is in memory; `is_new`: it has no event yet.

        Raises `OwnedElsewhere`, `Overloaded` while this node drains, `SessionNotFound` and `StoreError`.
        """
        ...

    async def confirm(self, session: str) -> None:
        """Raise `LogMoved` unless this node still owns a session, as far as the store knows. Raises `StoreError`."""
        ...

    async def ensure_owner(self, session: str, *, instead_of: str | None = None, orphaned: bool = False) -> None:
        """Have this node own a session and go on with its turns, or else the one that the store says is its owner.

        `instead_of`: it is that node's, which is gone. `orphaned`: its oldest turn may have run.

        Raises `Overloaded` where the owner does not answer, `SessionNotFound` and `StoreError`: then it is to be tried
        again.
        """

    def release(self, session: str) -> None:
        """Begin to give a session back: it has no owner here any more. A later `claim` waits until that is done."""

    async def hand_over(self, session: str, *, has_waiting: bool) -> None:
        """Give a session back; where it `has_waiting` turns, other nodes are told to own it. Does not raise."""

    async def forward(
        self, forwarded: ForwardedCommand, error: OwnedElsewhere | LogMoved, run_here: Callable[[], Awaitable[int]]
    ) -> int:
        """Have a command executed by the session's owner, wherever that is by then; returns what it returns.

        `error` is why it was not executed here; `run_here` tries again. Raises what the command raises there, and
        `Overloaded` where no owner answers in time.
        """
        ...

    async def is_followed(self, session: str) -> bool:
        """Return whether a session that is owned here may have readers at other nodes. Raises `StoreError`."""
        ...

    def stop_claiming(self) -> None:
        """Claim no session any more."""

    async def close(self) -> None:
        """End; all sessions were handed over. Does not raise."""


class LocalPlacement:
    """The placement of a process that has its store for itself: it writes all sessions."""

    shared = False

    async def open(self, sessions: Sessions) -> None:
        """Do nothing."""

    async def claim(self, session: str, *, is_new: bool, instead_of: str | None) -> PriorState:  # noqa: ARG002 - as the protocol has them
        """Never called: there is nobody to claim it from."""
        return PriorState.NEW

    async def confirm(self, session: str) -> None:
        """Do nothing."""

    async def ensure_owner(self, session: str, *, instead_of: str | None = None, orphaned: bool = False) -> None:
        """Do nothing."""

    def release(self, session: str) -> None:
        """Do nothing."""

    async def hand_over(self, session: str, *, has_waiting: bool) -> None:
        """Do nothing."""

    async def forward(
        self,
        forwarded: ForwardedCommand,  # noqa: ARG002
        error: OwnedElsewhere | LogMoved,
        run_here: Callable[[], Awaitable[int]],  # noqa: ARG002
    ) -> int:
        """Raise the error: nobody else executes commands."""
        raise error if isinstance(error, LogMoved) else Internal()

    async def is_followed(self, session: str) -> bool:  # noqa: ARG002
        """Return False: there are no others."""
        return False

    def stop_claiming(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
