"""Command handler: executes commands, the only way to change a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from ..core.allowance import Client
from ..core.commands import Ask, Cancel, Command, Edit, Forget, Retry, Title
from ..core.principal import Principal
from ..core.session import NewQuestion
from ..core.text import check_question
from ..core.turn import seq_of
from ..errors import InvalidFrame, Overloaded, SessionNotFound, StoreError, TurnNotFound
from ..events import Event, Options, Question
from ..store import Store
from ..upstream import Upstream
from .admission import AdmissionRequest
from .owner import Owner
from .policy import Policy
from .registry import ExclusiveOwner, SessionRegistry
from .turn_scheduler import STOP_TIMEOUT_SECONDS, TurnScheduler


class CommandHandler:
    """Executes commands; those of one session one at a time, in the order of their arrival."""

    def __init__(
        self,
        registry: SessionRegistry,
        scheduler: TurnScheduler,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._store = store
        self._upstream = upstream
        self._policy = policy
        self._clock = clock
        self._wall_clock = wall_clock
        self._deletions: set[asyncio.Task[int]] = set()

    async def wait_deletions(self) -> None:
        """Wait until the deletions that were started are done."""
        if self._deletions:
            await asyncio.wait(self._deletions)

    async def execute(self, principal: Principal, session: str, command: Command, *, address: str) -> int:
        """Execute a command; returns the `seq` of its last event. See `Hub.command`."""
        client = self._scheduler.admission.client_of(principal, address)
        match command:
            case Ask() | Edit():
                check_question(command.text, max_chars=self._policy.max_question)
                self._used_options(client, command.options)
            case Retry():
                self._used_options(client, command.options)
            case Cancel() | Title():
                pass
            case Forget():
                return await self.delete(await self._registry.open_owner(principal, session))
            case _:
                assert_never(command)
        owner = await self._registry.open_owner(principal, session)
        async with ExclusiveOwner(self._registry, owner):
            try:
                return await self._execute(principal, owner, client, command)
            except TurnNotFound:
                await self._registry.confirm_owner(owner)  # which may have the turn, if that is another node by now
                raise

    async def _execute(
        self, principal: Principal, owner: Owner, client: Client, command: Ask | Retry | Edit | Cancel | Title
    ) -> int:
        match command:
            case Ask():
                return await self._ask(principal, owner, client, command)
            case Retry() | Edit():
                return await self._replace(principal, owner, client, command)
            case Cancel():
                turn = owner.next_turn if command.turn is None else None
                turn = turn or owner.state.find_open_turn(command.turn)
                await self._scheduler.append_and_wait(owner, self._scheduler.cancel_turn(owner, turn, "cancelled"))
                return owner.state.head
            case Title():
                await self._scheduler.append_and_wait(owner, owner.state.set_title(command.text))
                return owner.state.head

    async def _ask(self, principal: Principal, owner: Owner, client: Client, command: Ask) -> int:
        known = await self._find_duplicate(owner, command.id, command.text)
        if known is not None:
            return known
        replaces = command.when_busy == "replace"

        def check() -> bool:
            self._check_open(owner)
            owner.state.check_may_ask(command.when_busy)
            return replaces and (owner.next_turn is not None or owner.state.running is not None)

        request = AdmissionRequest(client, command.text, command.options)
        question = await self._admit(principal, owner, request, id=command.id, check=check)
        events: list[Event] = []
        replaced = owner.next_turn if replaces else None
        if replaced is not None:
            events += self._scheduler.cancel_turn(owner, replaced, "cancelled")
        events += owner.state.ask(question, when_busy=command.when_busy, model=self._upstream.model)
        await self._scheduler.append_and_wait(owner, events)
        return events[-1].seq

    async def _replace(self, principal: Principal, owner: Owner, client: Client, command: Retry | Edit) -> int:
        """Replace a turn by its own question again, or by another one; options that are not given stay."""
        text = command.text if isinstance(command, Edit) else None
        known = await self._find_duplicate(owner, command.id, text)
        if known is not None:
            return known
        turn = command.turn or await self._last_turn(owner)
        before = await self._read_question(owner, turn)
        options = _merge_options(before.options or Options(), command.options)

        def check() -> bool:
            self._check_open(owner)
            return owner.state.has_open_turn_from(seq_of(turn))

        request = AdmissionRequest(client, text or before.text, options)
        question = await self._admit(principal, owner, request, id=command.id, check=check)
        events = owner.state.replace(turn, question, model=self._upstream.model)
        await self._scheduler.append_and_wait(owner, events)
        return events[-1].seq

    async def _admit(
        self,
        principal: Principal,
        owner: Owner,
        request: AdmissionRequest,
        *,
        id: str | None,
        check: Callable[[], bool],
    ) -> NewQuestion:
        """Return a question that is taken. Raises as `Admission.admit`, and `Forbidden` for its options."""
        # What is allowed may have changed since the turn that is replaced.
        used = self._used_options(request.client, request.options)
        admission = self._scheduler.admission
        charge = await admission.admit(owner, principal, replace(request, options=used), check=check)
        return NewQuestion(
            text=request.text,
            asked_at=self._clock(),
            created_at=self._wall_clock(),
            id=id,
            options=request.options,
            used_options=used,
            charge=charge,
            credential=principal.credential,
        )

    async def delete(self, owner: Owner) -> int:
        """Delete a session; returns its last `seq`. Raises `SessionNotFound`, and `StoreError`; then it still exists.

        No other task may run between the opening of the owner and this call.
        """
        exclusive = ExclusiveOwner(self._registry, owner)
        await exclusive.__aenter__()
        deletion = asyncio.get_running_loop().create_task(self._delete(owner, exclusive))
        self._deletions.add(deletion)
        deletion.add_done_callback(self._deletions.discard)
        return await asyncio.shield(deletion)  # a cancelled caller must not cancel half of it

    async def _delete(self, owner: Owner, exclusive: ExclusiveOwner) -> int:
        try:
            self._scheduler.end_all(owner, "cancelled")
            await self._scheduler.group_commit.wait_stored(owner)  # a turn whose end is lost would run again
            if owner.task is not None:
                await asyncio.wait([owner.task], timeout=STOP_TIMEOUT_SECONDS)
            if owner.closed is not None:
                raise owner.closed
            await self._registry.delete(owner.session)
            self._scheduler.group_commit.discard(owner)
            if owner.state.head and not owner.topic.temporary:  # one without a question was never counted
                self._scheduler.admission.limits.session_deleted(owner.topic.user)
            owner.closed = SessionNotFound("The session was forgotten.")
            owner.topic.close(owner.closed)
            return owner.state.head
        finally:
            await exclusive.__aexit__()

    def _used_options(self, client: Client, options: Options) -> Options:
        """Return the options with which the model is asked. Raises `Forbidden`."""
        offered = self._policy.offered_models(self._upstream.model)
        return client.allowance.resolve_options(options, offered=offered, max_tokens=self._policy.max_tokens)

    def _check_open(self, owner: Owner) -> None:
        if owner.closed is not None:  # since the last await: the session has another owner now
            raise owner.closed
        if self._scheduler.is_shared and self._scheduler.group_commit.is_stalled:
            raise StoreError  # no new questions, while answers that run go on in memory
        handed_over = self._scheduler.is_shared and not owner.state.idle  # it waits, and another node asks it
        if self._scheduler.draining and not handed_over:
            raise Overloaded("The server is about to restart.", retry_after=1.0)

    # --- what is in the log ------------------------------------------------------------------------------------------

    async def _find_duplicate(self, owner: Owner, id: str | None, text: str | None) -> int | None:
        """Return the `seq` of the logged question with this id, or None (docs/protocol.md, promise 3).

        Raises `InvalidFrame` where it has another text.
        """
        if id is None:
            return None
        known = owner.state.known_questions.get(id)
        if known is not None:
            same, seq = text is None or known.text_hash == hash(text), known.seq
        elif owner.state.knows_all_questions:
            return None
        else:
            turn = await self._store.find_turn(owner.session, id)
            if turn is None:
                return None
            question = await self._read_question(owner, turn)
            same, seq = text is None or question.text == text, question.seq
        if not same:
            raise InvalidFrame("id: another question of this session has it; each needs its own.")
        return seq

    async def _last_turn(self, owner: Owner) -> str:
        newest = await self._store.turns(owner.session, limit=1)
        if not newest:
            raise TurnNotFound("There is no turn yet.")
        return newest[-1].turn

    async def _read_question(self, owner: Owner, turn: str) -> Question:
        seq, log = seq_of(turn), owner.topic.log
        if seq <= log.head:
            after = seq - 1
            in_memory = after >= log.start
            found: Sequence[Event] = (
                log.read(after=after, limit=1)
                if in_memory
                else await self._store.read(owner.session, after=after, limit=1)
            )
            for event in found:
                if isinstance(event, Question) and event.turn == turn:
                    return event
        raise TurnNotFound


def _merge_options(had: Options, given: Options) -> Options:
    """Return the options of a question that is asked again: those given now, else those that it had."""
    return Options(
        model=had.model if given.model is None else given.model,
        temperature=had.temperature if given.temperature is None else given.temperature,
        max_tokens=had.max_tokens if given.max_tokens is None else given.max_tokens,
    )
