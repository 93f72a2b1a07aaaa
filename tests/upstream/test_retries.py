"""Paid requests: how often each is sent, counted by a server that is scripted to the byte."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import httpx2
import openai
import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import UpstreamError, UpstreamUnavailable
from askbot_ws.upstream import provider_connection
from askbot_ws.upstream.openai import OpenAIUpstream
from askbot_ws.upstream.sdk import SdkTransport

Step: TypeAlias = Literal["answer", "close", "reset", "work and close", "one byte and close", "close unread", "500"]
WORK = 0.1  # seconds, in place of the second that a close may take to count as one that was under way


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n".encode()


BODY = event({"content": "hello"}) + event({}, "stop") + b"data: [DONE]\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
FAULT = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"


class Scripted:
    """Takes a step for each request that it is sent, read or not; `read` counts those that it has read whole."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.read: list[str] = []  # the question of each, in order
        self.connections: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while self.steps and await self._step(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    async def _step(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readexactly(1)  # a request is on its way; whoever takes a step has waited for it
        step = self.steps.pop(0)
        if step == "close unread":
            return False
        head += await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        self.read.append(body["messages"][-1]["content"])
        if step in ("answer", "500"):
            writer.write(ANSWER if step == "answer" else FAULT)
            return True
        if step == "work and close":
            await asyncio.sleep(2 * WORK)
        elif step == "one byte and close":
            writer.write(b"H")
        elif step == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


@asynccontextmanager
async def scripted(
    *steps: Step, retries: int, transport: Literal["direct", "openai"] = "direct", backoff: float = 0.001
) -> AsyncGenerator[tuple[OpenAIUpstream, Scripted]]:
    script = Scripted(steps)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    upstream = OpenAIUpstream(
        model="m",
        base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1",
        retries=retries,
        backoff=backoff,
        transport=transport,
    )
    await upstream.open()
    try:
        yield upstream, script
    finally:
        await upstream.close()
        server.close()
        for writer in script.connections:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def ask(upstream: OpenAIUpstream, question: str) -> str:
    said: list[str] = []
    await upstream.stream(Prompt.of([Message("user", question)]), said.append)
    return "".join(said)


@pytest.fixture(autouse=True)
def _a_short_moment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(provider_connection, "STALE_CLOSE_WINDOW_SECONDS", WORK)


@pytest.mark.parametrize("step", ["close", "reset", "close unread", "work and close", "one byte and close", "500"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "fresh"])
@pytest.mark.parametrize("transport", ["direct", "openai"])
async def test_without_retries_a_request_is_sent_once(
    step: Step,
    kept: bool,  # noqa: FBT001
    transport: Literal["direct", "openai"],
) -> None:
    """Whatever becomes of its connection, also where nobody has read it: that can't be known."""
    before: list[Step] = ["answer"] if kept else []
    async with scripted(*before, step, "answer", retries=0, transport=transport) as (upstream, script):
        if kept:
            await ask(upstream, "first")
        with pytest.raises(UpstreamError):
            await ask(upstream, "second")

        assert script.steps == ["answer"]
        assert script.read.count("second") == (0 if step == "close unread" else 1)


async def test_an_idle_connection_that_is_closed_already_costs_no_retry() -> None:
    """Its end is here, read by the loop or not: nothing is sent on it."""
    async with scripted("answer", "answer", "answer", retries=0) as (upstream, script):
        await ask(upstream, "first")
        script.connections[0].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        assert await ask(upstream, "second") == "hello"
        script.connections[1].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0.01)
        assert await ask(upstream, "third") == "hello"

    assert script.read == ["first", "second", "third"]


@pytest.mark.parametrize("step", ["close", "reset", "close unread"])
async def test_a_kept_connection_that_closes_at_once_is_replaced_without_a_pause(step: Step) -> None:
    """The close may have been under way when the request went out. It is one of the retries."""
    async with scripted("answer", step, "answer", retries=1, backoff=60.0) as (upstream, script):
        await ask(upstream, "first")
        async with asyncio.timeout(5):
            assert await ask(upstream, "second") == "hello"

    assert script.read.count("second") == (1 if step == "close unread" else 2)


async def test_a_request_on_which_the_provider_has_worked_is_a_failed_try() -> None:
    """Its connection was closed before a byte came, but not at once: asked again after the usual pause."""
    async with scripted("answer", "work and close", "answer", retries=1, backoff=60.0) as (upstream, script):
        await ask(upstream, "first")
        asking = asyncio.create_task(ask(upstream, "second"))
        await asyncio.sleep(4 * WORK)
        assert not asking.done()
        asking.cancel()

    assert script.read == ["first", "second"]


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_no_request_is_sent_more_often_than_the_retries_allow(retries: int) -> None:
    """Stale connections and failures count together."""
    steps: list[Step] = ["close", "500", "close", "work and close", "500", "500"]
    async with scripted("answer", *steps, "answer", retries=retries) as (upstream, script):
        await ask(upstream, "first")
        with pytest.raises(UpstreamError):
            await ask(upstream, "second")

    assert script.read.count("second") == 1 + retries


async def test_many_stale_connections_cost_one_try_each_question() -> None:
    """A provider that started again has closed them all."""
    plenty: list[Step] = ["answer"] * 10
    async with scripted(*plenty, retries=1) as (upstream, script):
        await asyncio.gather(*(ask(upstream, f"first {number}") for number in range(3)))
        asking = [asyncio.create_task(ask(upstream, f"second {number}")) for number in range(3)]
        await asyncio.sleep(0)  # the requests go out
        for writer in script.connections:
            writer.transport.abort()
        assert await asyncio.gather(*asking) == ["hello"] * 3

    assert len(script.connections) == 6
    assert len(script.read) == 6


# --- a cancellation out of the openai package ------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[httpx2.Request], httpx2.Response]:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise error

    return handle


def package(handle: Callable[[httpx2.Request], httpx2.Response]) -> SdkTransport:
    """The openai package, over a transport that is no network."""
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    return SdkTransport(
        openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="k", max_retries=0, http_client=http)
    )


async def test_a_cancellation_that_the_package_made_itself_is_a_failure() -> None:
    """Its scopes and its pool cancel what they wait for; nobody has asked the turn to end."""
    sdk = package(raising(asyncio.CancelledError()))
    with pytest.raises(UpstreamUnavailable):
        await sdk.post("/chat/completions", lambda: b"{}", lambda data: None)
    with pytest.raises(UpstreamUnavailable):
        await sdk.get("/models")
    await sdk.close()


async def test_a_cancellation_of_the_turn_leaves_the_package_as_one() -> None:
    """The turn has been ended by whoever asks for it."""
    started = asyncio.Event()

    async def handle(request: httpx2.Request) -> httpx2.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    sdk = SdkTransport(openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="k", max_retries=0, http_client=http))
    task = asyncio.create_task(sdk.get("/models"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sdk.close()
