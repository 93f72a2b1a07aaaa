"""TextStream: the text of one answer, read from the session's log at a position of its own.

A stream holds text that was received and not read yet, up to a limit. Beyond it, it accepts nothing and keeps its
position in the log, from where the session attaches again once there is room. A caller that is slow, or has stopped,
costs a bounded amount of memory, however long the answer is.
"""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Protocol, Self

from ..errors import AskbotError
from ..events import Done, KnownEvent, Token
from .errors import Damaged, copy_of, exception_for
from .pending import PendingQuestion
from .view import End, TextBuffer

ANSWER_LOST_MESSAGE = "The server no longer has this answer."
MAX_UNREAD_CODE_POINTS = 64 * 1024  # and the slice (of up to 32 KiB) that goes beyond it


class AnswerSource(Protocol):
    """What answers are read from: a session."""

    def open_stream(self, question: PendingQuestion, *, cache: bool) -> TextStream:
        """Return a stream of the answer from its beginning; `cache`: the question keeps what is read from it."""
        ...

    def read_thinking(self, question: PendingQuestion) -> AsyncIterator[str]:
        """Yield what the model shows of its reasoning, until the answer begins or nothing more can come."""
        ...

    def remove_stream(self, stream: TextStream) -> None:
        """Forget a stream that is closed."""
        ...

    def resume(self) -> None:
        """Read on from the server, where a reader waits or has room again."""
        ...

    def cancel_question(self, question: PendingQuestion) -> None:
        """Stop the answer at the server, unless it has ended."""
        ...

    async def recover(self, question: PendingQuestion) -> str:
        """Return an answer that failed its proof as the server's history has it. Raises `Damaged`."""
        ...


