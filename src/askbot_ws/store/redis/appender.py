"""Appender: appends to the sessions that this node owns, again and again while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...core.log_tail import LogTail
from ...core.summary import LogSummary
from ...errors import LogMoved, SessionNotFound, StoreError
from ...events import Event, encode_event
from .. import Entry, Failures, heads_after
from ..shielded_tasks import ShieldedTasks
from .codec import decode_summary, events_after
from .connections import RedisConnections
from .failures import OutcomeUnknown, Remedy, ServerRefusedError
from .follower import LogFollower
from .open_logs import OpenLog
from .ownership import Ownership
from .repeated import as_optional_values
from .scripts import ScriptCall, publication
from .server_connection import RawReply, Reply
from .session_scripts import session_script
from .session_write import SessionWrite, make_write

APPEND_SECONDS = 30.0  # for which an append is tried again while Redis is away
RESTORE_SECONDS = 30.0  # after an append, for which its owner appends again what a failover has lost
_PASSING = {"NOREPLICAS", "OOM", "MISCONF"}  # as while a replica starts anew, or until somebody makes room
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts


@dataclass(slots=True)
class AppendClocks:
    """What appends are timed by: a monotonic clock, one in seconds since 1970, and the store's age; all in seconds."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    age: Callable[[], float]


