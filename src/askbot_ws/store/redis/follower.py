"""LogFollower: keeps logs in memory at what other nodes append, by messages, and by reading where one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from ...errors import StoreError
from ...events import Event, encode_event
from ..shared import LogObserver
from ..shielded_tasks import ShieldedTasks
from .codec import (
    UNDECODABLE,
    Appended,
    Claimed,
    Deleted,
    Message,
    decode_entries,
    decode_frames,
    decode_message,
    events_after,
    split_frames,
)
from .connections import RedisConnections
from .keys import SessionKeys, session_of
from .log_loader import LogLoader
from .open_logs import OpenLog
from .repeated import as_optional_values, as_values, run_all_repeated, run_repeated
from .scripts import ScriptCall
from .session_reader import SessionReader
from .session_scripts import session_script
from .subscriptions import Subscriptions

SILENCE_SECONDS = 2.0  # of a running turn's owner, after which is asked whether a message was lost
IDLE_SECONDS = 60.0  # the same where no turn runs
MAX_IDLE_AT_ONCE = 200  # of ten thousand sessions, each is asked about once in this time
OWNER_SECONDS = 10.0  # for which an owner has time to append again what a failover has lost
READ_BYTES = 1024 * 1024  # at a time, of what is missing
APPEND_LOOK_SECONDS = 0.02  # between two looks at whether the outcome of an append is known

log = structlog.get_logger(__name__)


class LogFollower:
    """Follows the logs that this node does not own.

    Attributes:
        loader: Loads logs; what it has loaded is followed.
        observer: Who is told of what other nodes did; it is called from the event loop, never from within a call.
        restore: Appends again what the server has lost of a session that this node owns.
    """

    restore: Callable[[OpenLog], Coroutine[Any, Any, None]]

    def __init__(
        self,
        connections: RedisConnections,
        reader: SessionReader,
        open_logs: dict[str, OpenLog],
        tasks: ShieldedTasks,
        *,
        node: str,
        clock: Callable[[], float],
    ) -> None:
        """`open_logs` are the store's; `clock` is monotonic, in seconds."""
        self.observer: LogObserver | None = None
        self._connections = connections
        self._reader = reader
        self._open_logs = open_logs
        self._tasks = tasks
        self._node = node
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._stale = set[OpenLog]()  # could not be subscribed to, or read: `_watch_silence` alone takes them out
        self.subscriptions = Subscriptions(connections, on_message=self._receive, on_gap=self._resubscribed)
        self.loader = LogLoader(
            self.subscriptions,
            reader,
            open_logs,
            tasks,
            apply=self._apply,
            unsubscribe=self._unsubscribe,
            clock=clock,
        )
        self._watch = asyncio.create_task(self._watch_silence())

    async def close(self) -> None:
        """End all subscriptions."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self.subscriptions.close()

    # --- subscriptions -----------------------------------------------------------------------------------------------

    async def subscribe_as_owner(self, open_log: OpenLog) -> None:
        """Be told where the session is deleted, or another node becomes its owner. Raises `StoreError`."""
        await self.subscriptions.subscribe(open_log.keys.owner)

    async def subscribe_as_follower(self, open_log: OpenLog) -> None:
        """Be told what another node appends. Raises `StoreError`."""
        await self.subscriptions.subscribe(open_log.keys.followers)

    def unsubscribe_as_owner(self, open_log: OpenLog) -> None:
        """The opposite of `subscribe_as_owner`."""
        self._start(self.subscriptions.unsubscribe(open_log.keys.owner))

    def unsubscribe_as_follower(self, open_log: OpenLog) -> None:
        """The opposite of `subscribe_as_follower`."""
        self._start(self.subscriptions.unsubscribe(open_log.keys.followers))

    def _unsubscribe(self, keys: SessionKeys) -> None:
        self._start(self.subscriptions.unsubscribe(keys.owner))
        self._start(self.subscriptions.unsubscribe(keys.followers))

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(job)

    def close_log(self, open_log: OpenLog) -> None:
        """Drop a log from memory; its session is followed no more."""
        if self._is_open(open_log):
            del self._open_logs[open_log.session]
        self._stale.discard(open_log)
        if open_log.session not in self._open_logs and not self.loader.is_loading(open_log.session):
            self._unsubscribe(open_log.keys)

    def note_stale(self, open_log: OpenLog) -> None:
        """A subscription could not be made: it is made in a second or so, and what was missed is read."""
        self._stale.add(open_log)

    def publish(self, messages: Sequence[ScriptCall]) -> None:
        """Tell other nodes; they find out by themselves where that fails."""
        self._tasks.start(self._connections.run_all(messages))

    # --- what other nodes did ----------------------------------------------------------------------------------------

    def lose_ownership(self, open_log: OpenLog) -> None:
        """This node does not know any more that it owns a session: follow it as any other."""
        if open_log.fence is not None and open_log.stored and self._is_open(open_log):
            open_log.fence = None
            self._start(self._follow(open_log))

    def fenced(self, open_log: OpenLog) -> None:
        """Another node is the owner now."""
        if self._is_open(open_log):
            self.lose_ownership(open_log)
            self._notify(lambda observer: observer.fenced(open_log.session))

    def deleted(self, open_log: OpenLog) -> None:
        """Another node deleted the session."""
        if self._is_open(open_log):
            self.close_log(open_log)
            self._notify(lambda observer: observer.deleted(open_log.session))

    def replaced(self, open_log: OpenLog) -> None:
        """The log in memory is not the stored one any more."""
        if self._is_open(open_log):
            self.close_log(open_log)
            self._notify(lambda observer: observer.replaced(open_log.session))

    def history_changed(self, open_log: OpenLog) -> None:
        """The log in memory is of another history from now on."""
        self._notify(lambda observer: observer.history_changed(open_log.session))

    def _unowned(self, open_log: OpenLog) -> None:
        """No node takes itself for the owner of a session with an unfinished turn."""
        self._notify(lambda observer: observer.unowned(open_log.session))

    def _is_open(self, open_log: OpenLog) -> bool:
        """Whether the session's log in memory is still this one: it may have been dropped, and loaded again."""
        return self._open_logs.get(open_log.session) is open_log

    def _notify(self, tell: Callable[[LogObserver], None]) -> None:
        observer = self.observer
        if observer is not None:
            self._loop.call_soon(tell, observer)

    async def _follow(self, open_log: OpenLog) -> None:
        try:
            await self.subscribe_as_follower(open_log)
        except StoreError:
            self._stale.add(open_log)
            return
        if open_log.fence is None:
            self.unsubscribe_as_owner(open_log)
            await self.try_to_catch_up(open_log)

    async def _subscribe_again(self, open_log: OpenLog) -> None:
        if open_log.fence is None:
            await self._follow(open_log)
            return
        try:
            await self.subscribe_as_owner(open_log)
        except StoreError:
            self._stale.add(open_log)
        else:
            await self.try_to_catch_up(open_log)

    def _receive(self, channel: str, data: bytes) -> None:
        try:
            session, message = session_of(channel), decode_message(data)
        except UNDECODABLE:  # it must not end the subscriptions of all sessions
            log.warning("redis_message_ignored")
            return
        open_log = self._open_logs.get(session)
        if open_log is None:
            self.loader.receive(session, message)
        else:
            self._apply(open_log, message)

    def _apply(self, open_log: OpenLog, message: Message) -> None:
        try:
            match message:
                case Appended():
                    if open_log.fence is None:
                        self._apply_appended(open_log, message)
                case Deleted():
                    if message.node != self._node:
                        self.deleted(open_log)
                case Claimed():
                    if open_log.fence is not None and _counter(message.fence) > _counter(open_log.fence):
                        self.fenced(open_log)
        except UNDECODABLE:  # as in `_receive`
            log.warning("redis_message_ignored")

    def _apply_appended(self, open_log: OpenLog, message: Appended) -> None:
        open_log.heard_at = self._clock()
        head = open_log.log.head
        if message.history != open_log.log.history:
            self.replaced(open_log)
        elif open_log.reading:
            open_log.missed = True
        elif message.start == head:
            frames = split_frames(message.frames)
            self._add(open_log, decode_frames(frames, before=head), frames, message.merged)
        elif message.head > head:
            self._start(self.try_to_catch_up(open_log))

    def _add(self, open_log: OpenLog, events: Sequence[Event], frames: Sequence[bytes], merged: int) -> None:
        """Add events that follow the head of the log in memory, and tell the observer."""
        for event in events:
            open_log.log.append_if_new(event)
        open_log.head = open_log.log.head
        open_log.merged = max(open_log.merged, merged)
        open_log.trim()
        self._notify(lambda observer: observer.appended(open_log.session, events, frames))

    # --- reading what is missing -------------------------------------------------------------------------------------

    def _resubscribed(self, channel: str) -> None:
        open_log = self._open_logs.get(session_of(channel))
        if open_log is not None:
            self._start(self.try_to_catch_up(open_log))

    async def try_to_catch_up(self, open_log: OpenLog) -> None:
        """Read what is missing; of a session that this node owns, only whether it still does."""
        if open_log.reading:
            open_log.missed = True
            return
        open_log.reading = True
        try:
            if open_log.fence is not None:
                await self._check_ownership(open_log, open_log.fence)
            if open_log.fence is None and self._is_open(open_log):  # also where it has lost it meanwhile
                await self.read_missing(open_log)
        except StoreError:
            self._stale.add(open_log)
        finally:
            open_log.reading = False

    async def catch_up(self, open_log: OpenLog) -> None:
        """Bring the log in memory to the stored head, also where another node has become its owner unnoticed.

        Raises `StoreError`.
        """
        if (fence := open_log.fence) is not None:
            await self._wait_for_append(open_log)
            reply = await run_repeated(self._connections, ScriptCall(session_script("state"), open_log.keys[:1]))
            found = as_optional_values(reply)[1]
            if open_log.fence == fence and found is not None and found.decode() != fence:
                self.fenced(open_log)
        if open_log.fence is None:
            await self.read_missing(open_log)

    async def _wait_for_append(self, open_log: OpenLog) -> None:
        """Wait for the outcome of an append that is under way: others may have seen what is not known here yet."""
        fence, head = open_log.fence, open_log.head
        while open_log.appending and (open_log.fence, open_log.head) == (fence, head):  # noqa: ASYNC110 - it is rare
            await asyncio.sleep(APPEND_LOOK_SECONDS)

    async def read_missing(self, open_log: OpenLog) -> None:
        """Bring the log in memory to the stored head. Raises `StoreError`."""
        while True:
            open_log.missed = False
            reply = await self._reader.run("read", open_log.session, open_log.log.head, READ_BYTES)
            if not self._is_open(open_log):
                return
            if not isinstance(reply, list):
                await self._wait_for_owner(open_log)
                return
            history, head, merged, entries = as_values(reply[0:1])[0], *map(int, as_values(reply[1:3])), reply[3]
            if history != open_log.log.history.encode():
                self.replaced(open_log)
                return
            if head < open_log.log.head:
                await self._wait_for_owner(open_log)
                return
            open_log.behind_since = None
            events = self._decode_missing(open_log, as_values(entries), head)
            if events:
                self._add(open_log, events, [encode_event(event) for event in events], merged)
            if open_log.log.head >= head and not open_log.missed:
                open_log.heard_at = self._clock()
                return

    def _decode_missing(self, open_log: OpenLog, entries: Sequence[bytes], head: int) -> list[Event]:
        """The events that follow the log in memory. Raises `StoreError` where they can't be read: it is closed then."""
        try:
            events = events_after(decode_entries(entries), open_log.log.head)
            if not events and open_log.log.head < head:
                raise ValueError("the stored log ends before its head")
        except UNDECODABLE as error:
            log.warning("session_read_failed", session=open_log.session, exc_info=True)
            self.replaced(open_log)
            raise StoreError from error
        return events

    async def _wait_for_owner(self, open_log: OpenLog) -> None:
        """The store has less than the log in memory: was it deleted, or will its owner append again what was lost?"""
        reply = await run_repeated(self._connections, ScriptCall(session_script("state"), open_log.keys[:1]))
        if not self._is_open(open_log):
            return
        forgotten, now = as_optional_values(reply)[0], self._clock()
        if open_log.behind_since is None:
            open_log.behind_since = now
        if forgotten:
            self.deleted(open_log)
        elif now - open_log.behind_since > OWNER_SECONDS:
            self.replaced(open_log)
        else:
            self._stale.add(open_log)

    async def _check_ownership(self, open_log: OpenLog, fence: str) -> None:
        reply = await run_repeated(self._connections, ScriptCall(session_script("state"), open_log.keys[:1]))
        if open_log.fence != fence or open_log.appending or not open_log.stored:
            return  # an append finds out
        forgotten, found, _, head = as_optional_values(reply)[:4]
        if found is None and forgotten:
            self.deleted(open_log)
        elif found is not None and found.decode() != fence:  # also where the server has lost the claim
            self.fenced(open_log)
        elif int(head or 0) < open_log.head:
            self._start(self.restore(open_log))

    async def _watch_silence(self) -> None:
        """Ask, once a second, for the heads of those logs whose owner may have told something that was lost.

        Where nobody takes itself for the owner, nobody ends the turn that runs: the observer is told. Where none runs,
        nothing should be missing; whatever the reason, its readers have it a minute later.
        """
        while True:
            await asyncio.sleep(SILENCE_SECONDS / 2)
            for open_log in [*self._stale]:
                self._stale.discard(open_log)
                if self._is_open(open_log):
                    self._start(self._subscribe_again(open_log))
            now = self._clock()
            followed = [each for each in self._open_logs.values() if each.fence is None]
            silent = [each for each in followed if each.log.summary.asked and now - each.heard_at > SILENCE_SECONDS]
            idle = [each for each in followed if not each.log.summary.asked and now - each.heard_at > IDLE_SECONDS]
            if silent or idle:
                await self._ask_for_heads([*silent, *idle[:MAX_IDLE_AT_ONCE]], now)

    async def _ask_for_heads(self, asked: Sequence[OpenLog], now: float) -> None:
        calls = [ScriptCall(session_script("read"), each.keys, (each.log.head, 0)) for each in asked]
        for open_log, reply in zip(asked, await run_all_repeated(self._connections, calls), strict=True):
            if isinstance(reply, StoreError):
                continue
            open_log.heard_at = now
            known = [open_log.log.history.encode(), b"%d" % open_log.log.head]
            if not isinstance(reply, list) or as_optional_values(reply[:2]) != known:
                self._start(self.try_to_catch_up(open_log))
            elif open_log.log.summary.asked and reply[4] == 0 and open_log.fence is None and self._is_open(open_log):
                self._unowned(open_log)


def _counter(fence: str) -> int:
    return int(fence.partition(":")[0])
