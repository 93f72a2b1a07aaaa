"""RedisStore: a store in Redis or Valkey, which several nodes use at the same time.

New events go into a stream of their session (`Appender`), which other nodes follow (`LogFollower`); what has ended is
merged in a sorted set (`keys.py`). A node appends to the sessions that it owns (`Ownership`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ...core.log_tail import LogTail
from ...errors import ConfigError, StoreError, StoreUnavailable
from ...events import Event, TurnRecord
from .. import (
    Entry,
    Failures,
    SessionPage,
    SessionQuery,
    StoreStatistics,
    VacuumResult,
    check_user,
)
from ..shared import LogObserver
from ..shielded_tasks import ShieldedTasks
from .accounts import Accounts
from .appender import AppendClocks, Appender
from .connections import RedisConnections
from .failures import NotReplicated, translated
from .follower import LogFollower
from .keys import FORMAT, FORMAT_KEY, PING_KEY
from .open_logs import OpenLog
from .ownership import Ownership, new_history
from .queries import RedisQueries
from .rewriting import rewrite_append_only_files
from .scripts import Script, ScriptCall
from .session_index import SessionIndex
from .session_reader import SessionReader

PING_MILLISECONDS = 60_000  # for which the key of a ping is kept
REPLICA_SECONDS = 5.0  # for replicas to be there at the start

_PING = Script.of("ping", "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1")


class RedisStore:
    """A `SharedStore` in Redis or Valkey: a single server, a Sentinel group or a Cluster.

    Attributes:
        node: The random id of this process among the nodes.
        replicas: How many replicas must have what is written, before it counts.
    """

    def __init__(
        self,
        url: str,
        *,
        replicas: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        node: str | None = None,
    ) -> None:
        """Configure a store; nothing is connected before `open`.

        Args:
            url: Where the servers are, as in ASKBOT_STORE.
            replicas: How many replicas must have an append before anybody is shown it.
            clock: A monotonic clock, in seconds.
            wall_clock: Seconds since 1970.
            node: The node's id; None: a new one.
        """
        self.node = node or secrets.token_hex(8)
        self._url = url
        self.replicas = replicas
        self._clock = clock
        self._wall_clock = wall_clock
        self.open_logs: dict[str, OpenLog] = {}
        self.tasks = ShieldedTasks()
        self._observer: LogObserver | None = None
        self._age_at_start = 0.0  # seconds
        self._started_at = 0.0  # by the clock
        self._is_open = False

    @property
    def observer(self) -> LogObserver | None:
        """Who is told of what other nodes did; None: nobody."""
        return self._observer

    @observer.setter
    def observer(self, observer: LogObserver | None) -> None:
        self._observer = observer
        if self._is_open:
            self._follower.observer = observer

    @property
    def connections(self) -> RedisConnections:
        """Its connections, once it is open: for what else nodes keep there."""
        return self._connections

    # --- the beginning and the end -----------------------------------------------------------------------------------

    async def open(self) -> Sequence[str]:
        """Connect. Returns no sessions: other nodes may be answering those with unfinished turns.

        Raises `ConfigError` where the servers can't be used, or hold a store of a format that this version does not
        know; nothing was changed then.
        """
        self._connections = connections = await RedisConnections.open(self._url)
        try:
            await self._check_format()
            await self._check_replicas()
            self._index = SessionIndex(connections, self.open_logs, node=self.node, age=self._age)
            self._age_at_start, self._started_at = await self._index.newest_use(), self._clock()
        except BaseException as error:
            await connections.close()
            if isinstance(error, StoreError):
                raise StoreUnavailable(f"ASKBOT_STORE: {error.__cause__ or error}.") from error
            raise
        reader = SessionReader(connections, replicas=self.replicas)
        self._follower = LogFollower(connections, reader, self.open_logs, self.tasks, node=self.node, clock=self._clock)
        self._follower.observer = self._observer
        self._ownership = Ownership(
            connections, self.open_logs, self._follower, self.tasks, node=self.node, replicas=self.replicas
        )
        self.appender = Appender(
            connections,
            self.open_logs,
            self._follower,
            self._ownership,
            AppendClocks(self._clock, self._wall_clock, self._age),
            tasks=self.tasks,
            replicas=self.replicas,
        )
        self._queries = RedisQueries(reader, self.open_logs)
        self._accounts = Accounts(connections, wall_clock=self._wall_clock)
        self._is_open = True
        return []

    async def _check_format(self) -> None:
        with translated():
            client = self._connections.client
            await client.set(FORMAT_KEY, FORMAT, nx=True)
            found: bytes | str | None = await client.get(FORMAT_KEY)
        if found not in {FORMAT, FORMAT.encode()}:
            raise ConfigError(
                "ASKBOT_STORE: the store in Redis has a format that this askbot does not know; install a newer askbot, "
                "or use another database."
            )

    async def _check_replicas(self) -> None:
        """See that there are as many replicas as are asked for: without them, nothing would ever be shown."""
        deadline = time.monotonic() + REPLICA_SECONDS
        missing: BaseException | None = None
        while self.replicas:
            try:
                await self.ping()
            except NotReplicated as error:
                missing = error.__cause__
            else:
                return
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"ASKBOT_REDIS_WAIT: {missing}, and nothing is shown before; see to the replicas, or ask for fewer."
                )

    def _age(self) -> float:
        """How many seconds nodes had the store open; of time in which none had, nothing counts."""
        return self._age_at_start + max(0.0, self._clock() - self._started_at)

    async def close(self) -> None:
        """Give back all that this node owns, and close the connections."""
        if self._is_open:
            self._is_open = False
            await self.tasks.wait_all()
            await self._ownership.give_back_all()
            await self._follower.close()
            await self.tasks.wait_all()
            await self._connections.close()
            await asyncio.sleep(0)  # the transports close then
            self.open_logs.clear()

    async def ping(self) -> None:
        """Check that it can be written, and that as many replicas as are asked for have it. Raises `StoreError`."""
        await self._connections.run(
            ScriptCall(_PING, (PING_KEY,), (self.node, PING_MILLISECONDS)), replicas=self.replicas
        )

    @property
    def follower(self) -> LogFollower:
        """What follows other nodes, once it is open."""
        return self._follower

    def statistics(self) -> StoreStatistics:
        """It keeps nothing that it has not written."""
        return StoreStatistics()

    async def vacuum(self) -> VacuumResult:
        """Rewrite the append-only files, where there are any: nothing of what was deleted is in them afterwards."""
        return await rewrite_append_only_files(self._connections)

    # --- the logs in memory ------------------------------------------------------------------------------------------

    def create(self, session: str, *, user: str | None = None) -> LogTail:
        """Create a new, empty log, which this node owns. Raises ValueError as `Store.create`."""
        check_user(user)
        if session in self.open_logs:
            raise ValueError("the session exists")
        log = LogTail(session, history=new_history(), user=user)
        self.open_logs[session] = OpenLog(log, fence=self._ownership.first_fence(), stored=False, is_new=True)
        return log

    async def load(self, session: str) -> LogTail:
        """Load a session's log, and follow it. Raises `SessionNotFound` and `StoreError`."""
        open_log = self.open_logs.get(session) or await self._follower.loader.load(session)
        open_log.released = False
        return open_log.log

    def release(self, session: str) -> None:
        """Give a session back and drop its log from memory."""
        open_log = self.open_logs.get(session)
        if open_log is not None:
            self._ownership.release(open_log)

    # --- owning and writing ------------------------------------------------------------------------------------------

    def owns(self, session: str) -> bool:
        """Whether this node may append to a session, as far as it knows."""
        open_log = self.open_logs.get(session)
        return open_log is not None and open_log.fence is not None

    async def prevent_creation(self, session: str) -> bool:
        """Let no node make a session that is not there. Raises `StoreError`."""
        return await self.tasks.start(self._ownership.prevent_creation(session))

    async def claim(self, session: str, *, instead_of: str | None = None) -> str | None:
        """Become a session's owner; returns the other node that is it. Raises as `SharedStore.claim`."""
        open_log = self.open_logs.get(session)
        if open_log is None:  # it may just have been replaced
            open_log = await self._follower.loader.load(session)
        return await self.tasks.start(self._ownership.claim(open_log, instead_of=instead_of))

    async def catch_up(self, session: str) -> None:
        """Bring the log in memory to the stored head. Raises `StoreError`."""
        open_log = self.open_logs.get(session)
        if open_log is not None and open_log.stored:
            await self._follower.catch_up(open_log)

    async def give_back(self, session: str) -> None:
        """Own a session no more. Raises `StoreError`."""
        open_log = self.open_logs.get(session)
        if open_log is not None:
            await self.tasks.start(self._ownership.give_back(open_log))

    def append(self, batch: Mapping[str, Entry]) -> Awaitable[Failures]:
        """Append events to sessions, to each all of its own or none; again and again while Redis is away."""
        return self.appender.append(batch)

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def forget(self, *sessions: str) -> None:
        """Delete sessions, and tell the other nodes."""
        await self.tasks.start(self._forget(sessions))

    async def _forget(self, sessions: Sequence[str]) -> None:
        await self._index.forget(sessions)
        for session in sessions:
            self._follower.loader.discard(session)
            open_log = self.open_logs.get(session)
            if open_log is not None:
                self._follower.close_log(open_log)

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that no node has in memory and that were idle for `idle` seconds; returns how many."""
        await self.tasks.wait_all()  # what was released is followed until then
        return await self._index.sweep(idle=idle)

    # --- reading: see `RedisQueries` and `SessionIndex` --------------------------------------------------------------

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Read events after a position, from memory where it has them."""
        return await self._queries.read(session, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """Read the newest turns before a position, oldest first."""
        return await self._queries.turns(session, before=before, limit=limit)

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The position after which the newest turns can be replayed."""
        return await self._queries.replay_start(session, turns=turns)

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """The first turn whose question was asked with this id, or None."""
        return await self._queries.find_turn(session, ask_id)

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        """List sessions, the newest first."""
        return await self._index.list_sessions(query, before=before, limit=limit)

    # --- accounts ----------------------------------------------------------------------------------------------------

    async def spend(self, name: str, *, expires: float) -> bool:
        """Record a name until it expires; returns whether it was not recorded yet."""
        return await self.tasks.start(self._accounts.spend(name, expires=expires))

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        """Add to the count of a user's tokens on a day; returns the count."""
        return await self.tasks.start(self._accounts.add_usage(user, day, tokens))

    async def usage(self, user: str) -> Mapping[str, int]:
        """A user's tokens by day."""
        return await self._accounts.usage(user)

    async def forget_usage(self, user: str) -> None:
        """Delete the counts of a user."""
        await self.tasks.start(self._accounts.forget_usage(user))
