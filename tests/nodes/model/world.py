"""World: two nodes as `askbot serve` makes them, on one Redis, each with an event loop in which time stands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from askbot_ws.core.commands import Ask
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import AskbotError
from askbot_ws.events import Event
from askbot_ws.hub import Hub, Policy
from askbot_ws.nodes.keys import lease_of
from askbot_ws.nodes.membership import LeaseTimes
from askbot_ws.nodes.placement import NodePlacement
from askbot_ws.store.redis.keys import keys_of
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.testing import Step as Piece
from tests.redis_server import RedisServer
from tests.walk.recording_reader import RecordingReader

from .stepped_redis import Line, Opener, StepLoop, SteppedConnections, Wire
from .steps import Step

TIMES = LeaseTimes(lease=1000.0, renewal=0.4)
SESSION = "s"
KEYS = keys_of(SESSION)


class ModelReader(RecordingReader):
    """A reader that comes back when it is closed."""

    def __init__(self, node: ModelNode) -> None:
        super().__init__(SESSION)
        self.failure: AssertionError | None = None
        self._node = node

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Be shown events, and remember what is wrong with them."""
        try:
            super().notify(events, frames)
        except AssertionError as error:
            self.failure = self.failure or error
            raise

    def on_closed(self, error: AskbotError) -> None:
        """Come back."""
        super().on_closed(error)
        self._node.do(self.read())

    async def read(self) -> None:
        """Read what is new, and go on."""
        hub = self._node.hub
        topic = await hub.resume(ANONYMOUS, SESSION, after=self.seq)
        assert topic.log.start <= self.seq, "it is not in memory"
        assert topic.log.head >= self.seq, f"at {self.seq}, the log is at {topic.log.head}"
        self.record(topic.log.events_after(self.seq))
        self.topic = topic
        hub.attach(topic, self)


@dataclass(slots=True)
class Action:
    """What somebody does at a node, at any moment from which on it may."""

    name: str
    do: Callable[[], Coroutine[Any, Any, object] | None]
    may: Callable[[], bool] = lambda: True


