"""A discrete-event model of the queueing on a token's way: provider, event loop, group commit, store, readers.

    provider --write--> node: read, decode | commit | send --> reader
                                            |   ^
                                   pipeline v   | reply        (with Redis; SQLite's journal is written by the commit)
                                         Redis: one script after the other --publish--> follower: read, send --> reader

A node is one thread. In one tick of its loop it takes all that has arrived, and pays `tick` once for each commit and
`token` for each answer in it, so that its cost per token falls as its load rises. With Redis one batch is in flight:
what comes meanwhile makes the next one, which waits for others as the program's own `SHARED_INTERVAL` says. The pause
of a loop whose core is nearly used up is decided by the program's own `LoopPauseController`. Provider and readers share
one core, as they do where it is measured.

The costs are measured at some loads (`bench.predictions`); what the model adds is waiting. It knows no cold caches: it
predicts too little where a core is idle most of the time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from askbot_ws.core.limits import LoopPauseController
from askbot_ws.hub.group_commit import MAX_BATCH_SESSIONS, MIN_EVENTS_FOR_THROTTLE, SHARED_INTERVAL
from askbot_ws.server.throttle import MAX_PAUSE_SECONDS, UPDATE_INTERVAL_SECONDS

from .simulation import Processor, Simulation

PROVIDER_TICK = 0.001  # seconds between two looks of the provider at its clock, see provider.py
BEFORE_COMMIT = 0.5  # the share of a token's cost that comes before its commit: reading and decoding; then sending
ASKED_WITHIN = 1.0  # seconds over which the questions are spread
REST = 3.0  # seconds for what is still on its way at the end; what is not there then counts as that late
LATE = 0.1  # seconds of p99 beyond which a load is more than a node can take


@dataclass(frozen=True, slots=True)
class RedisCosts:
    """Redis' own CPU, in seconds of its core."""

    pipeline: float  # for each pipeline, whatever is in it
    script: float  # for each session in it
    round_trip: float = 0.0  # seconds that the network takes, there and back


@dataclass(frozen=True, slots=True)
class FollowerCosts:
    """CPU of a node that shows what another one writes, in seconds of its core."""

    tick: float  # for each tick in which messages came
    token: float  # for each token


@dataclass(frozen=True, slots=True)
class DriverCosts:
    """CPU of provider and readers, in seconds of their core."""

    look: float  # of the provider, for each look at its clock
    write: float  # of the provider, for each token
    wakeup: float  # of the readers, whenever something came while they waited
    read: float  # of the readers, for each token


