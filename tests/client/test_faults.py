"""The client behind a network that cuts, stalls, splits and lies, and with a server whose clock is moved."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from askbot_ws import connect
from askbot_ws.client import AnswerStream, Chat, multiplexer

from ..chaos.clocked import set_clock
from ..chaos.proxy import Kind, Order, Proxy, proxied
from ..process import ROOT, environment
from .upstream import long, words

CHATS = 6
QUESTIONS = 12  # of each
WORDS = 60  # of each answer, 2 ms apart


@contextmanager
def clocked(folder: Path) -> Generator[tuple[int, Path]]:
    """A server with a wall clock that others can move; its port, and the clock."""
    clock = folder / "clock"
    set_clock(clock, 0.0)
    command = [sys.executable, "-m", "tests.chaos.clocked", str(clock), "serve", "--port", "0", "--no-limits"]
    command += ["--upstream", "tests.client.upstream:answer", "--heartbeat", "200ms", "--store", "sqlite:///a.db"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.strip().startswith("socket"))
            yield int(line.strip().removesuffix("/v1/chat").rpartition(":")[2]), clock
        finally:
            process.kill()


@asynccontextmanager
async def trouble(proxy: Proxy, clock: Path, chance: random.Random) -> AsyncGenerator[None]:
    """One fault after another, until the end of the block."""

    async def cause() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.005, 0.05))
            order = Order(chance.choice(list(Kind)), chance.randrange(4000), chance.uniform(0.05, 1.0))
            if chance.random() < 0.15:
                proxy.hurt_next(order)
            else:
                proxy.hurt(order, chance.random())
            if chance.random() < 0.1:
                set_clock(clock, chance.uniform(-86_400, 86_400))

    task = asyncio.create_task(cause())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        proxy.heal()


async def read(stream: AnswerStream, chance: random.Random) -> str:
    """All of it, quickly or slowly."""
    found, pause = "", chance.choice((0.0, 0.0, 0.02))
    async for text in stream:
        found += text
        await asyncio.sleep(pause)
    return found


async def converse(chat: Chat, chance: random.Random, name: str) -> None:
    """Ask one question after another; every answer has to be right, however it is read."""
    for number in range(QUESTIONS):
        question, wanted = f"words:{WORDS} {name}-{number}", ""
        if chance.random() < 0.2:
            question = f"long:{300 + int(name) * 20 + number}"
            wanted = long(int(question.partition(":")[2]))
        wanted = wanted or words(question)
        stream = chat.ask(question)
        if chance.random() < 0.6:
            assert await read(stream, chance) == wanted, question
        answer = await stream
        assert (answer.text, answer.reason) == (wanted, "stop"), question


async def asked_in(chat: Chat) -> Counter[str]:
    """The questions in the log, and how often each."""
    found, before, more = Counter[str](), 2**53 - 1, True
    while more:
        page = await chat.history(before=before)
        found.update(turn.text for turn in page.turns)
        before, more = page.turns[0].from_ + 1, page.more
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_every_question_is_answered_once_whatever_the_network_does(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer whole and right, as its proof says too; no question twice in any log."""
    monkeypatch.setattr(multiplexer, "MAX_BLOCKED_SECONDS", 0.05)
    chance, faults = random.Random(seed), Counter[Kind]()
    with clocked(tmp_path) as (port, clock):
        async with asyncio.timeout(90), proxied(port, on_fault=lambda kind: faults.update([kind])) as proxy:
            url = f"ws://127.0.0.1:{proxy.port}"
            chats = [
                await connect(url, silence=0.8, delay=lambda tries: min(0.02 * tries, 0.2)) for _ in range(CHATS - 1)
            ]
            async with connect(f"ws://127.0.0.1:{port}") as begun:
                await begun.ask("words:1 hello")
            everyone = [*chats, await chats[0].session(begun.id or "")]  # two on one connection
            async with trouble(proxy, clock, chance):
                await asyncio.gather(*(converse(chat, chance, f"{number}") for number, chat in enumerate(everyone)))
            for chat in everyone:
                asked = await asked_in(chat)
                asked.pop("words:1 hello", None)
                assert (len(asked), asked.total()) == (QUESTIONS, QUESTIONS)
            for chat in chats:
                await chat.close()

    print(dict(faults))
    assert faults.total() > 30
