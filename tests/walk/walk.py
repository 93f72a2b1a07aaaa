"""Walk: users who ask and forget, a provider with its moods, and a saboteur; and what must hold whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from askbot_ws.core.commands import Ask, Cancel, Command, Edit, Forget, Fork, Retry, Title
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import (
    AskbotError,
    Busy,
    Internal,
    Overloaded,
    QueueFull,
    SessionNotFound,
    StoreError,
    TurnNotFound,
    UpstreamUnavailable,
)
from askbot_ws.events import Usage, WhenBusy
from askbot_ws.hub import Hub, Policy
from askbot_ws.store import SessionSummary
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.store import SQLiteStore
from askbot_ws.upstream import Ending, ThinkingText

from .faults import Disk, Neighbour, on_disk
from .recording_reader import RecordingReader

MIN_COMMANDS = 25  # on a busy machine few are executed in a short walk
USERS = (ANONYMOUS, ANONYMOUS, Principal("ann"), Principal("ann"), Principal("bob"), Principal("bob"))
REFUSALS = (Busy, QueueFull, Overloaded, TurnNotFound, StoreError, SessionNotFound, Internal)
WORDS = ("so ", "far", "é", "\U0001f600 ", "x" * 300, "\n", "\ud83d", "\ude00", "")


class Moody:
    """An upstream that answers, fails, says nonsense, cancels itself, or goes on until it is stopped."""

    model = "moody"

    def __init__(self, rng: Random) -> None:
        self.asked: Counter[str] = Counter()
        self._rng = rng

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def ping(self) -> None:
        """Always there."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        rng = self._rng
        self.asked[prompt.messages[-1].text] += 1
        thinks = rng.choice((0, 0, 0.2, 0.9, 1))  # how likely it is that a piece is reasoning
        for _ in range(rng.choice((0, 1, 3, 10, 40, 200))):
            piece = rng.choice(WORDS)
            on_text(ThinkingText(piece) if rng.random() < thinks else piece)
            if rng.random() < 0.7:
                await asyncio.sleep(rng.choice((0, 0, 0, 0.001, 0.01)))
        match rng.randrange(12):
            case 0:
                raise UpstreamUnavailable("gone: \ud800")
            case 1:
                raise ValueError("a fault of the function's")
            case 2:
                raise asyncio.CancelledError
            case 3:
                return Ending("stop", model="m\ud800" * 1000)
            case 4:
                await asyncio.sleep(30)
                return Ending("length")
            case _:
                return Ending("stop", usage=Usage(input_tokens=1, output_tokens=2))


