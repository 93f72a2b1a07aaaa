"""Hub: opens sessions, follows commands, keeps what is live within its memory, drains."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self
from weakref import WeakValueDictionary

import structlog

from ..core import guard
from ..core.context import Context
from ..core.prompt import Options
from ..core.session import Asking, Session
from ..core.turn import Turn, place_of, proof
from ..errors import Forbidden, InvalidFrame, Overloaded, SessionNotFound, StoreError, TurnNotFound
from ..frames import (
    Ask,
    Cancel,
    Done,
    Edit,
    Event,
    Failure,
    Question,
    Reason,
    Retry,
    Timing,
    Token,
    TurnRecord,
    encode,
    error_frame,
)
from ..store import Store
from ..upstream import Upstream
from .answer import Answerer
from .commit import Commits
from .live import Live, Reader

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows; times in seconds, sizes in bytes."""

    persona: str | None = None
    models: frozenset[str] = frozenset()  # that a question may choose, besides the configured one
    max_tokens: int = 1024
    context_tokens: int = 8192
    max_question: int = 8000  # code points
    max_waiting: int = 8
    max_turns: int = 1000
    memory: int = 64 * 2**20
    session_ttl: float = 30 * 86400.0
    abandon_after: float | None = None
    log_content: bool = False


class Hub:
    """All live sessions. Use as a context: its tasks end with it."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.upstream = upstream
        self.policy = policy
        self.draining = False
        self._clock = clock
        self._wall = wall
        self._live: dict[str, Live] = {}
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._resting: dict[str, int] = {}  # session -> weight, the one that has rested longest first
        self._resting_bytes = 0
        self._turns = 0
        self._calm = asyncio.Event()  # no turn runs
        self._calm.set()
        self._tasks = asyncio.TaskGroup()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._commits = Commits(self.store, on_lost=self._lost, on_landed=self._rest)
        self._answerer = Answerer(
            self.upstream,
            self.store,
            persona=self.policy.persona,
            window=max(256, self.policy.context_tokens - self.policy.max_tokens),
            clock=self._clock,
            say=self._log,
        )
        unfinished = await self.store.open()
        try:
            for session in unfinished:
                await self._interrupt(session)
        except BaseException:
            await self.store.close()
            raise
        await self._tasks.__aenter__()
        self._sweeper = self._tasks.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            await self.stop()
            await self._tasks.__aexit__(None, None, None)
        finally:
            await self.store.close()

    # --- opening -----------------------------------------------------------------------------------------------------

    def create(self) -> Live:
        """A new session. It costs the store nothing until its first question."""
        id = secrets.token_urlsafe(16)
        live = Live(self._session(id, context=Context()), self.store.create(id))
        self._live[id] = live
        return live

    async def open(self, session: str) -> Live:
        """A session that exists; attach a reader at once to keep it. Raises `SessionNotFound`, `StoreError`."""
        live = self._live.get(session)
        if live is not None:
            return live
        lock = self._opening.setdefault(session, asyncio.Lock())
        async with lock:  # two connections that come at once get the same one
            return self._live.get(session) or await self._load(session)

    async def _load(self, id: str) -> Live:
        found = await self.store.load(id)
        newest = await self.store.turns(id, limit=50)
        session = self._session(id, head=found.head)
        for turn in newest:
            if turn.id is not None:
                session.remember(turn.id, turn.text)
        self._live[id] = Live(session, found)
        return self._live[id]

    def _session(self, id: str, *, head: int = 0, context: Context | None = None) -> Session:
        policy = self.policy
        return Session(id, head, max_waiting=policy.max_waiting, window=4 * policy.context_tokens, context=context)

    async def turns(self, live: Live, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns whose questions stand before a place, oldest first."""
        return await self.store.turns(live.id, before=before, limit=limit)

    # --- reading -----------------------------------------------------------------------------------------------------

    def attach(self, live: Live, reader: Reader) -> None:
        """Wake this reader from now on."""
        live.readers.add(reader)
        self._awake(live.id)
        if live.abandoned is not None:
            live.abandoned.cancel()
            live.abandoned = None

    def detach(self, live: Live, reader: Reader) -> None:
        """Wake it no more. The turn goes on, unless the policy says that nobody's answers are given up."""
        live.readers.discard(reader)
        after = self.policy.abandon_after
        if not live.readers and after is not None and not live.session.idle and live.abandoned is None:
            live.abandoned = asyncio.get_running_loop().call_later(after, self._abandon, live)
        self._rest(live)

    def _abandon(self, live: Live) -> None:
        live.abandoned = None
        self._end_all(live, "cancelled")

    def _end_all(self, live: Live, reason: Reason) -> None:
        for turn in (*live.session.waiting, live.session.running):
            if turn is not None:
                self._cancel(live, turn, reason)

    def _cancel(self, live: Live, turn: Turn, reason: Reason) -> None:
        self._log(live, self._cancelled(live, turn, reason))

    def _cancelled(self, live: Live, turn: Turn, reason: Reason) -> list[Event]:
        return live.session.cancel(turn, reason, now=self._clock(), model=self.upstream.model)

    def _rest(self, live: Live) -> None:
        """Where nobody needs it, it stays as long as there is room."""
        if not live.resting or self._commits.hold(live) or self._live.get(live.id) is not live:
            return
        if live.log.head == 0:  # nobody can miss what has no event
            self._evict(live.id)
            return
        self._awake(live.id)
        self._resting[live.id] = live.weight
        self._resting_bytes += live.weight
        while self._resting_bytes > self.policy.memory:
            self._evict(next(iter(self._resting)))

    def _awake(self, session: str) -> None:
        self._resting_bytes -= self._resting.pop(session, 0)

    def _evict(self, session: str) -> None:
        self._awake(session)
        del self._live[session]
        self.store.release(session)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def ask(self, live: Live, frame: Ask) -> None:
        """Append a question; it is answered when its turn comes. What is in the log under this id stays as it is."""
        guard.check(frame.text, max_chars=self.policy.max_question)
        options = self._options(frame)
        async with self._alone(live):
            if await self._asked(live, frame.id, frame.text):
                return
            self._admit(live)
            asking = self._asking(frame.text, frame.id, options)
            await self._follow(live, live.session.ask(asking, when_busy=frame.when_busy, model=self.upstream.model))

    async def retry(self, live: Live, frame: Retry) -> None:
        """Ask a turn's question again."""
        async with self._alone(live):
            turn = frame.turn or await self._last(live)
            question = await self._question(live, turn)
            if not await self._asked(live, frame.id, question.text):
                await self._replace(live, turn, self._asking(question.text, frame.id))

    async def edit(self, live: Live, frame: Edit) -> None:
        """Ask something else in a turn's place."""
        guard.check(frame.text, max_chars=self.policy.max_question)
        async with self._alone(live):
            await self._question(live, frame.turn)
            if not await self._asked(live, frame.id, frame.text):
                await self._replace(live, frame.turn, self._asking(frame.text, frame.id))

    async def cancel(self, live: Live, frame: Cancel) -> None:
        """End a turn now; the provider stops generating."""
        async with self._alone(live):
            await self._follow(live, self._cancelled(live, live.session.find(frame.turn), "cancelled"))

    async def forget(self, live: Live, *, keep_quiet: Reader | None) -> None:
        """Delete the session and all it holds, everywhere. Whoever else reads it is told that it is gone."""
        async with self._alone(live):
            self._end_all(live, "cancelled")
            with suppress(StoreError):  # what could not be written needs no deleting
                await self._commits.landed(live)
            if live.task is not None:
                await asyncio.wait([live.task])
            await self.store.forget(live.id)
            self._commits.waive(live)
            self._live.pop(live.id, None)
            self._awake(live.id)
        gone = SessionNotFound("The session was forgotten.")
        for reader in live.readers - {keep_quiet}:
            reader.told(error_frame(gone, session=live.id))

    @asynccontextmanager
    async def _alone(self, live: Live) -> AsyncGenerator[None]:
        """Commands that have to wait for something come one at a time. Raises `SessionNotFound` if it was forgotten."""
        async with live.lock:
            if self._live.get(live.id) is not live:
                raise SessionNotFound
            yield
        self._rest(live)

    async def _replace(self, live: Live, turn: str, asking: Asking) -> None:
        self._admit(live)
        events = live.session.replace(turn, asking, model=self.upstream.model)
        await self._follow(live, events)

    async def _follow(self, live: Live, events: Sequence[Event]) -> None:
        """Log what a command did, and let the next turn begin. Raises `StoreError`: then it did nothing."""
        self._log(live, events)
        await self._commits.landed(live)

    def _asking(self, text: str, id: str | None, options: Options = Options()) -> Asking:
        return Asking(text=text, now=self._clock(), created=self._wall(), id=id, options=options)

    def _options(self, frame: Ask) -> Options:
        known = self.policy.models | {self.upstream.model}
        if frame.model is not None and frame.model not in known:
            raise Forbidden("This model is not offered here.")
        if frame.max_tokens is not None and frame.max_tokens > self.policy.max_tokens:
            raise Forbidden(f"max_tokens: {self.policy.max_tokens} are the most.")
        return Options(model=frame.model, temperature=frame.temperature, max_tokens=frame.max_tokens)

    def _admit(self, live: Live) -> None:
        if self.draining:
            raise Overloaded("The server is about to restart.", retry_after=1.0)
        if live.session.idle and self._turns >= self.policy.max_turns:
            raise Overloaded("As many answers are running as the server can take.", retry_after=1.0)

    async def _asked(self, live: Live, id: str | None, text: str) -> bool:
        """Whether a question with this id is in the log already (PROTOCOL 1, promise 3)."""
        if id is None:
            return False
        known = live.session.asked.get(id)
        if known is None and live.log.head > 0:
            turn = await self.store.asked(live.id, id)
            known = None if turn is None else (await self._question(live, turn)).text
        if known is not None and known != text:
            raise InvalidFrame("id: another question of this session has it; each needs its own.")
        return known is not None

    async def _last(self, live: Live) -> str:
        newest = await self.store.turns(live.id, limit=1)
        if not newest:
            raise TurnNotFound("There is no turn yet.")
        return newest[-1].turn

    async def _question(self, live: Live, turn: str) -> Question:
        place = place_of(turn)
        if place <= live.log.head:
            for event in await self._read(live, after=place - 1):
                if isinstance(event, Question) and event.turn == turn:
                    return event
        raise TurnNotFound

    async def _read(self, live: Live, *, after: int) -> Sequence[Event]:
        if after >= live.log.start:
            return live.log.read(after=after, limit=1)
        return await self.store.read(live.id, after=after, limit=1)

    # --- the log -----------------------------------------------------------------------------------------------------

    def _log(self, live: Live, events: Sequence[Event]) -> None:
        """Have events stored, then shown; where they end a turn, let the next one begin."""
        self._commits.add(live, events)
        for event in events:
            if type(event) is not Token:
                self._turned(live, event)

    def _turned(self, live: Live, event: Question | Token | Done) -> None:
        if type(event) is Done:
            _say_ended(event)
            self._stop_answering(live)
        self._next(live)

    def _stop_answering(self, live: Live) -> None:
        """Where a turn was ended from outside, the provider need not go on."""
        if live.session.running is None and live.task is not asyncio.current_task():
            live.stop()

    def _next(self, live: Live) -> None:
        """Begin the next turn, if there is one and none runs."""
        if live.task is not None or self.draining:
            return
        turn = live.session.start(now=self._clock())
        if turn is None:
            self._rest(live)
            return
        self._turns += 1
        self._calm.clear()
        live.task = self._tasks.create_task(self._run(live, turn))
        live.task.add_done_callback(lambda _: self._ran(live))

    async def _run(self, live: Live, turn: Turn) -> None:
        try:
            await self._commits.landed(live)  # the question first: it would be asked twice if we died without having it
        except StoreError as error:
            self._answerer.fail(live, turn, error)
        else:
            await self._answerer.answer(live, turn)

    def _ran(self, live: Live) -> None:
        """A turn's task is done. Not its `finally`: a task that is cancelled before its first step never gets there."""
        live.task = None
        self._turns -= 1
        if self._turns == 0:
            self._calm.set()
        self._next(live)

    def _lost(self, live: Live, lost: Sequence[Event], error: StoreError) -> None:
        """The store did not take these events: turns that lose by it end, in memory at least."""
        log.error("store_failed", session=live.id, events=len(lost), exc_info=error)
        failure = Failure(code=error.code, message=error.message, retryable=True)
        owed = live.session.rewind(lost, now=self._clock(), model=self.upstream.model, error=failure)
        for event in owed:
            live.log.append(event)
        if owed:
            live.owed += owed
            live.wake(owed[0].start, [(event, encode(event)) for event in owed])
        self._stop_answering(live)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def drain(self, limit: float) -> None:
        """Take no new turns; let running ones end, for at most `limit` seconds."""
        self.draining = True
        for live in tuple(self._live.values()):
            for turn in tuple(live.session.waiting):
                self._cancel(live, turn, "interrupted")
        try:
            await asyncio.wait_for(self._calm.wait(), limit)
        except TimeoutError:
            log.warning("drain_cut_short", turns=self._turns)

    async def stop(self) -> None:
        """End every turn now, as interrupted."""
        self.draining = True
        for live in tuple(self._live.values()):
            self._end_all(live, "interrupted")
        try:
            await self._commits.settled()
        except StoreError:
            log.exception("stop_not_stored")
        await self._calm.wait()

    async def _interrupt(self, session: str) -> None:
        """Close the turns that a dead server left open, with the exact text that it had logged."""
        live = await self.open(session)
        before: int | None = None
        open_turns: list[TurnRecord] = []
        while page := await self.store.turns(session, before=before, limit=100):
            open_turns[:0] = [turn for turn in page if turn.reason is None]
            if any(turn.answer for turn in page):
                break  # turns are answered one at a time: whatever stands before this one has ended
            before = page[0].from_ + 1
        for turn in open_turns:
            self._log(live, [self._interrupted(live, turn)])
        await self._commits.landed(live)
        self._rest(live)

    def _interrupted(self, live: Live, turn: TurnRecord) -> Done:
        live.session.head += 1
        return Done(
            session=live.id,
            seq=live.session.head,
            turn=turn.turn,
            reason="interrupted",
            model=self.upstream.model,
            usage=None,
            timing=Timing(queued=0, first_token=None, total=max(0.0, self._wall() - turn.created)),
            check=proof(turn.answer.encode(), chars=len(turn.answer)),
        )

    async def _sweep(self) -> None:
        """Delete sessions that have rested for too long, now and then."""
        while True:
            gone = await self._swept()
            if gone:
                log.info("sessions_swept", count=gone)
            await asyncio.sleep(min(3600.0, max(1.0, self.policy.session_ttl / 10)))

    async def _swept(self) -> int:
        try:
            return await self.store.sweep(before=self._wall() - self.policy.session_ttl)
        except StoreError:
            log.exception("sweep_failed")
            return 0

    @property
    def sessions(self) -> int:
        """How many are live."""
        return len(self._live)


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
