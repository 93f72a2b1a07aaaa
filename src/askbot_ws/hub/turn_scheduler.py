"""Turn scheduler: runs the turns of all sessions, one at a time in each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from ..core.turn import Charge, TurnMachine, TurnState
from ..errors import Internal, LogMoved, StoreError
from ..events import Done, Event, Failure, Question, Reason, encode_event
from ..metrics import Metrics
from ..store import Store
from ..upstream import Upstream
from .admission import Admission
from .client_limits import ClientLimits
from .group_commit import SHARED_INTERVAL, GroupCommit, Throttle
from .owner import Owner
from .policy import Policy
from .turn_runner import TurnRunner
from .turn_slots import TurnSlots

STOP_TIMEOUT_SECONDS = 10.0  # for which a cancelled turn's task is waited for

log = structlog.get_logger(__name__)


class TurnObserver(Protocol):
    """What is told of turns that ended, besides the log."""

    def turn_ended(self, done: Done, *, requested_model: str) -> None:
        """Called when a turn has ended; `requested_model` is the one that was asked. Must not raise."""


class TurnScheduler:
    """One task for each running turn."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        on_idle: Callable[[str], None],
        on_broken: Callable[[Owner, Exception], None],
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
        observer: TurnObserver | None = None,
        wall_clock: Callable[[], float] = time.time,
        is_shared: bool = False,
        limits: ClientLimits | None = None,
    ) -> None:
        """`on_idle` is called with a session when none of its turns runs, or its events were stored.

        `on_broken` and `throttle` are those of `GroupCommit`; `is_shared`: other nodes use the same store; `limits` are
        those of `Admission`.
        """
        self.draining = False
        self.is_shared = is_shared
        self.on_turn_ended: Callable[[Owner, Done], None] | None = None
        self._upstream = upstream
        self._policy = policy
        self._on_idle = on_idle
        self._on_broken = on_broken
        self._clock = clock
        self._metrics = metrics = metrics or Metrics()
        self._observer = observer
        self._none_running = asyncio.Event()
        self._none_running.set()
        self._tasks: dict[asyncio.Task[None], tuple[Owner, str]] = {}  # with the key of its slot
        self._slots = TurnSlots(max_running=policy.max_turns)
        self.admission = Admission(store, policy, self._slots, clock=clock, wall_clock=wall_clock, limits=limits)
        self.group_commit = GroupCommit(
            store,
            on_failed=self._on_store_failed,
            on_stored=lambda owner: on_idle(owner.session),
            on_broken=on_broken,
            throttle=throttle,
            metrics=metrics,
            interval=SHARED_INTERVAL if is_shared else None,
        )
        self._runner = TurnRunner(
            upstream,
            store,
            policy,
            clock=clock,
            group_commit=self.group_commit,
            append=self.append,
            metrics=metrics,
            admission=self.admission,
        )

    def use_policy(self, policy: Policy) -> None:
        """Run further turns by this policy."""
        self._runner.use_policy(policy)

    @property
    def running_count(self) -> int:
        """How many turns run."""
        return len(self._tasks)

    @property
    def waiting_count(self) -> int:
        """How many turns wait, in all sessions."""
        return self._slots.waiting

    # --- the log -----------------------------------------------------------------------------------------------------

    def append(self, owner: Owner, events: Sequence[Event]) -> None:
        """Add events to the next commit; where they end a turn, start the next one."""
        if not events:
            return
        self.group_commit.add(owner, events)
        for event in events:
            if isinstance(event, Question | Done):
                self._after_append(owner, event)

    async def append_and_wait(self, owner: Owner, events: Sequence[Event]) -> None:
        """Append a command's events and wait until they are stored. Raises `StoreError`; then they are undone."""
        self.append(owner, events)
        await self.group_commit.wait_stored(owner)

    def _after_append(self, owner: Owner, event: Question | Done) -> None:
        if type(event) is Done:
            self._note_end(owner, event)
            if self.on_turn_ended is not None:
                self.on_turn_ended(owner, event)
            self._cancel_ended_task(owner)
            turn = owner.state.unstored_ended.get(event.seq)
            if turn is not None and turn.started_at is None:
                self.admission.settle(turn)  # others are settled when their tasks have ended
        elif self._policy.log_content and type(event) is Question:
            log.info("question_asked", session=event.session, turn=event.turn, text=event.text)
        self._start_next(owner)

    def _note_end(self, owner: Owner, done: Done) -> None:
        """Log and count a turn that ended."""
        _log_turn_ended(done)
        self._metrics.count_turn(done)
        if self._observer is not None:
            turn = owner.turn
            requested = turn.options.model if turn is not None and turn.id == done.turn else None
            self._observer.turn_ended(done, requested_model=requested or self._upstream.model)

    def _on_store_failed(self, owner: Owner, lost: Sequence[Event], error: StoreError) -> None:
        """Undo events that the store did not accept; turns that lost text end."""
        if isinstance(error, LogMoved) or self.is_shared:  # nobody is shown what other nodes do not have
            self._on_broken(owner, error)
            return
        log.error("store_write_failed", session=owner.session, events=len(lost), exc_info=error)
        failure = Failure(code=error.code, message=error.message, retryable=True)
        ends = owner.state.roll_back(lost, now=self._clock(), model=self._upstream.model, error=failure)
        frames = [encode_event(end) for end in ends]
        for end in ends:
            owner.topic.log.append(end)
        noted = {event.turn for event in lost if type(event) is Done}  # they had ended before
        for end in ends:
            if end.turn not in noted:
                self._note_end(owner, end)
        if ends:
            owner.unstored += ends
            owner.topic.notify(ends, frames)
        if owner.state.running is None:
            owner.cancel_task()  # also the current task, where its own text made the batch full
        self._start_next(owner)  # a turn may wait again

    # --- running -----------------------------------------------------------------------------------------------------

    def _start_next(self, owner: Owner) -> None:
        """Let the session's next turn wait for a slot, if none runs, and start what has one."""
        may_start = owner.task is None and owner.closed is None and not self.draining
        self._slots.update(owner, may_start=may_start)
        if may_start and not owner.state.waiting:
            self._on_idle(owner.session)
        self.start_waiting()

    def enqueue_restored(self, owner: Owner) -> None:
        """Let the first of the turns that were restored to a session wait for a slot."""
        self._start_next(owner)

    def start_waiting(self) -> None:
        """Start the turns for which there are slots."""
        while not self.draining and (found := self._slots.start_next()) is not None:
            key, owner = found
            try:
                self._start(owner, key)
            except Exception as error:  # noqa: BLE001 - a fault in one session must not end another
                self._slots.end(key)
                self._on_broken(owner, error)

    def _start(self, owner: Owner, key: str) -> None:
        charge = owner.state.waiting[0].charge if owner.state.waiting else None
        if charge is None or self.admission.limits.may_start(charge):
            run = self._runner.run(owner, self._begin(owner))
        else:
            run = self._run_once_allowed(owner, charge)
        self._none_running.clear()
        owner.task = asyncio.create_task(run)
        owner.task.add_done_callback(self._on_task_done)
        self._tasks[owner.task] = owner, key

    def _begin(self, owner: Owner) -> TurnMachine:
        turn = owner.state.start_next(now=self._clock())
        if turn is None:
            raise RuntimeError("a session that waits for a slot has no turn to start")
        self._slots.update(owner, may_start=False)
        owner.turn = turn
        return turn

    async def _run_once_allowed(self, owner: Owner, charge: Charge) -> None:
        """Run a turn once its client has fewer on the other nodes. It waits until then, in a slot of this node."""
        await self.admission.limits.wait_to_start(charge)
        await self._runner.run(owner, self._begin(owner))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """Handle the end of a turn's task. It is no `finally` there: a task cancelled before its start has none."""
        owner, key = self._tasks.pop(task)
        turn, owner.turn, owner.task = owner.turn, None, None
        self._slots.end(key)
        if not self._tasks:
            self._none_running.set()
        try:
            if turn is not None and turn.state is not TurnState.ENDED:  # its task was cancelled by something else
                log.error("turn_failed", session=owner.session, turn=turn.id, exc_info=_task_error(task))
                self._runner.fail(owner, turn, Internal())
            if turn is not None:
                self.admission.settle(turn)
            elif isinstance(error := _task_error(task), Exception):
                self._on_broken(owner, error)
            self._start_next(owner)
        except Exception as error:  # noqa: BLE001 - a fault in one session must not end another
            self._on_broken(owner, error)
            self.start_waiting()

    def stop_starting(self) -> None:
        """Start no turn any more; those that wait for other nodes wait without a slot from now on."""
        self.draining = True
        for owner, _ in tuple(self._tasks.values()):
            if owner.turn is None:
                owner.cancel_task()

    def discard(self, owner: Owner) -> None:
        """Forget the waiting turns of a session that was reset or deleted; its state has none any more."""
        self._slots.update(owner, may_start=False)

    def _cancel_ended_task(self, owner: Owner) -> None:
        """Cancel the task of a turn that was ended from outside, so that the upstream request is closed."""
        if owner.state.running is None and owner.task is not asyncio.current_task():
            owner.cancel_task()

    # --- ending ------------------------------------------------------------------------------------------------------

    def cancel_turn(self, owner: Owner, turn: TurnMachine, reason: Reason) -> list[Event]:
        """End a turn from outside; returns the events, which the caller appends."""
        return owner.state.cancel(turn, reason, now=self._clock(), model=self._upstream.model)

    def end_all(self, owner: Owner, reason: Reason) -> None:
        """End all turns of a session, running and waiting."""
        self.end_waiting(owner, reason)
        self.end_running(owner, reason)

    def end_running(self, owner: Owner, reason: Reason) -> None:
        """End the running turn of a session, if one runs."""
        if owner.state.running is not None:
            self.append(owner, self.cancel_turn(owner, owner.state.running, reason))

    def end_waiting(self, owner: Owner, reason: Reason) -> None:
        """End the waiting turns of a session."""
        for turn in tuple(owner.state.waiting):
            self.append(owner, self.cancel_turn(owner, turn, reason))

    def cancel_asked_with(self, owner: Owner, credential: str) -> None:
        """Cancel the turns of a session, running and waiting, that were asked with this credential."""
        for turn in (*owner.state.waiting, owner.state.running):
            if turn is not None and turn.credential == credential:
                self.append(owner, self.cancel_turn(owner, turn, "cancelled"))

    async def wait_ended(self, max_seconds: float) -> None:
        """Wait until no turn runs, for at most `max_seconds`."""
        if not self._tasks:
            return
        try:
            await asyncio.wait_for(self._none_running.wait(), max_seconds)
        except TimeoutError:
            log.warning("turns_not_ended", turns=self.running_count)


def _task_error(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _log_turn_ended(done: Done) -> None:
    """Log the one line that sums up a turn."""
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
