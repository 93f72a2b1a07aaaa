"""Completion: one question and its answer, for clients that hold no connection to a session.

All that HTTP asks of the hub is asked here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from ..core.log import SLICE
from ..dialects.askbot.frames import Ask, Cancel
from ..errors import AskbotError, Internal, SessionNotFound, StoreError, TurnNotFound
from ..events import Done, Event, Question, Token
from ..hub import Hub, Live

SESSION = re.compile("[A-Za-z0-9_-]{1,64}")

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
        live = self._hub.create() if session is None else await self._open(session)
        completion = Completion(self._hub, live)
        self._hub.attach(live, completion)
        try:
            await completion.ask(prompt)
            yield completion
        finally:
            await completion.close(forget=not keep)

    async def _open(self, session: str) -> Live:
        if not SESSION.fullmatch(session):
            raise SessionNotFound
        return await self._hub.open(session)


class Completion:
    """A question that was asked, and its answer as it comes. To the hub it is a reader of the session."""

    def __init__(self, hub: Hub, live: Live) -> None:
        self._hub = hub
        self._live = live
        self._seq = live.log.head  # how far the log was read
        self._turn: str | None = None  # ours, until it has ended
        self._changed = asyncio.Event()
        self._left = False
        self._closed: AskbotError | None = None

    @property
    def session(self) -> str:
        """The session's id."""
        return self._live.id

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
        id = secrets.token_urlsafe(12)
        await self._hub.ask(self._live, Ask(text=prompt, id=id))
        while self._turn is None:
            for event in await self._read():
                self._seq = event.seq
                if isinstance(event, Question) and event.id == id:
                    self._turn = event.turn
                    break

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        self._left = True
        self._changed.set()

    async def pieces(self) -> AsyncGenerator[str]:
        """The answer's text as it comes, at most some 32 KiB at once; it ends early once somebody called `leave`.

        Nothing is read ahead of whoever takes the pieces. Raises `AnswerFailedError`, `AskbotError`.
        """
        turn = self._turn
        while not self._left:
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
                    _check(event)
                    return
            if not events:
                if self._closed is not None:
                    raise self._closed
                await self._changed.wait()

    async def _read(self) -> Sequence[Event]:
        """What follows in the log: from memory, or from the store what memory no longer has."""
        if self._seq >= self._live.log.start:
            return self._live.log.read(after=self._seq)
        return await self._hub.store.read(self._live.id, after=self._seq, limit=SLICE)

    async def close(self, *, forget: bool) -> None:
        """Stop the answer, if it runs; then `forget` the session, or leave it as it is."""
        try:
            if forget and self._live.log.head and self._closed is None:
                with suppress(SessionNotFound):
                    await self._hub.forget(self._live, keep_quiet=self)
            elif self._turn is not None:
                with suppress(TurnNotFound, SessionNotFound):  # it has ended meanwhile
                    await self._hub.cancel(self._live, Cancel(turn=self._turn))
        except StoreError:
            log.warning("completion_not_closed", session=self.session, forget=forget, exc_info=True)
        finally:
            self._hub.detach(self._live, self)


def _check(done: Done) -> None:
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
        case "interrupted":
            raise AnswerFailedError("interrupted", "The server is about to restart.", retry_after=1.0)
