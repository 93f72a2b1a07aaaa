"""What a token may cost, in a unit that no other work on the machine can change: calls.

Times are for `make bench`. Here the way of a token is walked with a profiler that counts, from the provider's bytes
to the frame at a reader, with the real store; a step that is added to it shows at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from askbot_ws.core.commands import Ask
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import AskbotError
from askbot_ws.events import Event
from askbot_ws.hub import Hub, Policy
from askbot_ws.store.sqlite.store import SQLiteStore
from askbot_ws.upstream import Ending
from askbot_ws.upstream.completion_attempt import CompletionAttempt
from askbot_ws.upstream.http_exchange import HttpExchange

STREAMS = 20
TOKENS = 50  # of each stream
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class Reader:
    """Counts what it gets."""

    def __init__(self) -> None:
        self.frames = 0

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        assert len(events) == len(frames)
        self.frames += len(frames)

    def on_closed(self, error: AskbotError) -> None:
        raise error


class Provider:
    """An upstream whose sockets' reads are made by hand."""

    model = "m"

    def __init__(self) -> None:
        self.reads: list[Callable[[bytes], float | None]] = []
        self.asked = asyncio.Event()  # all streams
        self.enough = asyncio.Event()

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def ping(self) -> None:
        """Always there."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        exchange = HttpExchange(CompletionAttempt(on_text, usage_timeout=1.0).feed)
        exchange.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.reads.append(exchange.feed)
        if len(self.reads) == STREAMS:
            self.asked.set()
        await self.enough.wait()
        return Ending("stop")


class Calls:
    """Counts the calls of functions, ours and C's, while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        sys.setprofile(self._see)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1


async def test_a_token_costs_no_more_calls_than_it_did(tmp_path: Path) -> None:
    """From a read of the provider's socket to the reader: 51 were counted on Python 3.11."""
    provider, reader, calls = Provider(), Reader(), Calls()
    async with Hub(SQLiteStore(tmp_path / "a.db"), provider, Policy()) as hub:
        for _ in range(STREAMS):
            live = hub.create(ANONYMOUS)
            hub.attach(live, reader)
            await hub.command(ANONYMOUS, live.session, Ask(text="Well?"))
        await provider.asked.wait()
        before = reader.frames
        for _ in range(TOKENS):
            with calls:
                for read in provider.reads:
                    read(CHUNK)
                await asyncio.sleep(0)  # the tick ends, and all of it is committed
        assert reader.frames - before == STREAMS * TOKENS
        provider.enough.set()

    assert calls.count / (STREAMS * TOKENS) < 52
