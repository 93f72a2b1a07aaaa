"""Stdin reader: what stdin gives, as text, without blocking the event loop and without a thread that outlives it."""

from __future__ import annotations

import asyncio
import codecs
import os
import select
import stat

READ_BYTES = 64 * 1024


class StdinReader:
    """Reads from a file descriptor whose other end may stay open, and be silent, for ever.

    Bytes that are no text become lone surrogates, as in the arguments of a command.
    """

    def __init__(self, descriptor: int, encoding: str, *, size: int = READ_BYTES) -> None:
        """`size` is how many bytes are read at once, at most."""
        self._descriptor = descriptor
        self._size = size
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")

    async def read(self) -> str:
        """Wait for more and return it; empty at the end of the input. Being cancelled loses nothing."""
        while True:
            await self._wait()
            try:
                data = os.read(self._descriptor, self._size)
            except BlockingIOError:
                continue  # another process that has it was faster
            except OSError:  # a terminal that has hung up
                data = b""
            if (text := self._decoder.decode(data, final=not data)) or not data:
                return text

    def read_ready(self) -> str:
        """Return what can be read at once, except from a file."""
        try:
            if stat.S_ISREG(os.fstat(self._descriptor).st_mode) or not self._ready():
                return ""
            return self._decoder.decode(os.read(self._descriptor, self._size))
        except OSError:
            return ""

    def _ready(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0)[0])

    async def _wait(self) -> None:
        """Wait until there is something to read, or the end."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except OSError:  # a file, or /dev/null: always ready
            await asyncio.sleep(0)
            return
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
