"""Other origin: another web server on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

TYPES = {"css": "text/css", "js": "text/javascript", "html": "text/html"}


class OtherOrigin:
    """Serves its pages by their paths; any other path is an empty page."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, str] = {}

    @property
    def origin(self) -> str:
        """As browsers send it."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        request = await reader.read(65536)
        if request:
            path = request.split()[1].decode()
            body = self.pages.get(path, "").encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPES.get(path.rpartition('.')[2], 'text/html')}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def other_origin() -> AsyncGenerator[OtherOrigin]:
    """Until the block ends."""
    place = OtherOrigin(0)
    async with await asyncio.start_server(place.answer, "127.0.0.1", 0) as server:
        place.port = int(server.sockets[0].getsockname()[1])
        yield place
