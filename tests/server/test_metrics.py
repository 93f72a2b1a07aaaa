"""`/metrics`: what an operator watches, as it is when it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from askbot_ws.auth.key_file import add_key, make_key
from askbot_ws.errors import UpstreamRejected
from askbot_ws.events import Usage
from askbot_ws.server.app import Server
from askbot_ws.server.collector import closed_set
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

from ..http.raw_requests import request
from ..process import reading


@pytest.fixture
async def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def server(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(upstream, store=f"sqlite:///{tmp_path / 'a.db'}") as server:
        yield server


async def metrics_of(server: Server, **headers: str) -> dict[str, float]:
    """All samples, each by its name with its labels' values."""
    response = await request(server.port, "/metrics", **headers)
    assert response.status == 200, response.body
    families = text_string_to_metric_families(response.body.decode())
    samples = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


async def metrics_where(server: Server, true: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """All samples, once this is true of them."""
    async with asyncio.timeout(15):
        while not true(samples := await metrics_of(server)):  # noqa: ASYNC110 - nothing tells us of it
            await asyncio.sleep(0.02)
    return samples


async def test_what_happened_is_counted(server: Server, upstream: ScriptedUpstream) -> None:
    """Connections, turns, tokens and times; what never happened is there as 0, so that an alert has a series."""
    before = await metrics_of(server)
    upstream.scripts = [
        [UpstreamRejected()],
        [
            "Be",
            measured := asyncio.Event(),
            0.02,
            "cause.",
            Ending("stop", usage=Usage(input_tokens=7, output_tokens=2)),
        ],
    ]
    async with reading(server.url) as reader:
        failed = await reader.answer("Well?")
        await metrics_where(server, lambda now: now["askbot_unflushed_bytes"] == 0)  # the next may go with it
        await reader.ask("Well?")
        answered = reader.story.turns[(await reader.until("token"))["turn"]]
        while_open = await metrics_of(server)  # what is being answered is not flushed
        measured.set()
        await reader.until("done")
    open_yet = ("askbot_unflushed_bytes", "askbot_unflushed_sessions", "askbot_connections askbot.v1")
    after = await metrics_where(
        server, lambda now: not any(now[name] for name in open_yet) and now["askbot_loop_lag_seconds_count"] > 0
    )

    assert (failed.reason, answered.reason) == ("error", "stop")
    assert before["askbot_turns_total stop"] == before["askbot_refusals_total unknown_path"] == 0
    assert after["askbot_turns_total stop"] == after["askbot_turns_total error"] == 1
    assert (after["askbot_tokens_total input"], after["askbot_tokens_total output"]) == (7, 2)
    assert after["askbot_upstream_errors_total upstream_rejected"] == 1
    assert while_open["askbot_connections askbot.v1"] == while_open["askbot_cursors"] == 1
    assert while_open["askbot_sessions"] == 1
    assert after["askbot_connections http"] == 1
    assert after["askbot_connections_closed_total 1000"] == after["askbot_connections_opened_total askbot.v1"] == 1
    assert after["askbot_first_token_seconds_count"] == 1
    assert after["askbot_token_gap_seconds_count"] == after["askbot_token_gap_seconds_bucket +Inf"] == 1
    assert after["askbot_token_gap_seconds_sum"] >= 0.02 > after["askbot_token_gap_seconds_bucket 0.01"]
    assert after["askbot_commit_seconds_count"] == after["askbot_commit_events_count"] >= 4
    assert after["askbot_commit_events_sum"] >= 6
    assert while_open["askbot_unflushed_bytes"] > 0
    assert while_open["askbot_journal_bytes"] > 0
    assert after["askbot_unstored_ends"] == 0
    assert 0 <= after["askbot_flush_age_seconds"] < 5
    assert after["process_resident_memory_bytes"] > 10e6


async def test_what_waits_is_seen(server: Server, upstream: ScriptedUpstream) -> None:
    """A turn that runs, and one that waits for it."""
    held = asyncio.Event()
    upstream.scripts = [["Hm", held]]
    async with reading(server.url) as reader:
        await reader.ask("First?")
        await reader.ask("Second?")
        await reader.until(lambda frame: frame["type"] == "question" and frame["text"] == "Second?")
        waiting = await metrics_of(server)
        held.set()
        await reader.until(lambda _: len([turn for turn in reader.story.turns.values() if turn.done]) == 2)
    after = await metrics_of(server)

    assert (waiting["askbot_turns_running"], waiting["askbot_turns_waiting"]) == (1, 1)
    assert (after["askbot_turns_running"], after["askbot_turns_waiting"]) == (0, 0)


async def test_this_machine_reads_them_by_a_name_of_the_server(server: Server) -> None:
    """A page of another site, whose name leads here, is told from Prometheus by nothing but its `Host`."""
    assert await metrics_of(server, Host="localhost")
    assert (await request(server.port, "/metrics", Host="evil.example")).status == 403
    assert (await request(server.port, "/metrics", Host="evil.example", Authorization="Bearer x")).status == 403
    assert (await request(server.port, "/metrics", Accept_Language="en")).status == 200
    for browser in ({"Accept_Language": "en"}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Mode": "cors"}):
        page = await request(server.port, "/metrics", Host="evil.example", Authorization="Bearer x", **browser)
        assert page.status == 403


async def test_prometheus_elsewhere_reads_them_by_any_name_with_a_key(tmp_path: Path) -> None:
    """In a container, the server has the name of a service; no page has the key."""
    made = make_key("prometheus", now=time.time(), rights=["metrics"])
    add_key(tmp_path / "keys", made.key)
    async with serving(ScriptedUpstream(), keys=tmp_path / "keys") as server:
        assert await metrics_of(server, Host="askbot.internal", Authorization=f"Bearer {made.text}")
        wrong = await request(server.port, "/metrics", Host="askbot.internal", Authorization="Bearer x")
        assert wrong.status == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_a_proxy_on_this_machine_does_not_open_them_to_the_world(server: Server, header: str) -> None:
    """Whoever the header names: it is the proxy that may be trusted, not what it lets through."""
    response = await request(server.port, "/metrics", **{header: "127.0.0.1"})

    assert response.status in (401, 403)
    assert b"askbot_" not in response.body


def test_a_label_does_not_grow() -> None:
    """What is in no list, as a close code that a client has made up, is `other`."""
    assert closed_set({"1000": 2, "4999": 3, "4998": 1}, ["1000", "1001"]) == {"1000": 2, "1001": 0, "other": 4}
