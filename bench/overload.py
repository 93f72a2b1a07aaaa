"""`python -m bench.overload`: more questions than the server can answer; 1 where a goal is missed.

The server runs in a process of its own on loopback, with its default limits on load (those of one client are raised:
all questions come from one address), in front of the scripted provider. First the rate of questions grows until some
are refused: that is the capacity. Then three times as many come. Every token carries the moment when the provider
wrote it, so what the server adds to an accepted answer is known for each; a refusal is measured from `ask` to `error`.

What is judged is a sample of the questions, asked by a process of its own: the one that asks all others has so much
to do that its own delays would be most of what it measures. The server has a core of its own, all others have another.
It ends within two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO

import uvloop

from . import client as wire
from .targets import cores, on

ROOT = Path(__file__).parents[1]
TOKENS, TOKENS_PER_SECOND = 40, 20  # of an answer: two seconds
FIRST_RATE, GROWTH, STEP_SECONDS = 40.0, 1.5, 4.0  # of the search for the capacity
MAX_RATE = 1500.0  # questions a second in the search
OVERLOAD, OVERLOAD_SECONDS = 3.0, 20.0
ANSWER_SECONDS = 20.0  # for which answers are waited for at the end
SAMPLE_RATE, SAMPLE_CONNECTIONS = 60.0, 200  # questions a second of the process that measures
ACCEPTED_P99_MS, REFUSED_P99_MS = 250.0, 50.0
RAISED = (
    *("MAX_TURNS_PER_USER", "MAX_QUEUED_PER_USER", "USER_FRAMES_PER_MINUTE", "QUESTIONS_PER_MINUTE"),
    *("CHARACTERS_PER_MINUTE", "TOKENS_PER_MINUTE", "MAX_CONNECTIONS_PER_ADDRESS"),
)


@dataclass(slots=True)
class Outcome:
    """What became of the questions of one phase. Times are in milliseconds."""

    seconds: float
    asked: int = 0
    unasked: int = 0  # as no connection was free
    refused: list[float] = field(default_factory=list[float])
    codes: Counter[str] = field(default_factory=Counter[str])
    firsts: list[float] = field(default_factory=list[float])  # added to the first tokens of accepted answers
    gaps: list[float] = field(default_factory=list[float])  # added to all their tokens
    queued: list[float] = field(default_factory=list[float])
    ended: int = 0
    lags: list[float] = field(default_factory=list[float])  # of this process, which stands for all clients
    faults: list[str] = field(default_factory=list[str])

    @property
    def refused_share(self) -> float:
        """The part of the questions that was refused."""
        return len(self.refused) / max(1, self.asked)


class Asker(wire.WebSocketClient):
    """One connection, with at most one question at a time."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.outcome: Outcome | None = None  # of the phase in which the question was asked; None: it is free
        self.asked_at = 0

    def begin(self, outcome: Outcome) -> None:
        """Ask."""
        outcome.asked += 1
        self.outcome, self.asked_at = outcome, time.monotonic_ns()
        self.ask(wire.Answer(tokens=TOKENS, rate=TOKENS_PER_SECOND, from_=0))

    def _frame(self, frame: dict[str, str], now: int) -> None:
        super()._frame(frame, now)
        outcome, answer = self.outcome, self.answer
        if outcome is None or answer is None or frame["type"] not in ("done", "error"):
            return
        self.outcome = self.answer = None
        if frame["type"] == "error":
            outcome.refused.append((now - self.asked_at) / 1e6)
            outcome.codes[frame["code"]] += 1
        elif answer.fault:
            outcome.faults.append(answer.fault)
        else:
            latencies = [latency / 1e6 for latency in answer.latencies]
            outcome.ended += 1
            outcome.firsts.append(latencies[0])
            outcome.gaps += latencies
            outcome.queued.append(float(frame["timing"]["queued"]))  # type: ignore[index]


# --- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def started(command: Sequence[str], *, first: str, **environ: str) -> Generator[str]:
    """Run a program, once it has said a line that begins so; yields the rest of that line."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "OPENAI_"))}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, cwd=folder, env=plain | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"} | environ, stdout=-1, text=True
        ) as process,
    ):
        try:
            yield _line(process.stdout, first)
        finally:
            process.kill()


def _line(output: IO[str] | None, first: str) -> str:
    for line in output or ():
        if line.strip().startswith(first):
            return line.strip().removeprefix(first).strip()
    raise RuntimeError("it did not start")


@contextmanager
def servers(turns: int | None) -> Generator[str]:
    """The provider, and the server in front of it; yields where clients connect."""
    python = (sys.executable, "-m")
    with started(on(cores()[1], *python, "bench.provider"), first="") as port:
        serve = (*python, "askbot_ws.cli", "serve", "--port", "0", "--store", "sqlite:///bench.db")
        settings = {f"ASKBOT_{name}": "1000000000" for name in RAISED}
        settings |= {"ASKBOT_MAX_TURNS": str(turns)} if turns else {}
        upstream = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        flags = ("--log-level", "warning")
        with started(on(cores()[0], *serve, *flags), first="socket", **settings, **upstream) as url:
            yield url


# --- phases ----------------------------------------------------------------------------------------------------------


async def ask_at(rate: float, askers: Sequence[Asker], *, seconds: float) -> Outcome:
    """Ask so many questions a second, whatever becomes of them; returns at the end of the time."""
    outcome, begun, number = Outcome(seconds), time.monotonic(), 0
    free = [asker for asker in askers if asker.outcome is None]
    before = begun
    while (passed := time.monotonic() - begun) < seconds:
        outcome.lags.append(1000 * (begun + passed - before))
        before = begun + passed
        while number < passed * rate:
            number += 1
            if not free:
                free = [asker for asker in askers if asker.outcome is None]
            if free:
                free.pop().begin(outcome)
            else:
                outcome.unasked += 1
        await asyncio.sleep(0.002)
    return outcome


async def all_answered(askers: Sequence[Asker]) -> None:
    """Wait until no question is open."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            while any(asker.outcome is not None for asker in askers):  # noqa: ASYNC110 - a look now and then will do
                await asyncio.sleep(0.05)


