"""Topic: a session as those who read it share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from ..core.log_tail import LogTail, wire_size
from ..errors import AskbotError, Internal
from ..events import Event

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Whoever reads a session's log."""

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The log has grown by these events; `frames` has them encoded, in the same order."""

    def closed(self, error: AskbotError) -> None:
        """There is no more to read here, and why: the session was forgotten, or its log has to be read anew."""


class Topic:
    """The newest part of a session's log, and its readers."""

    __slots__ = ("log", "readers", "session", "user")

    def __init__(self, log: LogTail, *, user: str | None = None) -> None:
        """`user` owns the session; None: nobody does."""
        self.session = log.session
        self.log = log
        self.user = user
        self.readers: tuple[Reader, ...] = ()  # never changed in place: a reader that is woken may leave

    def add(self, reader: Reader) -> None:
        """Wake this reader from now on."""
        self.readers += (reader,)

    def remove(self, reader: Reader) -> None:
        """Wake it no more."""
        self.readers = tuple([other for other in self.readers if other is not reader])

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Tell every reader of new events. One that fails is closed, and costs no other anything."""
        for reader in self.readers:
            try:
                reader.wake(events, frames)
            except Exception:  # the edge of a connection
                log.exception("reader_failed", session=self.session)
                self.close(Internal(), readers=(reader,))

    def close(self, error: AskbotError, *, readers: Sequence[Reader] | None = None) -> None:
        """Tell these readers, or all, that there is no more to read here."""
        for reader in self.readers if readers is None else readers:
            self.remove(reader)
            try:
                reader.closed(error)
            except Exception:  # the edge of a connection
                log.exception("reader_failed", session=self.session)

    @property
    def memory_bytes(self) -> int:
        """About how many bytes of memory it takes, the log included."""
        return 1000 + sum([500 + wire_size(event) for event in self.log.events])
