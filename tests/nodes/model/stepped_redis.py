"""Stepped Redis: a real server whose calls, replies and messages wait until the model lets them happen."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias, cast
from unittest.mock import patch

import hiredis
import structlog

from askbot_ws.errors import StoreError
from askbot_ws.hub import turn_scheduler
from askbot_ws.nodes import inbox
from askbot_ws.store.redis import follower, store
from askbot_ws.store.redis.failures import OutcomeUnknown
from askbot_ws.store.redis.keys import SessionKeys
from askbot_ws.store.redis.scripts import ScriptCall
from askbot_ws.store.redis.server_connection import Reply, pack_command
from tests.redis_server import RedisServer

READING = {"load", "read", "state", "turns", "find_turn", "describe", "followers"}
"""Scripts that change nothing."""
ASIDE = READING | {"command", "note", "range"}
"""Scripts that change nothing of a session, and publish nothing."""
Outcome: TypeAlias = "Reply | StoreError"


class Wire:
    """A connection to the server that waits for each reply.

    Attributes:
        changes: How many scripts were run by it that may change a session, and publish.
    """

    def __init__(self, server: RedisServer) -> None:
        self.changes = 0
        self._socket: socket.socket = server.connect()
        self._reader = hiredis.Reader(notEnoughData=self)

    def command(self, *words: bytes | str | int) -> Any:
        """Run a command. Raises `hiredis.ReplyError`."""
        self.send(*words)
        reply = self.receive()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def run(self, call: ScriptCall) -> Any:
        """Run a script, by its hash where the server has it. Raises `hiredis.ReplyError`."""
        given = len(call.keys), *call.keys, *call.args
        try:
            return self.command("EVALSHA", call.script.sha, *given)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return self.command("EVAL", call.script.source, *given)

    def send(self, *words: bytes | str | int) -> None:
        """Send a command."""
        self._socket.sendall(pack_command(words))

    def receive(self) -> Any:
        """The next reply, or message."""
        while (reply := self._reader.gets()) is self:
            data = self._socket.recv(65_536)
            assert data, "the server is gone"
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@dataclass(slots=True)
class Request:
    """Calls of scripts that a node has sent, or a channel that it subscribes to."""

    calls: Sequence[ScriptCall]
    channel: str | None
    done: asyncio.Future[Any]
    sent_at: int | None  # the number of the step in which it was
    executed_at: int | None = None
    outcome: Any = None

    def concerns(self, keys: SessionKeys) -> bool:
        """Whether it has to do with a session."""
        return self.channel in keys or any(key in keys for call in self.calls for key in call.keys)

    @property
    def reads(self) -> frozenset[str]:
        """What it reads; a subscription changes who gets what is published in its channel, so it is a reading, too."""
        return frozenset({self.channel} if self.channel else {key for call in self.calls for key in call.keys[:1]})

    def writes(self, keys: SessionKeys) -> frozenset[str]:
        """What it writes of a session."""
        names = {call.script.name for call in self.calls}
        if names <= READING:
            return frozenset()
        return frozenset({keys.meta, keys.owner if names & {"claim", "forget"} else keys.followers})


class Line:
    """What is between one node and the server: requests that wait, replies and messages that are on their way."""

    def __init__(self, server: RedisServer, wire: Wire, now: Callable[[], int | None]) -> None:
        """`now` is the number of the step that is taken; None: none of those that are counted."""
        self.now = now
        self.requests: deque[Request] = deque()
        self.replies: deque[Request] = deque()
        self.messages: deque[tuple[str, bytes, int | None]] = deque()  # the channel, the text, when it was published
        self.listeners: list[Callable[[str, bytes], None]] = []
        self._wire = wire
        self._channels: dict[str, Callable[[str, bytes], None]] = {}
        self._subscribed = Wire(server)
        self._collected = 0  # `Wire.changes` when it was last seen what they published

    def execute(self, *, lose_reply: bool = False) -> None:
        """Let the server have the next request."""
        request = self.requests.popleft()
        if request.channel is not None:
            self._subscribed.command("SSUBSCRIBE", request.channel)
        outcomes = [self._run(call) for call in request.calls]
        request.executed_at = self.now()
        request.outcome = [OutcomeUnknown()] * len(outcomes) if lose_reply else outcomes
        self.replies.append(request)

    def _run(self, call: ScriptCall) -> Outcome:
        if call.script.name not in ASIDE:
            self._wire.changes += 1
        try:
            found = self._wire.run(call)
        except hiredis.ReplyError as error:
            failed = StoreError()
            failed.__cause__ = error
            return failed
        return cast("Reply", found)

    def reply(self) -> None:
        """Let the node have the next reply."""
        request = self.replies.popleft()
        if not request.done.done():
            request.done.set_result(request.outcome)

    def collect(self) -> None:
        """See what was published."""
        if self._collected == self._wire.changes:
            return
        self._collected = self._wire.changes
        self._subscribed.send("PING")
        while (message := self._subscribed.receive()) not in (b"PONG", [b"pong", b""]):
            _, channel, data = message
            self.messages.append((channel.decode(), data, self.now()))

    def message(self) -> None:
        """Let the node have the next message."""
        channel, data, _ = self.messages.popleft()
        self._channels[channel](channel, data)

    def follow(self, channel: str, listener: Callable[[str, bytes], None]) -> None:
        """Who gets the messages of a channel."""
        self._channels[channel] = listener

    def close(self) -> None:
        """Be gone."""
        self._subscribed.close()


class SteppedConnections:
    """In place of `RedisConnections`."""

    url = None

    def __init__(self, line: Line, wire: Wire) -> None:
        self.line = line
        self.client = _Client(wire)

    async def run(self, call: ScriptCall, *, replicas: int = 0) -> Reply:
        """Run a script, when the model lets it."""
        (outcome,) = await self.run_all((call,), replicas=replicas)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def run_all(self, calls: Sequence[ScriptCall], *, replicas: int = 0) -> list[Outcome]:
        """Run scripts, when the model lets them."""
        assert not replicas
        return await self.send_all(calls)

    def send_all(self, calls: Sequence[ScriptCall]) -> asyncio.Future[list[Outcome]]:
        """Send scripts; the server has them when the model lets it."""
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.line.requests.append(Request(calls, None, done, self.line.now()))
        return done

    async def complete(self, calls: Sequence[ScriptCall], replies: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes of scripts that were sent: here, they are their replies."""
        assert len(calls) == len(replies)
        return replies

    async def close(self) -> None:
        """Nothing to close: the model does."""


