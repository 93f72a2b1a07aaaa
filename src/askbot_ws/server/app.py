"""Server: listens, serves connections and drains."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from typing import Any, cast

import structlog
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve

from .. import __version__
from ..auth import Authenticator, make_authenticator
from ..auth.choose import reload_authenticator
from ..config import RELOADABLE, Settings
from ..dialects.askbot.connection import AskbotConnection, AskbotLimits
from ..dialects.askbot.frames import Limits
from ..dialects.connection import Connection, RateLimits, ResumeLimit
from ..errors import ConfigError
from ..http.access import AccessPolicy
from ..http.application import cors_headers, make_application
from ..http.completion import Completions
from ..http.readiness import Readiness
from ..hub import Hub, Policy
from ..hub.group_commit import Throttle
from ..metrics import Metrics
from ..store.url import open_store
from ..upstream import clean_model_name
from ..upstream.choose import UpstreamChoice, choose_upstream, guard_upstream
from .acceptor import Acceptor, RequestLimits
from .connection_limits import ConnectionLimits
from .credential_monitor import CredentialMonitor
from .handshake import Handshake, process_response, select_subprotocol
from .keepalive import STALL_CHECKS_PER_TIMEOUT, KeepaliveMonitor
from .refusals import Refusals
from .throttle import LoopThrottle, usable_cpus
from .websocket import STALLED_CLOSE_SECONDS, WebSocket

SEND_BUFFER_BYTES = 64 * 1024  # in the kernel, of each connection: a stalled reader is noticed before 4 MB
LISTEN_BACKLOG = 1024  # connections that wait to be accepted: beyond it, each of a burst waits a second
CLOSE_BATCH_SIZE = 50  # connections closed at once in a drain, so that their clients do not return all at once
CLOSE_TIMEOUT_SECONDS = 2.0  # for the close handshake of a connection when the server ends
HAS_TCP_USER_TIMEOUT = hasattr(socket, "TCP_USER_TIMEOUT")  # the kernel ends dead connections; else pings find them
SERVER_HEADER = f"askbot-ws/{__version__}"

log = structlog.get_logger(__name__)


class Server:
    """A listening socket and all its connections. `askbot_ws.serve` yields one.

    Example:
        async with askbot_ws.serve(answer, port=0) as server:
            print(server.url)
            await server.serve_forever()
    """

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        authenticator: Authenticator,
        *,
        make_policy: Callable[[Settings], Policy] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make a server; `listen` starts it.

        Args:
            settings: All settings.
            hub: The sessions.
            authenticator: Makes the principals of clients.
            make_policy: Returns the policy of the hub for settings that have changed; None: it stays.
            now: The time in seconds since 1970, by which credentials expire.
        """
        self._settings = settings
        self._hub = hub
        self._authenticator = authenticator
        self._make_policy = make_policy
        self._now = now
        self.metrics = Metrics()
        self._refusals = Refusals(self.metrics)
        self._limits = _askbot_limits(settings)
        self.keepalive = KeepaliveMonitor(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        self._access = AccessPolicy(
            hosts=settings.hosts,
            origins=settings.origins,
            loopback=settings.loopback,
            now=time.monotonic,
            own_names=own_names(settings),
        )
        self._readiness = Readiness({"store": hub.store, "upstream": hub.upstream})
        self.acceptor = self._make_acceptor()
        self._connections: dict[Connection, WebSocket] = {}
        self.credentials = CredentialMonitor(authenticator, hub, self._connections, self._close_connection, now=now)
        self._listener: Listener
        self._closed = False

    def _make_acceptor(self) -> Acceptor:
        settings = self._settings
        app = make_application(
            Completions(self._hub),
            access=self._access,
            authenticator=self._authenticator,
            sign_in_url=settings.sign_in_url,
            sign_out_url=settings.sign_out_url,
            readiness=self._readiness,
            version=__version__,
            page_module=settings.page_module,
        )
        return Acceptor(
            app,
            server=SERVER_HEADER,
            cors_headers=partial(cors_headers, self._access),
            limits=RequestLimits(body_bytes=settings.max_frame, reader_timeout=settings.reader_timeout),
            connection_limits=ConnectionLimits(**_connection_limits(settings)),
            keepalive=self.keepalive,
        )

    @property
    def port(self) -> int:
        """The port on which it listens; with the setting `port=0`, the one that was chosen."""
        return int(next(iter(self._listener.sockets)).getsockname()[1])

    @property
    def address(self) -> str:
        """Host and port as in a URL that can be opened on this machine, for instance `127.0.0.1:8765`."""
        host = openable_host(next(iter(self._listener.sockets))) or self._settings.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return openable_host(next(iter(self._listener.sockets))) is not None

    @property
    def url(self) -> str:
        """The URL to which clients connect, for instance `ws://127.0.0.1:8765/v1/chat`."""
        return f"ws://{self.address}/v1/chat"

    @property
    def hub(self) -> Hub:
        """The hub with its sessions."""
        return self._hub

    @property
    def connection_count(self) -> int:
        """How many WebSocket connections are open."""
        return len(self._connections)

    async def listen(self, listening: socket.socket, *, tls: SSLContext | None = None) -> None:
        """Accept connections on a bound TCP or Unix socket, with TLS where a context is given."""
        handshake = Handshake(self._access, self._authenticator, self._refusals, draining=lambda: self._hub.draining)
        options: dict[str, Any] = {"unix": True} if listening.family == getattr(socket, "AF_UNIX", None) else {}
        create: object = partial(WebSocket, acceptor=self.acceptor)
        self._listener = await serve(
            self._serve,
            sock=listening,
            backlog=LISTEN_BACKLOG,  # asyncio calls listen() again, by default with 100
            process_request=handshake.process_request,
            process_response=process_response,
            select_subprotocol=select_subprotocol,
            create_connection=cast(type[ServerConnection], create),
            compression="deflate" if self._settings.compression else None,
            write_limit=1,  # a reader lags once the kernel's buffer is full; 0 would be always full with TLS
            ping_interval=None if HAS_TCP_USER_TIMEOUT else self._settings.heartbeat,
            max_size=self._settings.max_frame,
            server_header=SERVER_HEADER,
            ssl=tls,
            **options,
        )

    async def _serve(self, socket: ServerConnection) -> None:
        if not isinstance(socket, WebSocket):
            raise TypeError("connections are made as WebSocket, see `listen`")
        connection = AskbotConnection(socket, self._hub, socket.principal, self._limits)
        connection.renewer = self.credentials
        self._connections[connection] = socket
        self.credentials.expiry.watch(connection)
        self.keepalive.watch(socket)
        try:
            if socket.rejection is not None:
                await socket.close(*socket.rejection)
            elif socket.admission.excess is None:
                await connection.run()
            elif socket.admission.excess == "server":
                await socket.close(1013, "too many connections")
            else:
                await socket.close(4429, "too many connections from this address")
        finally:
            self._connections.pop(connection, None)
            self.credentials.expiry.forget(connection)

    def _close_connection(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection, and abort it where its client does not answer."""
        socket = self._connections.get(connection)
        if socket is not None:
            self.acceptor.spawn(socket.close_or_abort(code, reason, max_seconds=CLOSE_TIMEOUT_SECONDS))

    async def serve_forever(self) -> None:
        """Wait until the calling task is cancelled."""
        await asyncio.Event().wait()

    forever = serve_forever  # its name in earlier versions

    # --- new settings ------------------------------------------------------------------------------------------------

    async def reload(self, settings: Settings) -> None:
        """Apply settings that have changed, as far as a running server can: those of `askbot_ws.config.RELOADABLE`.

        Connections that they concern are closed: of revoked keys (4401; the turns asked with them are cancelled), and
        of pages whose origin is not allowed any more (4403).

        Raises:
            ConfigError: A file that they name can't be used; then all settings stay as they were.
        """
        before = self._settings
        changed = {name for name in Settings.model_fields if getattr(before, name) != getattr(settings, name)}
        applied = before.model_copy(update={name: getattr(settings, name) for name in changed & RELOADABLE})
        policy = self._make_policy(applied) if self._make_policy else self._hub.policy
        await reload_authenticator(self._authenticator, before, applied, self._hub.store, now=self._now)
        self._settings = applied
        self._hub.use_policy(policy)
        self._access.allow(hosts=applied.hosts, origins=applied.origins)
        self._limits = _askbot_limits(applied)
        self.acceptor.connection_limits.set_limits(**_connection_limits(applied))
        self.credentials.close_anonymous()
        for connection, opened in tuple(self._connections.items()):
            connection.set_rates(self._limits.rates)
            if not self._access.allows(opened.access_headers):
                self._close_connection(connection, 4403, "this origin is not allowed any more")
        log.info("settings_reloaded", changed=sorted(changed & RELOADABLE), need_restart=sorted(changed - RELOADABLE))

    # --- shutdown ----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Shut down: refuse connections and questions, send `going_away`, wait for running answers, close.

        Running answers have `drain` seconds (a setting); then they end as `interrupted`.
        """
        log.info("drain_started", connections=len(self._connections), limit_s=self._settings.drain)
        self._hub.refuse_turns()
        self._listener.close(close_connections=False)
        self.acceptor.shutdown()
        for connection in tuple(self._connections):
            connection.announce_drain(drain_seconds=self._settings.drain)
        until = time.monotonic() + self._settings.drain
        await self._hub.drain(self._settings.drain)
        await self._hub.stop()
        await self.close(response_seconds=max(CLOSE_TIMEOUT_SECONDS, until - time.monotonic()))

    async def close(self, *, response_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Close all connections: WebSockets with code 1012, `CLOSE_BATCH_SIZE` at a time.

        HTTP responses that are being sent have `response_seconds`. A second call does nothing.
        """
        if self._closed:
            return
        self._listener.close(close_connections=False)
        http = asyncio.create_task(self.acceptor.close(max_seconds=response_seconds))
        left, tasks = list(self._connections.values()), list[asyncio.Task[None]]()
        while left:
            some, left = left[:CLOSE_BATCH_SIZE], left[CLOSE_BATCH_SIZE:]
            tasks += [
                asyncio.create_task(socket.close_or_abort(1012, max_seconds=CLOSE_TIMEOUT_SECONDS)) for socket in some
            ]
            await asyncio.wait(tasks[-len(some) :], timeout=0.05)  # slow clients do not delay the next batch
        await asyncio.gather(http, *tasks)
        await asyncio.wait([asyncio.ensure_future(self._listener.wait_closed())], timeout=CLOSE_TIMEOUT_SECONDS)
        self._readiness.close()
        self.keepalive.close()
        self.credentials.expiry.close()
        self._closed = True


def _askbot_limits(settings: Settings) -> AskbotLimits:
    return AskbotLimits(
        advertised=Limits(
            frame_bytes=settings.max_frame,
            question_chars=settings.max_question,
            waiting_turns=settings.max_waiting,
        ),
        rates=RateLimits(settings.frames_per_minute, ResumeLimit()) if settings.limits else RateLimits(),
    )


def _connection_limits(settings: Settings) -> dict[str, int]:
    """Return the arguments of `ConnectionLimits`."""
    if not settings.limits:
        return {"max_total": sys.maxsize, "max_per_address": sys.maxsize}
    return {"max_total": settings.max_connections, "max_per_address": settings.max_connections_per_address}


def openable_host(bound: socket.socket) -> str | None:
    """Return the address to open for a socket that listens on all addresses; None for one that listens on one."""
    host = ip_address(bound.getsockname()[0].partition("%")[0])
    if not host.is_unspecified:
        return None
    takes_ipv4 = host.version == 4 or not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return "127.0.0.1" if takes_ipv4 else "::1"


def own_names(settings: Settings) -> tuple[str, ...]:
    """Return the names by which the server names itself: its host, and where others can reach it, this machine's."""
    return (settings.host,) if settings.loopback else (settings.host, socket.gethostname())


def bind(settings: Settings) -> socket.socket:
    """Return a socket that listens on the host and port of the settings. Raises `ConfigError` where it can't."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if HAS_TCP_USER_TIMEOUT:  # longer than it takes to close a stalled reader
                seconds = (
                    settings.heartbeat
                    + settings.reader_timeout * (1 + 2 / STALL_CHECKS_PER_TIMEOUT)
                    + STALLED_CLOSE_SECONDS
                )
                milliseconds = min(int(seconds * 1000), 2**31 - 1)
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            bound.bind(address)
            bound.listen(LISTEN_BACKLOG)
            undo.pop_all()
    except (OSError, UnicodeError) as error:  # UnicodeError: no host has such a name
        raise ConfigError(
            f"askbot can't listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}. "
            "Choose others with ASKBOT_HOST and ASKBOT_PORT (--host, --port), or end what listens there."
        ) from error
    bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return bound


# --- from settings to a running server -------------------------------------------------------------------------------


@asynccontextmanager
async def running(
    settings: Settings,
    chosen: UpstreamChoice | None = None,
    *,
    throttle: Throttle | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncGenerator[Server]:
    """Run a server in the block; `chosen` overrides the upstream that the settings name. Raises `ConfigError`.

    `throttle` may block the event loop for some milliseconds, where that runs nothing else. `now` is the time in
    seconds since 1970, by which credentials expire.
    """
    chosen = guard_upstream(chosen or choose_upstream(settings), settings)
    store = open_store(settings.store, fsync=settings.fsync)
    authenticator = make_authenticator(settings, store, now=now)
    listening = bind(settings)
    try:
        async with authenticator, Hub(store, chosen.upstream, _policy(settings, chosen), throttle=throttle) as hub:
            await chosen.upstream.open()
            server = Server(settings, hub, authenticator, make_policy=partial(_policy, chosen=chosen), now=now)
            await server.listen(listening)
            heartbeats = asyncio.create_task(server.keepalive.run())
            try:
                yield server
            finally:
                heartbeats.cancel()
                await hub.stop()
                await server.close()
    finally:
        listening.close()
        await chosen.upstream.close()


def _policy(settings: Settings, chosen: UpstreamChoice) -> Policy:
    """Raises `ConfigError` where a model has a name that no frame can have."""
    for name in settings.models:
        if clean_model_name(name) != name:
            raise ConfigError(f"ASKBOT_MODELS: {name!r}: a model's name is UTF-8 of at most 200 code points.")
    return Policy(
        persona=chosen.persona if settings.persona is None else settings.persona,
        models=settings.models,
        thinking=settings.thinking,
        max_tokens=settings.max_tokens,
        context_tokens=settings.context_tokens or chosen.context_tokens,
        max_question=settings.max_question,
        max_waiting=settings.max_waiting,
        max_turns=settings.max_turns if settings.limits else sys.maxsize,
        memory=settings.memory,
        session_ttl=settings.session_ttl,
        abandon_after=settings.abandon_after,
        log_content=settings.log_content,
    )


def run(settings: Settings, read_settings: Callable[[], Settings] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit code. Raises `ConfigError`.

    At SIGHUP the settings are read again by `read_settings`, which may raise `ConfigError`, and applied.
    """
    if sys.platform == "win32":
        return asyncio.run(_main(settings, None))
    _raise_file_limit()
    import uvloop  # noqa: PLC0415 - not there on Windows

    return uvloop.run(_main(settings, read_settings))


def _raise_file_limit() -> None:
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
    async with running(settings, chosen, throttle=throttle) as server:
        _freeze_gc()
        _print_banner(settings, chosen, server)
        reloading = asyncio.create_task(_reload_at_hangup(server, hangup, read_settings or (lambda: settings)))
        await signals.get()
        reloading.cancel()
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
    """Read and apply the settings at each SIGHUP, until cancelled; where they are wrong, the old ones stay."""
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            await server.reload(read_settings())
        except ConfigError as error:
            faults = [line.strip() for line in str(error).splitlines()]
            log.error("reload_failed", faults=faults[1:] or faults)  # noqa: TRY400 - the faults say all
        except Exception:  # a server goes on with the settings that it has
            log.exception("reload_failed")


def _freeze_gc() -> None:
    """Exempt present objects from garbage collection, and collect less often: tokens make hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _print_banner(settings: Settings, chosen: UpstreamChoice, server: Server) -> None:
    """Print the addresses, the model and the store, and log `server_started`."""
    elsewhere = f"  (http://{socket.gethostname()}:{server.port}/ from other machines)" if server.is_open else ""
    lines = [
        f"askbot-ws {__version__}",
        f"  page    http://{server.address}/{elsewhere}",
        f"  socket  {server.url}",
        f"  model   {chosen.upstream.model}",
        f"  store   {settings.store}",
    ]
    if chosen.banner:
        lines.append(chosen.banner)
    try:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    except OSError:  # a full disk or a closed pipe: serve all the same, and do not fail at exit either
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open until the end
    log.info("server_started", host=settings.host, port=server.port, model=chosen.upstream.model)
