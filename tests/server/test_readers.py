"""Readers that are slow, many, silent or too many; and servers that must not start."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from askbot_ws.testing import ScriptedUpstream, serving

from ..process import (
    ProviderProcess,
    Reader,
    Story,
    address,
    askbot,
    command,
    environment,
    eventually,
    reading,
    resident,
)

MIB = 2**20


# --- slow ------------------------------------------------------------------------------------------------------------


def narrow(port: int) -> socket.socket:
    """A connection whose kernel takes little for a client that does not read; else that is some megabytes."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.settimeout(0)
    return raw


async def stalled(url: str, story: Story) -> socket.socket:
    """A client that takes nothing more, as a phone in a tunnel: it asks for much, and that is all."""
    server = url.removeprefix("ws://").removesuffix("/v1/chat")
    raw = narrow(int(server.rpartition(":")[2]))
    lines = [
        f"GET /v1/chat?session={story.session}&after={story.head} HTTP/1.1", f"Host: {server}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    await asyncio.get_running_loop().sock_sendall(raw, "\r\n".join(lines).encode())
    return raw


async def test_readers_that_stop_cost_no_memory_and_no_time(tmp_path: Path, provider: ProviderProcess) -> None:
    """Ten of them, each with half a megabyte to read: a cursor each, and others' tokens come as fast as ever."""
    with askbot(tmp_path, upstream=provider.url) as server:
        process = server.process.pid
        stories, answer = [Story() for _ in range(10)], "".join(f"word{number} " for number in range(50_000))
        for story in stories:
            async with reading(server.url, story) as reader:
                await reader.answer("say:Warm.")
        phones = [await stalled(server.url, story) for story in stories]
        before = resident(process)
        try:
            for story in stories:
                async with reading(server.url, story) as asker:
                    await asker.ask("burst:50000")
            async with reading(server.url) as reader:
                gaps = await pauses(reader)
            async with asyncio.timeout(60):
                for story in stories:
                    while await head(server.url, story) < len(answer):  # noqa: ASYNC110 - nothing tells us
                        await asyncio.sleep(0.05)
            grown = resident(process) - before
        finally:
            for phone in phones:
                phone.close()
        for story in stories[:2]:
            async with reading(server.url, story) as back:
                await back.until(lambda _, story=story: story.last.done is not None)  # type: ignore[misc]

    print(f"grown by {grown / MIB:.0f} MiB; pauses {[round(gap, 3) for gap in gaps[-3:]]}")
    assert grown < 32 * MIB  # the answers themselves are half a megabyte each, and rest in memory for a while
    assert gaps[len(gaps) * 9 // 10] < 0.5
    assert all(story.last.answer == answer for story in stories[:2])


async def pauses(reader: Reader) -> list[float]:
    """The times between an answer's tokens, shortest first."""
    await reader.ask("tokens:40 rate:40")
    times = list[float]()
    while (await reader.next())["type"] != "done":
        times.append(time.monotonic())
    return sorted(later - earlier for earlier, later in itertools.pairwise(times))


async def head(url: str, story: Story) -> int:
    """How long a session's log is; asked without reading it."""
    async with connect(f"{url}?session={story.session}", proxy=None, compression=None) as line:
        length: int = json.loads(await line.recv())["seq"]
        line.transport.abort()
    return length


async def test_a_reader_that_takes_nothing_is_closed_and_resumes() -> None:
    """4408 after the limit, not before; then it goes on where it was."""
    upstream = ScriptedUpstream(["0123456789" * 1000] * 300)
    async with serving(upstream, reader_timeout=2) as server, reading(address(server.port)) as reader:
        reader.socket.transport.pause_reading()
        await reader.ask("Much?")
        begun = time.monotonic()
        await asyncio.sleep(3)  # a second later than it is closed, and a second before it is aborted
        reader.socket.transport.resume_reading()

        assert await reader.rest() == 4408
        assert time.monotonic() - begun > 2
        assert reader.story.last.done is None
        async with reading(address(server.port), reader.story) as back:
            await back.until("done")

    assert len(reader.story.last.answer) == 3_000_000


async def test_a_reader_that_is_gone_without_a_word_is_given_up() -> None:
    """Its machine has lost power: the server is rid of the connection some time after the limit."""
    upstream = ScriptedUpstream(["0123456789" * 1000] * 300)
    async with serving(upstream, reader_timeout=0.2) as server, reading(address(server.port)) as reader:
        reader.socket.transport.pause_reading()
        await reader.ask("Much?")
        await eventually(lambda: not server.connection_count)
        reader.cut()


async def test_a_slow_reader_gets_everything(tmp_path: Path, provider: ProviderProcess) -> None:
    """One that takes its time, but takes: it falls behind, and is sent larger slices."""
    with askbot(tmp_path, "--reader-timeout", "2s", upstream=provider.url) as server:
        async with reading(server.url) as reader:
            await reader.ask("burst:60000")
            for _ in range(20):
                reader.socket.transport.pause_reading()
                await asyncio.sleep(0.05)
                reader.socket.transport.resume_reading()
                for _ in range(5):
                    if reader.story.turns and reader.story.last.done:
                        break
                    await reader.next()
            if not reader.story.last.done:
                await reader.until("done")

    assert reader.story.last.answer == "".join(f"word{number} " for number in range(60_000))


async def test_a_flood_of_commands_waits_for_the_one_who_does_not_read() -> None:
    """Who takes no answers gets to send no questions: their errors are not heaped up here."""
    async with serving() as server, reading(address(server.port), sock=narrow(server.port)) as reader:
        process = os.getpid()
        reader.socket.transport.pause_reading()
        before = resident(process)
        async with asyncio.timeout(20):
            while await takes(reader):
                pass
        grown = resident(process) - before
        reader.cut()

    assert grown < 32 * MIB


async def takes(reader: Reader) -> bool:
    """Whether one more frame can be sent."""
    try:
        await asyncio.wait_for(reader.send(type="ping", id="x" * 64, besides="x" * 2000), 0.5)
    except TimeoutError:
        return False
    return True


# --- many ------------------------------------------------------------------------------------------------------------


async def test_two_readers_of_one_session_see_the_same(tmp_path: Path, provider: ProviderProcess) -> None:
    """Who asks is one of them; the other came in the middle."""
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as first:
            await first.ask("tokens:60 rate:100")
            await first.until("token")
            async with reading(server.url, Story(session=first.story.session)) as second:
                await asyncio.gather(first.until("done"), second.until("done"))
                await second.ask("say:And you?")
                await asyncio.gather(first.until("done"), second.until("done"))

    assert first.story.turns == second.story.turns


async def test_a_hundred_readers_of_one_answer_see_the_same() -> None:
    """A lecture hall."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream([gate, *(f"{number} " for number in range(500))])) as server:
        stories = [Story()]
        async with reading(address(server.port), stories[0]) as asker:
            await asker.ask("Count?")
            await asker.until("question")
            stories += [Story(session=asker.story.session) for _ in range(100)]
            reads = [asyncio.create_task(until_done(address(server.port), story)) for story in stories[1:]]
            await eventually(lambda: server.connection_count > 100)
            gate.set()
            await asker.until("done", 20)
            await asyncio.gather(*reads)

    assert all(story.turns == stories[0].turns for story in stories)


async def until_done(url: str, story: Story) -> None:
    async with reading(url, story) as reader:
        await reader.until("done", 20)


# --- silent ----------------------------------------------------------------------------------------------------------


async def test_an_idle_connection_hears_that_it_is_well() -> None:
    """`alive` where nothing else was sent; never in between tokens."""
    upstream = ScriptedUpstream([*(0.02, "x") * 40])
    async with serving(upstream, heartbeat=0.3) as server, reading(address(server.port)) as reader:
        begun = time.monotonic()
        assert await reader.next() == {"type": "alive"}
        assert await reader.next() == {"type": "alive"}
        assert 0.5 < time.monotonic() - begun < 1.5
        await reader.ask("Slowly?")
        await reader.until("done")

    assert [frame["type"] for frame in reader.frames].count("alive") == 2


async def test_nothing_is_said_before_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the connection is well, nor that the server drains: a slow store keeps it waiting, and that is all."""
    async with serving(heartbeat=0.1) as server:
        async with reading(address(server.port)) as reader:
            await reader.answer("Well?")
        find = server.hub.store.replay_start

        async def slowly(session: str, *, turns: int) -> int:
            await asyncio.sleep(0.4)
            return await find(session, turns=turns)

        monkeypatch.setattr(server.hub.store, "replay_start", slowly)
        url = f"{address(server.port)}?session={reader.story.session}"
        async with connect(url, proxy=None) as line, connect(url, proxy=None) as other:
            assert json.loads(await line.recv())["type"] == "ready"
            async with connect(url, proxy=None) as late:
                await asyncio.sleep(0.1)
                await server.drain()
                with pytest.raises(ConnectionClosed, match="1012"):
                    await late.recv()
            assert json.loads(await other.recv())["type"] == "ready"


async def test_a_client_that_gets_no_further_is_told_to_stop() -> None:
    """docs/protocol.md: one that resumes at one place more than 10 times a minute; it may go on from elsewhere."""
    async with serving(limits=True) as server, reading(address(server.port)) as reader:
        await reader.answer("Well?")
        url, head = f"{address(server.port)}?session={reader.story.session}", reader.story.head
        codes: list[int | None] = []
        for _ in range(12):
            async with connect(f"{url}&after=1", proxy=None) as line:
                with suppress(ConnectionClosed):
                    await line.recv()
                await line.close()
                codes.append(line.close_code)
        async with connect(f"{url}&after={head}", proxy=None) as line:
            assert json.loads(await line.recv())["from"] == head

    assert codes == [1000] * 10 + [4429] * 2


async def test_a_ping_gets_a_pong() -> None:
    """With its id, and at once, whatever runs; the socket's own pings work too."""
    async with serving(ScriptedUpstream(["So ", 60.0])) as server, reading(address(server.port)) as reader:
        await reader.ask("Why?")
        await reader.until("token")
        await reader.send(type="ping", id="p1")
        assert await reader.next() == {"type": "pong", "id": "p1"}
        await reader.send(type="ping")
        assert await reader.next() == {"type": "pong"}
        await asyncio.wait_for(await reader.socket.ping(), 5)


# --- too many --------------------------------------------------------------------------------------------------------


async def closed(url: str) -> int:
    """The code with which a connection is closed before it got anything."""
    async with connect(url, proxy=None) as line:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(line.recv(), 5)
        return line.close_code or 0


async def test_there_are_no_more_connections_than_there_may_be() -> None:
    """1013; when one goes, another may come."""
    async with serving(limits=True, max_connections=2) as server, reading(address(server.port)) as first:
        async with reading(address(server.port)):
            assert await closed(address(server.port)) == 1013
            await first.answer("Still?")
        await eventually(lambda: server.connection_count == 1)
        async with reading(address(server.port)) as next:
            await next.answer("Now?")


async def test_one_address_does_not_take_all_connections() -> None:
    """4429; those that it has are not disturbed."""
    async with (
        serving(limits=True, max_connections_per_address=2) as server,
        reading(address(server.port)) as first,
        reading(address(server.port)),
    ):
        assert await closed(address(server.port)) == 4429
        await first.answer("Still?")


async def test_too_many_frames_in_a_minute_end_the_connection() -> None:
    """4429; what was asked until then is answered, and can be read by whoever comes back."""
    async with serving(limits=True, frames_per_minute=20) as server:
        async with reading(address(server.port)) as reader:
            await reader.answer("One?")
            for _ in range(30):
                await reader.send(type="ping")
            assert await reader.rest(5) == 4429
        assert [frame["type"] for frame in reader.frames].count("pong") == 19
        async with reading(address(server.port), reader.story) as back:
            await back.answer("Two?")


async def test_more_turns_than_the_server_takes_wait_and_are_refused_in_the_end() -> None:
    """What waits is acknowledged; beyond it `overloaded`, with when to try again: it is not logged, and taken later."""
    gate = asyncio.Event()
    async with (
        serving(ScriptedUpstream([gate, "So."]), limits=True, max_turns=1, max_queued=1) as server,
        reading(address(server.port)) as first,
        reading(address(server.port)) as second,
        reading(address(server.port)) as third,
    ):
        await first.ask("One?")
        await first.until("question")
        await second.ask("Two?")
        await second.until("question")
        await third.ask("Three?", id="q")
        error = await third.next()
        assert (error["code"], error["retryable"], error["retry_after"]) == ("overloaded", True, 5000)
        gate.set()
        await second.until("done")
        assert (await third.answer("Three?", id="q")).reason == "stop"


async def test_a_queue_has_an_end() -> None:
    """`queue_full`; those that wait are answered in their order."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream([gate, "So."])
    async with serving(upstream, max_waiting=2) as server, reading(address(server.port)) as reader:
        for number in range(4):
            await reader.ask(f"{number}?", id=f"q{number}")
        error = await reader.until("error")
        assert (error["code"], error["id"]) == ("queue_full", "q3")
        gate.set()
        await reader.until(lambda _: len(reader.story.turns) == 3 and reader.story.last.done is not None)

    assert [turn.reason for turn in reader.story.turns.values()] == ["stop"] * 3


async def test_answers_that_nobody_reads_may_be_given_up() -> None:
    """After a while, where the operator wants that; not if somebody comes back in time."""
    late = 1.5  # seconds, of which a pause of the machine is a small part
    upstream = ScriptedUpstream(["So ", 60.0], ["So ", gate := asyncio.Event(), "it is."])
    async with serving(upstream, abandon_after=late) as server:
        async with reading(address(server.port)) as reader:
            await reader.ask("One?")
            await reader.until("token")
        await eventually(lambda: upstream.stopped == 1)
        async with reading(address(server.port), reader.story) as back:
            await back.until("done")
            await back.ask("Two?")
            await back.until("token")
        await eventually(lambda: server.connection_count == 0)
        async with reading(address(server.port), reader.story) as back:
            await asyncio.sleep(late + 0.2)
            gate.set()
            await back.until("done")

    assert [turn.reason for turn in reader.story.turns.values()] == ["cancelled", "stop"]


# --- servers that must not start -------------------------------------------------------------------------------------


def start(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--upstream", "openai", *flags), cwd=folder, env=environment(OPENAI_BASE_URL="http://127.0.0.1:9/v1"),
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_a_second_server_on_the_same_store_is_refused(tmp_path: Path, provider: ProviderProcess) -> None:
    """Two writers of one log would tear it. It says which process has it, and what to do."""
    with askbot(tmp_path, upstream=provider.url) as server:
        second = start(tmp_path, "--store", "sqlite:///askbot.db")

        assert second.returncode == 2
        assert f"pid {server.process.pid}" in second.stderr
        assert "ASKBOT_STORE" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path, provider: ProviderProcess) -> None:
    """With the port, and how to choose another."""
    with askbot(tmp_path, upstream=provider.url) as server:
        port = server.http.rpartition(":")[2]
        second = start(tmp_path, "--store", "memory:", "--port", port)

        assert second.returncode == 2
        assert f"port {port}" in second.stderr
        assert "Traceback" not in second.stderr


def test_an_open_door_is_refused(tmp_path: Path) -> None:
    """Anonymous use is for this machine; whoever wants it for all says so."""
    refused = start(tmp_path, "--store", "memory:", "--host", "0.0.0.0")

    assert refused.returncode == 2
    assert "ASKBOT_ALLOW_ANONYMOUS" in refused.stderr
    assert refused.stdout == ""
