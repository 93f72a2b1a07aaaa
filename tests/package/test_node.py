"""The JavaScript client in Node: over npm's `ws`, over the global WebSocket, and over lines that break."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from askbot_ws.core.prompt import Prompt
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

from ..chaos.proxy import Kind, Order, Proxy, proxied
from ..process import Json, address
from ..seeds import seed
from .npm import MODULES, needs, run

PROGRAM = "tests/js/programs/ask.js"
WITHOUT = "--no-experimental-websocket"  # as Node 20, which has no global one
SEED = seed(1)


class Wordy(ScriptedUpstream):
    """Answers each question with sixty words about it, in which no place looks like another."""

    @staticmethod
    def words(question: str) -> list[str]:
        """The answer."""
        return [f"{question}: {place} 빛✨ " for place in range(60)]

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """At the pace of a quick model."""
        self.prompts.append(prompt)
        for word in self.words(prompt.messages[-1].text):
            on_text(word)
            await asyncio.sleep(0.003)
        return Ending("stop", usage=None)


async def answers(port: int, chats: list[list[str]], *flags: str, limit: float = 60) -> list[Json]:
    """What the program was told."""
    needs(MODULES / "ws")
    given = json.dumps({"url": address(port), "chats": chats})
    out = await run("node", *flags, PROGRAM, given, limit=limit)
    return [json.loads(line) for line in out.splitlines()]


def assert_whole(told: Json) -> None:
    """To the letter, in pieces and as a whole, and proven."""
    text = "".join(Wordy.words(told["question"]))
    assert told["text"] == text
    assert told["turn"]["answer"] == text
    assert told["turn"]["reason"] == "stop"
    assert told["turn"]["check"] == {"chars": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


async def test_a_program_without_a_websocket_of_its_own_brings_one() -> None:
    """`connect({ WebSocket })`, with that of npm's `ws`."""
    async with serving(Wordy()) as server:
        (told,) = await answers(server.port, [["Why?"]], WITHOUT)
    assert_whole(told)


async def test_the_global_websocket_will_do() -> None:
    """Node 22 has one; the program ends when the conversation is closed."""
    program = """
        import { connect } from "./client/askbot.js";
        const chat = connect({ url: process.argv[1] });
        process.stdout.write((await chat.ask("Why?")).answer);
        chat.close();
    """
    async with serving(ScriptedUpstream(["Because."])) as server:
        out = await run("node", "--input-type=module", "--eval", program, address(server.port))
    assert out == "Because."


async def test_nobody_listening_is_no_crash() -> None:
    """`ws` throws an error that nobody hears; ours is heard, and the next try finds the server."""
    async with serving(Wordy()) as server, proxied(server.port) as proxy:
        for after in (0, 40, 150):  # at once, and twice in the handshake
            proxy.hurt_next(Order(Kind.RESET, after))
        (told,) = await answers(proxy.port, [["Why?"]], WITHOUT)
    assert_whole(told)


async def hurt(proxy: Proxy, chance: random.Random, done: asyncio.Event) -> None:
    """Fifty faults a second, of all kinds, until it is done."""
    kinds = list(Kind)
    while not done.is_set():
        order = Order(chance.choice(kinds), chance.randrange(3000), chance.uniform(0.02, 0.3))
        proxy.hurt(order, chance.random())
        await asyncio.sleep(0.02)


@pytest.mark.timeout(180)
async def test_two_hundred_questions_over_broken_lines_are_answered_exactly_once() -> None:
    """docs/protocol.md, promises 1 to 3, as a JavaScript program sees them: every fault that the proxy knows."""
    chats = [[f"Question {chat}.{place}" for place in range(20)] for chat in range(10)]
    faults = Counter[Kind]()
    upstream, done = Wordy(), asyncio.Event()
    async with serving(upstream) as server, proxied(server.port, on_fault=lambda kind: faults.update([kind])) as proxy:
        hurting = asyncio.create_task(hurt(proxy, random.Random(SEED), done))
        told = await answers(proxy.port, chats, limit=150)
        done.set()
        await hurting
    print(f"seed {SEED}: {sum(faults.values())} faults")

    for each in told:
        assert_whole(each)
    assert sorted(each["question"] for each in told) == sorted(question for chat in chats for question in chat)
    asked: Counter[Any] = Counter(prompt.messages[-1].text for prompt in upstream.prompts)
    assert set(asked.values()) == {1}
    assert len({each["session"] for each in told}) == len(chats)
    assert set(faults) == set(Kind)
