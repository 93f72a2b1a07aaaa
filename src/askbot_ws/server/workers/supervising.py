"""Supervising: `askbot serve` with several workers: the supervisor in a process of its own, and its signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from ...config import Settings
from ...errors import ConfigError
from ...store.redis import require_redis
from ...store.url import is_shared
from ...upstream.choose import choose_upstream
from ..address import Address
from ..allowance_settings import allowances_of
from ..banner import print_banner
from ..listening import UnixSocket, adopt, bind
from ..process import raise_file_limit
from ..running import policy_of
from ..systemd import notify_ready, notify_reloading, notify_stopping, take_sockets
from ..tls import TlsFiles
from .supervisor import Plan, StartError, Supervisor
from .worker_process import COMMAND

log = structlog.get_logger(__name__)


def run_workers(
    settings: Settings,
    flags: Mapping[str, object],
    read_settings: Callable[[], Settings],
    *,
    count: int,
    command: Sequence[str] = COMMAND,
) -> int:
    """Serve by worker processes until SIGTERM or SIGINT; returns the process's exit code.

    SIGHUP has all workers read their settings again, if `read_settings` finds nothing wrong; SIGUSR2 replaces them one
    after the other.

    Args:
        settings: All settings.
        flags: Those of the command line, which each worker reads together with the other sources.
        read_settings: Returns the settings as they are now; it may raise `ConfigError`.
        count: How many workers.
        command: What starts a worker, before its number and those of its descriptors.

    Raises:
        ConfigError: Settings are wrong, or the address can't be listened on. What only a worker finds is printed.
    """
    _check(settings)
    raise_file_limit()
    adopted = take_sockets()
    settings = adopt(adopted, settings)
    sockets = adopted or [bind(settings)]
    plan = Plan(count, sockets, flags, settings.drain, adopted=bool(adopted), command=command)
    try:
        return asyncio.run(_Supervising(settings, plan, lambda: adopt(adopted, read_settings())).run())
    finally:
        _stop_listening(sockets)


def _check(settings: Settings) -> None:
    """Find what is wrong before a process is started. Raises `ConfigError`."""
    policy_of(settings, choose_upstream(settings))
    allowances_of(settings)
    if is_shared(settings.store):
        require_redis()
    if settings.certfile and settings.keyfile:
        TlsFiles(settings.certfile, settings.keyfile)


def _stop_listening(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        if isinstance(each, UnixSocket):
            each.unlink()
        each.close()


class _Supervising:
    def __init__(self, settings: Settings, plan: Plan, read_settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._plan = plan
        self._read_settings = read_settings
        self._ends: asyncio.Queue[int] = asyncio.Queue()
        self._hangup = asyncio.Event()
        self._replace = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ends.put_nowait, number)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        loop.add_signal_handler(signal.SIGUSR2, self._replace.set)
        supervisor = Supervisor(self._plan)
        try:
            return await self._supervise(supervisor)
        except (StartError, ConfigError) as error:
            _tell(str(error))
            return 1
        finally:
            await supervisor.close()

    async def _supervise(self, supervisor: Supervisor) -> int:
        end = asyncio.create_task(self._ends.get())
        start = asyncio.create_task(supervisor.start())
        await asyncio.wait((start, end), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
        else:
            await start
            self._announce(supervisor)
            helpers = [
                asyncio.create_task(self._reload_at_hangup(supervisor)),
                asyncio.create_task(self._replace_when_asked(supervisor)),
            ]
            await asyncio.wait((end, supervisor.gave_up), return_when=asyncio.FIRST_COMPLETED)
            for helper in helpers:
                helper.cancel()
        notify_stopping()
        supervisor.stop_spawning()
        _stop_listening(self._plan.sockets)
        if supervisor.gave_up.done():
            _tell(supervisor.gave_up.result())
            return 1
        drain, again = asyncio.create_task(supervisor.drain()), asyncio.create_task(self._ends.get())
        await asyncio.wait((drain, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if drain.done():
            return 0 if drain.result() else 1
        drain.cancel()
        await supervisor.stop()
        return 1

    def _announce(self, supervisor: Supervisor) -> None:
        settings, worker = self._settings, supervisor.workers[0]
        has_tls = settings.certfile is not None
        address = Address(self._plan.sockets, settings.host, has_tls=has_tls)
        print_banner(
            address, model=worker.model, store=settings.store, workers=self._plan.count, note=worker.note or None
        )
        log.info(
            "server_started",
            host=address.host,
            port=address.port,
            unix=address.unix,
            tls=has_tls,
            model=worker.model,
            workers=self._plan.count,
        )
        notify_ready()

    async def _reload_at_hangup(self, supervisor: Supervisor) -> None:
        """Have the workers read their settings again at each SIGHUP, until cancelled; not where these are wrong."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            notify_reloading()
            try:
                self._read_settings()
            except ConfigError as error:
                faults = [line.strip() for line in str(error).splitlines()]
                log.error("reload_failed", faults=faults[1:] or faults)  # noqa: TRY400 - the faults say all
            else:
                await supervisor.reload()
            notify_ready()

    async def _replace_when_asked(self, supervisor: Supervisor) -> None:
        """Replace the workers at each SIGUSR2, until cancelled."""
        while True:
            await self._replace.wait()
            self._replace.clear()
            await supervisor.replace_all()


def _tell(message: str) -> None:
    with suppress(OSError):
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