@dataclass
class ModelNode:
    """One node."""

    name: str
    line: Line
    upstream: ScriptedUpstream
    loop: StepLoop = field(default_factory=StepLoop)
    actions: deque[Action] = field(default_factory=deque[Action])
    errors: list[BaseException] = field(default_factory=list[BaseException])

    def __post_init__(self) -> None:
        self.loop.set_exception_handler(self._note_error)
        self.do(self._open())

    async def _open(self) -> None:
        self.store = RedisStore(self.name, node=self.name, clock=self.loop.time, wall_clock=lambda: 1.8e9)
        self.placement = NodePlacement(self.store, times=TIMES)
        self.hub = Hub(
            self.store,
            self.upstream,
            Policy(),
            clock=self.loop.time,
            wall_clock=lambda: 1.8e9,
            placement=self.placement,
        )
        await self.hub.__aenter__()

    def do(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin something."""
        self.loop.create_task(work).add_done_callback(self._note)

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    def _note(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def wait(self, seconds: float) -> None:
        """Let time go on."""
        self.loop.now += seconds

    def close(self) -> None:
        """Be gone, as a process that is killed."""
        while self.loop.tasks:
            for task in [*self.loop.tasks]:
                task.cancel()
            self.loop.settle()
        self.loop.close()
        self.line.close()


class World:
    """The nodes, and what is still to happen."""

    def __init__(self, server: RedisServer, *, at_once: str = "", lost_replies: int = 0) -> None:
        """Make a world without nodes.

        Args:
            server: What all nodes use; all in it is deleted.
            at_once: The name of a node that has each reply as soon as its call is executed.
            lost_replies: How many calls of the first node are executed without that it is told.
        """
        self._at_once = at_once
        self.wire = Wire(server)
        self.wire.command("FLUSHALL")
        self._lost_replies = lost_replies
        self.readers: list[ModelReader] = []
        self.nodes: dict[str, ModelNode] = {}
        self._server = server
        self._number: int | None = None  # of the step that is taken
        self._head = self._head_of = 0  # of the stored log, and `Wire.changes` when it was read

    def node(self, name: str, *scripts: Sequence[Piece]) -> ModelNode:
        """Start a node."""
        line = Line(self._server, self.wire, lambda: self._number)
        Opener.made[name] = SteppedConnections(line, self.wire)
        node = self.nodes[name] = ModelNode(name, line, ScriptedUpstream(*scripts))
        self.settle()
        return node

    def reader(self, node: ModelNode) -> ModelReader:
        """A reader at a node, which does not read yet."""
        reader = ModelReader(node)
        self.readers.append(reader)
        return reader

    def settle(self) -> None:
        """Let everything happen that can, in some order."""
        while True:
            self._run_loops()
            lines = [node.line for node in self.nodes.values()]
            if not any(line.requests or line.replies or line.messages for line in lines):
                return
            for node in self.nodes.values():
                while node.line.requests:
                    node.line.execute()
                self._collect()
                for _ in node.line.replies:
                    node.loop.call_soon(node.line.reply)
                for _ in node.line.messages:
                    node.loop.call_soon(node.line.message)

    def _run_loops(self) -> None:
        for node in self.nodes.values():
            node.loop.settle()

    def _collect(self) -> None:
        for node in self.nodes.values():
            node.line.collect()

    def run_to(self, node: ModelNode, script: str) -> None:
        """Let everything happen at one node until it is about to call a script."""
        while True:
            node.loop.settle()
            if any(call.script.name == script for call in node.line.requests[0].calls):
                return
            node.line.execute()
            self._collect()
            node.loop.call_soon(node.line.reply)

    def lapse(self, node: ModelNode) -> None:
        """A node's lease is over."""
        self.wire.command("DEL", lease_of(node.name))

    @property
    def stored_head(self) -> int:
        """The head of the stored log."""
        if self._head_of != self.wire.changes:
            self._head_of = self.wire.changes
            self._head = int(self.wire.command("HGET", KEYS.meta, "head") or 0)
        return self._head

    # --- as a world of steps -----------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """What may happen now."""
        found: list[Step] = []
        for node in self.nodes.values():
            line = node.line
            if line.requests:
                request = line.requests[0]
                touched = request.reads, request.writes(KEYS), request.sent_at
                place = node.name if node.name == self._at_once else f"{node.name}'s connection"
                found.append(Step(place, "call", "", *touched))
                if self._lost_replies and node is next(iter(self.nodes.values())) and request.calls:
                    found.append(Step(f"{node.name}'s connection", "call", "whose reply is lost", *touched))
            if line.replies:
                found.append(Step(node.name, "reply", cause=line.replies[0].executed_at))
            if line.messages:
                found.append(Step(node.name, "message", cause=line.messages[0][2]))
            if node.actions and node.actions[0].may():
                found.append(Step(node.name, "acts", node.actions[0].name))
        return found

    def take(self, step: Step) -> None:
        """Let it happen, and what follows from it in the node."""
        self._number = 0 if self._number is None else self._number + 1
        node = self.nodes[step.place.removesuffix("'s connection")]
        match step.queue:
            case "call" if step.choice:
                self._lost_replies -= 1
                node.line.execute(lose_reply=True)
                node.actions.appendleft(Action("waits", lambda: node.wait(0.1), lambda: not node.line.replies))
            case "call":
                node.line.execute()
                if node.name == self._at_once:
                    node.loop.call_soon(node.line.reply)
            case "reply":
                node.loop.call_soon(node.line.reply)
            case "message":
                node.loop.call_soon(node.line.message)
            case _:
                work = node.actions.popleft().do()
                if work is not None:
                    node.do(work)
        self._collect()
        self._settle(node)
        self._check()

    def _settle(self, node: ModelNode) -> None:
        """Let a node run until it waits for its session, for which alone the order matters."""
        while True:
            node.loop.settle()
            requests = node.line.requests
            if not requests or requests[0].concerns(KEYS) or node.line.replies:
                return
            node.line.execute()
            node.loop.call_soon(node.line.reply)

    def _check(self) -> None:
        head = self.stored_head
        for reader in self.readers:
            if reader.failure is not None:
                raise reader.failure
            assert reader.seq <= head, f"shown up to {reader.seq}, stored up to {head}"
        for node in self.nodes.values():
            if node.errors:
                raise AssertionError(f"{node.name}: {node.errors[0]!r}") from node.errors[0]

    def end(self) -> None:
        """Check that all readers have been shown all that is stored, and the same; that no turn is open or asked twice.

        A message that was lost would be noticed after a while, so what is not known by now was lost.
        """
        head, first = self.stored_head, self.readers[0]
        for reader in self.readers:
            assert reader.seq == head, f"stored up to {head}, shown up to {reader.seq}"
            assert not reader.open_turns, f"without an end: {reader.open_turns}"
            for question in reader.questions.values():
                first.same(question)
            assert reader.answers == first.answers
            assert reader.dones == first.dones
        asked = [prompt.messages[-1].text for node in self.nodes.values() for prompt in node.upstream.prompts]
        assert len(asked) == len({*asked}), f"asked twice: {asked}"

    def close(self) -> None:
        """Be gone."""
        for node in self.nodes.values():
            node.close()
        self.wire.close()


def ask(node: ModelNode, text: str) -> Coroutine[Any, Any, object]:
    """Ask a question at a node."""
    return node.hub.command(ANONYMOUS, SESSION, Ask(text))
