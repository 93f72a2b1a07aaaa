"""Pieces: one reading of an answer, a cursor of its own over the session's log.

It holds what was received and not yet taken, up to a limit. Beyond that it takes nothing: it stays where it is in the
log, and the session comes back to that place once there is room. So a caller who is slow, or has stopped, costs a
bounded amount of memory however long the answer is.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Protocol, Self

from ..errors import AskbotError
from ..events import Done, Event, Token
from .errors import Damaged, error_of
from .pending import Asking
from .view import End, TextBuffer

GONE = "The server no longer has this answer."
LIMIT = 64 * 1024  # code points, and the slice (of up to 32 KiB) that goes beyond it


class Source(Protocol):
    """Where an answer is read from."""

    def relax(self) -> None:
        """Somebody wants more, or has room again."""
        ...

    def leave(self, pieces: Pieces) -> None:
        """Nobody reads here any more."""
        ...

    def abandon(self, asking: Asking) -> None:
        """Nobody wants the answer any more: stop it at the server, if it has not ended."""
        ...


class Pieces:
    """The text of an answer, each piece once. Whoever leaves it before its end stops the answer at the server.

    Leaving is: breaking out of the loop, raising in it, being cancelled in it, `aclose`.
    """

    def __init__(self, source: Source, asking: Asking, *, at: int, keeps: bool) -> None:
        """Reads what the log has after `at`. `keeps`: the question is to remember what is read here."""
        self.at = at
        self.asking = asking
        self.begun = False
        self._source = source
        self._keeps = keeps
        self._limit: int | None = LIMIT
        self._unread = TextBuffer()
        self._given = 0
        self._skip = 0  # given already, from a log that was lost
        self._proof = hashlib.sha256()
        self._end: End | None = None
        self._error: AskbotError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        self._loop = asyncio.get_running_loop()

    # --- what the caller does ----------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        text = await self.next()
        if text is not None:
            return text
        if self._end and self._end.error:
            raise error_of(self._end.error)
        raise StopAsyncIteration

    async def rest(self) -> str:
        """All of it. An answer that failed is one too; raises where there is none, or not the right one."""
        self._limit, found = None, list[str]()
        while (text := await self.next()) is not None:
            found.append(text)
        return "".join(found)

    async def next(self) -> str | None:
        """What has come since, as one piece; None at the end. Raises `Damaged`, or why it could not be asked."""
        if self._over:
            return None
        self.begun = True
        while not self._unread.size:
            if self._end or self._error:
                self._leave()
                return None
            await self._more()
        text = self._unread.pop_all()
        self._given += len(text)
        self._proof.update(text.encode())
        if self._keeps:
            self.asking.keep(text)
        self._source.relax()
        return text

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        self._source.relax()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def _leave(self) -> None:
        self._over = True
        self._source.leave(self)
        check = self._end.check if self._end else None
        if self._error:
            raise self._error
        if check and (check.chars, check.sha256) != (self._given, self._proof.hexdigest()):
            raise Damaged

    async def aclose(self) -> None:
        """Leave it."""
        self.close()

    def close(self) -> None:
        """Leave it."""
        if not self._over:
            self._over = True
            self._source.leave(self)
            self._source.abandon(self.asking)

    def __del__(self) -> None:
        if self.begun and not self._over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._source.abandon, self.asking)  # this may be any thread, and any moment

    # --- what the session does ---------------------------------------------------------------------------------------

    @property
    def hungry(self) -> bool:
        """Whether somebody waits for more."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def unread(self) -> int:
        """How many code points were received and not taken."""
        return self._unread.size

    @property
    def full(self) -> bool:
        """Whether the caller is slow."""
        return self.begun and self._limit is not None and self.unread >= self._limit

    @property
    def wants(self) -> bool:
        """Whether it would take what comes after `at`."""
        return self.begun and not self.full and self._end is None

    def take(self, event: Event) -> None:
        """Take an event, unless it is beyond what was taken so far, or there is no room."""
        if event.start > self.at or event.seq <= self.at:
            return
        if event.turn == self.asking.turn and not self._end and not self._error:
            if isinstance(event, Token):
                if self._limit is not None and self.unread >= self._limit:
                    return
                self._add(event.text[self.at - event.start :])
            elif isinstance(event, Done):
                self._end = End.from_record(event)
                self._wake()
        self.at = event.seq

    def pass_over(self, seq: int, *, after: int) -> None:
        """Pass over an event of an unknown type, unless one before it, at `after` at the latest, was not taken."""
        if after <= self.at:
            self.at = max(self.at, seq)

    def _add(self, text: str) -> None:
        cut = min(self._skip, len(text))
        self._skip -= cut
        if cut < len(text):
            self._unread.append(text[cut:])
            self._wake()

    def anew(self, at: int) -> None:
        """The log was lost. An answer that was received whole is given all the same.

        Else the question is asked again, and its answer goes on after what was given already; but not if it has ended.
        """
        self.at = at
        if self._end is None:
            self._unread, self._skip = TextBuffer(), self._given
            if self.asking.end:
                self.fail(Damaged(GONE))

    def fail(self, error: AskbotError) -> None:
        """There will be no more."""
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
