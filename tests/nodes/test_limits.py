"""Two servers with one Redis: limits, tickets and revoked keys are those of both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from askbot_ws import make_ticket
from askbot_ws.auth.key_file import NewKey, add_key, make_key, remove_key
from tests.auth.clients import SECRET, close_code, open_chat, outcome
from tests.process import Askbot, Json, ProviderProcess
from tests.redis_server import RedisServer

from .processes import node_process

ANN, BOB = (make_key(user, now=time.time()) for user in ("ann", "bob"))


@dataclass
class Pair:
    """Two servers, each with a key file of its own."""

    servers: list[Askbot]
    keys: list[Path]


@pytest.fixture(scope="module")
def pair(
    provider: ProviderProcess, redis_process: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Pair]:
    """The same for all tests."""
    redis_process.flush()
    folder, keys = tmp_path_factory.mktemp("limits"), list[Path]()
    with ExitStack() as stack:
        servers = list[Askbot]()
        for name in ("one", "two"):
            keys.append(folder / f"{name}.jsonl")
            for key in (ANN, BOB):
                add_key(keys[-1], key.key)
            given = {
                "ASKBOT_KEYS": str(keys[-1]),
                "ASKBOT_TICKET_SECRET": SECRET,
                "ASKBOT_QUESTIONS_PER_MINUTE": "4",
                "ASKBOT_MAX_TURNS_PER_USER": "1",
            }
            started = node_process(folder / name, redis_process.url, upstream=provider.url, **given)
            servers.append(stack.enter_context(started))
        yield Pair(servers, keys)


async def ask(server: Askbot, key: NewKey, text: str) -> Json:
    """Ask in a session of its own; returns the `done` or the `error`."""
    socket = await open_chat(server.url, key.text)
    await socket.send(json.dumps({"type": "ask", "text": text}))
    async with asyncio.timeout(20):
        while (frame := json.loads(await socket.recv()))["type"] not in ("done", "error"):
            pass
    await socket.close()
    return dict(frame)


async def test_a_user_has_one_rate_and_one_number_of_answers_on_both(pair: Pair) -> None:
    """Of three questions at the same time one is answered after the other; the fifth in a minute is refused."""
    one, two = pair.servers
    began = time.monotonic()
    text = "tokens:10 rate:20"  # takes half a second
    ends = await asyncio.gather(ask(one, ANN, text), ask(two, ANN, text), ask(one, ANN, text))
    assert [end["reason"] for end in ends] == ["stop"] * 3
    assert time.monotonic() - began > 1.25
    assert (await ask(two, ANN, "hello"))["reason"] == "stop"
    for server in (one, two):
        refused = await ask(server, ANN, "hello")
        assert (refused["code"], refused["retry_after"] > 0) == ("rate_limited", True)
    assert (await ask(one, BOB, "hello"))["reason"] == "stop"


async def test_a_ticket_opens_one_connection_of_all(pair: Pair) -> None:
    """Whichever server it comes to first."""
    one, two = pair.servers
    ticket = make_ticket("carol", secret=SECRET)
    assert await outcome(f"{two.url}?ticket={ticket.text}") == 200
    assert [await outcome(f"{server.url}?ticket={ticket.text}") for server in (one, two)] == [401, 401]


async def test_a_key_that_is_revoked_on_one_server_is_closed_on_both(pair: Pair) -> None:
    """Within two seconds, without a request; it is in the other's file still, and is refused there."""
    one, two = pair.servers
    opened = [await open_chat(server.url, BOB.text) for server in (one, two)]
    other = await open_chat(two.url, ANN.text)
    for socket in (*opened, other):
        assert json.loads(await socket.recv())["type"] == "ready"

    remove_key(pair.keys[0], BOB.key.id)

    async with asyncio.timeout(10):
        assert [await close_code(socket) for socket in opened] == [4401, 4401]
    assert await outcome(two.url, BOB.text) in (401, 4401)
    await other.send('{"type": "ping"}')
    assert json.loads(await other.recv())["type"] == "pong"
    await other.close()
    assert [line["credential"] for line in two.lines() if line["event"] == "key_refused"] == [BOB.key.credential]