@dataclass(frozen=True, slots=True)
class Costs:
    """What is measured and goes into the model, in seconds of a core."""

    tick: float  # of a node, for each commit
    token: float  # of a node, for each token
    turn: float  # of a node, for each question
    more: float  # of a node, for each further token of an answer in the same commit
    idle: float  # of a node, in each second, whatever comes
    wake: float  # delay until a node that waits runs; no CPU
    driver: DriverCosts
    redis: RedisCosts | None = None
    follower: FollowerCosts | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Answers side by side, each of a steady rate."""

    answers: int
    rate: float = 50.0  # tokens a second of each
    seconds: float = 2.0  # of each answer


@dataclass(slots=True)
class Token:
    """One token on its way."""

    answer: int
    written: float = 0.0
    read: float = 0.0
    followed: float = 0.0


@dataclass(slots=True)
class Prediction:
    """What a load costs, and how late its tokens come."""

    cpu_us: float  # of the node, microseconds a token
    share: float  # of the node's core that is used
    driver: float  # of the core of provider and readers
    p50_ms: float
    p99_ms: float
    commits: float  # for each token
    pause_ms: float  # of the loop at the end
    redis_us: float = 0.0  # of Redis, microseconds a token
    follower_us: float = 0.0  # of a node that follows
    behind_p50_ms: float = 0.0  # by which the follower's reader is later


class Driver:
    """Provider and readers, on one core."""

    send: Callable[[Token], object]  # brings what was written to the node

    def __init__(self, simulation: Simulation, costs: DriverCosts, load: Load) -> None:
        self.core = Processor(simulation)
        self.tokens: list[Token] = []
        self._simulation = simulation
        self._costs = costs
        self._load = load
        self._due: list[tuple[float, int, int]] = []  # a heap: when each answer's next token is due, which, how many
        self._begun = 0
        self._arrived: list[Callable[[float], None]] = []  # for the readers, until they look
        simulation.at(PROVIDER_TICK, self._tick)

    def begin(self) -> None:
        """Begin an answer."""
        heapq.heappush(self._due, (self._simulation.now, self._begun, round(self._load.rate * self._load.seconds)))
        self._begun += 1

    def _tick(self) -> None:
        """Write what is due, as provider.py: it sleeps, looks, and writes."""
        now, step = self._simulation.now, 1 / self._load.rate
        self.core.do(self._costs.look)
        while self._due and self._due[0][0] <= now:
            due, answer, left = heapq.heappop(self._due)
            self._write(answer)
            if left > 1:
                heapq.heappush(self._due, (due + step, answer, left - 1))
        self.core.do(0.0, lambda: self._simulation.at(self._simulation.now + PROVIDER_TICK, self._tick))

    def _write(self, answer: int) -> None:
        token = Token(answer)
        self.tokens.append(token)
        token.written = self.core.do(self._costs.write, lambda: self.send(token))

    def receive(self, token: Token) -> None:
        """Bring a token to the reader that is connected to the owner."""
        self._receive(lambda now: setattr(token, "read", now))

    def receive_second(self, token: Token) -> None:
        """Bring a token to the reader that is connected to the follower."""
        self._receive(lambda now: setattr(token, "followed", now))

    def _receive(self, note: Callable[[float], None]) -> None:
        self._arrived.append(note)
        if len(self._arrived) == 1:
            self.core.do(self._costs.wakeup, self._read)

    def _read(self) -> None:
        arrived, self._arrived = self._arrived, []
        for note in arrived:
            note(self.core.do(self._costs.read))


class Loop:
    """A thread that takes all that has arrived, works on it, and looks again."""

    def __init__(self, simulation: Simulation, wake: float, work: Callable[[Sequence[Token]], float]) -> None:
        """`work` does what is to be done with tokens; it returns the seconds until the loop looks again."""
        self.used = 0.0
        self._simulation = simulation
        self._wake = wake
        self._work = work
        self._arrived: list[Token] = []
        self._calls: list[Callable[[], float]] = []
        self._busy = False

    def arrive(self, token: Token) -> None:
        """Bring a token."""
        self._arrived.append(token)
        self._start()

    def call(self, callback: Callable[[], float]) -> None:
        """Bring something else: `callback` returns the seconds that it takes."""
        self._calls.append(callback)
        self._start()

    def _start(self) -> None:
        if not self._busy:
            self._busy = True
            self._simulation.at(self._simulation.now + self._wake, self._tick)

    def _tick(self) -> None:
        calls, self._calls = self._calls, []
        tokens, self._arrived = self._arrived, []
        took = sum(callback() for callback in calls)
        if tokens:
            took += self._work(tokens)
        self._simulation.at(self._simulation.now + took, self._again)

    def _again(self) -> None:
        if self._arrived or self._calls:
            self._tick()
        else:
            self._busy = False


class Node:
    """One process of ours, with its group commit."""

    def __init__(self, simulation: Simulation, costs: Costs, deliver: Callable[[Token], None]) -> None:
        self.loop = Loop(simulation, costs.wake, self._work)
        self.commits = 0
        self.used = 0.0
        self.redis: Redis | None = None
        self.pause = LoopPauseController(max_seconds=MAX_PAUSE_SECONDS)
        self._simulation = simulation
        self._costs = costs
        self._deliver = deliver
        self._waiting: list[Token] = []  # for the batch in flight to come back
        self._in_flight = False
        self._appended_at = self._flushes_at = 0.0  # the last append, the last flush that was put off
        self._since_pause = 0
        self._resumed_at = self._updated_at = self._used_before = 0.0

    def ask(self, then: Callable[[], None]) -> None:
        """Take a question, and call `then` once the provider has it."""

        def work() -> float:
            self.used += self._costs.turn
            self._simulation.at(self._simulation.now + self._costs.turn, then)
            return self._costs.turn

        self.loop.call(work)

    def _work(self, tokens: Sequence[Token]) -> float:
        """Read and decode, commit, and, with SQLite, send; a full batch is committed before the others are read."""
        costs, took = self._costs, 0.0
        for start in range(0, len(tokens), MAX_BATCH_SESSIONS):
            batch = tokens[start : start + MAX_BATCH_SESSIONS]
            took += BEFORE_COMMIT * self._cost(batch)
            if self.redis is not None:
                self._waiting += batch
                continue
            took += costs.tick
            self.commits += 1
            took = self._sent(batch, took)
        self.used += took
        if self.redis is not None:
            return took + self._flush(took)
        self._since_pause += len(tokens)
        return took + self._paused(took)

    def _cost(self, batch: Sequence[Token]) -> float:
        """Of reading, decoding and sending a batch: an answer's tokens that come together are read and sent as one."""
        answers = len({token.answer for token in batch})
        return self._costs.token * answers + self._costs.more * (len(batch) - answers)

    def _sent(self, batch: Sequence[Token], after: float) -> float:
        """Send tokens, the first one `after` seconds from now; returns when the last one is sent."""
        now, each = self._simulation.now, (1 - BEFORE_COMMIT) * self._cost(batch) / len(batch)
        for token in batch:
            after += each
            self._simulation.at(now + after, partial(self._deliver, token))
        return after

    def _flush(self, after: float) -> float:
        """Give what waits to Redis, unless a batch is in flight or more is awaited; returns the seconds it takes."""
        if self._in_flight or not self._waiting or self.redis is None:
            return 0.0
        now, interval = self._simulation.now, SHARED_INTERVAL
        is_enough = len({token.answer for token in self._waiting}) >= interval.enough
        due = self._appended_at + (interval.shortest if is_enough else interval.longest)
        if now < due:
            if self._flushes_at < due:
                self._flushes_at = due
                self._simulation.at(due, partial(self.loop.call, partial(self._flush, 0.0)))
            return 0.0
        self._appended_at = now
        batch, self._waiting = self._waiting, []
        self._in_flight = True
        self.commits += 1
        took = self._costs.tick
        self.used += took
        stored = partial(self._stored, batch)
        self.redis.append(batch, self._simulation.now + after + took, partial(self.loop.call, stored))
        return took

    def _stored(self, batch: Sequence[Token]) -> float:
        self._in_flight = False
        took = self._sent(batch, 0.0)
        self.used += took
        self._since_pause += len(batch)
        took += self._flush(took)
        return took + self._paused(took)

    def _paused(self, after: float) -> float:
        """As `LoopThrottle.after_commit`: returns the seconds of the pause."""
        if self._since_pause < MIN_EVENTS_FOR_THROTTLE and not self.pause.seconds:
            return 0.0
        self._since_pause = 0
        now = self._simulation.now + after
        remaining = max(0.0, self._resumed_at + self.pause.seconds - now)
        self._resumed_at = now + remaining
        if (passed := self._resumed_at - self._updated_at) >= UPDATE_INTERVAL_SECONDS:
            self.pause.update(used_seconds=self.used - self._used_before, available_seconds=passed)
            self._updated_at, self._used_before = self._resumed_at, self.used
        return remaining


