"""ByteServer: a provider that sends exactly these bytes, over a real socket.

    script = stream(delta(content="Yes"), 0.35, delta("stop"), DONE)
    async with ByteServer(script) as server, opened(server, "direct") as upstream:
        outcome = await ask(upstream)

A script is bytes and pauses (seconds); after it the connection is closed. `math.inf` keeps it open, and silent.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import UpstreamError
from askbot_ws.events import Options
from askbot_ws.upstream import Ending, ThinkingText, Upstream
from askbot_ws.upstream.openai import OpenAIUpstream

DONE = b"data: [DONE]\n\n"
TRANSPORTS = ("direct", "openai")

Script: TypeAlias = Sequence[bytes | float]


@dataclass(frozen=True, slots=True)
class Request:
    """What was received."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: Any


class ByteServer:
    """Answers each POST with the next script, and all further ones with the last; each GET with a 404."""

    def __init__(self, *scripts: Script | Callable[[Request], Script]) -> None:
        """A script may depend on the request."""
        self.requests: list[Request] = []
        self._scripts = scripts
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def posts(self) -> list[Request]:
        """The requests for an answer."""
        return [request for request in self.requests if request.method == "POST"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            request = await _read(reader)
            self.requests.append(request)
            for step in self._script_for(request):
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    await asyncio.sleep(step if step < math.inf else 3600)
        except (asyncio.CancelledError, OSError, EOFError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    def _script_for(self, request: Request) -> Script:
        if request.method != "POST":
            return response(404, b"{}")
        script = self._scripts[min(len(self.posts), len(self._scripts)) - 1]
        return script(request) if callable(script) else script


async def _read(reader: asyncio.StreamReader) -> Request:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = start.split(" ")
    return Request(method, path, headers, json.loads(body) if body else None)


def response(status: int, *body: bytes | float, kind: str = "application/json", **headers: str) -> Script:
    """A response whose body ends with the connection; `retry_after="1"` is the header `retry-after`."""
    fields = {"content-type": kind, "connection": "close"} | {k.replace("_", "-"): v for k, v in headers.items()}
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields.items())]
    return ["\r\n".join([*lines, "", ""]).encode(), *body]


def stream(*body: bytes | float) -> Script:
    """A 200 with server-sent events."""
    return response(200, *body, kind="text/event-stream")


def event(chunk: object) -> bytes:
    """One event with this JSON."""
    return f"data: {json.dumps(chunk)}\n\n".encode()


def delta(finish: object = None, **fields: object) -> bytes:
    """One event with a chunk whose delta has these fields."""
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


@dataclass(slots=True)
class Outcome:
    """What became of a question."""

    pieces: list[str] = field(default_factory=list[str])  # as `on_text` got them
    ending: Ending | None = None
    error: UpstreamError | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(piece for piece in self.pieces if not isinstance(piece, ThinkingText))

    @property
    def thinking(self) -> str:
        """The reasoning."""
        return "".join(piece for piece in self.pieces if isinstance(piece, ThinkingText))

    @property
    def end(self) -> str:
        """The reason, or the error's code."""
        return self.ending.reason if self.ending else self.error.code if self.error else ""


@asynccontextmanager
async def opened(server: ByteServer, transport: str, **settings: Any) -> AsyncGenerator[OpenAIUpstream]:
    """An upstream of this server, that does not wait for long."""
    defaults: dict[str, Any] = {"model": "tiny", "stall_timeout": 5.0, "backoff": 0.001, "usage_timeout": 0.5}
    defaults |= {"base_url": server.url, "transport": transport}
    upstream = OpenAIUpstream(**(defaults | settings))
    await upstream.open()
    try:
        yield upstream
    finally:
        await upstream.close()


async def ask(upstream: Upstream, *messages: Message, **options: Any) -> Outcome:
    """Ask, and keep what comes."""
    outcome = Outcome()
    prompt = Prompt.of(messages or [Message("user", "Well?")], Options(**options))
    try:
        outcome.ending = await upstream.stream(prompt, outcome.pieces.append)
    except UpstreamError as error:
        outcome.error = error
    return outcome


@asynccontextmanager
async def served(
    transport: str, *scripts: Script | Callable[[Request], Script], **settings: Any
) -> AsyncGenerator[tuple[ByteServer, OpenAIUpstream]]:
    """A server with these scripts, and an upstream of it."""
    async with ByteServer(*scripts) as server, opened(server, transport, **settings) as upstream:
        yield server, upstream
