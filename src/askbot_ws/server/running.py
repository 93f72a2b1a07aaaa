"""Running: from settings to a server: what it consists of is opened, put together, and closed again."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ..auth import make_authenticator
from ..config import Settings
from ..errors import ConfigError
from ..hub import Hub, Policy
from ..hub.group_commit import Throttle
from ..nodes import key_revocations_of, limits_of, placement_of
from ..store.url import make_store
from ..upstream import clean_model_name
from ..upstream.choose import UpstreamChoice, choose_upstream, guard_upstream
from .allowance_settings import allowances_of
from .app import Server
from .listening import bind
from .tls import TlsFiles
from .workers.group import ServerGroup

if TYPE_CHECKING:
    from ..telemetry import TurnTelemetry

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(
    settings: Settings,
    chosen: UpstreamChoice | None = None,
    *,
    throttle: Throttle | None = None,
    sockets: Sequence[socket.socket] = (),
    group: ServerGroup | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncGenerator[Server]:
    """Run a server in the block; `chosen` overrides the upstream that the settings name. Raises `ConfigError`.

    `throttle` may block the event loop for some milliseconds, where that runs nothing else. `sockets` are those that
    another process has opened to listen on; without any, the server opens the one that the settings say. `group` has
    the processes of which this one serves on the same sockets. `now` is the time in seconds since 1970, by which
    credentials expire.
    """
    tls = TlsFiles(settings.certfile, settings.keyfile) if settings.certfile and settings.keyfile else None
    chosen = guard_upstream(chosen or choose_upstream(settings), settings)
    store = make_store(settings.store, fsync=settings.fsync, replicas=settings.redis_wait)
    authenticator = make_authenticator(settings, store, now=now)
    listening = [*sockets] or [bind(settings)]
    telemetry: TurnTelemetry | None = None
    started_at: float | None = None
    try:
        telemetry = _open_telemetry(settings) if settings.otel else None
        allowances, policy = allowances_of(settings), policy_of(settings, chosen)
        hub = Hub(
            store,
            chosen.upstream,
            policy,
            throttle=throttle,
            observer=telemetry,
            allowances=allowances,
            placement=placement_of(store),
            limits=limits_of(store),
        )
        async with authenticator, hub, key_revocations_of(store, authenticator):
            await chosen.upstream.open()
            make_policy = partial(policy_of, chosen=chosen)
            server = Server(settings, hub, authenticator, tls=tls, make_policy=make_policy, group=group, now=now)
            for each in listening:
                await server.listen(each)
            server.loop_lag.start()
            started_at = time.monotonic()
            heartbeats = asyncio.create_task(server.keepalive.run())
            try:
                yield server
            finally:
                heartbeats.cancel()
                await hub.stop()
                await server.close()
    finally:
        for each in listening:
            each.close()
        await chosen.upstream.close()
        if telemetry is not None:
            await telemetry.close()
        if started_at is not None:
            log.info("server_stopped", uptime_s=round(time.monotonic() - started_at, 3))


def _open_telemetry(settings: Settings) -> TurnTelemetry:
    """Raises `ConfigError` where OpenTelemetry is not installed."""
    try:
        from ..telemetry import open_telemetry  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "ASKBOT_OTEL: OpenTelemetry is not installed. Install the extra: pip install 'askbot-ws[otel]'; "
            "or set ASKBOT_OTEL=off."
        ) from error
    return open_telemetry(settings)


def policy_of(settings: Settings, chosen: UpstreamChoice) -> Policy:
    """Raises `ConfigError` where a model has a name that no frame can have."""
    for name in settings.models:
        if clean_model_name(name) != name:
            raise ConfigError(f"ASKBOT_MODELS: {name!r}: a model's name is UTF-8 of at most 200 code points.")
    return Policy(
        persona=chosen.persona if settings.persona is None else settings.persona,
        models=settings.models,
        thinking=settings.thinking,
        titles=settings.titles,
        max_tokens=settings.max_tokens,
        context_tokens=settings.context_tokens or chosen.context_tokens,
        max_question=settings.max_question,
        max_waiting=settings.max_waiting,
        memory=settings.memory,
        session_ttl=settings.session_ttl,
        abandon_after=settings.abandon_after,
        log_content=settings.log_content,
        orphans=settings.orphans,
        waiting_ttl=settings.waiting_ttl,
    )
