"""Attachment: from which position of its log the server sends a session, and whether it does.

    DETACHED --begin--> ATTACHING --complete--> ATTACHED --pause--> PAUSED
                            ^                      |                   |
                            '--------begin---------+-------begin-------'

PAUSED is a detached session whose readers have no room; it attaches again once they have.
"""

from __future__ import annotations

from enum import Enum, auto
from uuid import uuid4

from ..dialects.askbot.frames import Attach, Detach, Fork, Ready
from .endpoint import ResumePoint
from .reconnecting_socket import ReconnectingSocket
from .view import Gap


class AttachState(Enum):
    """Whether the server sends the session on this connection."""

    DETACHED = auto()
    ATTACHING = auto()
    ATTACHED = auto()
    PAUSED = auto()


class Attachment:
    """One session's cursor on the wire, for all who read its log here."""

    __slots__ = ("_fork", "_head", "_socket", "after", "id", "position", "state")

    def __init__(self, socket: ReconnectingSocket, fork: Fork | None) -> None:
        """`fork` is the frame that makes the session; None: it exists, or `attach` makes it."""
        self.state: AttachState = AttachState.DETACHED
        self.id: str = ""  # of the `attach` that was sent last; empty where the URL of the connection named the session
        self.after: int | None = None  # the position that was requested
        self.position: int = 0  # up to which events were received
        self._head = 0  # the log's last position at `ready`
        self._socket = socket
        self._fork = fork

    def begin(self, point: ResumePoint) -> None:
        """Expect `ready` for this resume point, as the URL of the next connection has it."""
        self.state, self.id, self.after = AttachState.ATTACHING, "", point.after

    def send_attach(self, point: ResumePoint) -> None:
        """Send an `attach` frame for this resume point; without a session in it, a new one is made.

        A `fork` is sent in its place until `ready` has named the session, each time with the same id: it is made once.
        """
        self.begin(point)
        if self._fork is not None and point.session is None:
            self.id = self._fork.id or ""
            self._socket.send(self._fork)
        else:
            self.id = uuid4().hex
            self._socket.send(Attach(id=self.id, session=point.session, after=point.after, log=point.log))

    def send_detach(self, session: str | None) -> None:
        """Send a `detach` frame, if the server sends the session.

        A new session without a name yet can't be detached: `SessionMultiplexer` does that once `ready` names it.
        """
        if self.state in {AttachState.ATTACHING, AttachState.ATTACHED} and session is not None:
            self._socket.send(Detach(session=session))

    def pause(self, session: str | None) -> None:
        """Detach an attached session, to attach again later."""
        if self.state is AttachState.ATTACHED:
            self.send_detach(session)
            self.state = AttachState.PAUSED

    @property
    def expected_from(self) -> int | None:
        """The `from` of a `ready` of the same history: the position that was requested, or once attached, ours."""
        return self.after if self.state is AttachState.ATTACHING else self.position

    def complete(self, ready: Ready) -> bool:
        """Be attached, at the position of `ready`. Returns False where it answers an attach that was left since."""
        if self.state in {AttachState.DETACHED, AttachState.PAUSED}:
            return False
        self.state, self.position, self._head = AttachState.ATTACHED, ready.from_, ready.seq
        return True

    def advance(self, *, start: int, seq: int) -> bool:
        """Move the position past an event; returns False for one that was received before. Raises `Gap`."""
        if seq <= self.position:
            return False
        if start > self.position:
            raise Gap
        self.position = seq
        return True

    @property
    def caught_up(self) -> bool:
        """Whether all events were received that were in the log at `ready`."""
        return self.position >= self._head
