"""PendingRequests: frames without a reply so far, which are sent again on each new connection.

`REQUESTS` says for each type of frame how it ends and whether it is sent again; docs/clients-python.md has it per call.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from ..dialects.askbot.frames import Ask, Cancel, ClientFrame, Edit, History, HistoryRequest, Retry, encode
from ..errors import AskbotError, InvalidFrame, QuestionTooLong, SessionNotFound, TurnNotFound
from ..events import Timing
from .errors import Damaged, copy_of
from .view import End, TextBuffer, Turn

TIME_LIMIT_SECONDS = 60.0  # on an open connection, without an acknowledgement or an end
MAX_CACHED_CODE_POINTS = 64 * 1024  # of an answer that was iterated over; awaiting a longer one reads it again
MAX_FAILED_QUESTIONS = 1000  # ids of questions that have failed here; the oldest are forgotten


class SentAgain(Enum):
    """Whether a request is sent again on the next connection, under the same id."""

    UNTIL_ACKNOWLEDGED = auto()  # its `question` is in the log
    UNTIL_ENDED = auto()


@dataclass(frozen=True, slots=True)
class RequestRule:
    """How a request ends, beside an error with its id, the end of the session, and its time limit.

    `ended_by` is the type of the frame that is its end, `no_failure` the code of an error that is one, too: what was
    asked for is so already.
    """

    ended_by: str | None
    sent_again: SentAgain
    no_failure: str | None = None


_QUESTION = RequestRule(ended_by="done", sent_again=SentAgain.UNTIL_ACKNOWLEDGED)

REQUESTS: Mapping[str, RequestRule] = MappingProxyType(
    {
        "ask": _QUESTION,
        "retry": _QUESTION,
        "edit": _QUESTION,
        "cancel": RequestRule("done", SentAgain.UNTIL_ENDED, no_failure=TurnNotFound.code),  # it always names the turn
        "history": RequestRule("history", SentAgain.UNTIL_ENDED),
        "sessions": RequestRule("sessions", SentAgain.UNTIL_ENDED),
        "title": RequestRule("title", SentAgain.UNTIL_ENDED),
        "forget": RequestRule(None, SentAgain.UNTIL_ENDED, no_failure=SessionNotFound.code),
    }
)
"""The requests by the types of their frames."""

_numbers = itertools.count()


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A frame, and the future of what it asks for."""

    frame: ClientFrame
    outcome: asyncio.Future[Any]
    number: int = field(default_factory=lambda: next(_numbers))  # they are counted as they are made
    sent_on: int = 0  # the number of the connection that it was last sent on; 0: not sent
    size: int = 0  # bytes, as it was last sent
    acknowledged: bool = False  # a question: it was in the log
    timer: asyncio.TimerHandle | None = None  # of its time limit

    @property
    def rule(self) -> RequestRule:
        """How it ends, and whether it is sent again."""
        return REQUESTS[self.frame.type]

    @property
    def may_be_sent(self) -> bool:
        """Whether it is to be sent on a connection on which it was not sent yet."""
        return not (self.acknowledged and self.rule.sent_again is SentAgain.UNTIL_ACKNOWLEDGED)

    def start_timer(self, on_time_limit: Callable[[PendingRequest], None]) -> None:
        """Have a function called at the time limit, in place of an earlier one."""
        self.stop_timer()
        self.timer = asyncio.get_running_loop().call_later(TIME_LIMIT_SECONDS, on_time_limit, self)

    def stop_timer(self) -> None:
        """Let it take any time."""
        if self.timer:
            self.timer.cancel()
            self.timer = None

    async def wait(self) -> Any:  # noqa: ANN401 - what the caller's frame asks for
        """Wait for the outcome; who is cancelled meanwhile does not cancel the request. Raises a copy of its error."""
        await asyncio.wait([self.outcome])
        if error := self.outcome.exception():
            raise copy_of(error)
        return self.outcome.result()


