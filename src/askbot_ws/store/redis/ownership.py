"""Ownership: which sessions this node owns, that is, may append to."""

from __future__ import annotations

import secrets
from contextlib import suppress

from ...errors import SessionNotFound, StoreError
from ..shielded_tasks import ShieldedTasks
from .codec import decode_summary
from .connections import RedisConnections
from .follower import LogFollower
from .keys import keys_of
from .open_logs import OpenLog
from .repeated import as_optional_values, run_all_repeated, run_repeated
from .scripts import ScriptCall, load_script
from .session_scripts import session_script

PREVENTED_MILLISECONDS = 120_000  # for which nobody may make a session: longer than an append is tried


def new_history() -> str:
    """A new id of the history of a log."""
    return secrets.token_urlsafe(8)


class Ownership:
    """Claims sessions for this node and gives them back; a fence says which claim an append belongs to.

    A fence is a number that grows with each claim of the session, and the node: a failover may lose a claim, so that
    the number comes twice.
    """

    def __init__(
        self,
        connections: RedisConnections,
        open_logs: dict[str, OpenLog],
        follower: LogFollower,
        tasks: ShieldedTasks,
        *,
        node: str,
        replicas: int,
    ) -> None:
        """`open_logs` are the store's, of which `follower` follows those that are not owned.

        `replicas`: how many must have a claim before it counts, or a failover gives it back to the last owner.
        """
        self._connections = connections
        self._open_logs = open_logs
        self._follower = follower
        self._tasks = tasks
        self._node = node
        self._replicas = replicas
        self._made = 0  # sessions

    def first_fence(self) -> str:
        """The fence of a new session: another one for each, as it also says which session of that id it is."""
        self._made += 1
        return f"{self._made}:{self._node}"

    async def prevent_creation(self, session: str) -> bool:
        """As `SharedStore.prevent_creation`."""
        call = ScriptCall(session_script("prevent_creation"), keys_of(session)[:1], (PREVENTED_MILLISECONDS,))
        return await run_repeated(self._connections, call, replicas=self._replicas) == 0

    async def claim(self, open_log: OpenLog, *, instead_of: str | None) -> str | None:
        """As `SharedStore.claim`."""
        if open_log.fence is not None:
            return None
        await self._follower.subscribe_as_owner(open_log)
        args = (self._node, instead_of or "", new_history())
        claimed = False
        try:
            call = ScriptCall(session_script("claim"), open_log.keys[:1], args)
            reply = await run_repeated(self._connections, call, replicas=self._replicas)
            if reply is None:
                self._follower.deleted(open_log)
                raise SessionNotFound
            if isinstance(reply, bytes):
                return reply.decode()
            await self._accept(open_log, as_optional_values(reply))
            claimed = True
        finally:
            if not claimed:
                self._follower.unsubscribe_as_owner(open_log)
        self._follower.unsubscribe_as_follower(open_log)
        return None

    async def _accept(self, open_log: OpenLog, reply: list[bytes | None]) -> None:
        """This node is the owner: bring the log in memory to the stored head. Raises `StoreError`."""
        fence, before, history, head, merged, summary = (value or b"" for value in reply)
        log = open_log.log
        if before != log.history.encode() or int(head) < log.head:
            self._follower.replaced(open_log)
        else:
            if history != before:  # nobody has seen here what the server may have lost
                log.history = history.decode()
                self._follower.history_changed(open_log)
            await self._follower.read_missing(open_log)
        if self._open_logs.get(open_log.session) is not open_log:
            # Replaced, or deleted. It is not given back: nobody would know that its turns may have run.
            raise StoreError("The session must be opened again.")
        _, open_log.questions = decode_summary(summary, None)
        open_log.merged, open_log.head = int(merged), log.head
        open_log.fence = fence.decode()

    async def give_back(self, open_log: OpenLog) -> None:
        """As `SharedStore.give_back`."""
        fence = open_log.fence
        if fence is None or not open_log.stored:
            return
        open_log.fence = None
        try:
            await self._follower.subscribe_as_follower(open_log)
        except StoreError:
            self._follower.note_stale(open_log)  # what follows may be read here
            raise
        try:
            await self._give_back(open_log, fence)
        finally:
            if open_log.fence is None:
                self._follower.unsubscribe_as_owner(open_log)

    async def _give_back(self, open_log: OpenLog, fence: str) -> None:
        await run_repeated(self._connections, self._give_back_call(open_log, fence), replicas=self._replicas)

    def _give_back_call(self, open_log: OpenLog, fence: str) -> ScriptCall:
        return ScriptCall(load_script("give_back"), (open_log.keys.meta,), (fence,))

    async def give_back_all(self) -> None:
        """Give back all that is owned, at the end; what can't be given back is taken over."""
        calls = [
            self._give_back_call(open_log, open_log.fence)
            for open_log in self._open_logs.values()
            if open_log.fence is not None and open_log.stored
        ]
        if calls:
            await run_all_repeated(self._connections, calls, replicas=self._replicas)

    def release(self, open_log: OpenLog) -> None:
        """Drop a log from memory, unless it is loaded again before that is done; one without events at once."""
        open_log.released = True
        if not open_log.stored:
            self._follower.close_log(open_log)
        elif not open_log.appending:
            self._tasks.start(self._release(open_log))

    async def _release(self, open_log: OpenLog) -> None:
        if not open_log.released:
            return
        with suppress(StoreError):  # then it is taken over
            await self.give_back(open_log)
        if open_log.released and not open_log.appending:
            self._follower.close_log(open_log)
