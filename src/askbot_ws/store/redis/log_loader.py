"""LogLoader: loads logs into memory, with what other nodes append meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from ...core.log_tail import LogTail
from ...errors import SessionNotFound, StoreError
from ..shielded_tasks import ShieldedTasks
from .codec import UNDECODABLE, Deleted, Message, decode_entries, decode_summary
from .keys import SessionKeys, keys_of
from .open_logs import MERGED_TAIL_BYTES, OpenLog
from .session_reader import SessionReader
from .subscriptions import Subscriptions


@dataclass(slots=True, eq=False)
class _Load:
    """A session that is being loaded, with the messages that came meanwhile."""

    done: asyncio.Future[OpenLog]
    messages: list[Message] = field(default_factory=list[Message])


class LogLoader:
    """Loads logs.

    A session is followed from before it is read, so that nothing can be missing that no message tells of.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        reader: SessionReader,
        open_logs: dict[str, OpenLog],
        tasks: ShieldedTasks,
        *,
        apply: Callable[[OpenLog, Message], None],
        unsubscribe: Callable[[SessionKeys], None],
        clock: Callable[[], float],
    ) -> None:
        """`open_logs` are the store's; `clock` is monotonic, in seconds.

        `apply` is called with each message that came while a log was loaded, `unsubscribe` where it can't be.
        """
        self._subscriptions = subscriptions
        self._reader = reader
        self._open_logs = open_logs
        self._tasks = tasks
        self._apply = apply
        self._unsubscribe = unsubscribe
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._loads: dict[str, _Load] = {}

    async def load(self, session: str) -> OpenLog:
        """Load a session's log. Raises `SessionNotFound` and `StoreError`.

        A log that was replaced before whoever waits could take it is loaded again: it is not followed any more.
        """
        while True:
            if session not in self._loads:
                load = self._loads[session] = _Load(self._loop.create_future())
                self._tasks.start(self._load(session, load))
            open_log = await asyncio.shield(self._loads[session].done)
            if self._open_logs.get(session) is open_log:
                return open_log

    async def _load(self, session: str, load: _Load) -> None:
        keys = keys_of(session)
        try:
            await self._subscriptions.subscribe(keys.followers)
            open_log = _decode_log(session, await self._reader.run("load", session, MERGED_TAIL_BYTES))
            self._check_exists(session, load)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._unsubscribe(keys)
            load.done.set_exception(error)
            load.done.exception()  # nobody may wait any more
        else:
            open_log.heard_at = self._clock()
            self._open_logs[session] = open_log
            load.done.set_result(open_log)
            for message in load.messages:
                self._apply(open_log, message)
        finally:
            if self._loads.get(session) is load:
                del self._loads[session]

    def _check_exists(self, session: str, load: _Load) -> None:
        """Raise `SessionNotFound` where a session was deleted while it was read."""
        if self._loads.get(session) is not load or any(isinstance(each, Deleted) for each in load.messages):
            raise SessionNotFound

    def is_loading(self, session: str) -> bool:
        """Whether a session is being loaded."""
        return session in self._loads

    def receive(self, session: str, message: Message) -> None:
        """Keep a message of a session until it is loaded; does nothing where it is not being loaded."""
        if session in self._loads:
            self._loads[session].messages.append(message)

    def discard(self, session: str) -> None:
        """The session was deleted: let a load that is under way find nothing."""
        self._loads.pop(session, None)


def _decode_log(session: str, reply: object) -> OpenLog:
    """As `_open_log_of`; raises `StoreError` too, for what this version can't read."""
    try:
        return _open_log_of(session, reply)
    except UNDECODABLE as error:
        raise StoreError from error


def _open_log_of(session: str, reply: object) -> OpenLog:
    """The log that the script `load` returned. Raises `SessionNotFound`."""
    if not isinstance(reply, list):
        raise SessionNotFound
    history, head, merged, encoded, user, parts, newest = cast(
        "tuple[bytes, bytes, bytes, bytes, bytes | None, list[bytes], list[bytes]]", reply
    )
    events = decode_entries([*reversed(parts), *newest])
    summary, questions = decode_summary(encoded, user)
    tail = LogTail(session, start=events[0].start if events else int(head), history=history.decode())
    for event in events:
        tail.append(event)
    if tail.head != int(head):
        raise ValueError("the stored log ends before its head")
    tail.summary = summary  # which has these events already
    open_log = OpenLog(tail, head=tail.head, merged=int(merged), questions=questions)
    open_log.trim()
    return open_log
