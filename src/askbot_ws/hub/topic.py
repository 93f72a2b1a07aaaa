"""Topic: the newest part of a session's log, shared by its readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from ..core.log_tail import LogTail, wire_size
from ..errors import AskbotError, Internal
from ..events import Event

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """What is notified of a session's new events."""

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Called after these events were stored; `frames` has them encoded, in the same order."""

    def on_closed(self, error: AskbotError) -> None:
        """Called once the session can't be read here any more: it was deleted, or must be opened again."""


class Topic:
    """A session's log tail and its readers."""

    __slots__ = ("log", "readers", "session", "temporary")

    def __init__(self, tail: LogTail, *, temporary: bool = False) -> None:
        """`temporary`: the session is deleted by whoever made it, once its answer has been read."""
        self.session = tail.session
        self.log = tail
        self.temporary = temporary
        self.readers: tuple[Reader, ...] = ()  # replaced, never changed: a reader may leave while all are notified

    @property
    def user(self) -> str | None:
        """Who made the session; None: an anonymous client did."""
        return self.log.user

    @property
    def title(self) -> str | None:
        """What the session is called at the head of its log; None: it has no title."""
        return self.log.summary.title or None

    def add(self, reader: Reader) -> None:
        """Notify this reader from now on."""
        self.readers += (reader,)

    def remove(self, reader: Reader) -> None:
        """Stop notifying this reader."""
        self.readers = tuple([other for other in self.readers if other is not reader])

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Notify all readers of new events. A reader that raises is closed; the others are notified all the same."""
        for reader in self.readers:
            try:
                reader.notify(events, frames)
            except Exception:  # a fault in one connection must not end another
                log.exception("reader_failed", session=self.session)
                self.close(Internal(), readers=(reader,))

    def close(self, error: AskbotError, *, readers: Sequence[Reader] | None = None) -> None:
        """Remove these readers, or all, and call their `on_closed`."""
        for reader in self.readers if readers is None else readers:
            self.remove(reader)
            try:
                reader.on_closed(error)
            except Exception:  # as in `notify`
                log.exception("reader_failed", session=self.session)

    @property
    def memory_bytes(self) -> int:
        """Estimated bytes of memory, the log included."""
        return 1000 + sum([500 + wire_size(event) for event in self.log.events])
