"""Completion: one question and its answer, for clients that hold no connection to a session.

All that HTTP asks of the hub is asked here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from ..core.commands import Ask, Cancel, Forget
from ..core.log_tail import SLICE_BYTES
from ..core.principal import ANONYMOUS
from ..core.turn import turn_id_of
from ..errors import AskbotError, Internal, SessionNotFound, TurnNotFound
from ..events import Done, Event, Token
from ..hub import Hub, Topic

log = structlog.get_logger(__name__)


class AnswerFailedError(Exception):
    """An answer did not come to its end."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        """`code` is a reason or an error's code, `message` is safe to show, `retry_after` is in seconds."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Completions:
    """Asks questions of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def draining(self) -> bool:
        """Whether new questions are refused."""
        return self._hub.draining

    @asynccontextmanager
    async def ask(self, prompt: str, *, session: str | None, keep: bool) -> AsyncGenerator[Completion]:
        """Ask in this session, or in a new one (None). Leaving the block stops the answer, if it still runs.

        Without `keep` the session is deleted then. Raises `AskbotError` where the question is not taken.
        """
        topic = self._hub.create(ANONYMOUS) if session is None else await self._hub.open(ANONYMOUS, session)
        completion = Completion(self._hub, topic)
        self._hub.attach(topic, completion)
        try:
            await completion.ask(prompt)
            yield completion
        finally:
            await completion.close(forget=not keep)


class Completion:
    """A question that was asked, and its answer as it comes. To the hub it is a reader of the session."""

    def __init__(self, hub: Hub, topic: Topic) -> None:
        self._hub = hub
        self._topic = topic
        self._seq = topic.log.head  # how far the log was read
        self._turn: str | None = None  # ours, until it has ended
        self._changed = asyncio.Event()
        self._abandoned = False
        self._closed: AskbotError | None = None

    @property
    def session(self) -> str:
        """The session's id."""
        return self._topic.session

    # --- what the hub calls ------------------------------------------------------------------------------------------

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The log has grown."""
        del events, frames
        self._changed.set()

    def closed(self, error: AskbotError) -> None:
        """The session is gone."""
        self._closed = error
        self._changed.set()

    # --- the question and its answer ---------------------------------------------------------------------------------

    async def ask(self, prompt: str) -> None:
        """Have the question logged. Raises `AskbotError`."""
        self._seq = await self._hub.command(ANONYMOUS, self.session, Ask(prompt))
        self._turn = turn_id_of(self._seq)

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._abandoned = True
        self._changed.set()

    async def pieces(self) -> AsyncGenerator[str]:
        """The answer's text as it comes, at most some 32 KiB at once; it ends early once somebody called `leave`.

        Nothing is read ahead of whoever takes the pieces. Raises `AnswerFailedError`, `AskbotError`.
        """
        turn = self._turn
        while not self._abandoned:
            self._changed.clear()
            events = await self._read()
            for event in events:
                self._seq = event.seq
                if event.turn != turn:
                    continue
                if isinstance(event, Token):
                    yield event.text
                elif isinstance(event, Done):
                    self._turn = None
                    _raise_unless_complete(event)
                    return
            if not events:
                if self._closed is not None:
                    raise self._closed
                await self._changed.wait()

    async def _read(self) -> Sequence[Event]:
        """What follows in the log: from memory, or from the store what memory no longer has."""
        if self._seq >= self._topic.log.start:
            return self._topic.log.read(after=self._seq)
        return await self._hub.store.read(self.session, after=self._seq, limit=SLICE_BYTES)

    async def close(self, *, forget: bool) -> None:
        """Stop the answer, if it runs; then `forget` the session, or leave it as it is."""
        try:
            if forget and self._topic.log.head:
                with suppress(SessionNotFound):  # somebody else was faster
                    await self._hub.command(ANONYMOUS, self.session, Forget())
            elif self._turn is not None:
                with suppress(TurnNotFound, SessionNotFound):  # it has ended meanwhile
                    await self._hub.command(ANONYMOUS, self.session, Cancel(self._turn))
        except AskbotError:
            log.warning("completion_not_closed", session=self.session, forget=forget, exc_info=True)
        finally:
            self._hub.detach(self._topic, self)


def _raise_unless_complete(done: Done) -> None:
    """Raises `AnswerFailedError` where the text so far is not all of the answer."""
    match done.reason:
        case "stop" | "length":
            return
        case "error":
            failure = done.error
            code, message = (failure.code, failure.message) if failure else (Internal.code, Internal.default)
            raise AnswerFailedError(code, message, retry_after=failure.retry_after if failure else None)
        case "refused":
            raise AnswerFailedError("refused", "This question is not answered here.")
        case "cancelled":
            raise AnswerFailedError("cancelled", "The answer was stopped.")
        case _:  # interrupted
            raise AnswerFailedError("interrupted", "The server is about to restart.", retry_after=1.0)
