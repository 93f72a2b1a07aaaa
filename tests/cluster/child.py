"""A process of a cluster, and what it says."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

MAX_LINE_BYTES = 1 << 20  # of a log


class ClusterError(Exception):
    """The cluster can't serve; the message says why."""


class Child:
    """A process of the cluster, in a session of its own: Ctrl-C in the terminal does not reach it.

    What it writes to its standard error is written to ours, each line after its name.

    Attributes:
        name: What it is called.
        pid: Its process id.
        banner: What a node prints when it listens, by the first word of a line; ClusterError where it ends before.
        ended: Done with the exit code when it has ended and all that it wrote is written.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.pid = process.pid
        self.banner: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.banner.add_done_callback(lambda banner: banner.cancelled() or banner.exception())  # it may not be asked
        self.ended = asyncio.create_task(self._run(process))

    @classmethod
    async def start(cls, name: str, *command: str, environ: dict[str, str] | None = None) -> Child:
        """Start a command."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environ, start_new_session=True, limit=MAX_LINE_BYTES
        )
        return cls(name, process)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.ended.done()

    async def _run(self, process: Process) -> int:
        assert process.stdout
        assert process.stderr
        await asyncio.gather(self._read_banner(process.stdout), self._copy(process.stderr), process.wait())
        return process.returncode or 0

    async def _read_banner(self, stream: asyncio.StreamReader) -> None:
        banner = dict[str, str]()
        while line := await read_line(stream):
            word, _, value = line.decode(errors="replace").strip().partition(" ")
            banner[word] = value.strip()
            if word == "store" and not self.banner.done():
                self.banner.set_result(banner)
        if not self.banner.done():
            self.banner.set_exception(ClusterError(f"{self.name} has not started."))

    async def _copy(self, stream: asyncio.StreamReader) -> None:
        while line := await read_line(stream):
            say(f"{self.name} | {line.decode(errors='replace').rstrip()}")

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it has started."""
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


async def read_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line, of a longer one than `MAX_LINE_BYTES` the last part; nothing at the end."""
    while True:
        with suppress(ValueError):
            return await stream.readline()


def say(line: str) -> None:
    """Write a line to standard error, where the logs are, as long as somebody reads it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
