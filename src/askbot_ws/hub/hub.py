"""Hub: what can be done with sessions. It owns their turns; connections only read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Self

import structlog

from ..core import guard
from ..core.prompt import Options
from ..core.session import Asking
from ..core.turn import place_of
from ..dialects.askbot.frames import Ask, Cancel, Edit, Retry
from ..errors import ConfigError, Forbidden, InvalidFrame, Overloaded, SessionNotFound, StoreError, TurnNotFound
from ..events import Event, Question, TurnRecord
from ..store import Store
from ..upstream import Upstream
from .live import Live, Reader
from .policy import Policy
from .recovery import interrupted, unfinished
from .shelf import Alone, Shelf
from .turns import LAST_WORDS, Turns

log = structlog.get_logger(__name__)


class Hub:
    """All live sessions of this process. Use as a context: its tasks end with it."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        nap: Callable[[float], None] | None = None,
    ) -> None:
        """`nap` stops the loop for so many seconds, where it is ours to stop: docs/decisions/0006."""
        self.store = store
        self.upstream = upstream
        self.policy = policy
        self._clock = clock
        self._wall = wall
        self._shelf = Shelf(store, policy, needed=self._written)
        self._turns = Turns(store, upstream, policy, on_idle=self._shelf.rest, nap=nap, clock=clock)
        self._sweeper: asyncio.Task[None] | None = None

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
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            await self.stop()
        finally:
            await self.store.close()

    def _written(self, live: Live) -> bool:
        return self._turns.commits.hold(live)

    # --- reading -----------------------------------------------------------------------------------------------------

    def create(self) -> Live:
        """A new session. It costs the store nothing until its first question."""
        return self._shelf.create()

    async def open(self, session: str) -> Live:
        """A session that exists; attach a reader at once to keep it. Raises `SessionNotFound`, `StoreError`."""
        return await self._shelf.open(session)

    def attach(self, live: Live, reader: Reader) -> None:
        """Wake this reader from now on."""
        live.readers += (reader,)
        self._shelf.take(live)
        if live.abandoned is not None:
            live.abandoned.cancel()
            live.abandoned = None

    def detach(self, live: Live, reader: Reader) -> None:
        """Wake it no more. The turn goes on, unless the policy says that nobody's answers are given up."""
        if reader in live.readers:
            place = live.readers.index(reader)
            live.readers = live.readers[:place] + live.readers[place + 1 :]
        after = self.policy.abandon_after
        if not live.readers and after is not None and not live.session.idle and live.abandoned is None:
            live.abandoned = asyncio.get_running_loop().call_later(after, self._abandon, live)
        self._shelf.rest(live)

    def _abandon(self, live: Live) -> None:
        live.abandoned = None
        self._turns.end_all(live, "cancelled")

    async def turns(self, live: Live, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns whose question has a `seq` less than `before`, oldest first."""
        return await self.store.turns(live.id, before=before, limit=limit)

    @property
    def sessions(self) -> int:
        """How many are live."""
        return len(self._shelf)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def ask(self, live: Live, frame: Ask) -> None:
        """Append a question; it is answered when its turn comes. What is in the log under this id stays as it is."""
        guard.check(frame.text, max_chars=self.policy.max_question)
        options = self._options(frame)
        async with self._alone(live):
            if not await self._asked(live, frame.id, frame.text):
                self._admit(live)
                asking = self._asking(frame.text, frame.id, options)
                events = live.session.ask(asking, when_busy=frame.when_busy, model=self.upstream.model)
                await self._turns.follow(live, events)

    async def retry(self, live: Live, frame: Retry) -> None:
        """Ask a turn's question again."""
        async with self._alone(live):
            if await self._asked(live, frame.id):
                return
            turn = frame.turn or await self._last(live)
            question = await self._question(live, turn)
            await self._replace(live, turn, self._asking(question.text, frame.id))

    async def edit(self, live: Live, frame: Edit) -> None:
        """Ask something else in a turn's place."""
        guard.check(frame.text, max_chars=self.policy.max_question)
        async with self._alone(live):
            if not await self._asked(live, frame.id, frame.text):
                await self._question(live, frame.turn)
                await self._replace(live, frame.turn, self._asking(frame.text, frame.id))

    async def cancel(self, live: Live, frame: Cancel) -> None:
        """End a turn now; the provider stops generating."""
        async with self._alone(live):
            turn = live.session.find(frame.turn)
            await self._turns.follow(live, self._turns.cancelled(live, turn, "cancelled"))

    async def forget(self, live: Live, *, keep_quiet: Reader | None) -> None:
        """Delete the session and all it holds, everywhere. Whoever else reads it is told that it is gone.

        Raises `StoreError`: then it is still there.
        """
        async with self._alone(live):
            self._turns.end_all(live, "cancelled")
            await self._turns.commits.landed(live)  # or a turn whose end is lost waits again, and would be asked
            if live.task is not None:
                await asyncio.wait([live.task])
            await self.store.forget(live.id)
            self._turns.commits.waive(live)
            self._shelf.remove(live)
        gone = SessionNotFound("The session was forgotten.")
        for reader in live.readers:
            if reader is not keep_quiet:
                reader.closed(gone)

    def _alone(self, live: Live) -> Alone:
        return Alone(live, self._shelf)

    async def _replace(self, live: Live, turn: str, asking: Asking) -> None:
        self._admit(live)
        await self._turns.follow(live, live.session.replace(turn, asking, model=self.upstream.model))

    def _asking(self, text: str, id: str | None, options: Options = Options()) -> Asking:
        return Asking(text=text, now=self._clock(), created=self._wall(), id=id, options=options)

    def _options(self, frame: Ask) -> Options:
        if frame.model is not None and frame.model not in self.policy.models | {self.upstream.model}:
            raise Forbidden("This model is not offered here.")
        if frame.max_tokens is not None and frame.max_tokens > self.policy.max_tokens:
            raise Forbidden(f"max_tokens: {self.policy.max_tokens} are the most.")
        return Options(model=frame.model, temperature=frame.temperature, max_tokens=frame.max_tokens)

    def _admit(self, live: Live) -> None:
        if self.draining:
            raise Overloaded("The server is about to restart.", retry_after=1.0)
        if live.session.idle and self._turns.running >= self.policy.max_turns:
            raise Overloaded("As many answers are running as the server can take.", retry_after=1.0)

    # --- what is in the log ------------------------------------------------------------------------------------------

    async def _asked(self, live: Live, id: str | None, text: str | None = None) -> bool:
        """Whether this id is in the log already (PROTOCOL 1, promise 3). Raises `InvalidFrame` for another text."""
        if id is None:
            return False
        known = live.session.asked.get(id)
        if known is None and not live.session.all_asked:
            turn = await self.store.asked(live.id, id)
            known = None if turn is None else (await self._question(live, turn)).text
        if known is not None and text is not None and known != text:
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

    # --- the beginning and the end -----------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new turns are refused."""
        return self._turns.draining

    async def drain(self, limit: float) -> None:
        """Take no new turns; let running ones end, for at most `limit` seconds."""
        self.refuse()
        for live in self._shelf.all():
            self._turns.end_waiting(live, "interrupted")
        await self._turns.calm(limit)

    def refuse(self) -> None:
        """Take no new turns from now on."""
        self._turns.draining = True

    async def stop(self) -> None:
        """End every turn now, as interrupted."""
        self.refuse()
        for live in self._shelf.all():
            self._turns.end_all(live, "interrupted")
        try:
            await self._turns.commits.settled()
        except StoreError:
            log.exception("stop_not_stored")
        await self._turns.calm(LAST_WORDS)

    async def _interrupt(self, session: str) -> None:
        """Close the turns that a dead server left open."""
        live = await self.open(session)
        for turn in await unfinished(self.store, session):
            live.session.head += 1
            head, model = live.session.head, self.upstream.model
            self._turns.log(live, [interrupted(session, turn, seq=head, model=model, now=self._wall())])
        await self._turns.commits.landed(live)
        self._shelf.rest(live)

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
