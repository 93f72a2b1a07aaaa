"""Hub: what can be done with sessions. It owns their turns; connections only read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Self, assert_never

import structlog

from ..core import guard
from ..core.commands import Ask, Cancel, Command, Edit, Forget, Retry
from ..core.principal import ANONYMOUS, Principal
from ..core.session import Asking
from ..core.turn import place_of
from ..errors import (
    AskbotError,
    ConfigError,
    Forbidden,
    Internal,
    InvalidFrame,
    LogMoved,
    Overloaded,
    SessionNotFound,
    StoreError,
    TurnNotFound,
)
from ..events import Event, Options, Question, TurnRecord
from ..store import Store
from ..upstream import Upstream
from .commits import Throttle
from .owner import Owner
from .policy import Policy
from .recovery import interrupted, unfinished
from .registry import ExclusiveOwner, SessionRegistry
from .topic import Reader, Topic
from .turns import STOP_TIMEOUT, Turns

RECOVERY_RETRY = 30.0  # seconds between attempts to close what a reset left open, at most

log = structlog.get_logger(__name__)


class Hub:
    """All sessions that are in this process. Use as a context: its tasks end with it."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        throttle: Throttle | None = None,
    ) -> None:
        """`throttle` may stop the loop for a moment, where it is ours to stop: docs/decisions/0006."""
        self.store = store
        self.upstream = upstream
        self.policy = policy
        self._clock = clock
        self._wall = wall
        self._registry = SessionRegistry(store, policy, pending=self._is_pending)
        self._turns = Turns(
            store,
            upstream,
            policy,
            on_idle=self._registry.note_idle,
            on_broken=self._reset,
            throttle=throttle,
            clock=clock,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._deletions: set[asyncio.Task[int]] = set()

    async def __aenter__(self) -> Self:
        """Close what a dead server left open. Raises `ConfigError` where the store can't be used."""
        sessions = await self.store.open()
        try:
            for session in sessions:
                await self._interrupt(session)
        except StoreError as error:
            await self.store.close()
            raise ConfigError(
                f"the store takes nothing ({error.__cause__ or error}): make room, and see that we may write there."
            ) from error
        except BaseException:
            await self.store.close()
            raise
        self._spawn(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self.stop()
            if self._deletions:
                await asyncio.wait(self._deletions)
        finally:
            await self.store.close()

    def _is_pending(self, owner: Owner) -> bool:
        return bool(owner.unstored) or self._turns.commits.pending(owner)

    # --- reading -----------------------------------------------------------------------------------------------------

    def create(self, principal: Principal) -> Topic:
        """A new session. It costs the store nothing until its first question."""
        return self._registry.create(principal)

    async def open(self, principal: Principal, session: str) -> Topic:
        """A session that exists; attach a reader at once to keep it. Raises `SessionNotFound`, `StoreError`."""
        return await self._registry.topic(principal, session)

    def attach(self, topic: Topic, reader: Reader) -> None:
        """Wake this reader from now on."""
        topic.add(reader)
        self._registry.note_idle(topic.session)
        owner = self._registry.owners.get(topic.session)
        if owner is not None and owner.abandon_timer is not None:
            owner.abandon_timer.cancel()
            owner.abandon_timer = None

    def detach(self, topic: Topic, reader: Reader) -> None:
        """Wake it no more. The turn goes on, unless the policy says that nobody's answers are given up."""
        topic.remove(reader)
        if self._registry.topics.get(topic.session) is not topic:
            return  # it was forgotten
        owner, after = self._registry.owners.get(topic.session), self.policy.abandon_after
        if owner and not topic.readers and after is not None and not owner.state.idle and owner.abandon_timer is None:
            owner.abandon_timer = asyncio.get_running_loop().call_later(after, self._abandon, owner)
        self._registry.note_idle(topic.session)

    def _abandon(self, owner: Owner) -> None:
        owner.abandon_timer = None
        self._turns.end_all(owner, "cancelled")

    async def turns(self, topic: Topic, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns whose question has a `seq` less than `before`, oldest first."""
        return await self.store.turns(topic.session, before=before, limit=limit)

    def is_busy(self, session: str) -> bool:
        """Whether a turn of this session runs or waits."""
        owner = self._registry.owners.get(session)
        return owner is not None and not owner.state.idle

    @property
    def sessions(self) -> int:
        """How many are in memory."""
        return len(self._registry)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def command(self, principal: Principal, session: str, command: Command) -> int:
        """Do what is asked of a session; returns the `seq` from which on the log shows it.

        What has been done already, under the same id, is not done again. Raises `SessionNotFound` and whatever the
        command may raise; then nothing has changed.
        """
        match command:
            case Ask() | Edit():
                guard.check(command.text, max_chars=self.policy.max_question)
                self._check_options(command.options)
            case Retry():
                self._check_options(command.options)
            case Cancel():
                pass
            case Forget():
                return await self._forget(principal, session)
            case _:
                assert_never(command)
        owner = await self._registry.owner(principal, session)
        async with ExclusiveOwner(self._registry, owner):
            match command:
                case Ask():
                    return await self._ask(owner, command)
                case Retry() | Edit():
                    return await self._replace(owner, command)
                case Cancel():
                    turn = owner.state.find(command.turn)
                    await self._turns.store(owner, self._turns.cancelled(owner, turn, "cancelled"))
                    return owner.state.head

    async def _ask(self, owner: Owner, command: Ask) -> int:
        known = await self._asked(owner, command.id, command.text)
        if known is not None:
            return known
        self._admit(owner)
        asking = self._asking(command.text, command.id, command.options)
        events = owner.state.ask(asking, when_busy=command.when_busy, model=self.upstream.model)
        await self._turns.store(owner, events)
        return events[-1].seq

    async def _replace(self, owner: Owner, command: Retry | Edit) -> int:
        """Ask in a turn's place: the same question again, or another one, with the options that it had."""
        text = command.text if isinstance(command, Edit) else None
        known = await self._asked(owner, command.id, text)
        if known is not None:
            return known
        turn = command.turn or await self._last(owner)
        question = await self._question(owner, turn)
        options = _merged(question.options or Options(), command.options)
        self._check_options(options)  # what was allowed then may not be now
        self._admit(owner)
        asking = self._asking(text or question.text, command.id, options)
        events = owner.state.replace(turn, asking, model=self.upstream.model)
        await self._turns.store(owner, events)
        return events[-1].seq

    async def _forget(self, principal: Principal, session: str) -> int:
        """Delete the session and all it holds, everywhere. Raises `StoreError`: then it is still there."""
        owner = await self._registry.owner(principal, session)
        exclusive = ExclusiveOwner(self._registry, owner)
        await exclusive.__aenter__()
        deletion = asyncio.get_running_loop().create_task(self._delete(owner, exclusive))
        self._deletions.add(deletion)
        deletion.add_done_callback(self._deletions.discard)
        return await asyncio.shield(deletion)  # whoever stops waiting does not stop it half-way

    async def _delete(self, owner: Owner, exclusive: ExclusiveOwner) -> int:
        try:
            self._turns.end_all(owner, "cancelled")
            await self._turns.commits.stored(owner)  # or a turn whose end is lost waits again, and would be asked
            if owner.task is not None:
                await asyncio.wait([owner.task], timeout=STOP_TIMEOUT)
            if owner.closed is not None:
                raise owner.closed
            await self._registry.delete(owner.session)
            self._turns.commits.discard(owner)
            owner.closed = SessionNotFound("The session was forgotten.")
            owner.topic.close(owner.closed)
            return owner.state.head
        finally:
            await exclusive.__aexit__()

    def _asking(self, text: str, id: str | None, options: Options) -> Asking:
        return Asking(text=text, now=self._clock(), created=self._wall(), id=id, options=options)

    def _check_options(self, options: Options) -> None:
        if options.model is not None and options.model not in self.policy.models | {self.upstream.model}:
            raise Forbidden("This model is not offered here.")
        if options.max_tokens is not None and options.max_tokens > self.policy.max_tokens:
            raise Forbidden(f"max_tokens: {self.policy.max_tokens} are the most.")

    def _admit(self, owner: Owner) -> None:
        if owner.closed is not None:  # while something was looked up: another one writes the session now
            raise owner.closed
        if self.draining:
            raise Overloaded("The server is about to restart.", retry_after=1.0)
        if owner.state.idle and self._turns.running >= self.policy.max_turns:
            raise Overloaded("As many answers are running as the server can take.", retry_after=1.0)

    # --- what is in the log ------------------------------------------------------------------------------------------

    async def _asked(self, owner: Owner, id: str | None, text: str | None) -> int | None:
        """The place of the question that has this id already (docs/protocol.md, promise 3).

        Raises `InvalidFrame` where that one has another text.
        """
        if id is None:
            return None
        known = owner.state.asked.get(id)
        if known is not None:
            same, seq = text is None or known.text == hash(text), known.seq
        elif owner.state.all_asked:
            return None
        else:
            turn = await self.store.asked(owner.session, id)
            if turn is None:
                return None
            question = await self._question(owner, turn)
            same, seq = text is None or question.text == text, question.seq
        if not same:
            raise InvalidFrame("id: another question of this session has it; each needs its own.")
        return seq

    async def _last(self, owner: Owner) -> str:
        newest = await self.store.turns(owner.session, limit=1)
        if not newest:
            raise TurnNotFound("There is no turn yet.")
        return newest[-1].turn

    async def _question(self, owner: Owner, turn: str) -> Question:
        place, log = place_of(turn), owner.topic.log
        if place <= log.head:
            after = place - 1
            in_memory = after >= log.start
            found: Sequence[Event] = (
                log.read(after=after, limit=1)
                if in_memory
                else await self.store.read(owner.session, after=after, limit=1)
            )
            for event in found:
                if isinstance(event, Question) and event.turn == turn:
                    return event
        raise TurnNotFound

    # --- when something is wrong -------------------------------------------------------------------------------------

    def _reset(self, owner: Owner, error: Exception) -> None:
        """Let go of a session in which a fault of ours came up: what the store has of it is the truth.

        Its readers are closed and come back; a turn that was running is closed as `interrupted`.
        """
        log.error("session_reset", session=owner.session, exc_info=error)
        unstored = [] if isinstance(error, LogMoved) else [*owner.unstored]
        self._turns.commits.discard(owner)
        if owner.closed is not None:
            return
        owner.closed = Internal()
        self._registry.remove(owner.session)
        if unstored:  # they were shown, and are in the log: what the next owner appends comes after them
            self._registry.unstored[owner.session] = unstored
        owner.state.close()
        owner.stop_task()
        owner.topic.close(owner.closed)
        self._spawn(self._recover(owner.session))

    async def _recover(self, session: str) -> None:
        """Close the turns that a reset left open; where the store takes nothing just now, later."""
        wait = 0.0
        while not self.draining:
            await asyncio.sleep(wait)
            try:
                await self._interrupt(session)
            except SessionNotFound:
                return
            except AskbotError:
                wait = min(RECOVERY_RETRY, max(1.0, 2 * wait))
                log.warning("session_not_recovered", session=session, retry_in_s=wait)
            else:
                return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    # --- the beginning and the end -----------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new turns are refused."""
        return self._turns.draining

    async def drain(self, limit: float) -> None:
        """Take no new turns; let running ones end, for at most `limit` seconds."""
        self.refuse()
        for owner in tuple(self._registry.owners.values()):
            self._turns.end_waiting(owner, "interrupted")
        await self._turns.ended(limit)

    def refuse(self) -> None:
        """Take no new turns from now on."""
        self._turns.draining = True

    async def stop(self) -> None:
        """End every turn now, as interrupted."""
        self.refuse()
        for owner in tuple(self._registry.owners.values()):
            self._turns.end_all(owner, "interrupted")
        try:
            await self._turns.commits.all_stored()
        except StoreError:
            log.exception("stop_not_stored")
        await self._turns.ended(STOP_TIMEOUT)

    async def _interrupt(self, session: str) -> None:
        """Close the turns that a dead server left open."""
        owner = await self._registry.owner(ANONYMOUS, session)
        async with ExclusiveOwner(self._registry, owner):
            turns = await unfinished(self.store, session)
            if owner.closed is not None:
                raise owner.closed
            for turn in turns:
                if owner.state.has(turn.turn):
                    continue  # asked since then
                owner.state.head += 1
                head, model = owner.state.head, self.upstream.model
                self._turns.append(owner, [interrupted(session, turn, seq=head, model=model, now=self._wall())])
            if owner.unstored:
                self._turns.commits.add(owner, ())  # they go with whatever is added
            await self._turns.commits.stored(owner)

    async def _sweep(self) -> None:
        """Delete sessions that were idle for too long, now and then."""
        while True:
            gone = await self._swept()
            if gone:
                log.info("sessions_swept", count=gone)
            await asyncio.sleep(min(3600.0, max(1.0, self.policy.session_ttl / 10)))

    async def _swept(self) -> int:
        try:
            return await self.store.sweep(idle=self.policy.session_ttl)
        except StoreError:
            log.exception("sweep_failed")
            return 0


def _merged(had: Options, given: Options) -> Options:
    """The options of a question that is asked again: what is given now over what it had."""
    return Options(
        model=had.model if given.model is None else given.model,
        temperature=had.temperature if given.temperature is None else given.temperature,
        max_tokens=had.max_tokens if given.max_tokens is None else given.max_tokens,
    )
