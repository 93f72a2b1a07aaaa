"""Takeover: goes on with the turns of a session that another owner has left, as it drained or died."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from ..core.principal import Principal
from ..core.session import NewQuestion
from ..core.turn import Charge, TurnMachine, seq_of
from ..errors import QueueFull
from ..events import Options, TurnRecord
from ..store import Store
from ..upstream import Upstream
from .owner import Owner
from .policy import Policy
from .recovery import estimate_tokens, interrupted_end, unfinished_turns
from .turn_scheduler import TurnScheduler

log = structlog.get_logger(__name__)


class Takeover:
    """Ends what ran as `interrupted`, and asks what waited; `Policy.orphans` and `Policy.waiting_ttl` say more."""

    def __init__(
        self,
        scheduler: TurnScheduler,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, `wall_clock` counts from 1970, both in seconds."""
        self._scheduler = scheduler
        self._store = store
        self._upstream = upstream
        self._policy = policy
        self._clock = clock
        self._wall_clock = wall_clock

    async def read(self, session: str) -> Sequence[TurnRecord]:
        """Return the turns that have not ended, oldest first (`TurnRestorer.read`)."""
        return await unfinished_turns(self._store, session)

    def resume(self, owner: Owner, turns: Sequence[TurnRecord], *, orphaned: bool) -> None:
        """Let turns that waited wait again, and end the others (`TurnRestorer.resume`).

        Whether the oldest of an owner that died had been given to the model is not known without text, so it counts as
        having run: a question must not be asked twice unless the operator wants it.
        """
        now, oldest = self._wall_clock(), turns[0]
        again = orphaned and self._policy.orphans == "ask-again"
        ran = bool(oldest.answer or oldest.steps) or (orphaned and not again)
        ended = [
            turn
            for turn in turns
            if (turn is oldest and ran) or now - turn.created > self._policy.waiting_ttl  # also what is asked again
        ]
        for turn in turns:
            if turn not in ended:
                owner.state.restore_waiting(self._machine_of(owner, turn))
        waiting = len(owner.state.waiting)
        for turn in ended:
            self._end(owner, turn)
        if ran and again and now - oldest.created <= self._policy.waiting_ttl:
            self._ask_again(owner, oldest)
        log.info("session_claimed", session=owner.session, orphaned=orphaned, ended=len(ended), waiting=waiting)
        self._scheduler.enqueue_restored(owner)

    def _end(self, owner: Owner, turn: TurnRecord) -> None:
        if turn.answer or turn.steps:
            self._scheduler.admission.count_tokens(owner.topic.user, estimate_tokens(turn))
        owner.state.head += 1
        end = interrupted_end(
            owner.session, turn, seq=owner.state.head, model=self._upstream.model, now=self._wall_clock()
        )
        self._scheduler.append(owner, [end])

    def _machine_of(self, owner: Owner, turn: TurnRecord) -> TurnMachine:
        waited = max(0.0, self._wall_clock() - turn.created)
        return TurnMachine(
            seq_of(turn.turn),
            turn.text,
            asked_at=self._clock() - waited,
            options=turn.options or Options(),  # they were allowed when it was asked
            replaces=turn.replaces,
            charge=self._charge(owner),
        )

    def _charge(self, owner: Owner) -> Charge | None:
        """Return whom a turn is charged to: who made the session, without the role, which the log does not have."""
        user = owner.topic.user
        return None if user is None else Charge(self._scheduler.admission.client_of(Principal(user), ""))

    def _ask_again(self, owner: Owner, turn: TurnRecord) -> None:
        """Append the question of a turn that was cut once more: in its place, unless others wait behind it."""
        question = NewQuestion(
            text=turn.text,
            asked_at=self._clock() - max(0.0, self._wall_clock() - turn.created),
            created_at=turn.created,  # so that one whose answer ends every node is not asked for ever
            options=turn.options or Options(),
            charge=self._charge(owner),
        )
        model = self._upstream.model
        try:
            events = (
                owner.state.ask(question, when_busy="queue", model=model)
                if owner.state.waiting
                else owner.state.replace(turn.turn, question, model=model)
            )
        except QueueFull:
            return
        self._scheduler.append(owner, events)
