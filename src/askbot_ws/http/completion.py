"""Completion: one question and its answer, for clients without a WebSocket connection.

It is the only part of HTTP that uses the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from ..core.commands import Ask, Cancel, Forget
from ..core.log_tail import SLICE_BYTES
from ..core.principal import Principal
from ..core.turn import turn_id_of
from ..errors import AskbotError, Internal, SessionNotFound, TurnNotFound
from ..events import Done, Event, Token, TurnEvent
from ..hub import Hub, Topic

REFUSED = "This question is not answered here."

log = structlog.get_logger(__name__)


class AnswerFailedError(Exception):
    """An answer that ended before it was complete."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        """`code` is a `Reason` or the code of an error, `message` is safe to show, `retry_after` is in seconds."""
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
    async def ask(
        self, prompt: str, *, principal: Principal, address: str, session: str | None, keep: bool
    ) -> AsyncGenerator[Completion]:
        """Ask in this session, or in a new one (None). Leaving the block cancels the answer, if it still runs.

        `address` is the client's IP address, for its limits.
        Without `keep` the session is then deleted. Raises `AskbotError` where the question is refused.
        """
        if session is None:
            topic = self._hub.create(principal, temporary=not keep)
        else:
            topic = await self._hub.open(principal, session)
        completion = Completion(self._hub, topic, principal, address=address)
        self._hub.attach(topic, completion)
        try:
            await completion.ask(prompt)
            yield completion
        finally:
            await completion.close(forget=not keep)


class Completion:
    """A question and its answer; a `Reader` of its session."""

    def __init__(self, hub: Hub, topic: Topic, principal: Principal, *, address: str) -> None:
        self._hub = hub
        self._address = address
        self._topic = topic
        self._principal = principal
        self._seq = topic.log.head  # up to which the log was read
        self._turn: str | None = None  # the question's, until it has ended
        self._changed = asyncio.Event()
        self._abandoned = False
        self._closed: AskbotError | None = None

    @property
    def session(self) -> str:
        """The session's id."""
        return self._topic.session

    # --- a reader (the hub calls these) ------------------------------------------------------------------------------

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Continue reading (`Reader.notify`)."""
        del events, frames
        self._changed.set()

    def on_closed(self, error: AskbotError) -> None:
        """Fail the answer with this error (`Reader.on_closed`)."""
        self._closed = error
        self._changed.set()

    # --- the question and its answer ---------------------------------------------------------------------------------

    async def ask(self, prompt: str) -> None:
        """Append the question to the log. Raises `AskbotError`."""
        self._seq = await self._hub.command(self._principal, self.session, Ask(prompt), address=self._address)
        self._turn = turn_id_of(self._seq)

    def abandon(self) -> None:
        """End `pieces` early: nobody waits for the answer any more."""
        self._abandoned = True
        self._changed.set()

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield the answer's text as it arrives, up to about 32 KiB at once, until its end or `abandon`.

        Nothing is read ahead of the caller. Raises `AnswerFailedError`, `AskbotError`.
        """
        turn, begun = self._turn, False
        while not self._abandoned:
            self._changed.clear()
            events = await self._read()
            if not begun and any(isinstance(event, Done) and event.turn == turn for event in events):
                self._turn = None
                _raise_if_refused([event for event in events if isinstance(event, TurnEvent) and event.turn == turn])
            for event in events:
                self._seq = event.seq
                if not isinstance(event, TurnEvent) or event.turn != turn:
                    continue
                if isinstance(event, Token):
                    begun = True
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
        """Return the next events, from memory or else from the store."""
        if self._seq >= self._topic.log.start:
            return self._topic.log.read(after=self._seq)
        return await self._hub.store.read(self.session, after=self._seq, limit=SLICE_BYTES)

    async def close(self, *, forget: bool) -> None:
        """Cancel the answer, if it still runs; with `forget`, delete the session too."""
        try:
            if forget and self._topic.log.head:
                with suppress(SessionNotFound):  # it was deleted meanwhile
                    await self._hub.command(self._principal, self.session, Forget())
            elif self._turn is not None:
                with suppress(TurnNotFound, SessionNotFound):  # it has ended meanwhile
                    await self._hub.command(self._principal, self.session, Cancel(self._turn))
        except AskbotError:
            log.warning("completion_close_failed", session=self.session, forget=forget, exc_info=True)
        finally:
            self._hub.detach(self._topic, self)


def _raise_if_refused(events: Sequence[Event]) -> None:
    """Raise `AnswerFailedError` with the text of a whole turn, as the guard answers, that ended with `refused`."""
    end = events[-1]
    if isinstance(end, Done) and end.reason == "refused":
        text = "".join([event.text for event in events if isinstance(event, Token)])
        raise AnswerFailedError("refused", text or REFUSED)


def _raise_unless_complete(done: Done) -> None:
    """Raise `AnswerFailedError` unless the answer ended with `stop` or `length`."""
    match done.reason:
        case "stop" | "length":
            return
        case "error":
            failure = done.error
            code, message = (failure.code, failure.message) if failure else (Internal.code, Internal.default)
            raise AnswerFailedError(code, message, retry_after=failure.retry_after if failure else None)
        case "refused":
            raise AnswerFailedError("refused", REFUSED)
        case "cancelled":
            raise AnswerFailedError("cancelled", "The answer was stopped.")
        case _:  # interrupted
            raise AnswerFailedError("interrupted", "The server is about to restart.", retry_after=1.0)
