"""Servers that do what was drawn, one connection after another, before one that is good: no call waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from askbot_ws.client import pending
from askbot_ws.testing import Close, Cut, Script, ScriptedConnection, ScriptedLog, ScriptedServer, ServerStep

from ..seeds import seeds
from .cases.reconnecting import BAD_FRAMES
from .drivers import AsyncDriver, ClientDriver, JSDriver, NodeProcess

SETTLED_WITHIN_SECONDS = 10.0
TIME_LIMIT_SECONDS = 0.3
BAD_CONNECTIONS = 6
SERVERS = 12  # of each seed
REPLIES = 40  # of one connection
ENDS: list[ServerStep] = [Cut(), Cut(reset=True), *map(Close, (1001, 1003, 1008, 1009, 1011, 1012, 1013, 4408, 4429))]
CODES = {None, "damaged", "invalid_frame", "question_too_long", "timeout", "cancelled", "session_not_found", "internal"}


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess()
    yield process
    process.close()


class DrawnServer:
    """The scripts, and the log that the good server has."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.log = ScriptedLog()
        self.ids: set[str] = set()  # of the questions in `log`
        first: Script = [lambda _: [self.log.ready()], *self.replies()]
        self.server = ScriptedServer(
            [*first[: chance.randrange(1, 4)], 0.002, self.end()],
            *(self.bad_script() for _ in range(BAD_CONNECTIONS)),
            [self.resume, *self.replies()],
        )

    def end(self) -> ServerStep:
        return self.chance.choice(ENDS)

    def resume(self, connection: ScriptedConnection) -> list[dict[str, Any]]:
        return self.log.resume()(connection)

    def replies(self) -> list[ServerStep]:
        """Steps of a server that answers whatever comes, as it comes."""
        answered = [0]

        def reply(connection: ScriptedConnection) -> list[Mapping[str, Any]]:
            frames = connection.frames()[answered[0] :]
            answered[0] += len(frames)
            return [answer for frame in frames for answer in self.answer(frame)]

        return [step for _ in range(REPLIES) for step in (reply, 0.005)]

    def answer(self, frame: Mapping[str, Any]) -> list[dict[str, Any]]:
        log, id = self.log, frame.get("id", "")
        match frame["type"]:
            case "ask" if id not in self.ids:
                self.ids.add(id)
                return [log.question(frame["text"], id=id), log.token(f"Yes: {frame['text']}"), log.done()]
            case "history":
                return [log.history(id=id)]
            case "cancel":
                return [log.error("turn_not_found", id=id, session=log.session)]
            case _:
                return []

    def bad_script(self) -> Script:
        steps = [self.bad_step() for _ in range(self.chance.randrange(4))]
        return [*steps, 0.001, self.end()]

    def bad_step(self) -> ServerStep:
        """One thing that a server should not do, or not then."""
        chance = self.chance
        number = chance.randrange(20)

        def old_event(_: object) -> list[dict[str, Any]]:
            return self.log.events[number : number + 1]

        def page(_: object) -> list[dict[str, Any]]:
            return [self.log.history(id="nobody's")]

        def reply(connection: ScriptedConnection) -> list[dict[str, Any]]:
            return [answer for frame in connection.frames() for answer in self.answer(frame)]

        def refusal(connection: ScriptedConnection) -> list[dict[str, Any]]:
            return [self.log.error("internal", id=frame["id"]) for frame in connection.frames() if "id" in frame]

        def lose(connection: ScriptedConnection) -> list[dict[str, Any]]:
            self.log = ScriptedLog(log=f"l{number}")
            self.ids.clear()
            return self.log.resume()(connection)

        choices: list[Callable[[ScriptedConnection], list[dict[str, Any]]] | ServerStep] = [
            self.resume,
            self.resume,
            reply,
            reply,
            lambda _: [self.log.ready()],
            old_event,
            page,
            refusal,
            lose,
            lambda _: [{"type": "token", "session": "s1", "turn": "t1", "seq": self.log.head + 9, "text": "gap"}],
            lambda _: [self.log.event("weather")],
            {"type": "going_away", "reconnect_after": number},
            self.log.error("overloaded", retryable=True, retry_after=number),
            chance.choice([*BAD_FRAMES.values()]),
            0.002,
        ]
        return chance.choice(choices)


def calls(chance: random.Random) -> list[tuple[str, str, tuple[Any, ...]]]:
    """What the client does, under different names."""
    kinds: list[tuple[str, tuple[Any, ...]]] = [
        ("ask", ("Why?",)),
        ("ask", ("And?",)),
        ("history", ()),
        ("cancel", (None,)),
    ]
    return [(f"{number} {method}", method, given) for number, (method, given) in enumerate(chance.choices(kinds, k=5))]


async def converse(client: ClientDriver, chance: random.Random) -> None:
    """Play one conversation, each of whose calls has to end, and none wrongly."""
    drawn = DrawnServer(chance)
    async with drawn.server as server:
        assert (await client.open(server.url, {"limit": TIME_LIMIT_SECONDS}))["code"] is None
        running = list[asyncio.Task[Mapping[str, Any]]]()
        for name, method, given in [("first", "ask", ("First?",)), *calls(chance)]:
            running.append(asyncio.create_task(client.call(name, method, *given)))
            await asyncio.sleep(chance.uniform(0, 0.01))
        outcomes = await asyncio.wait_for(asyncio.gather(*running), SETTLED_WITHIN_SECONDS)
        await client.end()
    for outcome in outcomes:
        assert outcome["code"] in CODES
        if outcome.get("reason") == "stop":
            assert outcome["text"].startswith("Yes: ")
            assert outcome["read_code"] == "damaged" or outcome["read"] == outcome["text"]
    assert len(server.connections) <= BAD_CONNECTIONS + 12


@pytest.mark.parametrize("client", ["async", "js"])
@pytest.mark.parametrize("seed", seeds(1, 2))
async def test_every_call_ends_whatever_the_server_does(
    client: str, seed: int, node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its answer, an error, or its time limit; and an answer that is given is the one in the log."""
    monkeypatch.setattr(pending, "TIME_LIMIT_SECONDS", TIME_LIMIT_SECONDS)
    chances = [random.Random(f"{seed} {number}") for number in range(SERVERS)]
    drivers: list[ClientDriver] = [AsyncDriver() if client == "async" else JSDriver(node) for _ in chances]
    await asyncio.gather(*(converse(driver, chance) for driver, chance in zip(drivers, chances, strict=True)))
