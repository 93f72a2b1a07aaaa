"""Single Redis: one server with an append-only file, and what goes wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...redis_server import RedisServer

Happens = Callable[[float, str | None], Awaitable[bool]]
"""A fault that lasts for so many seconds, best where a session is; returns whether it took effect."""


@dataclass
class SingleRedis:
    """One server with an append-only file. `loses_a_second`: each time it is killed the newest second is gone."""

    server: RedisServer
    loses_a_second: bool = False
    wait: int = 0

    @property
    def name(self) -> str:
        """For the table."""
        return "one server, a second is lost at each kill" if self.loses_a_second else "one server, appendfsync always"

    @property
    def may_lose(self) -> bool:
        """What it acknowledged."""
        return self.loses_a_second

    @property
    def port(self) -> int:
        """Its port."""
        return self.server.port

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return self.server.url

    @property
    def faults(self) -> Mapping[str, tuple[int, Happens]]:
        """What may happen."""
        killed = "Redis killed, and its newest second lost" if self.loses_a_second else "Redis killed"
        return {killed: (12, self._kill), "Redis stopped for a while": (8, self._stop)}

    def server_of(self, key: str) -> RedisServer:
        """The server."""
        del key
        return self.server

    async def _kill(self, seconds: float, session: str | None) -> bool:
        del session
        sizes = self._files()
        if self.loses_a_second:
            await asyncio.sleep(min(seconds, 1.0))
        self.server.kill()
        if self.loses_a_second:
            for file, size in sizes.items():
                with file.open("ab") as opened:
                    opened.truncate(size)
        await asyncio.sleep(seconds / 4)
        await asyncio.to_thread(self.server.start)
        return True

    def _files(self) -> dict[Path, int]:
        """The append-only files that grow, and their sizes."""
        folder = self.server.folder / "appendonlydir"
        return {file: file.stat().st_size for file in folder.glob("*.incr.aof")}

    async def _stop(self, seconds: float, session: str | None) -> bool:
        del session
        self.server.pause()
        await asyncio.sleep(seconds)
        self.server.resume()
        return True
