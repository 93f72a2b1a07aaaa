"""Nodes as processes: one is killed, stopped or drained, Redis is away, and no reader sees anything but the log."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.process import (
    Askbot,
    ProviderProcess,
    Story,
    eventually,
    reading,
)
from tests.redis_server import RedisServer, redis_server

from .processes import node_process

LIMIT = 20  # seconds for what takes two or three on a machine that has time


@dataclass
class Cluster:
    """Nodes, a Redis that loses nothing, and a provider."""

    redis: RedisServer
    provider: ProviderProcess
    folder: Path
    stack: ExitStack
    nodes: list[Askbot] = field(default_factory=list[Askbot])
    started: int = 0

    def pair(self) -> tuple[Askbot, Askbot]:
        """Two nodes that live; further ones are started where there are fewer."""
        self.nodes = [each for each in self.nodes if each.process.poll() is None]
        while len(self.nodes) < 2:
            self.started += 1
            folder = self.folder / f"node-{self.started}"
            self.nodes.append(
                self.stack.enter_context(node_process(folder, self.redis.url, upstream=self.provider.url))
            )
        return self.nodes[0], self.nodes[1]


@pytest.fixture(scope="module")
def cluster(provider: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """The same nodes for all tests, as far as they live."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server("--appendonly", "yes", "--appendfsync", "always"))
        yield Cluster(redis, provider, tmp_path_factory.mktemp("nodes"), stack)


def answered(story: Story) -> Callable[[object], bool]:
    return lambda _: all(turn.done is not None for turn in story.turns.values())


def status(url: str) -> int:
    """Of a GET request."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_a_reader_at_another_node_sees_the_exact_text_of_an_owner_that_is_killed_and_can_go_on(
    cluster: Cluster,
) -> None:
    """The turn is interrupted, what waited is asked once, and the next question is answered where the reader is."""
    owner, other = cluster.pair()
    running, waiting = "rate:100 tokens:5000 note:killed", "tokens:3 note:waited"
    async with reading(owner.url) as first:
        await first.ask(running)
        await first.until("token")
        story = Story(session=first.story.session)
        async with reading(other.url, story) as second:
            await second.until("token")
            await second.ask(waiting, id="w")
            await second.until(lambda frame: frame.get("id") == "w")
            await second.until("token")
            owner.signal(signal.SIGKILL)
            end = await second.until("done", LIMIT)
            await second.until(answered(story), LIMIT)
            next_turn = await second.answer("tokens:2 note:next")

    assert end["reason"] == "interrupted"
    assert [turn.reason for turn in story.turns.values()] == ["interrupted", "stop", "stop"]
    assert next_turn.reason == "stop"
    assert first.story.turns["t1"].answer in story.turns["t1"].answer
    asked = cluster.provider.questions()
    assert (asked[running], asked[waiting]) == (1, 1)
    assert [line for line in other.lines() if line["event"] == "node_died"]


async def test_an_owner_that_was_stopped_past_its_lease_writes_nothing_more(cluster: Cluster) -> None:
    """What it still reads from the provider is shown to nobody; its reader goes on with the log of the new owner."""
    owner, other = cluster.pair()
    async with reading(owner.url) as first:
        await first.ask("rate:100 tokens:5000 note:stopped")
        await first.until("token")
        story = Story(session=first.story.session)
        async with reading(other.url, story) as second:
            await second.until("token")
            owner.signal(signal.SIGSTOP)
            try:
                end = await second.until("done", LIMIT)
            finally:
                owner.signal(signal.SIGCONT)
            done = await first.until("done", LIMIT)
            assert (end["reason"], done) == ("interrupted", end)
            await first.answer("tokens:2 note:after", LIMIT)  # forwarded: its node owns the session no more
            await second.until(answered(story), LIMIT)

    assert {turn: told.answer for turn, told in first.story.turns.items()} == {
        turn: told.answer for turn, told in story.turns.items()
    }


async def test_answers_go_on_while_redis_is_killed_and_back(cluster: Cluster) -> None:
    """Readers see no gap and no repeat (each frame is checked); new questions are refused; /readyz says so."""
    owner, other = cluster.pair()
    async with reading(owner.url) as first:
        await first.ask("rate:100 tokens:400 note:away")
        await first.until("token")
        story = Story(session=first.story.session)
        async with reading(other.url, story) as second:
            await second.until("token")
            cluster.redis.kill()
            await eventually(lambda: status(owner.http + "/readyz") == 503, LIMIT)
            await asyncio.sleep(1.2)
            await first.ask("tokens:1 note:refused", id="refused")
            error = await first.until("error", LIMIT)
            cluster.redis.start()
            end = await first.until("done", LIMIT)
            assert await second.until("done", LIMIT) == end
            await eventually(lambda: status(owner.http + "/readyz") == 200, LIMIT)
            later = await second.answer("tokens:2 note:back", LIMIT)

    assert (error["code"], error["retryable"]) == ("internal", True)
    assert (end["reason"], later.reason) == ("stop", "stop")
    assert first.story.asked("refused") is None


async def test_a_drained_node_hands_its_waiting_questions_over(cluster: Cluster) -> None:
    """Its reader is told to leave; what runs ends, and what waits is answered by another node."""
    owner, other = cluster.pair()
    waiting = "tokens:2 note:handed-over"
    story = Story()
    async with reading(owner.url, story) as first:
        await first.ask("rate:50 tokens:60 note:drained")
        await first.until("token")
        await first.ask(waiting, id="w")
        await first.until(lambda frame: frame.get("id") == "w")
        owner.signal(signal.SIGTERM)
        await first.until("going_away", LIMIT)
        await first.until("done", LIMIT)
        assert await first.rest(LIMIT) == 1012
    async with reading(other.url, story) as second:
        if story.turns["t1"].done is None or story.last.done is None:
            await second.until(answered(story), LIMIT)
    assert await owner.ended(LIMIT) == 0

    assert [turn.reason for turn in story.turns.values()] == ["stop", "stop"]
    assert cluster.provider.questions()[waiting] == 1
