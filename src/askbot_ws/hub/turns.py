"""Turns: runs the turns of all sessions, and has what happens in them logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from ..core.turn import Turn
from ..errors import StoreError
from ..events import Done, Event, Failure, Question, Reason, Token, encode_event
from ..store import Store
from ..upstream import Upstream
from .answer import Answerer
from .commit import Commits
from .live import Live
from .policy import Policy

LAST_WORDS = 10.0  # seconds that an upstream has to let go when the server ends

log = structlog.get_logger(__name__)


class Turns:
    """One task for each running turn."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        on_idle: Callable[[Live], None],
        nap: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_idle` is told of sessions in which nothing runs now, or has just been stored; `nap`: see `Commits`."""
        self.draining = False
        self._upstream = upstream
        self._policy = policy
        self._on_idle = on_idle
        self._clock = clock
        self._calm = asyncio.Event()  # no turn runs
        self._calm.set()
        self._tasks: dict[asyncio.Task[None], Live] = {}
        self.commits = Commits(store, on_lost=self._lost, on_landed=on_idle, nap=nap)
        self._answerer = Answerer(upstream, store, policy, clock=clock, commits=self.commits, say=self.log)

    @property
    def running(self) -> int:
        """How many."""
        return len(self._tasks)

    # --- the log -----------------------------------------------------------------------------------------------------

    def log(self, live: Live, events: Sequence[Event]) -> None:
        """Have events stored, then shown; where they end a turn, let the next one begin."""
        self.commits.add(live, events)
        for event in events:
            if type(event) is not Token:
                self._turned(live, event)

    async def follow(self, live: Live, events: Sequence[Event]) -> None:
        """Log what a command did, and wait until it is stored. Raises `StoreError`: then it did nothing."""
        self.log(live, events)
        await self.commits.landed(live)

    def _turned(self, live: Live, event: Question | Token | Done) -> None:
        if type(event) is Done:
            _say_ended(event)
            self._stop_answering(live)
        elif self._policy.log_content and type(event) is Question:
            log.info("question_asked", session=event.session, turn=event.turn, text=event.text)
        self._next(live)

    def _lost(self, live: Live, lost: Sequence[Event], error: StoreError) -> None:
        """The store did not take these events: turns that lose by it end, in memory at least."""
        log.error("store_failed", session=live.id, events=len(lost), exc_info=error)
        failure = Failure(code=error.code, message=error.message, retryable=True)
        owed = live.session.rewind(lost, now=self._clock(), model=self._upstream.model, error=failure)
        for event in owed:
            live.log.append(event)
        if owed:
            live.owed += owed
            live.wake(owed, [encode_event(event) for event in owed])
        self._stop_answering(live)
        self._next(live)  # one may wait again

    # --- running -----------------------------------------------------------------------------------------------------

    def _next(self, live: Live) -> None:
        """Begin the next turn, if there is one and none runs."""
        if live.task is not None or self.draining:
            return
        turn = live.session.start(now=self._clock())
        if turn is None:
            self._on_idle(live)
            return
        self._calm.clear()
        live.task = asyncio.create_task(self._answerer.answer(live, turn))
        live.task.add_done_callback(self._ran)
        self._tasks[live.task] = live

    def _ran(self, task: asyncio.Task[None]) -> None:
        """A turn's task is done. Not its `finally`: a task that is cancelled before its first step never gets there."""
        live = self._tasks.pop(task)
        live.task = None
        if not self._tasks:
            self._calm.set()
        self._next(live)

    def _stop_answering(self, live: Live) -> None:
        """Where a turn was ended from outside, the provider need not go on."""
        if live.session.running is None and live.task is not asyncio.current_task():
            live.stop()

    # --- ending ------------------------------------------------------------------------------------------------------

    def cancelled(self, live: Live, turn: Turn, reason: Reason) -> list[Event]:
        """End a turn before its time; the events are still to be logged."""
        return live.session.cancel(turn, reason, now=self._clock(), model=self._upstream.model)

    def end_all(self, live: Live, reason: Reason) -> None:
        """End all turns of a session."""
        self.end_waiting(live, reason)
        if live.session.running is not None:
            self.log(live, self.cancelled(live, live.session.running, reason))

    def end_waiting(self, live: Live, reason: Reason) -> None:
        """End the turns that have not begun."""
        for turn in tuple(live.session.waiting):
            self.log(live, self.cancelled(live, turn, reason))

    async def calm(self, limit: float) -> None:
        """Wait until no turn runs, for at most `limit` seconds."""
        try:
            await asyncio.wait_for(self._calm.wait(), limit)
        except TimeoutError:
            log.warning("turns_still_running", turns=self.running)


def _say_ended(done: Done) -> None:
    """The line that sums up a turn."""
    first = done.timing.first_token
    log.info(
        "turn_ended",
        session=done.session,
        turn=done.turn,
        reason=done.reason,
        code=done.error.code if done.error else None,
        model=done.model,
        input_tokens=done.usage.input_tokens if done.usage else None,
        output_tokens=done.usage.output_tokens if done.usage else None,
        chars=done.check.chars,
        queued_s=round(done.timing.queued, 3),
        first_token_s=None if first is None else round(first, 3),
        total_s=round(done.timing.total, 3),
    )