class Redis:
    """A server that runs one script after the other, and publishes what they append."""

    def __init__(
        self, simulation: Simulation, core: Processor, costs: RedisCosts, publish: Callable[[Token], object]
    ) -> None:
        self.used = 0.0
        self.core = core
        self._simulation = simulation
        self._costs = costs
        self._publish = publish

    def append(self, batch: Sequence[Token], sent: float, reply: Callable[[], None]) -> None:
        """Run a pipeline that was sent at a time; `reply` is called when its reply is there."""
        way = self._costs.round_trip / 2

        def done() -> None:
            self._simulation.at(self._simulation.now + way, reply)
            for token in batch:
                self._simulation.at(self._simulation.now + way, partial(self._publish, token))

        cost = self._costs.pipeline + self._costs.script * len(batch)
        self.used += cost
        self._simulation.at(sent + way, partial(self.core.do, cost, done))


class Follower:
    """A node that shows the sessions of another one."""

    def __init__(self, simulation: Simulation, costs: Costs, deliver: Callable[[Token], None]) -> None:
        self.loop = Loop(simulation, costs.wake, self._work)
        self.used = 0.0
        self._simulation = simulation
        self._costs = costs.follower or FollowerCosts(0.0, 0.0)
        self._deliver = deliver

    def _work(self, tokens: Sequence[Token]) -> float:
        took = self._costs.tick
        for token in tokens:
            took += self._costs.token
            self._simulation.at(self._simulation.now + took, partial(self._deliver, token))
        self.used += took
        return took


