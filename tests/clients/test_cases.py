"""Each case, played by each client with a scripted server that says what it should not, or when it should not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from askbot_ws.client import pending
from askbot_ws.testing import ScriptedServer

from .case import NEVER, VARIANTS, Call, Case, Connected, Outcome, Read, Sent, Settled, Shown, State, Step
from .cases import CASES
from .drivers import AsyncDriver, ClientDriver, JSDriver, NodeProcess, SyncDriver, until

LIMIT_SECONDS = 5.0  # for each call, and for each thing that is waited for
TIMER_SECONDS = 0.002  # by which Node's timers may be early
SECRET = "5ecret"  # in the URL


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess()
    yield process
    process.close()


class Player:
    """Plays one case with one client."""

    def __init__(self, case: Case, client: ClientDriver, server: ScriptedServer) -> None:
        self.case = case
        self.client = client
        self.server = server
        self.calls: dict[str, asyncio.Task[Outcome]] = {}

    async def play(self) -> None:
        url = f"{self.server.url}?ticket={SECRET}"
        if "token" not in self.case.options:  # of which a password takes the place
            url = url.replace("ws://", f"ws://user:{SECRET}@")
        opened = await limited("open", self.client.open(url, self.case.options))
        if opened["code"] is None:
            for step in self.case.steps:
                await self._take(step)
        outcomes = {name: await limited(name, asyncio.shield(self.calls[name])) for name in self.case.outcomes}
        counted = len(self.server.connections), {type: len(self.server.frames(type)) for type in self.case.sent}
        answers = await limited("end", self.client.end())
        for call in self.calls.values():
            call.cancel()
        self._check(outcomes | {"open": opened}, *counted, answers)

    async def _take(self, step: Step) -> None:
        match step:
            case Call(method, arguments, name):
                name = name or method
                self.calls[name] = asyncio.create_task(self.client.call(name, method, *arguments))
                await asyncio.sleep(0)
            case float() | int():
                await asyncio.sleep(step)
            case asyncio.Event():
                step.set()
            case Settled(name):
                await limited(name, asyncio.shield(self.calls[name]))
            case Shown(text):
                await limited(f"shown: {text}", self.client.shown(text))
            case Read(name, text):
                await limited(f"read of {name}: {text}", self.client.has_read(name, text))
            case State(state):
                await limited(f"state {state}", self.client.reached(state))
            case Connected(count):
                await limited(f"connected {count}", self.server.connected(count))
            case Sent(type, count):
                frames = self.server.frames
                await limited(f"sent {count} {type}", until(lambda: len(frames(type)) >= count))

    def _check(self, outcomes: dict[str, Outcome], connections: int, sent: dict[str, int], answers: list[str]) -> None:
        case = self.case
        expected = {"open": {"code": case.opened if not isinstance(self.client, JSDriver) else None}, **case.outcomes}
        found = {name: {field: outcomes[name].get(field) for field in wanted} for name, wanted in expected.items()}
        assert found == expected
        assert SECRET not in " ".join(str(outcome.get("message")) for outcome in outcomes.values())
        assert sent == case.sent
        assert case.connections is None or connections <= case.connections
        made = self.server.connections
        assert {number: made[number].query.get("after") for number in case.after} == {
            number: str(after) for number, after in case.after.items()
        }
        assert case.attempts is None or self.client.attempts[: len(case.attempts)] == [*case.attempts]
        assert case.tokens is None or [each.token for each in made][: len(case.tokens)] == [*case.tokens]
        for number, pause in case.pauses.items():
            assert made[number].opened - made[number - 1].opened >= pause - TIMER_SECONDS
        assert case.answers is None or answers == [*case.answers]


async def limited(name: str, wanted: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> Any:
    """Wait, or fail with what is waited for."""
    try:
        return await asyncio.wait_for(wanted, LIMIT_SECONDS)
    except TimeoutError:
        pytest.fail(f"{name}: {NEVER}")


PLAYED = [
    (client, name)
    for name, build in CASES.items()
    for client in sorted(build().clients)
    if client != "sync" or name not in VARIANTS  # on the wire, both Python clients are one
]


@pytest.mark.parametrize(("client", "name"), PLAYED, ids=["-".join(each) for each in PLAYED])
async def test_a_client_does_what_the_case_says(
    client: str, name: str, node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call ends, with the right outcome; nothing is asked twice; connections are counted."""
    case = CASES[name]()
    if limit := case.options.get("limit"):
        monkeypatch.setattr(pending, "TIME_LIMIT_SECONDS", limit)
    async with ScriptedServer(*case.scripts) as server:
        match client:
            case "async":
                driver: ClientDriver = AsyncDriver()
            case "sync":
                driver = SyncDriver()
            case _:
                driver = JSDriver(node)
        await Player(case, driver, server).play()
