"""Overload: what is measured, and what is refused by it."""

from __future__ import annotations

import asyncio
import math
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from askbot_ws.config import from_keywords
from askbot_ws.core.load import MIN_LIMIT, LoadLevel
from askbot_ws.errors import ConfigError, Overloaded
from askbot_ws.hub import Hub, Policy
from askbot_ws.server import overload
from askbot_ws.server.overload import OverloadMonitor, memory_threshold, resident_bytes
from askbot_ws.store.memory import MemoryStore
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import address, eventually, reading

CONTAINER_BYTES = 100 * 2**20


async def test_lag_and_a_slow_store_are_seen_while_they_last() -> None:
    """The higher level counts; it ends with the cause."""
    hub = Hub(MemoryStore(), ScriptedUpstream(), Policy())
    started: float | None = None
    monitor = OverloadMonitor(hub.admission, append_started_at=lambda: started, turns_running=lambda: 0)
    monitor.apply(lag=0.1, commit=1.0, memory=None)
    levels: list[LoadLevel] = []
    for now, lag, since in [
        (1, 0.25, None),
        (2, 0.25, None),
        (3, 0.25, None),
        (4, 0.0, 1.0),
        (5, 0.0, 1.0),
        (6, 0.0, 1.0),
    ]:
        started = since
        monitor.sample(now, lag)
        levels.append(hub.admission.load)
    for now in (7, 8, 9):
        started = None
        monitor.sample(now, 0.0)

    assert levels == [LoadLevel.NORMAL] * 2 + [LoadLevel.VERY_HIGH] * 4
    assert hub.admission.load is LoadLevel.NORMAL
    monitor.apply(lag=None, commit=None, memory=None)
    for now in (10, 11, 12):
        monitor.sample(now, float(now))
    assert hub.admission.load is LoadLevel.NORMAL


async def test_samples_are_few_where_there_is_little_to_do() -> None:
    """Each wakes the process. They are many while anything is late, or could be too much, or is limited."""
    running, started = 0, None
    hub = Hub(MemoryStore(), ScriptedUpstream(), Policy())
    monitor = OverloadMonitor(hub.admission, append_started_at=lambda: started, turns_running=lambda: running)
    monitor.apply(lag=0.1, commit=1.0, memory=None)
    calm = monitor.sample(1, 0.001)
    assert monitor.sample(2, 0.06) < calm
    running = MIN_LIMIT
    assert monitor.sample(3, 0.0) < calm
    running = MIN_LIMIT - 1
    assert monitor.sample(4, 0.0) == calm
    started = 4.4
    assert monitor.sample(5, 0.0) < calm
    started = None
    for now in (6, 7, 8):
        monitor.sample(now, 0.15)
    assert hub.admission.load is LoadLevel.HIGH
    assert [monitor.sample(now, 0.0) for now in (9, 10)] == [calm / 5] * 2, "it is to be heard soon that it is over"
    assert monitor.sample(11, 0.0) == calm


async def test_where_there_is_a_limit_not_all_turns_begin_at_once() -> None:
    """They would end at once, too, and make way for as many: the loop would be late again and again."""
    running = 0
    hub = Hub(MemoryStore(), ScriptedUpstream(), Policy())
    monitor = OverloadMonitor(hub.admission, append_started_at=lambda: None, turns_running=lambda: running)
    monitor.apply(lag=0.1, commit=None, memory=None)
    monitor.sample(1, 0.0)
    assert hub.admission.starts_left == math.inf
    running = 1000
    for now in (2, 3, 4):
        monitor.sample(now, 0.05)

    assert hub.admission.load_limit < 1000
    assert hub.admission.starts_left == 0.05 * hub.admission.load_limit
    running = 0
    hub.admission.starts_left = 0.5
    with pytest.raises(Overloaded):
        hub.admission.check_load()
    monitor.sample(5, 0.0)
    hub.admission.check_load()


async def test_some_dozens_may_always_begin_at_once() -> None:
    """After a start beside other work, which is late whatever runs; and in the hours after an overload."""
    running = 0
    hub = Hub(MemoryStore(), ScriptedUpstream(), Policy())
    monitor = OverloadMonitor(hub.admission, append_started_at=lambda: None, turns_running=lambda: running)
    monitor.apply(lag=0.1, commit=None, memory=None)
    for now, turns in enumerate((0, 0, 0, 30, 40, 50), start=1):
        running = turns
        monitor.sample(now, 0.08)
        assert hub.admission.starts_left == hub.admission.load_limit == math.inf
    for now, turns in enumerate((500, 500, 500, 250, 100, 0), start=7):
        running = turns
        monitor.sample(now, 0.08)
    assert hub.admission.load_limit < math.inf
    assert hub.admission.starts_left == MIN_LIMIT
    running = MIN_LIMIT - 30
    monitor.sample(20, 0.0)
    assert hub.admission.starts_left == 30


