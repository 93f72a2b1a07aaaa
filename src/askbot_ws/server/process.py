"""Process: `askbot serve` in a process of its own: its signals, its limits and what it prints at its start."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog

from ..config import Settings
from ..errors import ConfigError
from ..upstream.choose import choose_upstream
from .app import Server
from .banner import print_banner
from .listening import adopt
from .running import running
from .systemd import notify_ready, notify_reloading, notify_stopping, take_sockets
from .throttle import LoopThrottle, usable_cpus

log = structlog.get_logger(__name__)


def run(settings: Settings, read_settings: Callable[[], Settings] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit code. Raises `ConfigError`.

    At SIGHUP the settings are read again by `read_settings`, which may raise `ConfigError`, and applied.
    """
    if sys.platform == "win32":
        return asyncio.run(_main(settings, None))
    raise_file_limit()
    import uvloop  # noqa: PLC0415 - not there on Windows

    return uvloop.run(_main(settings, read_settings))


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: the usual 1,024 allow a thousand connections."""
    import resource  # noqa: PLC0415 - not there on Windows

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _main(settings: Settings, read_settings: Callable[[], Settings] | None) -> int:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    hangup = asyncio.Event()
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGHUP, hangup.set)  # also one that comes before the server listens
    chosen = choose_upstream(settings)
    throttle = LoopThrottle(cpus=usable_cpus()) if settings.pause else None
    sockets = take_sockets()
    settings = adopt(sockets, settings)
    async with running(settings, chosen, throttle=throttle, sockets=sockets) as server:
        freeze_gc()
        print_banner(server.listen_address, model=chosen.upstream.model, store=settings.store, note=chosen.banner)
        log.info(
            "server_started",
            host=server.host,
            port=server.port,
            unix=server.unix,
            tls=server.has_tls,
            model=chosen.upstream.model,
        )
        notify_ready()
        read = read_settings or (lambda: settings)
        reloading = asyncio.create_task(_reload_at_hangup(server, hangup, lambda: adopt(sockets, read())))
        await signals.get()
        reloading.cancel()
        notify_stopping()
        draining = asyncio.create_task(server.drain())
        again = asyncio.create_task(signals.get())
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if draining.done():
            await draining
            return 0
        draining.cancel()
        return 1


async def _reload_at_hangup(server: Server, hangup: asyncio.Event, read_settings: Callable[[], Settings]) -> None:
    """Apply new settings and certificates at each SIGHUP, until cancelled; where they are wrong, the old ones stay."""
    while True:
        await hangup.wait()
        hangup.clear()
        notify_reloading()
        await reload(server, read_settings)
        notify_ready()


async def reload(server: Server, read_settings: Callable[[], Settings]) -> None:
    """Apply new settings and the certificate; where they are wrong, that is logged, and the old ones stay."""
    server.reload_certificate()
    try:
        await server.reload(read_settings())
    except ConfigError as error:
        faults = [line.strip() for line in str(error).splitlines()]
        log.error("reload_failed", faults=faults[1:] or faults)  # noqa: TRY400 - the faults say all
    except Exception:  # a server goes on with the settings that it has
        log.exception("reload_failed")


def freeze_gc() -> None:
    """Exempt present objects from garbage collection, and keep its pauses short.

    Sessions and turns stay for long, so most of what is new when a collection begins is still there at its end: the
    loop stands still for 2 µs for each such object. Tokens make hardly any. No garbage is looked for before: there is
    so little that it takes no memory, and to look takes 30 ms.
    """
    gc.freeze()
    gc.set_threshold(2_000, 2, 1_000)
