"""Breakable proxy: a TCP proxy between browser and server, whose connections a test can cut or refuse."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress


class BreakableProxy:
    """Passes bytes to a server, from a port of its own."""

    def __init__(self, to: int) -> None:
        self.is_down = False  # nothing gets through
        self.cuts = 0  # sockets that were cut by their length
        self._to = to
        self._lengths: list[int] = []
        self._changed = asyncio.Condition()
        self._sockets: set[tuple[StreamWriter, StreamWriter]] = set()  # WebSockets
        self._connections: set[asyncio.Task[None]] = set()  # all, those too that a browser opens in advance
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where the browser connects."""
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Lose every WebSocket."""
        for ends in tuple(self._sockets):
            for end in ends:
                end.transport.abort()

    def cut_after(self, lengths: Iterable[int]) -> None:
        """Of the WebSockets to come, lose each after so many bytes from the server: in the middle of a frame too."""
        self._lengths = list(lengths)

    async def was_cut(self, times: int) -> None:
        """Wait until so many sockets were cut by their length."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.cuts >= times)

    def _accept(self, near: StreamReader, back: StreamWriter) -> None:
        if self.is_down or not self._server.is_serving():  # accepted while it was being stopped
            back.transport.abort()
            return
        task = asyncio.create_task(self._connect(near, back))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(
            lambda _: back.transport.abort()
        )  # not in the task: one that has not begun may be cancelled

    async def _connect(self, near: StreamReader, back: StreamWriter) -> None:
        far, onward = await asyncio.open_connection("127.0.0.1", self._to)
        ends = (back, onward)
        try:
            first = await near.read(65536)
            length = None
            if first.startswith(b"GET /v1/chat"):
                self._sockets.add(ends)
                length = self._lengths.pop(0) if self._lengths else None
            onward.write(first)
            await asyncio.gather(self._pump(near, onward, None), self._pump(far, back, length))
        except ConnectionError:
            pass
        finally:
            self._sockets.discard(ends)
            onward.transport.abort()

    async def _pump(self, reader: StreamReader, writer: StreamWriter, length: int | None) -> None:
        while data := await reader.read(65536):
            if length is not None:
                data, length = data[:length], length - len(data)
            writer.write(data)
            await writer.drain()
            if length is not None and length <= 0:
                async with self._changed:
                    self.cuts += 1
                    self._changed.notify_all()
                raise ConnectionResetError
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    @classmethod
    @asynccontextmanager
    async def start(cls, to: int) -> AsyncGenerator[BreakableProxy]:
        """Run a proxy until the block ends."""
        proxy = cls(to)
        proxy._server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        try:
            yield proxy
        finally:
            proxy._server.close()
            await proxy._server.wait_closed()
            for task in tuple(proxy._connections):
                task.cancel()
            await asyncio.gather(*proxy._connections, return_exceptions=True)