def _nobody(token: Token) -> None:
    """Nobody follows."""


def predict(costs: Costs, load: Load, *, seed: int = 1, redis_beside: bool = True) -> Prediction:
    """Simulate a load on one node, with a Redis and a follower where their costs are given.

    `redis_beside`: Redis is on the core of provider and readers, as it is where two cores are all there are.
    """
    simulation, chance = Simulation(), random.Random(seed)
    driver = Driver(simulation, costs.driver, load)
    node = Node(simulation, costs, driver.receive)
    follower = Follower(simulation, costs, driver.receive_second)
    driver.send = node.loop.arrive
    if costs.redis is not None:
        core = driver.core if redis_beside else Processor(simulation)
        node.redis = Redis(simulation, core, costs.redis, follower.loop.arrive if costs.follower else _nobody)
    for number in range(load.answers):
        asked = ASKED_WITHIN * (number + chance.random()) / load.answers
        simulation.at(asked, lambda: node.ask(driver.begin))
    length = ASKED_WITHIN + load.seconds
    simulation.run(length)
    share, driven = node.used / length + costs.idle, driver.core.used / length
    simulation.run(length + REST)
    count = len(driver.tokens)
    late = sorted(token.read - token.written if token.read else REST for token in driver.tokens)
    behind = sorted(token.followed - token.read for token in driver.tokens if token.followed)
    return Prediction(
        cpu_us=1e6 * (node.used + costs.idle * length) / count,
        share=share,
        driver=driven,
        p50_ms=1e3 * late[count // 2],
        p99_ms=1e3 * late[int(count * 0.99)],
        commits=node.commits / count,
        pause_ms=1e3 * node.pause.seconds,
        redis_us=1e6 * (node.redis.used if node.redis else 0.0) / count,
        follower_us=1e6 * follower.used / count,
        behind_p50_ms=1e3 * behind[len(behind) // 2] if behind else 0.0,
    )


def capacity(costs: Costs, *, rate: float = 50.0, most: int = 20_000) -> int:
    """Return how many answers a node can take before p99 passes `LATE`, to about a twentieth."""
    held, failed = 0, 0
    answers = 200
    while answers <= most and (not failed or failed / max(1, held) > 1.05):
        if predict(costs, Load(answers, rate)).p99_ms < 1e3 * LATE:
            held = answers
        else:
            failed = answers
        answers = round((held * failed) ** 0.5) if held and failed else answers * 2 if held else answers // 2
        if not answers:
            break
    return held