class TextStream:
    """An asynchronous iterator over the text of an answer, each piece once.

    Closing it before its end stops the answer at the server: breaking out of the loop, raising in it, being cancelled
    in it, `aclose`.
    """

    def __init__(self, source: AnswerSource, question: PendingQuestion, *, position: int, cache: bool) -> None:
        """`position` is where in the log to read from; `cache`: the question keeps what is read here."""
        self.position: int = position
        self.question = question
        self.started: bool = False
        self._source = source
        self._cache = cache
        self._max_unread: int | None = MAX_UNREAD_CODE_POINTS
        self._unread = TextBuffer()
        self._returned = 0  # code points
        self._to_discard = 0  # code points that were returned already, from a log that was lost
        self._digest = hashlib.sha256()
        self._end: End | None = None
        self._error: AskbotError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    # --- for the caller ----------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        text = await self.read()
        if text is not None:
            return text
        if self._end and self._end.error:
            raise exception_for(self._end.error)
        raise StopAsyncIteration

    async def read_all(self) -> str:
        """Return the text up to the end, that of a failed answer too. Raises what `read` raises."""
        self._max_unread, found = None, list[str]()
        while (text := await self.read()) is not None:
            found.append(text)
        return "".join(found)

    async def read(self) -> str | None:
        """Return what was received since the last call, as one piece; None at the end.

        Raises `Damaged` where the text fails its proof, else a copy of the error that ended the question or the
        session; RuntimeError while another task waits here.
        """
        if self._waiter is not None:
            raise RuntimeError("another task is waiting for the next piece of this answer: give each its own iterator")
        if self._closed:
            return None
        self.started = True
        while not self._unread.size:
            if self._end or self._error:
                self._finish()
                return None
            if not await self._wait_for_text():
                return None
        text = self._unread.pop_all()
        self._returned += len(text)
        self._digest.update(text.encode())
        if self._cache:
            self.question.cache_text(text)
        self._source.resume()
        return text

    async def _wait_for_text(self) -> bool:
        """Wait until there may be text, or the end; returns False where another task has closed the stream."""
        self._waiter = self._loop.create_future()
        self._source.resume()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None
        return not self._closed

    def _finish(self) -> None:
        self._closed = True
        self._source.remove_stream(self)
        check = self._end.check if self._end else None
        if self._error:
            raise copy_of(self._error)
        if check and (check.chars, check.sha256) != (self._returned, self._digest.hexdigest()):
            raise Damaged

    async def aclose(self) -> None:
        """Stop reading, and the answer at the server, unless it was read to its end."""
        self.close()

    def close(self) -> None:
        """Stop reading, and the answer at the server, unless it was read to its end."""
        if not self._closed:
            self._closed = True
            self._source.remove_stream(self)
            self._source.cancel_question(self.question)
            self._wake()

    def __del__(self) -> None:
        if self.started and not self._closed:  # in any thread, at any moment
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._source.cancel_question, self.question)

    # --- for the session ---------------------------------------------------------------------------------------------

    @property
    def awaiting_text(self) -> bool:
        """Whether the caller waits for text."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def unread(self) -> int:
        """How many code points were received and not read."""
        return self._unread.size

    @property
    def full(self) -> bool:
        """Whether the caller has started to read, and as much is unread as may be."""
        return self.started and self._max_unread is not None and self.unread >= self._max_unread

    @property
    def accepting(self) -> bool:
        """Whether it would accept the events after `position`."""
        return self.started and not self.full and self._end is None

    def receive(self, event: KnownEvent) -> None:
        """Apply an event, and move `position` past it, unless it leaves a gap, was applied, or finds no room."""
        if event.start > self.position or event.seq <= self.position:
            return
        if self._end or self._error:
            pass
        elif isinstance(event, Token):
            if event.turn == self.question.turn:
                if self._max_unread is not None and self.unread >= self._max_unread:
                    return
                self._append(event.text[self.position - event.start :])
        elif isinstance(event, Done) and event.turn == self.question.turn:
            self._end = End.from_record(event)
            self._wake()
        self.position = event.seq

    def skip_unknown_event(self, seq: int, *, after: int) -> None:
        """Move `position` past an event of an unknown type, where all events up to `after`, before it, were applied."""
        if after <= self.position:
            self.position = max(self.position, seq)

    def _append(self, text: str) -> None:
        discarded = min(self._to_discard, len(text))
        self._to_discard -= discarded
        if discarded < len(text):
            self._unread.append(text[discarded:])
            self._wake()

    def switch_history(self, position: int) -> None:
        """Read on in another history, from `position`: the server has lost the one that was read.

        An answer that was received whole is returned all the same. Else it goes on where it is in that history
        (`read_again`), or ends (`end_as_lost`); it fails where the question had ended.
        """
        self.position = position
        if self._end is None and self.question.end:
            self._unread = TextBuffer()
            self.fail_as_lost()

    def fail_as_lost(self) -> None:
        """Fail, unless the end was received: the server no longer has it."""
        if self._end is None:
            self.fail(Damaged(ANSWER_LOST_MESSAGE))

    def read_again(self) -> None:
        """Take the text from its beginning, as it comes once more, and return what was not returned before."""
        if self._end is None:
            self._unread, self._to_discard = TextBuffer(), self._returned

    def keep_received(self) -> None:
        """Have the question keep the text that was received here, where what was returned is in its cache."""
        if self._cache and self.question.cache is not None:
            self.question.keep_received(str(self.question.cache) + str(self._unread))

    def end_as_lost(self) -> None:
        """End with the text that was received, as the server has lost the rest."""
        if self._end is None and not self._error:
            self._unread.append(self.question.received[self._returned + self._unread.size :])
            self._end = self.question.end
            self._wake()

    def fail(self, error: AskbotError) -> None:
        """Have `read` raise this error once what is unread was read. A second error is ignored."""
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class TextStreams:
    """The streams of one session, as weak references: one that its caller drops, as by leaving a loop, is removed."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: list[weakref.ref[TextStream]] = []

    def __iter__(self) -> Iterator[TextStream]:
        for reference in self._references:
            if stream := reference():
                yield stream

    def add(self, stream: TextStream) -> None:
        """Add a stream."""
        self._references = [reference for reference in self._references if reference()]
        self._references.append(weakref.ref(stream))

    def remove(self, stream: TextStream) -> None:
        """Remove a stream, if it is there."""
        self._references = [reference for reference in self._references if reference() not in (None, stream)]

    @property
    def blocked(self) -> bool:
        """Whether a stream is full, and none waits for text."""
        return any(stream.full for stream in self) and not any(stream.awaiting_text for stream in self)

    def any_waiting_before(self, position: int) -> bool:
        """Return whether a stream waits for text before this position of the log."""
        return any(stream.awaiting_text and stream.position < position for stream in self)

    def resume_position(self, position: int) -> int:
        """Return the position to read the log from: this one, or the earliest of the streams that accept more."""
        return min([position, *(stream.position for stream in self if stream.accepting)])
