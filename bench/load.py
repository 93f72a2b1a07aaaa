"""The load generator: asks, checks every token, and says what it cost the target, as JSON.

python -m bench.load stream '{"url": "ws://127.0.0.1:8765/v1/chat", "pid": 1, "answers": 20, "tokens": 300, "rate": 50}'
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import uvloop

from . import machine
from .client import Answer, Client, WebSocketClient, connect

Figures: TypeAlias = dict[str, Any]
TARGET = ("url", "pid", "provider", "limit", "others", "second_url")
APART = 10_000_000  # between the numbers of two answers' first tokens
AT_ONCE = 50  # connections that are opened side by side, where there are many
QUIET = 0.5  # seconds for what is put off (the store's own work, a collector) to count where it belongs


@dataclass(slots=True)
class Tally:
    """What came, of a number of answers."""

    answers: Sequence[Answer]
    firsts: Sequence[int]  # nanoseconds from each question to its first token
    seconds: float
    cpu: float  # the target's, seconds of a core
    driver: float  # ours and the provider's, as a share of our core
    others: Mapping[str, float] = field(default_factory=dict[str, float])  # further processes' CPU, seconds of a core
    behind: Sequence[int] = ()  # nanoseconds by which each token came later to the second reader than to the first

    def figures(self) -> Figures:
        """As they are reported; latencies in milliseconds."""
        latencies = array("q")
        for answer in self.answers:
            latencies.extend(answer.latencies)
        tokens = len(latencies)
        faults = [answer.fault for answer in self.answers if answer.fault]
        return {
            "answers": len(self.answers),
            "tokens": tokens,
            "errors": len(faults),
            "faults": faults[:3],
            "seconds": round(self.seconds, 3),
            "rate": round(tokens / self.seconds),
            "cpu_us": round(self.cpu / max(1, tokens) * 1e6, 2),
            "cpu_share": round(self.cpu / self.seconds, 3),
            "driver": round(self.driver, 3),
            **{f"{name}_us": round(cpu / max(1, tokens) * 1e6, 2) for name, cpu in self.others.items()},
            **({f"behind_{name}_ms": value for name, value in spread(self.behind).items()} if self.behind else {}),
            **{f"{name}_ms": value for name, value in spread(latencies).items()},
            **{f"first_{name}_ms": value for name, value in spread(self.firsts).items()},
        }


def spread(values: Sequence[int]) -> dict[str, float]:
    """The middle, the end but one in a hundred, the end: nanoseconds in, milliseconds out."""
    ordered = sorted(values) or [0]
    places = {"p50": len(ordered) // 2, "p99": int(len(ordered) * 0.99), "max": len(ordered) - 1}
    return {name: round(ordered[place] / 1e6, 3) for name, place in places.items()}


class Load:
    """One target under load."""

    def __init__(
        self,
        *,
        url: str,
        pid: int,
        provider: int = 0,
        limit: float = 60.0,
        others: Mapping[str, int] | None = None,
        second_url: str = "",
    ) -> None:
        """`pid` is the target's, `provider` the provider's; an answer that takes longer than `limit` has failed.

        `others` are further processes whose CPU per token is told, by name; second readers connect to `second_url`.
        """
        self.url = url
        self.second_url = second_url or url
        self.others = others or {}
        self.pid = pid
        self.drivers = [os.getpid(), *([provider] if provider else [])]
        self.limit = limit
        self._asked = 0

    # --- parts -------------------------------------------------------------------------------------------------------

    async def clients(self, count: int, *, receive_buffer: int = 0) -> list[Client]:
        """So many connections."""
        found: list[Client] = []
        while len(found) < count:
            some = (connect(self.url, receive_buffer=receive_buffer) for _ in range(min(AT_ONCE, count - len(found))))
            found += await asyncio.gather(*some)
        return found

    def answer(self, *, tokens: int, rate: int, pad: int = 0) -> Answer:
        """A question that nobody else asks."""
        self._asked += 1
        return Answer(tokens=tokens, rate=rate, from_=self._asked * APART, pad=pad)

    async def asked(
        self, clients: Sequence[Client], *, tokens: int, rate: int, over: float = 0.0, second: Sequence[Client] = ()
    ) -> Tally:
        """One answer each, the questions spread over a time; `second` are further readers of the same sessions."""
        before, drivers = machine.used(self.pid), [machine.used(pid) for pid in self.drivers]
        others = {name: machine.used(pid) for name, pid in self.others.items()}
        begun = time.monotonic()
        told = await asyncio.gather(
            *(
                self._ask(client, tokens, rate, pause, second[index] if second else None)
                for index, (client, pause) in enumerate(zip(clients, _pauses(len(clients), over), strict=True))
            )
        )
        seconds = time.monotonic() - begun
        cpu = machine.used(self.pid).since(before)
        driver = sum(machine.used(pid).since(was) for pid, was in zip(self.drivers, drivers, strict=True)) / seconds
        used = {name: machine.used(self.others[name]).since(was) for name, was in others.items()}
        behind = [late for _, _, further in told for late in further]
        return Tally([one for one, _, _ in told], [first for _, first, _ in told], seconds, cpu, driver, used, behind)

    async def _ask(
        self, client: Client, tokens: int, rate: int, pause: float, second: Client | None
    ) -> tuple[Answer, int, Sequence[int]]:
        await asyncio.sleep(pause)
        answer = self.answer(tokens=tokens, rate=rate)
        further = Answer(tokens=tokens, rate=rate, from_=answer.from_) if second else None
        if second:
            second.answer = further
        asked = time.monotonic_ns()
        client.ask(answer)
        for one in (answer, further):
            if one is not None:
                await self._finished(one)
        if further is not None and further.fault:
            answer.fail(f"the second reader: {further.fault}")
        behind = [theirs - mine for mine, theirs in zip(answer.latencies, further.latencies)] if further else []  # noqa: B905 - one that failed may be shorter
        return answer, answer.first - asked, behind

    async def _finished(self, answer: Answer) -> None:
        try:
            async with asyncio.timeout(self.limit):
                await answer.done
        except TimeoutError:
            answer.fail("it took too long")

    # --- what is measured --------------------------------------------------------------------------------------------

    async def stream(
        self,
        *,
        answers: int,
        tokens: int,
        rate: int,
        over: float = 1.0,
        warm: int = 20,
        idle: int = 0,
        second: bool = False,
        sessions: Sequence[str] = (),
    ) -> Figures:
        """Answers side by side. `idle` connections look on, `second` readers read along, `sessions` are continued."""
        lookers_on = await self.clients(idle)
        before = machine.used(self.pid)
        clients: list[Client] = [await connect(f"{self.url}?session={session}") for session in sessions]
        if idle or sessions:
            await asyncio.sleep(QUIET)
        opened = machine.used(self.pid).since(before) / max(1, len(sessions)) * 1e6
        clients = clients or await self.clients(answers)
        if warm:
            await self.asked(clients, tokens=warm, rate=rate and 50, over=over / 4)
        readers = [await self._reader(client) for client in clients] if second else []
        figures = (await self.asked(clients, tokens=tokens, rate=rate, over=over, second=readers)).figures()
        if sessions:
            figures["opened_us"] = round(opened, 1)
        lost = sum(client.transport.is_closing() for client in lookers_on)
        return {**figures, "errors": figures["errors"] + lost}

    async def _reader(self, client: Client) -> Client:
        if not isinstance(client, WebSocketClient):
            raise TypeError("a second reader needs a session")
        return await connect(f"{self.second_url}?session={client.session}&after={client.seq}")

    async def turns(self, *, clients: int, at: Sequence[int], provider_url: str) -> Figures:
        """CPU of a turn with a one-token answer, by the messages that were said before."""
        opened = await self.clients(clients)
        figures: Figures = {"errors": 0, "faults": []}
        said = 0
        for messages in at:
            while said < messages - 2:
                await self._turn(opened, figures)
                said += 2
            await asyncio.sleep(QUIET)
            before, asked = machine.used(self.pid), await stats(provider_url)
            for _ in range(3):  # one turn less than that, just that, and one more
                await self._turn(opened, figures)
                said += 2
            await asyncio.sleep(QUIET)
            cpu, seen = machine.used(self.pid).since(before), await stats(provider_url)
            figures[f"turn_{messages}_us"] = round(cpu / clients / 3 * 1e6, 1)
            requests = seen["requests"] - asked["requests"]
            figures[f"shown_{messages}"] = round((seen["messages"] - asked["messages"]) / max(1, requests), 1)
        return figures

    async def _turn(self, clients: Sequence[Client], figures: Figures) -> None:
        told = (await self.asked(clients, tokens=1, rate=0)).figures()
        figures["errors"] += told["errors"]
        figures["faults"] = (figures["faults"] + told["faults"])[:3]

    async def memory(self, *, connections: int, running: int) -> Figures:
        """Kilobytes a connection, an idle one after an answer, and a running answer more."""
        for client in await self.clients(10):
            await self.asked([client], tokens=50, rate=0)
            client.transport.abort()
        base = await self._settled()
        clients = await self.clients(connections)
        connected = await self._settled()
        faults: list[str] = []
        for index in range(0, connections, 20):
            told = await self.asked(clients[index : index + 20], tokens=20, rate=0)
            faults += told.figures()["faults"]
        answered = await self._settled()
        run = asyncio.create_task(self.asked(clients[:running], tokens=100, rate=20, over=1))
        await asyncio.sleep(4)
        during = machine.memory(self.pid)
        faults += (await run).figures()["faults"]
        return {
            "errors": len(faults),
            "faults": faults[:3],
            "base_mb": round(base, 1),
            "connected_kb": round((connected - base) * 1024 / connections, 1),
            "idle_kb": round((answered - base) * 1024 / connections, 1),
            "running_kb": round((during - answered) * 1024 / running, 1),
        }

    async def _settled(self) -> float:
        await asyncio.sleep(2 * QUIET)
        return machine.memory(self.pid)

    async def slow(self, *, readers: int, others: int, provider_url: str) -> Figures:
        """Readers that ask for 20 MB each and stop reading, while others chat on."""
        chatting = await self.clients(others)
        await self.asked(chatting, tokens=20, rate=50)
        base = machine.memory(self.pid)
        asks = 5  # of 4 MB: an answer may have limits of its own
        http = self.url.startswith("http")
        stopped = await self.clients(readers * asks if http else readers, receive_buffer=64 * 1024)
        for client in stopped:
            for _ in range(1 if http else asks):
                client.ask(self.answer(tokens=4000, rate=0, pad=1000))
            client.transport.pause_reading()
        run = asyncio.create_task(self.asked(chatting, tokens=300, rate=50, over=0.5))
        peak = base
        while not run.done():
            peak = max(peak, machine.memory(self.pid))
            await asyncio.wait([run], timeout=0.25)
        told = run.result().figures()
        taken = (await stats(provider_url)).get("bytes", 0)
        for client in stopped:
            client.answer = None
            client.transport.abort()
        await asyncio.sleep(3)
        return {
            **{name: told[name] for name in ("tokens", "errors", "faults", "p50_ms", "p99_ms", "max_ms")},
            "growth_mb": round(peak - base, 1),
            "after_mb": round(machine.memory(self.pid) - base, 1),
            "taken_mb": round(taken / 1e6, 1),
            "open": (await stats(provider_url)).get("open", 0),
        }

    async def storm(self, *, sessions: int, tokens: int) -> Figures:
        """Sessions whose connections were all lost come back at once, each for an answer that it has not seen."""
        clients = [client for client in await self.clients(sessions) if isinstance(client, WebSocketClient)]
        faults: list[str] = []
        for index in range(0, sessions, 50):
            faults += (await self.asked(clients[index : index + 50], tokens=tokens, rate=0)).figures()["faults"]
        known = [(client.session, client.answer.from_) for client in clients if client.answer]
        for client in clients:
            client.answer = None
            client.transport.abort()
        await asyncio.sleep(2 * QUIET)
        before = machine.used(self.pid)
        begun = time.monotonic()
        answers = await asyncio.gather(*(self._resumed(session, from_, tokens) for session, from_ in known))
        seconds = time.monotonic() - begun
        cpu = machine.used(self.pid).since(before)
        faults += [answer.fault for answer, _ in answers if answer.fault]
        return {
            "errors": len(faults),
            "faults": faults[:3],
            "sessions": len(known),
            "seconds": round(seconds, 3),
            "cpu_us": round(cpu / len(known) * 1e6, 1),
            **{f"{name}_ms": value for name, value in spread([waited for _, waited in answers]).items()},
        }

    async def _resumed(self, session: str, from_: int, tokens: int) -> tuple[Answer, int]:
        begun = time.monotonic_ns()
        answer = Answer(tokens=tokens, rate=0, from_=from_)
        await connect(f"{self.url}?session={session}&after=1", answer=answer)  # 1: the question itself was seen
        await self._finished(answer)
        return answer, time.monotonic_ns() - begun


def _pauses(count: int, over: float) -> list[float]:
    """When to ask: spread evenly, but in no step with the tokens' own, or they would all be sent in the same moment."""
    chance = random.Random(count)  # the same for every target
    return [over * (index + chance.random()) / count for index in range(count)]


async def stats(provider_url: str) -> dict[str, int]:
    """What the provider has been asked so far."""
    host, _, port = provider_url.partition("://")[2].partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /stats HTTP/1.1\r\nHost: bench\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    writer.close()
    counts: dict[str, int] = json.loads(body)
    return counts


async def main(scenario: str, given: dict[str, Any]) -> Figures:
    """Run one scenario."""
    load = Load(**{name: given.pop(name) for name in TARGET if name in given})
    match scenario:
        case "stream":
            return await load.stream(**given)
        case "turns":
            return await load.turns(**given)
        case "memory":
            return await load.memory(**given)
        case "slow":
            return await load.slow(**given)
        case "storm":
            return await load.storm(**given)
        case _:
            raise ValueError(f"{scenario} is no scenario")


if __name__ == "__main__":
    gc.disable()  # it is short-lived, and a pause of ours would look like one of the target's
    print(json.dumps(uvloop.run(main(sys.argv[1], json.loads(sys.argv[2])))))
