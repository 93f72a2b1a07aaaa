"""Readiness: however many ask, the parts are asked once a second."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from askbot_ws.errors import StoreError
from askbot_ws.http import readiness
from askbot_ws.http.readiness import Readiness
from askbot_ws.testing import ScriptedUpstream, serving

from .raw_requests import request


class Check:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def ping(self) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault


async def test_a_flood_costs_the_store_one_look_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look makes a file and a write transaction: three thousand a second from anyone, once."""
    upstream, looks = ScriptedUpstream(), 0
    async with serving(upstream) as server:
        ping = server.hub.store.ping

        async def counted() -> None:
            nonlocal looks
            looks += 1
            await ping()

        monkeypatch.setattr(server.hub.store, "ping", counted)
        for _ in range(5):
            answers = await asyncio.gather(*[request(server.port, "/readyz") for _ in range(40)])
            assert {answer.status for answer in answers} == {200}

    assert looks <= 2


async def test_those_who_ask_at_once_share_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leaves does not end it for the others; and then it counts for a while, a fault too."""
    monkeypatch.setattr(readiness, "RESULT_TTL_SECONDS", 0.2)
    part = Check()
    part.gate = asyncio.Event()
    part.fault = StoreError()
    looking = Readiness({"store": part})
    waiting = [asyncio.create_task(looking.faults()) for _ in range(10)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    part.gate.set()
    assert await asyncio.gather(*waiting) == [{"store": StoreError.default}] * 9
    assert (await looking.faults())["store"]
    assert part.asked == 1

    part.fault = None
    await asyncio.sleep(0.25)
    assert await looking.faults() == {"store": None}
    assert part.asked == 2


async def test_a_part_that_does_not_answer_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that fails in a way that nobody foresaw: that is logged, and not told to everybody."""
    monkeypatch.setattr(readiness, "PING_TIMEOUT_SECONDS", 0.05)
    silent, broken = Check(), Check()
    silent.gate = asyncio.Event()
    broken.fault = RuntimeError("secret")

    assert "no answer" in str((await Readiness({"upstream": silent}).faults())["upstream"])
    with capture_logs() as logged:
        assert await Readiness({"store": broken}).faults() == {"store": "Something went wrong on our side."}
    assert [line["event"] for line in logged] == ["readiness_check_failed"]