async def find_capacity(askers: Sequence[Asker]) -> float:
    """Return how many questions a second are the most that are answered."""
    rate = FIRST_RATE
    while True:
        outcome = await ask_at(rate, askers, seconds=STEP_SECONDS)
        print(f"  {rate:5.0f} questions/s: {100 * outcome.refused_share:.0f} % refused", flush=True)
        if outcome.refused_share > 0.01 or outcome.unasked or rate >= MAX_RATE:
            await all_answered(askers)
            return rate * (1 - outcome.refused_share)
        rate *= GROWTH


async def run(url: str, connections: int, sampler: subprocess.Popen[str]) -> bool:
    """Measure, print, judge."""
    askers: list[Asker] = []
    for start in range(0, connections, 100):
        size = min(100, connections - start)
        askers += await asyncio.gather(*(connect(url) for _ in range(size)))
    capacity = await find_capacity(askers)
    print(f"capacity: {capacity:.0f} questions/s, with answers of {TOKENS / TOKENS_PER_SECOND:.0f} s")
    sample, outcome = await asyncio.gather(
        asyncio.to_thread(sampler.communicate, "begin\n"),
        ask_at(OVERLOAD * capacity, askers, seconds=OVERLOAD_SECONDS),
    )
    await all_answered(askers)
    return report(outcome, Outcome(**json.loads(sample[0])))


async def sample(url: str) -> None:
    """Once a line is read, ask a sample of the questions, and print what became of them."""
    askers = await asyncio.gather(*(connect(url) for _ in range(SAMPLE_CONNECTIONS)))
    await asyncio.to_thread(sys.stdin.readline)
    outcome = await ask_at(SAMPLE_RATE, askers, seconds=OVERLOAD_SECONDS)
    await all_answered(askers)
    print(json.dumps({each.name: getattr(outcome, each.name) for each in fields(outcome)}))


async def connect(url: str) -> Asker:
    """Return a connection that has had `ready`."""
    host, _, rest = url.removeprefix("ws://").partition(":")
    port, _, path = rest.partition("/")
    _, asker = await asyncio.get_running_loop().create_connection(lambda: Asker("/" + path), host, int(port))
    await asker.ready
    return asker


def report(outcome: Outcome, sample: Outcome) -> bool:
    """Print what became of the questions, and of the sample of them; returns whether the goals are met."""
    codes = ", ".join(f"{count} {code}" for code, count in outcome.codes.most_common()) or "none"
    print(f"at {OVERLOAD:g} x: {outcome.asked} asked, {outcome.ended} answered, {codes}, {outcome.unasked} unasked")
    print(f"of a sample of {sample.asked}, {sample.ended} answered, {len(sample.refused)} refused:")
    rows = [
        ("added to the first token, p99", percentile(sample.firsts), ACCEPTED_P99_MS),
        ("added to every token, p99", percentile(sample.gaps), ACCEPTED_P99_MS),
        ("refusals, p99", percentile(sample.refused), REFUSED_P99_MS),
    ]
    for name, value, most in rows:
        print(f"  {'ok' if value < most else 'MISSED':6} {value:7.1f} ms, must be under {most:g}: {name}")
    for name, values in (("first token", sample.firsts), ("tokens", sample.gaps), ("refusals", sample.refused)):
        print(f"         {percentile(values, 0.5):7.1f} ms: {name}, median")
    print(f"         {percentile(sample.queued):7.1f} ms: in the queue, p99")
    print(f"         {percentile(sample.lags):7.1f} ms: the process that measures, p99; the one that asks the others,")
    print(f"         {percentile(outcome.lags):7.1f} ms")
    faults = outcome.faults + sample.faults
    for fault, count in Counter(faults).most_common(3):
        print(f"  fault, {count} times: {fault}")
    measured = bool(sample.refused and sample.gaps)
    return measured and not faults and all(value < most for _, value, most in rows)


def percentile(values: Sequence[float], share: float = 0.99) -> float:
    """Return the value below which this share of them is; 0 where there are none."""
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0


def main() -> int:
    """Start all, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--connections", type=int, default=3000, help="each asks at most one question at a time")
    parser.add_argument("--turns", type=int, help="the setting max_turns")
    parser.add_argument("--sample", metavar="URL", help=argparse.SUPPRESS)  # of the process that measures
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.sample:
        uvloop.run(sample(given.sample))
        return 0

    async def limited(url: str, sampler: subprocess.Popen[str]) -> bool:
        async with asyncio.timeout(110):
            return await run(url, given.connections, sampler)

    command = on(cores()[1], sys.executable, "-m", "bench.overload", "--sample")
    with (
        servers(given.turns) as url,
        subprocess.Popen((*command, url), cwd=ROOT, stdin=-1, stdout=-1, text=True) as sampler,
    ):
        os.sched_setaffinity(0, {cores()[1]})
        os.nice(19)  # the clients, as they stand for other machines
        try:
            return 0 if uvloop.run(limited(url, sampler)) else 1
        finally:
            sampler.kill()


if __name__ == "__main__":
    sys.exit(main())
