"""Hub: the interface to all sessions of this process. It runs their turns; connections read and send commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Self

import structlog

from ..core.access import check_change, check_create, check_list, check_read, may_create
from ..core.allowance import NO_LIMITS, Allowances
from ..core.commands import Command, Forget, Fork
from ..core.principal import Principal
from ..core.session_id import is_session_id
from ..errors import (
    Internal,
    InvalidFrame,
    LogMoved,
    SessionNotFound,
    StoreError,
    StoreUnavailable,
)
from ..metrics import Metrics
from ..store import SessionPage, SessionQuery, Store
from ..store.shared import SharedStore
from ..upstream import Upstream
from .abandonment import Abandonment
from .administration import Administration
from .client_limits import ClientLimits
from .command_handler import CommandHandler
from .group_commit import Throttle
from .history_page import HistoryPage, read_history_page
from .owner import Owner
from .placement import ForwardedCommand, LocalPlacement, OwnedElsewhere, Placement
from .policy import Policy
from .recovery import Recovery
from .registry import SessionRegistry
from .session_copier import ForkedSession, SessionCopier
from .shared_sessions import SharedSessions
from .takeover import Takeover
from .title_maker import TitleMaker
from .topic import Reader, Topic
from .turn_scheduler import STOP_TIMEOUT_SECONDS, TurnObserver, TurnScheduler

log = structlog.get_logger(__name__)


class Hub:
    """All sessions of this process. It is an async context manager: its tasks end with the block."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        throttle: Throttle | None = None,
        observer: TurnObserver | None = None,
        allowances: Allowances = NO_LIMITS,
        placement: Placement | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        """`clock` is monotonic, `wall_clock` counts from 1970, both in seconds; `allowances`: what clients may do.

        `placement` says which process writes a session; None: this one, which has the store for itself.

        `throttle` may block the event loop for some milliseconds after commits (docs/decisions/0006); None: it never
        is blocked. `observer` is told of turns that ended. `limits` counts what clients use; None: here, for one node.
        """
        self.store = store
        self._shared_store = store if isinstance(store, SharedStore) else None
        self.upstream = upstream
        self.policy = policy
        self.metrics = Metrics()  # of the whole server
        self._placement = placement or LocalPlacement()
        self._registry = SessionRegistry(store, policy, is_pending=self._is_pending, placement=self._placement)
        self._scheduler = TurnScheduler(
            store,
            upstream,
            policy,
            on_idle=self._registry.mark_idle,
            on_broken=self._reset_session,
            throttle=throttle,
            clock=clock,
            metrics=self.metrics,
            observer=observer,
            wall_clock=wall_clock,
            is_shared=self._placement.shared,
            limits=limits,
        )
        self.admission = self._scheduler.admission
        self.admission.allowances = allowances
        self._commands = CommandHandler(
            self._registry, self._scheduler, store, upstream, policy, clock=clock, wall_clock=wall_clock
        )
        self.administration = Administration(
            self._registry, self._commands, store, self.admission, delete_elsewhere=self._delete_elsewhere
        )
        self._copier = SessionCopier(self._registry, store, policy, self._scheduler.group_commit, self.admission)
        self._recovery = Recovery(self._registry, self._scheduler, store, upstream, wall_clock=wall_clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandonment = Abandonment(self._scheduler, self._placement, policy, spawn=self._spawn)
        self._shared = SharedSessions(
            self._registry,
            self._scheduler,
            self._commands,
            self._placement,
            on_unread=self._abandonment.watch,
            on_left_open=self._take_over_again,
        )
        self._left_open: set[str] = set()  # sessions that are being taken over again
        if self._placement.shared:
            self._registry.on_claim_failed = self._take_over_again
            self._registry.turn_restorer = Takeover(
                self._scheduler, store, upstream, policy, clock=clock, wall_clock=wall_clock
            )
        if policy.titles == "model":
            titles = TitleMaker(self._registry, self._scheduler, store, upstream, spawn=self._spawn)
            self._scheduler.on_turn_ended = titles.on_turn_ended

    async def __aenter__(self) -> Self:
        """Open the store and end the turns that a server left open. Raises `ConfigError` where it can't be used."""
        if self._shared_store is not None:
            self._shared_store.observer = self._shared
        sessions = await self.store.open()
        try:
            for session in sessions:
                await self._recovery.close_unfinished_turns(session, count_tokens=True)
            await self._placement.open(self._shared)
        except StoreError as error:
            await self.store.close()
            raise StoreUnavailable(
                f"the store takes nothing ({error.__cause__ or error}): make room, and see that we may write there."
            ) from error
        except BaseException:
            await self.store.close()
            raise
        await self.admission.limits.open()
        self._spawn(self._delete_expired_sessions())
        if self._placement.shared:
            self._spawn(self._shared.release_idle_owners())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self.stop()
            await self._commands.wait_deletions()
            await self.admission.limits.close()
        finally:
            await self._placement.close()
            await self.store.close()

    def _is_pending(self, owner: Owner) -> bool:
        return bool(owner.unstored) or self._scheduler.group_commit.is_pending(owner)

    # --- reading -----------------------------------------------------------------------------------------------------

    def create(self, principal: Principal, *, temporary: bool = False) -> Topic:
        """Make a new session. The store has nothing of it until its first question.

        A `temporary` one is deleted by the caller, once its answer has been read: no title is made for it.
        Raises `Forbidden` where the credential is for one session or for reading only.
        """
        check_create(principal)
        return self._registry.create(principal, temporary=temporary)

    async def open(self, principal: Principal, session: str) -> Topic:
        """Return the topic of a session; it may be evicted unless a reader is attached before the next await.

        Raises `SessionNotFound`, also for another user's session, `Forbidden` where the credential is for another
        session, and `StoreError`.
        """
        check_read(principal, session)
        return await self._registry.open_topic(principal, session)

    async def resume(
        self, principal: Principal, session: str, *, after: int | None = None, history: str | None = None
    ) -> Topic:
        """Return the topic of a session that a reader comes back to; otherwise like `open`.

        `after` and `history` are where the reader has been: another node may have shown it what this one lacks yet.
        Once it was told that there is no such session, no node makes it: the reader asks in another one.
        """
        store = self._shared_store
        try:
            topic = await self.open(principal, session)
        except SessionNotFound:
            asks_elsewhere = is_session_id(session) and may_create(principal)
            if store is None or not asks_elsewhere or await store.prevent_creation(session):
                raise
            topic = await self.open(principal, session)  # it was made meanwhile, or is another user's
        behind = after is not None and after > topic.log.head
        if store is not None and (behind or history not in {None, topic.log.history}):
            await store.catch_up(session)
            await asyncio.sleep(0)  # until `SharedSessions` was told
            topic = await self.open(principal, session)
        return topic

    def attach(self, topic: Topic, reader: Reader) -> None:
        """Notify this reader of new events from now on."""
        topic.add(reader)
        self._registry.mark_idle(topic.session)
        owner = self._registry.owners.get(topic.session)
        if owner is not None:
            self._abandonment.stop(owner)

    def detach(self, topic: Topic, reader: Reader) -> None:
        """Stop notifying this reader. Turns go on; without readers, for `Policy.abandon_after` at most."""
        topic.remove(reader)
        if self._registry.topics.get(topic.session) is not topic:
            return  # the session was deleted or reset
        owner = self._registry.owners.get(topic.session)
        if owner is not None:
            self._abandonment.watch(owner)
        elif not topic.readers and self._placement.shared and self.policy.abandon_after is not None:
            self._registry.remove(topic.session)  # so that its owner, another node, sees that it is not read here
        self._registry.mark_idle(topic.session)

    async def history(self, topic: Topic, *, before: int | None = None, limit: int) -> HistoryPage:
        """Return the newest turns, oldest first: up to `limit` that fit, of those whose question is below `before`."""
        return await read_history_page(self.store, topic.session, before=before, limit=limit)

    async def list_sessions(self, principal: Principal, *, before: str | None = None, limit: int) -> SessionPage:
        """Return a page of the user's own sessions, as `Store.list_sessions`.

        Raises `Forbidden` for anonymous clients and credentials for one session, `InvalidFrame` for a `before` that is
        not the `more` of a page, and `StoreError`.
        """
        query = SessionQuery(check_list(principal))
        try:
            return await self.store.list_sessions(query, before=before, limit=limit)
        except ValueError:
            raise InvalidFrame("before: it should be the `more` of the page before.") from None

    def check_load(self, session: str, id: str | None) -> None:
        """Raise `Overloaded` where a question of a session would be refused so, and surely has not been asked before.

        `command` does the same, some turns of the event loop later, which are long while there is too much to do.
        """
        if id is not None:
            owner, topic = self._registry.owners.get(session), self._registry.topics.get(session)
            if owner is not None:
                is_new = owner.state.knows_all_questions and id not in owner.state.known_questions
            else:
                is_new = topic is not None and topic.log.head == 0
            if not is_new:
                return
        self.admission.check_load()

    def models_of(self, principal: Principal) -> tuple[str, ...]:
        """Return the models that a question of this principal may name, the default first."""
        allowance = self.admission.allowances.of(principal.role)
        return allowance.models_of(self.policy.offered_models(self.upstream.model))

    def is_busy(self, session: str) -> bool:
        """Return whether a turn of this session runs or waits."""
        owner = self._registry.owners.get(session)
        return owner is not None and not owner.state.idle

    def apply_limits(self, allowances: Allowances, *, max_turns: int | None, max_queued: int | None) -> None:
        """Change what clients may do, how many turns run and how many wait; None: any number."""
        self.admission.apply(allowances, max_turns=max_turns, max_queued=max_queued)
        self._scheduler.start_waiting()

    @property
    def turns_running(self) -> int:
        """How many turns run."""
        return self._scheduler.running_count

    @property
    def turns_waiting(self) -> int:
        """How many turns wait, in all sessions."""
        return self._scheduler.waiting_count

    @property
    def append_started_at(self) -> float | None:
        """When the store was given what it has not accepted yet, in seconds of the loop's clock; None: nothing."""
        return self._scheduler.group_commit.append_started_at

    @property
    def session_count(self) -> int:
        """How many sessions are in memory."""
        return len(self._registry)

    @property
    def unstored_end_count(self) -> int:
        """How many ends of turns were shown and are still to be stored (docs/decisions/0004)."""
        owned = sum([len(owner.unstored) for owner in self._registry.owners.values()])
        return owned + sum(map(len, self._registry.unstored.values()))

    # --- commands ----------------------------------------------------------------------------------------------------

    async def command(self, principal: Principal, session: str, command: Command, *, address: str = "") -> int:
        """Execute a command; returns the `seq` of its last event, once that is stored.

        `address` is the client's IP address: an anonymous client's limits are those of its address.

        What has been done already, under the same id, is not done again. Raises `SessionNotFound`, `Forbidden` where
        the credential is for another session or for reading only, and whatever the command may raise; then nothing has
        changed.
        """
        check_change(principal, session)
        try:
            return await self._commands.execute(principal, session, command, address=address)
        except (OwnedElsewhere, LogMoved) as error:
            return await self._execute_elsewhere(ForwardedCommand(principal, session, command, address), error)

    async def _execute_elsewhere(self, forwarded: ForwardedCommand, error: OwnedElsewhere | LogMoved) -> int:
        run_here = partial(self._shared.execute_forwarded, forwarded)
        return await self._placement.forward(forwarded, error, run_here)

    async def _delete_elsewhere(self, principal: Principal, session: str, error: OwnedElsewhere) -> None:
        await self._execute_elsewhere(ForwardedCommand(principal, session, Forget()), error)

    async def fork(self, principal: Principal, session: str, command: Fork, *, address: str = "") -> ForkedSession:
        """Make a new session of a turn and of what the model was shown for it; returns it once it is stored.

        What has been made already, under the same id, is not made again. Raises `SessionNotFound`, `TurnNotFound`,
        `Busy` where the turn has not ended, `Forbidden` as `create` does, and `StoreError`; then nothing has changed.
        """
        check_create(principal)
        return await self._copier.fork(principal, session, command, address=address)

    def use_policy(self, policy: Policy) -> None:
        """Allow what another policy allows, from the next command and turn on."""
        self.policy.replace_by(policy)
        self._scheduler.use_policy(self.policy)
        for owner in self._registry.owners.values():
            owner.state.max_waiting = self.policy.max_waiting

    def cancel_asked_with(self, credential: str) -> None:
        """Cancel all turns, running and waiting, that were asked with this credential (`Principal.credential`)."""
        for owner in tuple(self._registry.owners.values()):
            self._scheduler.cancel_asked_with(owner, credential)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _reset_session(self, owner: Owner, error: Exception) -> None:
        """Remove a session whose state is unknown from memory: it is opened again as the store has it.

        Its readers are closed, so that clients resume; its running turn ends as `interrupted`.
        """
        if self._placement.shared and isinstance(error, StoreError):  # another node writes it, or Redis was away
            log.warning("session_reopened", session=owner.session, cause=str(error.__cause__ or error))
        else:
            log.error("session_reset", session=owner.session, exc_info=error)
        if self._placement.shared:
            if self._shared.discard_owner(owner, error):
                self._take_over_again(owner.session)
            return
        unstored = [] if isinstance(error, LogMoved) else [*owner.unstored]
        self._scheduler.group_commit.discard(owner)
        if owner.closed is not None:
            return
        owner.closed = Internal()
        self._registry.remove(owner.session)
        if unstored:  # they were shown, so they stay in the log before whatever the next owner appends
            self._registry.unstored[owner.session] = unstored
        owner.state.close()
        self._scheduler.discard(owner)
        owner.cancel_task()
        owner.topic.close(owner.closed)
        self._spawn(self._recovery.close_with_retries(owner.session))

    def _take_over_again(self, session: str) -> None:
        """Take over a session whose turns may have no owner, again and again until they have one."""
        if session not in self._left_open:
            self._left_open.add(session)
            self._spawn(self._close_left_open(session))

    async def _close_left_open(self, session: str) -> None:
        try:
            await self._recovery.close_with_retries(session, close=partial(self._placement.ensure_owner, orphaned=True))
        finally:
            self._left_open.discard(session)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    # --- shutdown ----------------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new turns are refused."""
        return self._scheduler.draining

    async def drain(self, max_seconds: float) -> None:
        """Refuse new turns, and wait at most `max_seconds` for running ones.

        Waiting ones end as `interrupted`; with several nodes, others ask them.
        """
        self.refuse_turns()
        if self._placement.shared:
            await self._shared.hand_over(max_seconds)
            return
        for owner in tuple(self._registry.owners.values()):
            self._scheduler.end_waiting(owner, "interrupted")
        await self._scheduler.wait_ended(max_seconds)

    def refuse_turns(self) -> None:
        """Refuse new turns from now on."""
        self._scheduler.stop_starting()
        self._placement.stop_claiming()

    async def stop(self) -> None:
        """End all turns as `interrupted`, and wait until that is stored; with several nodes, those that run."""
        self.refuse_turns()
        end = self._scheduler.end_running if self._placement.shared else self._scheduler.end_all
        for owner in tuple(self._registry.owners.values()):
            end(owner, "interrupted")
        try:
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS if self._placement.shared else None):
                await self._scheduler.group_commit.wait_all_stored()
        except (StoreError, TimeoutError):
            log.exception("shutdown_write_failed")
        await self._scheduler.wait_ended(STOP_TIMEOUT_SECONDS)
        if self._placement.shared:
            await self._shared.hand_over(0)

    async def _delete_expired_sessions(self) -> None:
        """Delete sessions that were idle for longer than `Policy.session_ttl`, again and again."""
        while True:
            count = await self._delete_expired_once()
            if count:
                log.info("sessions_expired", count=count)
            await asyncio.sleep(min(3600.0, max(1.0, self.policy.session_ttl / 10)))

    async def _delete_expired_once(self) -> int:
        try:
            return await self.store.sweep(idle=self.policy.session_ttl)
        except StoreError:
            log.exception("session_expiry_failed")
            return 0
