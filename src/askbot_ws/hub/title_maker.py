"""Title maker: has the model name a session after its first complete answer, where nobody has named it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from ..core.title import clean_title, title_prompt
from ..errors import AskbotError
from ..events import Done, TurnRecord
from ..store import Store
from ..upstream import ThinkingText, Upstream
from .owner import Owner
from .registry import ExclusiveOwner, SessionRegistry
from .turn_scheduler import TurnScheduler

TITLE_SECONDS = 20.0  # for which the model may take to make a title
MAX_IN_FLIGHT = 32  # titles that are made at the same time; further sessions get none
MAX_TURNS = 5  # a session that has more of them gets no title
MAX_ANSWER_CHARS = 2000  # of the model's answer, after which it is taken as it is

log = structlog.get_logger(__name__)


class TitleMaker:
    """Asks the upstream for titles, beside the turns: no turn waits for one."""

    def __init__(
        self,
        registry: SessionRegistry,
        scheduler: TurnScheduler,
        store: Store,
        upstream: Upstream,
        *,
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`spawn` runs a coroutine as a task, which is cancelled when the hub ends."""
        self._registry = registry
        self._scheduler = scheduler
        self._store = store
        self._upstream = upstream
        self._spawn = spawn
        self._in_flight = 0

    def on_turn_ended(self, owner: Owner, done: Done) -> None:
        """Begin to make a title where this may be the session's first complete answer."""
        if (
            done.reason == "stop"
            and not owner.topic.title
            and not owner.topic.temporary
            and not self._scheduler.draining
            and self._in_flight < MAX_IN_FLIGHT
        ):
            self._spawn(self._make(owner, done.turn))

    async def _make(self, owner: Owner, turn: str) -> None:
        self._in_flight += 1
        try:
            await self._scheduler.group_commit.wait_stored(owner)
            record = await self._first_complete(owner, turn)
            title = clean_title(await self._ask(owner, record)) if record is not None else ""
            if title:
                await self._set_title(owner.session, title)
        except (AskbotError, TimeoutError) as error:
            log.debug("title_failed", session=owner.session, cause=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever a function of the operator's raises, no turn is touched
            log.debug("title_failed", session=owner.session, cause=type(error).__name__)
        finally:
            self._in_flight -= 1

    async def _first_complete(self, owner: Owner, turn: str) -> TurnRecord | None:
        """Return the turn if it is the session's first with a complete answer, and none of very many."""
        if owner.topic.log.summary.turns > MAX_TURNS:
            return None
        turns = await self._store.turns(owner.session, limit=MAX_TURNS)
        complete = [record for record in turns if record.reason == "stop"]
        return complete[0] if complete and complete[0].turn == turn else None

    async def _ask(self, owner: Owner, record: TurnRecord) -> str:
        """Return what the model answers; empty where it refuses."""
        pieces: list[str] = []
        loop = asyncio.get_running_loop()

        def on_text(piece: str) -> None:
            if not isinstance(piece, ThinkingText):
                pieces.append(piece)
                if sum(map(len, pieces)) > MAX_ANSWER_CHARS:
                    limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(TITLE_SECONDS) as limit:
                ending = await self._upstream.stream(title_prompt(record.text, record.answer), on_text)
        except TimeoutError:
            if sum(map(len, pieces)) > MAX_ANSWER_CHARS:
                return "".join(pieces)
            raise
        if ending.usage is not None:
            tokens = ending.usage.input_tokens + ending.usage.output_tokens
            self._scheduler.admission.count_tokens(owner.topic.user, tokens)
        return "".join(pieces) if ending.reason in ("stop", "length") else ""

    async def _set_title(self, session: str, title: str) -> None:
        """Append the title, unless somebody has named the session meanwhile."""
        owner = await self._registry.load_owner_unchecked(session)
        async with ExclusiveOwner(self._registry, owner):
            if not owner.topic.title and not self._scheduler.draining:
                await self._scheduler.append_and_wait(owner, owner.state.set_title(title))