class _Client:
    """Of redis-py's client what a store needs to open."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def set(self, key: str, value: str, *, nx: bool) -> None:
        assert nx
        self._wire.command("SET", key, value, "NX")

    async def get(self, key: str) -> bytes:
        found: bytes = self._wire.command("GET", key)
        return found


class SteppedSubscriptions:
    """In place of `Subscriptions`. Messages of a channel come also after it is unsubscribed, as they may."""

    def __init__(
        self,
        connections: SteppedConnections,
        *,
        on_message: Callable[[str, bytes], None],
        on_gap: Callable[[str], None],
    ) -> None:
        del on_gap
        self._line = connections.line
        self._on_message = on_message
        self._channels = set[str]()

    async def subscribe(self, channel: str) -> None:
        """Follow a channel, when the model lets it."""
        if channel in self._channels:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.follow(channel, self._on_message)
        self._line.requests.append(Request((), channel, done, self._line.now()))
        await done
        self._channels.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Follow a channel no more."""
        self._channels.discard(channel)

    async def close(self) -> None:
        """Nothing to close."""


class Opener:
    """In place of the class `RedisConnections`: opens the connections that were made."""

    made: ClassVar[dict[str, SteppedConnections]] = {}

    @classmethod
    async def open(cls, url: str) -> SteppedConnections:
        """The connections of the node of this name."""
        return cls.made[url]


class StepLoop(asyncio.SelectorEventLoop):
    """An event loop in which time stands still.

    Attributes:
        now: The time that it stands at.
        tasks: Those that run: `asyncio.all_tasks` would look at those of all loops that were ever there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tasks = set[asyncio.Task[Any]]()
        self.set_task_factory(cast("Any", self._make_task))

    def _make_task(self, loop: StepLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def time(self) -> float:
        """The time that it stands at."""
        return self.now

    def settle(self) -> Self:
        """Run until nothing is left to do."""
        while self._has_work():
            self.call_soon(self.stop)
            self.run_forever()
        return self

    def _has_work(self) -> bool:
        inner: Any = self
        timers = inner._scheduled
        return bool(inner._ready or (timers and timers[0].when() <= self.now))


@contextmanager
def stepped() -> Generator[None]:
    """Nodes use connections and subscriptions that wait for the model, and log nothing."""
    with (
        patch.object(store, "RedisConnections", Opener),
        patch.object(follower, "Subscriptions", SteppedSubscriptions),
        patch.object(inbox, "Subscriptions", SteppedSubscriptions),
        patch.object(turn_scheduler, "SHARED_INTERVAL", None),  # time stands still
        structlog.testing.capture_logs(),
    ):
        yield