@dataclass(slots=True, eq=False)
class PendingQuestion(PendingRequest):
    """A question; its outcome is the `End` of its turn."""

    asked_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    question: str = ""  # its text, once it is in the log
    turn: str | None = None  # the turn's id, as above
    start: int = 0  # the log's position before the question
    history_number: int = 0  # which of the histories that the session has read has it there
    end: End | None = None
    lost: bool = False  # it was in a history that the server has lost, and is not in the one that it has now
    received: str = ""  # of the answer, in histories that the server has lost since: the longest text
    thinking: str = ""  # all of it, once the turn has ended
    thinking_before_answer: int | None = None  # the code points of it that came before the answer; None: all
    thinking_time: float | None = None  # in seconds
    cancelled: asyncio.Future[None] | None = None  # done once the cancel has ended; set before the acknowledgement too
    waiters: int = 0  # how many await the end, beside those who read text
    cache: TextBuffer | None = field(default_factory=TextBuffer)  # text that was iterated over; None: it was too long

    async def wait_until_cancelled(self) -> None:
        """Wait until the turn or its cancel has ended. Raises a copy of the error with which the cancel was refused."""
        cancelled = self.cancelled or self.outcome
        await asyncio.wait([self.outcome, cancelled], return_when=asyncio.FIRST_COMPLETED)
        if not self.outcome.done() and (error := cancelled.exception()):
            raise copy_of(error)

    def end_as_lost(self, model: str) -> End:
        """End it, as the server has lost it; it was asked of `model` where it names none. Returns that end."""
        total = asyncio.get_running_loop().time() - self.asked_at
        timing = Timing(queued=0.0, first_token=None, total=total)
        if isinstance(self.frame, Ask | Retry | Edit):
            model = self.frame.model or model
        self.lost = True
        self.end = End("interrupted", model=model, usage=None, timing=timing, check=None, error=None)
        return self.end

    def keep_thinking(self, turn: Turn) -> None:
        """Keep what the turn has of the model's reasoning."""
        self.thinking, self.thinking_before_answer = turn.thinking, turn.thinking_before_answer

    def keep_received(self, text: str) -> None:
        """Keep the beginning of the answer that was received, where it is longer than what is kept."""
        if len(text) > len(self.received):
            self.received = text

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
        ignore_result(request.outcome)
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
        request.stop_timer()
        if isinstance(result, BaseException):
            request.outcome.set_exception(result)
        else:
            request.outcome.set_result(result)

    @property
    def has_waiters(self) -> bool:
        """Whether more is awaited than the text of an answer: an acknowledgement, an end, a history page, a cancel."""
        return any(
            not isinstance(request, PendingQuestion) or request.waiters or request.turn is None
            for request in self._by_id.values()
        )

    def has_unsent_cancel(self, connection: int) -> bool:
        """Return whether a cancel has not been sent on this connection, or waits for its turn to be in the log."""
        return any(
            (isinstance(request, PendingQuestion) and request.cancelled is not None and request.turn is None)
            or (isinstance(request.frame, Cancel) and request.sent_on != connection)
            for request in self._by_id.values()
        )


class FailedQuestions:
    """The ids of questions that have failed here: those that the server logs all the same are cancelled."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, id: str) -> None:
        """Add a question; the oldest one is forgotten where there are too many."""
        self._ids[id] = None
        if len(self._ids) > MAX_FAILED_QUESTIONS:
            del self._ids[next(iter(self._ids))]

    def take(self, id: str | None) -> bool:
        """Return whether a question is one of them, and remove it."""
        if id not in self._ids:
            return False
        del self._ids[id]
        return True


class AnswerRecovery:
    """Answers whose received text fails their proof, fetched from the server's history: each turn at most once."""

    __slots__ = ("_pages", "_request")

    def __init__(self, request: Callable[[HistoryRequest], PendingRequest]) -> None:
        self._request = request
        self._pages: dict[str, PendingRequest] = {}  # by turn

    def fetch(self, turn: str, start: int) -> PendingRequest:
        """Request the history page with `turn`, whose question follows the position `start`."""
        if turn not in self._pages:
            self._pages[turn] = self._request(HistoryRequest(id=uuid4().hex, before=start + 2, limit=1))
        return self._pages[turn]

    async def recover(self, question: PendingQuestion) -> str:
        """Return the answer as history has it. Raises `Damaged` where that fails the proof too, or can't be had."""
        try:
            history: History = await self.fetch(question.turn or "", question.start).wait()
        except AskbotError as error:
            raise Damaged(retryable=error.retryable, retry_after=error.retry_after) from error
        for record in history.turns:
            if record.turn == question.turn and question.end and question.end.proves(record.answer):
                return record.answer  # whatever history this is
        raise Damaged


def too_long_error(frame: ClientFrame) -> AskbotError:
    """Return the error for a frame that is longer than the server takes."""
    if isinstance(frame, Ask | Edit):
        return QuestionTooLong("The question is longer than the server takes.")
    return InvalidFrame("The frame is longer than the server takes.")


def encoding_error(frame: ClientFrame) -> AskbotError | None:
    """Return the error for a frame that can't be sent as JSON in UTF-8; None for others."""
    try:
        encode(frame, strict=True)
    except ValueError as error:
        if "surrogate" in str(error):
            return InvalidFrame("The text has half a character (a lone surrogate), as of an emoji that was cut in two.")
        return InvalidFrame("The frame can't be sent as JSON.")
    return None


def ignore_result(future: asyncio.Future[Any]) -> None:
    """Have nothing logged where nobody awaits a future that has failed."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
