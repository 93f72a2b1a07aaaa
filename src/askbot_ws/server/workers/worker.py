"""Worker: a process that serves on sockets which the supervisor has opened, until that tells it to end, or is gone.

Started as `python -m askbot_ws.server.workers.worker NUMBER CHANNEL SOCKET…`: its number, and those of descriptors
that it inherits.
"""

from __future__ import annotations

from ... import early

if __name__ == "__main__":  # first, as imports take long: these are for the supervisor alone
    early.ignore_reload_signals()

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence

import structlog
from pydantic import SecretStr

from ...config import Settings, load
from ...errors import ConfigError, StoreUnavailable
from ...logs import configure
from ...upstream.choose import choose_upstream
from ..app import Server
from ..listening import adopt
from ..process import freeze_gc, raise_file_limit, reload
from ..running import running
from ..throttle import LoopThrottle, usable_cpus
from ..web_socket_connections import MIN_CLOSES_PER_SECOND
from .channel import Channel, ChannelClosed, Facts
from .group import WorkerGroup

log = structlog.get_logger(__name__)


class Worker:
    """One worker: what it was told, and its server once that runs."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """`sockets` are those on which it listens."""
        self._sockets = sockets
        self._start: asyncio.Future[Facts] = asyncio.get_running_loop().create_future()
        self._drain = asyncio.Event()
        self._stop = asyncio.Event()
        self._server: Server | None = None
        self._channel: Channel | None = None

    async def run(self, end: socket.socket) -> int:
        """Serve until the channel over this socket, or its end, or a signal says to end; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._drain.set)
        channel = self._channel = await Channel.open(end, on_told=self._on_told, on_asked=self._on_asked)
        try:
            closed = asyncio.create_task(channel.closed.wait())
            await asyncio.wait((self._start, closed), return_when=asyncio.FIRST_COMPLETED)
            if not self._start.done():
                return 1
            return await self._serve(channel)
        except StoreUnavailable as error:
            channel.tell("can not serve", message=str(error))
            return 1
        except ConfigError as error:
            channel.tell("settings are wrong", message=str(error))
            return 2
        finally:
            await channel.close()

    def _read_settings(self) -> Settings:
        """Return the settings as they are now. Raises `ConfigError`."""
        facts = self._start.result()
        settings = load(facts["flags"])
        if settings.authentication and settings.ticket_secret is None and settings.keys is None:
            secret = SecretStr(facts["ticket_secret"])  # a ticket of one worker is for all
            settings = settings.model_copy(update={"ticket_secret": secret})
        return adopt(self._sockets, settings) if facts["adopted"] else settings

    async def _serve(self, channel: Channel) -> int:
        settings = self._read_settings()
        if settings.own_functions:
            early.allow_pydantic_plugins()
        configure(settings)
        chosen = choose_upstream(settings)
        throttle = LoopThrottle(cpus=usable_cpus() / settings.workers) if settings.pause else None
        group = WorkerGroup(channel)
        async with running(settings, chosen, throttle=throttle, sockets=self._sockets, group=group) as server:
            freeze_gc()
            self._server = server
            channel.tell(
                "serving", model=chosen.upstream.model, note=chosen.banner or "", end_seconds=_end_seconds(settings)
            )
            await self._wait_for_end(channel)
            ending = asyncio.create_task(self._end(server))
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait((ending, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not ending.done():
                ending.cancel()
                return 1
            await ending
            channel.tell("ended", metrics=server.metrics_page.snapshot())
        return 0

    async def _end(self, server: Server) -> None:
        await server.stop_accepting()
        await server.drain()

    async def _wait_for_end(self, channel: Channel) -> None:
        ends = [asyncio.create_task(event.wait()) for event in (self._drain, self._stop, channel.closed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if channel.closed.is_set():
            log.warning("supervisor_disconnected")

    def _on_told(self, word: str, facts: Facts) -> None:
        match word:
            case "start" if not self._start.done():
                self._start.set_result(facts)
            case "drain":
                self._drain.set()
            case "stop":
                self._stop.set()
            case _:
                pass

    async def _on_asked(self, word: str, facts: Facts) -> object:
        del facts
        if self._server is None:
            raise ChannelClosed(word)
        match word:
            case "metrics":
                return self._server.metrics_page.snapshot()
            case "faults":
                return {**await self._server.readiness.all_faults()}
            case "reload":
                await reload(self._server, self._read_settings)
                return "done"
            case _:
                raise ChannelClosed(word)


def _end_seconds(settings: Settings) -> float:
    """Return for how long a worker may take to drain and to close its connections."""
    return settings.drain + settings.max_connections / MIN_CLOSES_PER_SECOND


async def _main(number: int, descriptors: Sequence[int]) -> int:
    structlog.contextvars.bind_contextvars(worker=number)  # first, so that it is in the lines of all tasks
    end, *sockets = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    for each in (end, *sockets):
        each.set_inheritable(False)
        each.setblocking(False)  # noqa: FBT003 - as above
    return await Worker(sockets).run(end)


def main(arguments: Sequence[str]) -> int:
    """Run a worker with its own number and those of its descriptors; returns the exit code of the process."""
    import uvloop  # noqa: PLC0415 - not there on Windows, where there are no workers

    raise_file_limit()
    number, *descriptors = map(int, arguments)
    return uvloop.run(_main(number, descriptors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
