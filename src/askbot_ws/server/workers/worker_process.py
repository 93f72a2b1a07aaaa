"""Worker process: one worker, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from subprocess import DEVNULL
from typing import Self, cast

from ...errors import ConfigError
from ..systemd import NOTIFY_SOCKET
from .channel import Channel, ChannelClosed, Facts
from .totals import Snapshot, lasting

COMMAND = (sys.executable, "-P", "-m", "askbot_ws.server.workers.worker")  # a fresh interpreter


class WorkerDied(Exception):
    """A worker has ended before it served."""


class WorkerProcess:
    """A worker from its start to its end.

    Attributes:
        number: Its place among the workers, from 1 on; the one that takes its place has the same.
        model: Name of the model that answers, once it serves.
        note: A line about what answers, for people, once it serves.
        end_seconds: For how long it may take to end, as it says once it serves; None: it has not said.
        draining: Whether it was told to end.
        exited: Done once its process has ended; the exit code, negative for a signal.
    """

    def __init__(self, number: int, process: Process) -> None:
        self.number = number
        self.model, self.note = "", ""
        self.end_seconds: float | None = None
        self.draining = False
        self.started_at = asyncio.get_running_loop().time()
        self._process = process
        self._served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._served.add_done_callback(lambda served: served.exception())  # nobody may be waiting
        self._channel: Channel | None = None
        self._metrics: Snapshot = []
        self.exited = asyncio.create_task(self._wait())

    @classmethod
    async def start(
        cls,
        number: int,
        sockets: Sequence[socket.socket],
        facts: Facts,
        *,
        on_asked: Callable[[str, Facts], Awaitable[object]],
        command: Sequence[str] = COMMAND,
    ) -> Self:
        """Start a worker on listening sockets, and tell it these facts; `serving` waits until it serves.

        It is in a session of its own, so that what a terminal sends the supervisor is not sent to it as well.
        """
        ours, theirs = socket.socketpair()
        descriptors = [each.fileno() for each in (theirs, *sockets)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                *map(str, (number, *descriptors)),
                pass_fds=descriptors,
                stdin=DEVNULL,
                env={name: value for name, value in os.environ.items() if name != NOTIFY_SOCKET},
                start_new_session=True,
            )
        except BaseException:  # there is no process, or the start was cancelled, which kills it
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        worker = cls(number, process)
        try:
            worker._channel = await Channel.open(ours, on_told=worker._on_told, on_asked=on_asked)
        except BaseException:  # nobody would know of it
            worker.kill()
            await asyncio.wait((worker.exited,))
            raise
        worker._channel.tell("start", **facts)
        return worker

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def is_serving(self) -> bool:
        """Whether it has begun to serve and has not ended; it may drain."""
        served = self._served.done() and self._served.exception() is None
        return served and not self.exited.done()

    @property
    def lived(self) -> float:
        """For how many seconds it has run."""
        return asyncio.get_running_loop().time() - self.started_at

    async def serving(self) -> None:
        """Wait until it serves. Raises `ConfigError` where its settings are wrong, `WorkerDied` where it ends."""
        await asyncio.shield(self._served)

    async def ask(self, word: str, *, max_seconds: float, **facts: object) -> object:
        """Return its answer. Raises `TimeoutError` and `ChannelClosed`."""
        if self._channel is None or not self.is_serving:
            raise ChannelClosed(word)
        return await self._channel.ask(word, max_seconds=max_seconds, **facts)

    async def fetch_metrics(self, *, max_seconds: float) -> None:
        """Read its metrics, which `last_metrics` returns from then on. Raises like `ask`."""
        try:
            self._metrics = cast(Snapshot, await self.ask("metrics", max_seconds=max_seconds))
        except (TimeoutError, ChannelClosed):
            self._metrics = lasting(self._metrics)  # its gauges are not known any more
            raise

    @property
    def last_metrics(self) -> Snapshot:
        """What it has said last of its metrics; without its gauges, where it does not answer now."""
        return self._metrics

    # --- its end -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Tell it to drain and end; where it does not serve yet, to end."""
        self.draining = True
        if self._channel is not None:
            self._channel.tell("drain")
        if not self.is_serving:
            self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Tell it to end at once, with all connections closed."""
        self.draining = True
        if self._channel is not None:
            self._channel.tell("stop")

    def kill(self) -> None:
        """End its process."""
        self._signal(signal.SIGKILL)

    async def wait_or_kill(self, *, max_seconds: float) -> bool:
        """Wait until its process has ended, and kill it after `max_seconds`. Returns whether it ended by itself."""
        await asyncio.wait((self.exited,), timeout=max_seconds)
        in_time = self.exited.done()
        if not in_time:
            self.kill()
            await asyncio.wait((self.exited,))
        return in_time

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal; not by asyncio's methods, which may take the exit code from those who wait for it."""
        if not self.exited.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _wait(self) -> int:
        code = await self._process.wait()
        if self._channel is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._channel.closed.wait()  # what it has told last is read
            await self._channel.close()
        if not self._served.done():
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._served.set_exception(WorkerDied(f"it ended with {how} before it served"))
        return code

    def _on_told(self, word: str, facts: Facts) -> None:
        match word:
            case "serving" if not self._served.done():
                self.model, self.note = str(facts["model"]), str(facts["note"])
                self.end_seconds = facts.get("end_seconds")
                self._served.set_result(None)
            case "settings are wrong" if not self._served.done():
                self._served.set_exception(ConfigError(str(facts["message"])))
            case "can not serve" if not self._served.done():
                self._served.set_exception(WorkerDied(str(facts["message"])))
            case "ended":
                self._metrics = facts["metrics"]
            case _:
                pass