class Walk:
    """One store, the servers that use it one after the other, and all that was shown."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.path = folder / "walk.db"
        self.disk = Disk(self.rng)
        self.upstream = Moody(self.rng)
        self.readers: dict[str, RecordingReader] = {}
        self.owners: dict[str, Principal] = {}  # who made each session
        self.forgotten: set[str] = set()
        self.uncertain: set[str] = set()  # whose deletion was asked of a process that died
        self.copied: set[str] = set()  # questions that may be in several sessions, and asked again in each
        self.counts: Counter[str] = Counter()
        self._fsync = self.rng.random() < 0.5
        self._wall = 1_700_000_000.0
        self._store: SQLiteStore
        self._hub: Hub
        self._dead: set[Hub] = set()  # servers that crashed
        self._up = asyncio.Event()  # a server runs
        self._numbers = iter(range(1_000_000_000))

    # --- the course --------------------------------------------------------------------------------------------------

    async def run(self, seconds: float) -> None:
        """Walk, at least until enough has happened; then let everything come to rest and look at all of it."""
        until = time.monotonic() + seconds
        with on_disk(self.disk):
            await self._start()
            users = [asyncio.create_task(self._user(user, until)) for user in USERS]
            await self._sabotage(until)
            await asyncio.gather(*users)
            self.disk.chances.clear()
            await self._restart(crash=False)
            await self._look_at_all()
            await self._stop(crash=False)
        assert self.counts["swept"] == 0, "a wrong clock has deleted sessions"
        report = check(self.path)
        assert report.faults == [], report.faults

    def _goes_on(self, until: float) -> bool:
        """On a busy machine little may have happened when the time is over."""
        return time.monotonic() < until or not self.disk.failed or self.counts["commands"] < MIN_COMMANDS

    async def _start(self) -> None:
        self._store = SQLiteStore(self.path, fsync=self._fsync, segment_bytes=20_000, busy_timeout=0.05)
        abandon_after = self.rng.choice((None, None, 0.0, 0.01))
        memory = self.rng.choice((0, 20_000, 10**6))
        policy = Policy(memory=memory, max_waiting=3, abandon_after=abandon_after, log_content=True)
        self._hub = Hub(self._store, self.upstream, policy, wall_clock=lambda: self._wall)
        await self._hub.__aenter__()
        self._up.set()

    async def _stop(self, *, crash: bool) -> None:
        self._up.clear()
        if crash:
            self._dead.add(self._hub)
            for session in self.readers:
                self._leave(session)  # a process that is dead shows nothing more
            await self._store.close_without_flush()  # the memory is gone; the hub's tasks find a closed store
            self._hub.refuse_turns()
            with suppress(StoreError):
                await self._hub.stop()
        await self._hub.__aexit__()
        for reader in self.readers.values():
            reader.topic = None

    async def _restart(self, *, crash: bool) -> None:
        self.counts["crashes" if crash else "restarts"] += 1
        chances, self.disk.chances = self.disk.chances, {}
        await self._stop(crash=crash)
        await self._start()
        self.disk.chances = chances

    # --- the saboteur ------------------------------------------------------------------------------------------------

    async def _sabotage(self, until: float) -> None:
        rng = self.rng
        while self._goes_on(until):
            await asyncio.sleep(rng.choice((0.01, 0.05, 0.2)))
            match rng.randrange(11):
                case 0 | 1:
                    self.disk.chances = {
                        name: rng.choice((0.0, 0.05, 0.5, 1.0)) for name in ("write", "short", "ftruncate", "sync")
                    }
                case 2 | 3 | 4:
                    self.disk.chances = {}
                case 5 | 6:
                    await self._neighbour(rng.choice((0.01, 0.1, 0.3)))
                case 7:
                    self._wall += rng.choice((-40, 40)) * 86400.0
                    with suppress(StoreError):
                        self.counts["swept"] += await self._store.sweep(idle=30 * 86400.0)
                case 9:
                    self._reset()
                case 8 if not self.disk.in_doubt:  # else nobody could know what counts: docs/reliability.md
                    await self._restart(crash=True)
                case _:
                    await self._restart(crash=False)
        self.disk.chances = {}

    def _reset(self) -> None:
        """A fault of ours comes up in some session."""
        owners = [*self._hub._registry.owners.values()]  # pyright: ignore[reportPrivateUsage]
        if owners:
            self._hub._reset_session(self.rng.choice(owners), ZeroDivisionError())  # pyright: ignore[reportPrivateUsage]
            self.counts["resets"] += 1

    async def _neighbour(self, seconds: float) -> None:
        neighbour = Neighbour(self.path)
        if self.rng.random() < 0.5 or not neighbour.lock():
            neighbour.read()
        await asyncio.sleep(seconds)
        neighbour.stop()
        neighbour.close()
        self.counts["neighbours"] += 1

    # --- the users ---------------------------------------------------------------------------------------------------

    async def _user(self, user: Principal, until: float) -> None:
        mine: list[str] = []
        while self._goes_on(until):
            await self._up.wait()
            hub = self._hub
            try:
                await self._act(user, mine)
            except REFUSALS:
                pass
            except Exception:
                if hub not in self._dead:  # else the process that was asked is gone, with whatever it was doing
                    raise
            await asyncio.sleep(self.rng.choice((0, 0, 0.002, 0.02)))

    async def _act(self, user: Principal, mine: list[str]) -> None:
        rng = self.rng
        if not mine or (rng.random() < 0.05 and len(mine) < 10):
            topic = self._hub.create(user)
            self.owners[topic.session] = user
            reader = self.readers[topic.session] = RecordingReader(topic.session)
            reader.topic = topic
            self._hub.attach(topic, reader)
            await self._hub.command(user, topic.session, Ask(self._text(), id="first"))
            mine.append(topic.session)
            return
        session = rng.choice(mine)
        match rng.randrange(14):
            case 0:
                self._leave(session)
            case 12 | 13:
                await self._trespass(user)
            case 1 | 2 | 3:
                await self._read(session)
            case 4 if rng.random() < 0.3:
                await self._forget(session)
                mine.remove(session)
            case 5 if rng.random() < 0.3 and len(mine) < 10:
                nobodys = [
                    one for one, owner in self.owners.items() if owner is ANONYMOUS and one not in self.forgotten
                ]
                await self._fork(user, rng.choice([session, *nobodys]), mine)
            case _:
                await self._commanded(session, self._command(session))
                self.counts["commands"] += 1

    async def _commanded(self, session: str, command: Command) -> None:
        """Have it done; sometimes stop to wait for it, or send it twice at once."""
        rng, hub = self.rng, self._hub
        if rng.random() < 0.1:
            impatient = asyncio.create_task(hub.command(self.owners[session], session, command))
            await asyncio.wait([impatient], timeout=rng.choice((0, 0.001, 0.01)))
            impatient.cancel()
            with suppress(asyncio.CancelledError):
                await impatient
            return
        if isinstance(command, Ask) and rng.random() < 0.2:
            again = Ask(command.text, id=command.id, when_busy=command.when_busy)
            twice = (hub.command(self.owners[session], session, each) for each in (command, again))
            for outcome in await asyncio.gather(*twice, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
            return
        await hub.command(self.owners[session], session, command)

    async def _trespass(self, user: Principal) -> None:
        """Try a door of another user's session: for this one there is no such session, whatever happens to it."""
        hub = self._hub
        others = [session for session, owner in self.owners.items() if not user.may_use(session_user=owner.user)]
        if not others:
            return
        session = self.rng.choice(others)
        doors: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: hub.open(user, session),
            lambda: hub.command(user, session, self._command(session)),
            lambda: hub.command(user, session, Forget()),
            lambda: hub.fork(user, session, Fork(self.rng.choice([*self.readers[session].questions] or ["t1"]))),
        )
        with suppress(SessionNotFound, StoreError):
            await self.rng.choice(doors)()
            raise AssertionError(f"{user.user} came into {session} of {self.owners[session].user}")
        self.counts["trespasses"] += 1

    async def _fork(self, user: Principal, session: str, mine: list[str]) -> None:
        """Fork some turn, twice at once: one session is made, which is the user's, whoever's that turn was."""
        hub, questions = self._hub, self.readers[session].questions
        command = Fork(self.rng.choice([*questions][-5:] or ["t1"]), id=f"f{next(self._numbers)}")
        self.copied |= {question.text for question in questions.values()}
        forking = (hub.fork(user, session, command) for _ in range(2))
        outcomes = await asyncio.gather(*forking, return_exceptions=True)
        made = {each.session for each in outcomes if not isinstance(each, BaseException)}
        for each in outcomes:
            if isinstance(each, BaseException) and not made:
                raise each
        (name,) = made
        self.readers[name] = RecordingReader(name)
        self.owners[name] = user
        mine.append(name)
        self.counts["forked"] += 1
        await self._read(name)

    def _text(self) -> str:
        return f"question {next(self._numbers)}?"

    def _command(self, session: str) -> Command:
        rng, turns = self.rng, [*self.readers[session].questions] or ["t1"]
        busy: WhenBusy = rng.choice(("queue", "queue", "reject", "replace"))
        match rng.randrange(9):
            case 8:
                return Title(self._text())
            case 0:
                return Cancel(rng.choice([None, *turns[-3:]]))
            case 1:
                return Retry(rng.choice([None, *turns[-3:]]))
            case 2:
                return Edit(rng.choice(turns[-3:]), self._text())
            case _:
                return Ask(self._text(), id=f"q{next(self._numbers)}", when_busy=busy)

    def _leave(self, session: str) -> None:
        reader = self.readers[session]
        if reader.topic is not None:
            self._hub.detach(reader.topic, reader)
            reader.topic = None

    async def _read(self, session: str) -> None:
        """Read on from where the reader is, or all of it again."""
        reader, hub = self.readers[session], self._hub
        self._leave(session)
        topic = await hub.open(self.owners[session], session)
        await self._catch_up(reader, after=self.rng.choice((0, reader.seq)))
        if reader.topic is None and hub is self._hub and self._up.is_set() and reader.seq == topic.log.head:
            topic = await hub.open(self.owners[session], session)
            if reader.seq == topic.log.head and hub is self._hub and reader.topic is None:
                reader.topic = topic
                hub.attach(topic, reader)

    async def _catch_up(self, reader: RecordingReader, *, after: int) -> None:
        while events := await self._store.read(reader.session, after=after, limit=1 << 14):
            after = events[-1].seq
            reader.record(events)

    async def _forget(self, session: str) -> None:
        hub = self._hub
        try:
            await hub.command(self.owners[session], session, Forget())
        except SessionNotFound:
            pass  # it may have been empty
        except Exception:
            if hub in self._dead:
                self.uncertain.add(session)  # it may have been done, and nobody was there to say so
            raise
        self.forgotten.add(session)
        self.counts["forgotten"] += 1

    # --- what must hold ----------------------------------------------------------------------------------------------

    async def _look_at_all(self) -> None:
        """Once nothing is broken any more: nothing hangs, nothing is lost, nothing was asked twice."""
        for session, reader in self.readers.items():
            if session in self.forgotten:
                await self._gone(session)
                continue
            try:
                topic = await self._hub.open(self.owners[session], session)
            except SessionNotFound:
                known = reader.seq == 0 or session in self.uncertain
                assert known, f"{session} is gone, and {reader.seq} was shown"
                continue
            async with asyncio.timeout(20):
                while self._hub.is_busy(session):  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(0.01)
            again = RecordingReader(session)
            await self._catch_up(again, after=0)
            assert again.seq == topic.log.head >= reader.seq, f"{session}: {reader.seq} was shown, of {again.seq}"
            await self._catch_up(reader, after=0)
            assert again.open_turns == set(), f"{session}: turns without an end: {again.open_turns}"
            ids = Counter(question.id for question in again.questions.values() if question.id)
            assert not ids or max(ids.values()) == 1, f"{session}: asked twice: {ids}"
            for text, turns in Counter(question.text for question in again.questions.values()).items():
                once = text in self.copied or self.upstream.asked[text] <= turns
                assert once, f"{session}: the provider was asked {text!r} twice"
            assert (topic.user, topic.title) == (self.owners[session].user, again.title)
        await self._lists()
        await self._answers()

    async def _lists(self) -> None:
        """Each user's list has that user's sessions, all of them, and no other."""
        for user in {user for user in USERS if user is not ANONYMOUS}:
            listed: list[SessionSummary] = []
            before: str | None = None
            while True:
                page = await self._hub.list_sessions(user, before=before, limit=3)
                listed += page.sessions
                before = page.more
                if before is None:
                    break
            theirs = {session for session, owner in self.owners.items() if owner == user} - self.forgotten
            names = {one.session for one in listed}  # forks too of which a server that died said nothing
            assert not names & (self.owners.keys() - theirs)
            for session in theirs - names:
                await self._gone(session)
            assert not any(one.running for one in listed)
            for one in listed:
                turns = await self._store.turns(one.session, limit=10_000)
                assert (one.turns, one.seq) == (len(turns), (await self._hub.open(user, one.session)).log.head)

    async def _gone(self, session: str) -> None:
        with suppress(SessionNotFound):
            await self._hub.open(self.owners[session], session)
            raise AssertionError(f"{session} was forgotten, and is here again")

    async def _answers(self) -> None:
        """It still answers, in a new session."""
        topic = self._hub.create(ANONYMOUS)
        reader = RecordingReader(topic.session)
        self._hub.attach(topic, reader)
        await self._hub.command(ANONYMOUS, topic.session, Ask("Still there?"))
        await self._hub.command(ANONYMOUS, topic.session, Ask("And now?", when_busy="replace"))
        assert len(reader.questions) == 2
        with suppress(AskbotError):
            await self._hub.command(ANONYMOUS, topic.session, Cancel())
