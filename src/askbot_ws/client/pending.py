"""PendingRequests: frames without a reply so far, which are sent again on each new connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ..dialects.askbot.frames import Cancel, ClientFrame, History, HistoryRequest
from .errors import Damaged
from .view import End, TextBuffer

MAX_CACHED_CODE_POINTS = 64 * 1024  # of an answer that was iterated over; awaiting a longer one reads it again


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A frame, and the future of what it asks for."""

    frame: ClientFrame
    outcome: asyncio.Future[Any]
    sent_on: int = 0  # the number of the connection that it was last sent on; 0: not sent


@dataclass(slots=True, eq=False)
class PendingQuestion(PendingRequest):
    """A question; its outcome is the `End` of its turn."""

    turn: str | None = None  # the turn's id, once the question is in the log
    start: int = 0  # the log's position before the question
    history_number: int = 0  # which of the histories that the session has read has it there
    end: End | None = None
    thinking: str = ""  # all of it, once the turn has ended
    thinking_before_answer: int | None = None  # the code points of it that came before the answer; None: all
    thinking_time: float | None = None  # in seconds
    cancelled: bool = False  # set also before the question was acknowledged
    waiters: int = 0  # how many await the end, beside those who read text
    cache: TextBuffer | None = field(default_factory=TextBuffer)  # text that was iterated over; None: it was too long

    def cache_text(self, text: str) -> None:
        """Keep text that was iterated over, so that the answer can be awaited afterwards."""
        if self.cache is not None:
            self.cache.append(text)
            self.cache = self.cache if self.cache.size <= MAX_CACHED_CODE_POINTS else None

    @property
    def cached_answer(self) -> str | None:
        """The whole answer, where it has ended, was iterated over and is still in the cache; else None."""
        check = self.end.check if self.end else None
        return str(self.cache) if check and self.cache is not None and self.cache.size == check.chars else None


class PendingRequests:
    """The pending requests of one session, by their ids."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, PendingRequest] = {}

    def add(self, request: PendingRequest) -> None:
        """Keep a request until `resolve` is called with its id."""
        request.outcome.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody must await
        self._by_id[request.frame.id or ""] = request

    def get(self, id: str | None) -> PendingRequest | None:
        """Return the pending request with this id, or None."""
        return self._by_id.get(id or "")

    def all(self) -> list[PendingRequest]:
        """Return all pending requests, oldest first."""
        return [*self._by_id.values()]

    def questions(self) -> list[PendingQuestion]:
        """Return the pending questions, oldest first."""
        return [request for request in self._by_id.values() if isinstance(request, PendingQuestion)]

    def resolve(self, id: str | None, result: object) -> None:
        """Set the outcome of a request, an exception where `result` is one, and remove it. Unknown ids are ignored."""
        request = self._by_id.pop(id or "", None)
        if request is None or request.outcome.done():
            return
        if isinstance(result, BaseException):
            request.outcome.set_exception(result)
        else:
            request.outcome.set_result(result)

    @property
    def has_waiters(self) -> bool:
        """Whether somebody waits for more than the text of an answer: an end, a history page, a cancel."""
        return any(not isinstance(request, PendingQuestion) or request.waiters for request in self._by_id.values())

    def has_unsent_cancel(self, connection: int) -> bool:
        """Return whether a cancel has not been sent on this connection, or waits for its turn to be in the log."""
        return any(
            (isinstance(request, PendingQuestion) and request.cancelled and request.turn is None)
            or (isinstance(request.frame, Cancel) and request.sent_on != connection)
            for request in self._by_id.values()
        )


class AnswerRecovery:
    """Answers whose received text fails their proof, fetched from the server's history: each turn at most once."""

    __slots__ = ("_pages", "_request")

    def __init__(self, request: Callable[[HistoryRequest], asyncio.Future[Any]]) -> None:
        self._request = request
        self._pages: dict[str, asyncio.Future[Any]] = {}  # by turn

    def fetch(self, turn: str, start: int) -> asyncio.Future[Any]:
        """Request the history page with `turn`, whose question follows the position `start`; the future's result."""
        if turn not in self._pages:
            self._pages[turn] = self._request(HistoryRequest(id=uuid4().hex, before=start + 2, limit=1))
        return self._pages[turn]

    async def recover(self, question: PendingQuestion) -> str:
        """Return the answer as history has it. Raises `Damaged` where that fails the proof too."""
        history: History = await asyncio.shield(self.fetch(question.turn or "", question.start))
        for record in history.turns:
            if record.turn == question.turn and question.end and question.end.proves(record.answer):
                return record.answer  # whatever history this is
        raise Damaged