class Appender:
    """Appends batches. It finds out, for each session, whether an append is stored, where that was not told."""

    def __init__(
        self,
        connections: RedisConnections,
        open_logs: dict[str, OpenLog],
        follower: LogFollower,
        ownership: Ownership,
        clocks: AppendClocks,
        *,
        tasks: ShieldedTasks,
        replicas: int,
    ) -> None:
        """`replicas`: how many replicas must have an append before anybody is shown it."""
        self._connections = connections
        self._open_logs = open_logs
        self._follower = follower
        self._ownership = ownership
        self._clocks = clocks
        self._tasks = tasks
        self._replicas = replicas
        self.patience = APPEND_SECONDS
        self._loop = asyncio.get_running_loop()
        follower.restore = self.restore

    def append(self, batch: Mapping[str, Entry]) -> asyncio.Future[Failures]:
        """As `Store.append`. Where the server takes all of it at once, no task is needed, which costs like a token."""
        open_logs = [self._open_logs.get(session) for session in batch]
        if self._replicas or any(log is None or log.fence is None or not log.stored for log in open_logs):
            return self._tasks.start(self._append(batch))
        failures: Failures = {}
        writes = self._make_writes(batch, failures)
        calls = _calls_of(writes)
        sent = self._connections.send_all(calls) if calls else None
        if sent is None:
            return self._tasks.start(self._write(writes, failures))
        outcome: asyncio.Future[Failures] = self._loop.create_future()
        sent.add_done_callback(lambda sent: self._on_replies(sent.result(), len(calls), writes, failures, outcome))
        self._tasks.include(sent)
        return outcome

    def _on_replies(
        self,
        replies: Sequence[RawReply],
        count: int,
        writes: Sequence[SessionWrite],
        failures: Failures,
        outcome: asyncio.Future[Failures],
    ) -> None:
        """Take what the server says of an append of `count` calls: usually that all of it is stored."""
        if replies.count(1) == count:
            try:
                self._apply(writes)
            except Exception as error:  # noqa: BLE001 - whoever waits is told, as by a task
                _resolve(outcome, error)
            else:
                _resolve(outcome, failures)
            self._end(writes)
            return
        task = self._tasks.start(self._write(writes, failures, replies))
        task.add_done_callback(lambda task: _resolve(outcome, task.exception() or task.result()))

    async def _append(self, batch: Mapping[str, Entry]) -> Failures:
        """Append, with what sessions need that are new or that nobody owns."""
        failures: Failures = {}
        await self._claim_unowned(batch, failures)
        return await self._write(self._make_writes(batch, failures), failures)

    def _make_writes(self, batch: Mapping[str, Entry], failures: Failures) -> Sequence[SessionWrite]:
        """What is to be appended, of the sessions that this node owns; from now on, that is under way."""
        writes: list[SessionWrite] = []
        new: list[LogTail] = []
        for session in heads_after(batch, self._open_logs, failures, new):
            open_log = self._open_logs[session]
            try:
                write = None if open_log.fence is None else self._make_write(open_log, *batch[session])
            except (ValueError, TypeError) as error:  # a fault in one session must not cost the others anything
                failures[session] = _moved(error)
                continue
            if write is not None:
                writes.append(write)
                open_log.appending = True
        return writes

    def _end(self, writes: Sequence[SessionWrite]) -> None:
        """Note that nothing is under way any more."""
        for write in writes:
            write.open_log.appending = False
            if write.open_log.released:
                self._ownership.release(write.open_log)

    async def _claim_unowned(self, batch: Mapping[str, Entry], failures: Failures) -> None:
        """Claim the sessions that were loaded and not claimed, where no other node owns them."""
        for session in batch:
            open_log = self._open_logs.get(session)
            if open_log is not None and open_log.fence is None:
                try:
                    if await self._ownership.claim(open_log, instead_of=None) is not None:
                        failures[session] = _moved(ValueError("another node owns the session"))
                except StoreError as error:
                    failures[session] = error
                except SessionNotFound as error:
                    failures[session] = _moved(error)

    def _make_write(self, open_log: OpenLog, events: Sequence[Event], frames: Sequence[bytes]) -> SessionWrite | None:
        """The append of events that follow the log in memory; None where the store has them already."""
        known = sum(event.seq <= open_log.head for event in events)
        if known == len(events):
            return None
        log = open_log.log
        if not open_log.stored and log.user is not None:
            log.summary.created = self._clocks.wall()
        return self.prepare(open_log, events[known:], frames[known:], log.summary)

    def prepare(
        self, open_log: OpenLog, events: Sequence[Event], frames: Sequence[bytes], base: LogSummary
    ) -> SessionWrite:
        """The append of events to a session whose summary at the stored head is `base`."""
        return make_write(open_log, events, frames, base=base, age=self._clocks.age(), publish=not self._replicas)

    async def _write(
        self, writes: Sequence[SessionWrite], failures: Failures, replies: Sequence[RawReply] | None = None
    ) -> Failures:
        """Send appends until each is stored or has failed; `replies` are those to a first attempt."""
        try:
            await self._send(writes, failures, replies)
        finally:
            self._end(writes)
        return failures

    async def _send(
        self, writes: Sequence[SessionWrite], failures: Failures, replies: Sequence[RawReply] | None = None
    ) -> None:
        new = [write for write in writes if not write.open_log.stored]
        if new:
            await asyncio.gather(*(self._announce(write) for write in new))
        deadline, pause = self._loop.time() + self.patience, FIRST_PAUSE
        while writes:
            calls = _calls_of(writes)
            if replies is None:
                found = await self._connections.run_all(calls, replicas=self._replicas)
            else:
                found, replies = await self._connections.complete(calls, replies), None
            outcomes = iter(found)
            results = [(write, [next(outcomes) for _ in (*write.notes, write.call)][-1]) for write in writes]
            stored = [write for write, outcome in results if outcome == 1]
            if stored:
                self._apply(stored)
            if len(stored) == len(writes):
                return
            is_over = self._loop.time() >= deadline
            writes = [
                again
                for write, outcome in results
                if outcome != 1 and (again := await self._settle(write, outcome, failures, is_over=is_over))
            ]
            if any(isinstance(outcome, StoreError) for _, outcome in results):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _announce(self, write: SessionWrite) -> None:
        """Note a new session in its user's index, and listen to what is done with it, before it is made.

        Where that fails, making it fails too; and both are done again.
        """
        try:
            await asyncio.gather(
                self._connections.run_all(write.notes), self._follower.subscribe_as_owner(write.open_log)
            )
        except StoreError:
            self._follower.note_stale(write.open_log)

    def _apply(self, stored: Sequence[SessionWrite]) -> None:
        now = self._clocks.monotonic()
        messages: list[ScriptCall] = []
        for write in stored:
            write.apply()
            write.open_log.appended_at = now
            if write.message is not None:
                messages.append(publication(write.open_log.followers, write.message.encode()))
        if messages:
            self._follower.publish(messages)

    async def _settle(
        self, write: SessionWrite, outcome: Reply | StoreError, failures: Failures, *, is_over: bool
    ) -> SessionWrite | None:
        """What to send again for an append that is not known to be stored; None where it has failed, or is stored."""
        session = write.open_log.session
        if not isinstance(outcome, StoreError):
            try:
                return await self._diagnose(write)
            except LogMoved as error:
                failures[session] = error
                return None
            except StoreError as error:
                outcome = error
        write.uncertain = write.uncertain or isinstance(outcome, OutcomeUnknown)
        if is_over or (_is_final(outcome) and not write.uncertain):
            failures[session] = outcome
            if write.open_log.fence == write.fence:
                self._follower.lose_ownership(write.open_log)  # a claim finds out what is stored
            return None
        return write

    # --- what the server has lost ------------------------------------------------------------------------------------

    async def restore(self, open_log: OpenLog) -> None:
        """Append again what the server has lost of a session that this node owns.

        Nothing is done while an append is under way, which finds out by itself.
        """
        if open_log.appending:
            return
        open_log.appending = True
        try:
            again = self._again(open_log, await self._read_state(open_log, open_log.fence), ())
            if again is not None:
                await self._send([again], {})
        except LogMoved:
            pass  # it is another node's, or deleted, and was told so
        except StoreError:
            self._follower.note_stale(open_log)
        finally:
            open_log.appending = False
            if open_log.released:
                self._ownership.release(open_log)

    async def _diagnose(self, write: SessionWrite) -> SessionWrite | None:
        """Find out why the log did not take an append.

        Returns:
            What to append instead, where the server has lost a part of the log that is in memory here; None where it is
            stored.

        Raises:
            LogMoved: Another node owns the session, or it was deleted, or it can't be restored.
            StoreError: It can't be read.
        """
        base = await self._read_state(write.open_log, write.fence)
        if write.open_log.head == write.head:
            self._apply([write])
            return None
        return self._again(write.open_log, base, write.events)

    async def _read_state(self, open_log: OpenLog, fence: str | None) -> LogSummary:
        """Note what is stored of a session that this node owns by this fence; returns the summary there.

        Raises like `_diagnose`, also where the session was claimed anew: what was appended by an earlier claim may not
        follow what others have appended since.
        """
        reply = await self._connections.run(ScriptCall(session_script("state"), open_log.keys[:1]))
        if open_log.fence != fence or self._open_logs.get(open_log.session) is not open_log:
            raise _moved(ValueError("the session was claimed anew"))
        forgotten, found, _, head, merged, summary = as_optional_values(reply)
        if found is None or head is None or merged is None or summary is None:
            if forgotten or not open_log.stored or not self._is_recent(open_log):
                self._follower.deleted(open_log)
                raise _moved(ValueError("the session is deleted"))
            open_log.stored, open_log.head, open_log.merged, open_log.questions = False, 0, 0, {}
            return LogSummary(open_log.log.user, created=open_log.log.summary.created)
        open_log.stored, open_log.is_new = True, False
        if found.decode() != fence:
            self._follower.fenced(open_log)
            raise _moved(ValueError("another node owns the session"))
        open_log.head, open_log.merged = int(head), int(merged)
        user = open_log.log.user
        base, open_log.questions = decode_summary(summary, None if user is None else user.encode())
        return base

    def _again(self, open_log: OpenLog, base: LogSummary, events: Sequence[Event]) -> SessionWrite | None:
        """The append of these events with all that the server has lost before them; None: nothing is missing.

        What is stored beyond the first of them is this owner's own, or the fence were another one. Raises `LogMoved`
        where something is missing that is not in memory any more.
        """
        log = open_log.log
        start = events[0].start if events else log.head
        lost: Sequence[Event] = ()
        if open_log.head < start:
            if open_log.head < log.start or not self._is_recent(open_log):
                self._follower.lose_ownership(open_log)
                raise _moved(ValueError(f"the log is at {open_log.head}, the append at {start}"))
            lost = [event for event in log.read_merged(after=open_log.head) if event.seq <= start]
        missing = events_after([*lost, *events], open_log.head)
        if not missing:
            return None
        return self.prepare(open_log, missing, [encode_event(event) for event in missing], base)

    def _is_recent(self, open_log: OpenLog) -> bool:
        """Whether the last append was so short a time ago that what is missing is lost, and not deleted."""
        return self._clocks.monotonic() - open_log.appended_at < RESTORE_SECONDS


def _calls_of(writes: Sequence[SessionWrite]) -> list[ScriptCall]:
    return [call for write in writes for call in (*write.notes, write.call)]


def _resolve(outcome: asyncio.Future[Failures], result: Failures | BaseException) -> None:
    if outcome.done():  # whoever waited was cancelled
        return
    if isinstance(result, BaseException):
        outcome.set_exception(result)
    else:
        outcome.set_result(result)


def _is_final(error: StoreError) -> bool:
    """Whether an operator is needed, and nothing was done."""
    cause = error.__cause__
    return isinstance(cause, ServerRefusedError) and cause.remedy is Remedy.GIVE_UP and cause.kind not in _PASSING


def _moved(cause: Exception) -> LogMoved:
    error = LogMoved()
    error.__cause__ = cause
    return error
