"""Shared store: what a store offers that several nodes use at the same time, beyond `Store`.

A session has one owner among the nodes, which alone appends to it. The other nodes that have the session's log in
memory follow it: the store adds there what the owner appended, and tells its observer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..events import Event
from . import Store

__all__ = ["LogObserver", "SharedStore"]


class LogObserver(Protocol):
    """Is told what other nodes did with sessions whose log is in memory here.

    Its methods are called from the event loop, never from within a call of a method of the store, and do not raise.
    """

    def appended(self, session: str, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The session's owner, another node, appended events. They are in the session's log in memory already.

        Args:
            session: The session's id.
            events: The events, in order, without gaps.
            frames: The same events encoded, each a JSON object in UTF-8.
        """
        ...

    def replaced(self, session: str) -> None:
        """The log in memory is not the stored one any more: another history, or a gap that can't be filled.

        The log stays as it is. Whoever holds it releases the session, and loads it again.

        Args:
            session: The session's id.
        """
        ...

    def history_changed(self, session: str) -> None:
        """The session was claimed here, and its log has another history from now on, with the same events until now.

        Its readers are to be told: another node may have more of the history before, which is not the session's.

        Args:
            session: The session's id.
        """
        ...

    def deleted(self, session: str) -> None:
        """Another node deleted the session, everywhere.

        Args:
            session: The session's id.
        """
        ...

    def fenced(self, session: str) -> None:
        """Another node became the session's owner, while this one was.

        Appends fail with `LogMoved` from then on, also those that are under way; the log is followed as any other.

        Args:
            session: The session's id.
        """
        ...

    def unowned(self, session: str) -> None:
        """No node takes itself for the owner of a session, in which a turn has not ended. It is told again and again.

        Such a session's owner has died, or the store has lost who it is, or the owner is away from Redis for a moment.

        Args:
            session: The session's id.
        """
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several nodes use at the same time.

    A session that is made here, by `create`, is owned from its first append on. To append to one that was loaded, claim
    it first.

    Attributes:
        node: The id of this process among the nodes; it is random, and another one after a restart.
        observer: Who is told of what other nodes did; None: nobody.
    """

    node: str
    observer: LogObserver | None

    async def prevent_creation(self, session: str) -> bool:
        """Let no node make a session that is not there, for longer than any `append` may take.

        To be called before a client is told that there is no such session. It asks its question in another one then,
        while a node to which it was connected before may just be making this one, with the same question.

        Args:
            session: The session's id.

        Returns:
            Whether it is not there: an append that makes it fails with `LogMoved` then. False: it can be loaded.

        Raises:
            StoreError: It can't be read or written.
        """
        ...

    async def claim(self, session: str, *, instead_of: str | None = None) -> str | None:
        """Become the owner of a session, unless another node is it.

        Args:
            session: The session's id. Its log is in memory.
            instead_of: The owner to take over from: a node that is known to be gone.

        Returns:
            None where this node is the owner now, or was it already. The log in memory is at the stored head then, and
            what was missing there was told to the observer. Otherwise the owner's node.

        Raises:
            SessionNotFound: The store has no such session, or it is deleted meanwhile.
            StoreError: It can't be read or written. Whether this node is the owner is not known then; `claim` again.
        """
        ...

    async def catch_up(self, session: str) -> None:
        """Bring the log in memory to the stored head, whoever writes it; the observer is told what that changes.

        A log that is followed may be behind for a while: the messages about it are late, or lost.

        Args:
            session: The session's id. Its log is in memory.

        Raises:
            StoreError: It can't be read.
        """
        ...

    async def give_back(self, session: str) -> None:
        """Own a session no more, so that any node may claim it. Nothing is done where this node is not the owner.

        Args:
            session: The session's id. No append of it is under way.

        Raises:
            StoreError: It can't be written. Whether this node is still the owner in the store is not known then; it
                does not append any more without another `claim`.
        """
        ...

    def owns(self, session: str) -> bool:
        """Whether this node may append to a session as far as it knows: `append` finds out whether that is still so.

        Args:
            session: The session's id.
        """
        ...
