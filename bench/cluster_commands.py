"""Commands that arrive where the session's owner is not: what the way to it adds, and how long a dead one delays them.

A question is acknowledged by its `question` frame: the time is from the question to that, at the one who asked.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from .client import WebSocketClient
from .load import APART

LONG = "tokens=100000 rate=1"  # an answer that runs as long as it is wanted
REPLY_SECONDS = 60.0  # after which a command has failed
RETRY_SECONDS = 0.5  # where an error does not say when to try again
Acknowledged = dict[str, str]  # the frame that answers a command


class Commander(WebSocketClient):
    """A connection that waits for what answers its commands."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._waiting: dict[tuple[str, str], asyncio.Future[Acknowledged]] = {}
        self.named: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done once it has its session

    async def ask_for(self, text: str) -> Acknowledged:
        """Ask; returns its `question` frame, or the `error` that refused it."""
        id = secrets.token_hex(8)
        return await self._answered({"type": "ask", "id": id, "text": text}, ("question", id), ("error", id))

    async def cancel(self, turn: str) -> Acknowledged:
        """Cancel a turn; returns its `done` frame."""
        return await self._answered({"type": "cancel", "turn": turn}, ("done", turn))

    async def _answered(self, frame: dict[str, object], *keys: tuple[str, str]) -> Acknowledged:
        waiter: asyncio.Future[Acknowledged] = asyncio.get_running_loop().create_future()
        self._waiting |= dict.fromkeys(keys, waiter)
        self.send(frame)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                return await waiter
        finally:
            for key in keys:
                self._waiting.pop(key, None)

    def _frame(self, frame: dict[str, str], now: int) -> None:
        super()._frame(frame, now)
        kind = frame["type"]
        if kind == "ready" and not self.named.done():
            self.named.set_result(None)
        waiter = self._waiting.get((kind, frame.get("turn" if kind == "done" else "id") or ""))
        if waiter is not None and not waiter.done():
            waiter.set_result(frame)


async def connected(url: str, *, session: str = "") -> Commander:
    """Return a connection that has had `ready`."""
    host, _, rest = url.removeprefix("ws://").partition(":")
    port, _, path = rest.partition("/")
    query = f"?session={session}" if session else ""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Commander(f"/{path}{query}"), host, int(port))
    await client.ready
    await client.named
    return client


@dataclass(slots=True)
class Times:
    """Milliseconds from a question to its acknowledgement, where the owner is, and on another node."""

    local: list[float] = field(default_factory=list[float])
    forwarded: list[float] = field(default_factory=list[float])


async def forwarded(owner_url: str, other_url: str, *, commands: int) -> Times:
    """Ask in turns on both nodes, while an answer runs that keeps the session with its owner."""
    there = await connected(owner_url)
    await there.ask_for(LONG)
    elsewhere = await connected(other_url, session=there.session)
    times = Times()
    for number in range(commands):
        for client, kept in ((there, times.local), (elsewhere, times.forwarded)):
            begun = time.monotonic()
            asked = await client.ask_for(f"tokens=1 rate=0 from={number * APART}")
            kept.append(1e3 * (time.monotonic() - begun))
            if asked["type"] != "question":
                raise RuntimeError(f"a question was refused: {asked['code']}: {asked['message']}")
            await client.cancel(asked["turn"])
    for client in (elsewhere, there):
        client.transport.abort()
    return times


@dataclass(slots=True)
class Takeover:
    """Seconds after the owner was killed, of each session."""

    replied: list[float] = field(default_factory=list[float])  # the longest that one command waited for its answer
    accepted: list[float] = field(default_factory=list[float])  # until a question was taken
    refused: dict[str, int] = field(default_factory=dict[str, int])  # how often it was not, by code


async def dead_owner(owner_url: str, other_url: str, owner: int, *, sessions: int) -> Takeover:
    """Kill the process that owns sessions with running answers, and ask in them on another node until it works."""
    owners = await asyncio.gather(*(connected(owner_url) for _ in range(sessions)))
    for client in owners:
        await client.ask_for(LONG)
    others = await asyncio.gather(*(connected(other_url, session=client.session) for client in owners))
    os.kill(owner, signal.SIGKILL)
    takeover = Takeover()
    await asyncio.gather(*(_until_accepted(client, takeover) for client in others))
    for client in others:
        client.transport.abort()
    return takeover


async def _until_accepted(client: Commander, takeover: Takeover) -> None:
    killed = time.monotonic()
    longest = 0.0
    while True:
        asked_at = time.monotonic()
        frame = await client.ask_for("tokens=1 rate=0")
        longest = max(longest, time.monotonic() - asked_at)
        if frame["type"] == "question":
            break
        code = frame["code"]
        takeover.refused[code] = takeover.refused.get(code, 0) + 1
        if not frame["retryable"] or time.monotonic() - killed > REPLY_SECONDS:
            raise RuntimeError(f"a question was refused for good: {code}")
        await asyncio.sleep(float(frame.get("retry_after") or RETRY_SECONDS))
    takeover.replied.append(longest)
    takeover.accepted.append(time.monotonic() - killed)


def middle(values: Sequence[float], share: float = 0.5) -> float:
    """Return the value below which this share of them is."""
    return sorted(values)[int(share * (len(values) - 1))]