@pytest.mark.parametrize(("busy", "is_limited"), [(0.9, True), (0.7, False)])
async def test_a_short_lag_limits_turns_only_where_it_is_of_our_own_making(busy: float, *, is_limited: bool) -> None:
    """Beside other work on the same cores, fewer turns would make it no shorter. A longer one does in any case."""
    used = 0.0
    hub = Hub(MemoryStore(), ScriptedUpstream(), Policy())
    monitor = OverloadMonitor(
        hub.admission, append_started_at=lambda: None, turns_running=lambda: 1000, cpu_clock=lambda: used
    )
    monitor.apply(lag=0.2, commit=None, memory=None)
    for number in range(1, 5):
        used += 0.05 * busy
        monitor.sample(100 + number * 0.05, 0.02)
    assert (hub.admission.load_limit < math.inf) is is_limited
    for number in range(5, 9):
        monitor.sample(100 + number * 0.05, 0.04)
    assert hub.admission.load_limit < math.inf


def test_the_memory_is_that_of_the_setting_or_of_the_container(tmp_path: Path) -> None:
    """In both versions of control groups; without a limit, there is none."""
    assert memory_threshold(None, cgroup=tmp_path) is None
    assert (memory_threshold(5, cgroup=tmp_path), memory_threshold(0, cgroup=tmp_path)) == (5, None)
    (tmp_path / "memory").mkdir()
    v1, v2 = tmp_path / "memory" / "memory.limit_in_bytes", tmp_path / "memory.max"
    v1.write_text(f"{2**63 - 4096}\n")
    assert memory_threshold(None, cgroup=tmp_path) is None
    v1.write_text(f"{CONTAINER_BYTES}\n")
    assert memory_threshold(None, cgroup=tmp_path) == CONTAINER_BYTES * 9 // 10
    v2.write_text("max\n")
    assert memory_threshold(None, cgroup=tmp_path) == CONTAINER_BYTES * 9 // 10
    v2.write_text(f"{2 * CONTAINER_BYTES}\n")
    assert memory_threshold(None, cgroup=tmp_path) == 2 * CONTAINER_BYTES * 9 // 10
    assert memory_threshold(0, cgroup=tmp_path) is None
    assert (resident_bytes() > 2**20, resident_bytes(tmp_path / "nowhere")) == (True, 0)


async def test_a_server_that_has_too_much_to_do_refuses_at_every_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions by `overloaded`, handshakes and requests by 503, each with when to come again; health checks pass."""
    monkeypatch.setattr(overload, "MEMORY_SECONDS", 0.0)
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["So.", gate, "Yes."])
    async with serving(upstream, limits=True, overload_lag="never") as server, reading(address(server.port)) as reader:
        await reader.ask("Why?", id="asked")
        await reader.until("token")
        server.overload.apply(lag=None, commit=None, memory=1)
        await eventually(lambda: server.hub.admission.load is LoadLevel.VERY_HIGH)
        await reader.ask("Why?", id="asked")  # sent again: it is in the log, so nothing is refused
        await reader.ask("And?", id="q")
        error = await reader.until("error")
        assert (error["id"], error["code"], error["retry_after"]) == ("q", "overloaded", 2000)
        gate.set()
        assert (await reader.until("done"))["reason"] == "stop"
        with pytest.raises(InvalidStatus) as refused:
            async with reading(address(server.port)):
                pass
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert await asyncio.to_thread(get, server.port, "/healthz") == (200, None)
        asked = await asyncio.to_thread(get, server.port, "/aiCompletion", b'{"userPrompt": "Why?"}')
        assert asked == (503, "2")
        server.overload.apply(lag=None, commit=None, memory=None)
        await eventually(lambda: server.hub.admission.load is LoadLevel.NORMAL)
        assert (await reader.answer("And?", id="q")).reason == "stop"


def get(port: int, path: str, body: bytes | None = None) -> tuple[int, str | None]:
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


async def test_limits_change_with_the_settings_for_clients_that_are_connected() -> None:
    """At once; settings that can't be used change nothing."""
    async with serving(limits=True) as server, reading(address(server.port)) as reader:
        roles = {"default": {"questions_per_minute": 2, "max_tokens": 9}}
        await server.reload(from_keywords({"roles": roles, "limits": True}))
        for _ in range(2):
            await reader.answer("Why?")
        with pytest.raises(ConfigError):
            await server.reload(from_keywords({"roles": {"default": {"models": ["m\ud800"]}}}))
        await reader.ask("Why?", id="q")
        assert (await reader.until("error"))["code"] == "rate_limited"
        async with reading(address(server.port)) as second:
            assert second.frames[0]["limits"]["questions_per_minute"] == 2
        await server.reload(from_keywords({"limits": False}))
        assert (await reader.answer("Why?", id="q")).reason == "stop"
