"""Server: listens, serves connections and drains."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, cast

import structlog
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve

from .. import __version__
from ..auth import Authenticator, make_authenticator
from ..auth.choose import reload_authenticator
from ..config import RELOADABLE, Settings, merge
from ..core.allowance import Allowances
from ..core.load import LoadLevel
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
from ..nodes import limits_of, placement_of, revocations_of
from ..store.url import open_store, without_password
from ..upstream import clean_model_name
from ..upstream.choose import UpstreamChoice, choose_upstream, guard_upstream
from .acceptor import Acceptor, RequestLimits
from .allowance_settings import allowances_of
from .collector import MetricsPage, ServerCollector
from .connection_limits import ConnectionLimits
from .credential_monitor import CredentialMonitor
from .handshake import Handshake, select_subprotocol
from .keepalive import KeepaliveMonitor
from .listening import AF_UNIX, HAS_TCP_USER_TIMEOUT, LISTEN_BACKLOG, UnixSocket, adopt, bind, openable_host
from .loop_lag import LoopLagMonitor
from .overload import OverloadMonitor, memory_threshold
from .proxies import TrustedProxies
from .refusals import LIMIT_REASONS, Refusals
from .systemd import notify_ready, notify_reloading, notify_stopping, take_sockets
from .throttle import LoopThrottle, usable_cpus
from .tls import TlsFiles
from .websocket import WebSocket

if TYPE_CHECKING:
    from ..telemetry import TurnTelemetry

CLOSE_BATCH_SIZE = 50  # connections closed at once in a drain, so that their clients do not return all at once
CLOSE_TIMEOUT_SECONDS = 2.0  # for the close handshake of a connection when the server ends
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
        tls: TlsFiles | None = None,
        make_policy: Callable[[Settings], Policy] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make a server; `listen` starts it.

        Args:
            settings: All settings.
            hub: The sessions.
            authenticator: Makes the principals of clients.
            tls: The certificate with which it listens on TCP sockets.
            make_policy: Returns the policy of the hub for settings that have changed; None: it stays.
            now: The time in seconds since 1970, by which credentials expire.
        """
        self._settings = settings
        self._hub = hub
        self._authenticator = authenticator
        self._make_policy = make_policy
        self._now = now
        self._tls = tls
        self._proxies = TrustedProxies.parse(settings.trusted_proxies)
        self.metrics = hub.metrics
        self.refusals = Refusals(hub.metrics)
        self._limits = _askbot_limits(settings)
        self.keepalive = KeepaliveMonitor(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        self._access = AccessPolicy(
            hosts=settings.hosts,
            origins=settings.origins,
            loopback=settings.loopback and not self._proxies,
            now=time.monotonic,
            own_names=own_names(settings),
            counts=hub.metrics.refusals,
        )
        self._readiness = Readiness({"store": hub.store, "upstream": hub.upstream})
        self._connection_limits = ConnectionLimits(**_connection_limits(settings))
        self.acceptor = self._make_acceptor()
        self._connections: dict[Connection, WebSocket] = {}
        self.overload = OverloadMonitor(
            hub.admission, append_started_at=lambda: hub.append_started_at, turns_running=lambda: hub.turns_running
        )
        self.loop_lag = LoopLagMonitor(hub.metrics.loop_lag, self.overload.sample)
        self.credentials = CredentialMonitor(authenticator, hub, self._connections, self._close_connection, now=now)
        self._limit_clients(settings, allowances_of(settings))
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self.has_tls = False  # whether connections over TCP use TLS
        self._closed = False

    def _make_acceptor(self) -> Acceptor:
        settings = self._settings
        app = make_application(
            Completions(self._hub),
            access=self._access,
            authenticator=self._authenticator,
            administration=self._hub.administration,
            sign_in_url=settings.sign_in_url,
            sign_out_url=settings.sign_out_url,
            readiness=self._readiness,
            render_metrics=MetricsPage(ServerCollector(self.metrics, self._hub, self, started_at=time.time())).render,
            version=__version__,
            page_module=settings.page_module,
        )
        return Acceptor(
            app,
            server=SERVER_HEADER,
            cors_headers=partial(cors_headers, self._access),
            limits=RequestLimits(body_bytes=settings.max_frame, reader_timeout=settings.reader_timeout),
            connection_limits=self._connection_limits,
            keepalive=self.keepalive,
            refusals=self.refusals,
            proxies=self._proxies,
        )

    def _limit_clients(self, settings: Settings, allowances: Allowances) -> None:
        """Let clients do what they may by these settings, from now on; what runs already goes on."""
        on = settings.limits
        self._hub.apply_limits(
            allowances,
            max_turns=settings.max_turns if on else None,
            max_queued=settings.max_queued if on else None,
        )
        self.overload.apply(
            lag=settings.overload_lag if on else None,
            commit=settings.overload_commit if on else None,
            memory=memory_threshold(settings.overload_memory) if on else None,
        )

    @property
    def _socket(self) -> socket.socket:
        """The socket on which it listens; of several, a TCP socket."""
        return min(self._sockets, key=lambda each: each.family == AF_UNIX)

    @property
    def unix(self) -> str | None:
        """The path of the Unix socket on which it listens; None where it listens on a TCP socket."""
        return str(self._socket.getsockname()) if self._socket.family == AF_UNIX else None

    @property
    def host(self) -> str | None:
        """The name or address on which it listens; None for a Unix socket."""
        return self._settings.host if self.unix is None else None

    @property
    def port(self) -> int:
        """The port on which it listens; with the setting `port=0`, the one that was chosen; 0 for a Unix socket."""
        return 0 if self.unix is not None else int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """Host and port as in a URL that can be opened on this machine, for instance `127.0.0.1:8765`.

        For a Unix socket, its path.
        """
        if self.unix is not None:
            return self.unix
        host = openable_host(self._socket) or self._settings.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return self.unix is None and openable_host(self._socket) is not None

    @property
    def page_url(self) -> str:
        """The URL of the page, for instance `http://127.0.0.1:8765/`; without a path for a Unix socket."""
        if self.unix is not None:
            return f"http+unix:{self.unix}"
        return f"{'https' if self.has_tls else 'http'}://{self.address}/"

    @property
    def url(self) -> str:
        """The URL to which clients connect, for instance `ws://127.0.0.1:8765/v1/chat`, or `wss:` with a certificate.

        For a Unix socket, `ws+unix:/run/askbot/askbot.sock:/v1/chat`.
        """
        if self.unix is not None:
            return f"ws+unix:{self.unix}:/v1/chat"
        return f"{'wss' if self.has_tls else 'ws'}://{self.address}/v1/chat"

    @property
    def hub(self) -> Hub:
        """The hub with its sessions."""
        return self._hub

    @property
    def connection_count(self) -> int:
        """How many WebSocket connections are open."""
        return len(self._connections)

    @property
    def open_count(self) -> int:
        """How many connections are open, HTTP ones included."""
        return self.acceptor.connection_limits.count

    @property
    def web_sockets(self) -> Iterable[Connection]:
        """All WebSocket connections."""
        return self._connections

    async def listen(self, listening: socket.socket, *, tls: SSLContext | None = None) -> None:
        """Accept connections on a bound TCP or Unix socket; it may be called for several.

        TLS is that of `tls`; without one, that of the settings' certificate on a TCP socket.
        """
        handshake = Handshake(
            self._access,
            self._authenticator,
            self.refusals,
            draining=lambda: self._hub.draining,
            overloaded=lambda: self._hub.admission.load is LoadLevel.VERY_HIGH,
        )
        options: dict[str, Any] = {}
        if listening.family == AF_UNIX:
            options = {"unix": True} | ({"cleanup_socket": False} if sys.version_info >= (3, 13) else {})
        elif tls is None and self._tls is not None:
            tls = self._tls.context
        self.has_tls = self.has_tls or tls is not None
        create: object = partial(WebSocket, acceptor=self.acceptor)
        listener = await serve(
            self._serve,
            sock=listening,
            backlog=LISTEN_BACKLOG,  # asyncio calls listen() again, by default with 100
            process_request=handshake.process_request,
            process_response=handshake.process_response,
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
        self._sockets.append(listening)
        self._listeners.append(listener)

    def reload_certificate(self) -> bool:
        """Use what the certificate's files have now, for new connections; open ones are not touched.

        Returns whether there is a certificate and it could be used; where not, the former one stays.
        """
        return self._tls is not None and self._tls.reload()

    async def _serve(self, socket: ServerConnection) -> None:
        if not isinstance(socket, WebSocket):
            raise TypeError("connections are made as WebSocket, see `listen`")
        connection = AskbotConnection(socket, self._hub, socket.principal, self._limits)
        connection.renewer = self.credentials
        self._connections[connection] = socket
        self.metrics.connections[connection.protocol] += 1
        self.credentials.expiry.watch(connection)
        self.keepalive.watch(socket)
        try:
            if socket.rejection is not None:
                await self._refuse(socket, *socket.rejection)
            elif self._authenticator.is_revoked(socket.principal):  # while the handshake was answered
                await self._refuse(socket, 4401, "the credential is not valid any more")
            elif (excess := socket.admission.excess) is None:
                await self._run(connection, socket)
            else:
                self.refusals.record(LIMIT_REASONS[excess], address=socket.client_address)
                if excess == "server":
                    await self._refuse(socket, 1013, "too many connections")
                else:
                    await self._refuse(socket, 4429, "too many connections from this address")
        finally:
            self._connections.pop(connection, None)
            self.metrics.closes[str(socket.close_code)] += 1
            self.credentials.expiry.forget(connection)

    async def _refuse(self, socket: WebSocket, code: int, reason: str) -> None:
        """Close a connection that is not accepted; it counts as open for a short time only."""
        await socket.close_or_abort(code, reason, max_seconds=CLOSE_TIMEOUT_SECONDS)

    def _close_connection(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection, and abort it where its client does not answer."""
        socket = self._connections.get(connection)
        if socket is not None:
            self.acceptor.spawn(socket.close_or_abort(code, reason, max_seconds=CLOSE_TIMEOUT_SECONDS))

    async def _run(self, connection: Connection, socket: WebSocket) -> None:
        """Serve a connection, unless its user has too many."""
        user = socket.principal.user
        limit = self._hub.admission.allowances.of(socket.principal.role).connections
        if not self._connection_limits.admit_user(user, limit=limit):
            self.refusals.record("user_connection_limit", address=socket.client_address)
            await self._refuse(socket, 4429, "too many connections of this user")
            return
        try:
            await connection.run()
        finally:
            self._connection_limits.release_user(user)

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
            ConfigError: A file that they name can't be used, or what changes now does not go together with what needs a
                restart; then all settings stay as they were.
        """
        before = self._settings
        changed = {name for name in Settings.model_fields if getattr(before, name) != getattr(settings, name)}
        applied = merge(before, settings)
        allowances = allowances_of(applied)
        policy = self._make_policy(applied) if self._make_policy else self._hub.policy
        await reload_authenticator(self._authenticator, before, applied, self._hub.store, now=self._now)
        self._settings = applied
        self._hub.use_policy(policy)
        self._access.allow(hosts=applied.hosts, origins=applied.origins)
        self._limits = _askbot_limits(applied)
        self._limit_clients(applied, allowances)
        self._connection_limits.set_limits(**_connection_limits(applied))
        self.credentials.close_anonymous()
        for connection, opened in tuple(self._connections.items()):
            connection.set_rates(self._limits.rates)
            if not self._access.allows(opened.access_headers, secure=opened.secure):
                self._close_connection(connection, 4403, "this origin is not allowed any more")
        log.info("settings_reloaded", changed=sorted(changed & RELOADABLE), need_restart=sorted(changed - RELOADABLE))

    # --- shutdown ----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Shut down: refuse connections and questions, send `going_away`, wait for running answers, close.

        Running answers have `drain` seconds (a setting); then they end as `interrupted`.
        """
        log.info("drain_started", connections=len(self._connections), limit_s=self._settings.drain)
        self._hub.refuse_turns()
        self._stop_listening()
        self.acceptor.shutdown()
        for connection in tuple(self._connections):
            connection.announce_drain(drain_seconds=self._settings.drain)
        until = time.monotonic() + self._settings.drain
        await self._hub.drain(self._settings.drain)
        await self._hub.stop()
        await self.close(response_seconds=max(CLOSE_TIMEOUT_SECONDS, until - time.monotonic()))

    def _stop_listening(self) -> None:
        """Accept no more connections, and remove the file of a Unix socket, so that another server can listen there."""
        for each in self._sockets:
            if isinstance(each, UnixSocket):
                each.unlink()
        for listener in self._listeners:
            listener.close(close_connections=False)

    async def close(self, *, response_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Close all connections: WebSockets with code 1012, `CLOSE_BATCH_SIZE` at a time.

        HTTP responses that are being sent have `response_seconds`. A second call does nothing.
        """
        if self._closed:
            return
        self._stop_listening()
        http = asyncio.create_task(self.acceptor.close(max_seconds=response_seconds))
        left, tasks = list(self._connections.values()), list[asyncio.Task[None]]()
        while left:
            some, left = left[:CLOSE_BATCH_SIZE], left[CLOSE_BATCH_SIZE:]
            tasks += [
                asyncio.create_task(socket.close_or_abort(1012, max_seconds=CLOSE_TIMEOUT_SECONDS)) for socket in some
            ]
            await asyncio.wait(tasks[-len(some) :], timeout=0.05)  # slow clients do not delay the next batch
        await asyncio.gather(http, *tasks)
        closed = [asyncio.ensure_future(listener.wait_closed()) for listener in self._listeners]
        await asyncio.wait(closed, timeout=CLOSE_TIMEOUT_SECONDS)
        self._readiness.close()
        self.keepalive.close()
        self.loop_lag.close()
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


def own_names(settings: Settings) -> tuple[str, ...]:
    """Return the names by which the server names itself: its host, and where others can reach it, this machine's."""
    return (settings.host,) if settings.loopback else (settings.host, socket.gethostname())


# --- from settings to a running server -------------------------------------------------------------------------------


@asynccontextmanager
async def running(
    settings: Settings,
    chosen: UpstreamChoice | None = None,
    *,
    throttle: Throttle | None = None,
    sockets: Sequence[socket.socket] = (),
    now: Callable[[], float] = time.time,
) -> AsyncGenerator[Server]:
    """Run a server in the block; `chosen` overrides the upstream that the settings name. Raises `ConfigError`.

    `throttle` may block the event loop for some milliseconds, where that runs nothing else. `sockets` are those that
    systemd has opened; without any, the server opens the one that the settings say. `now` is the time in seconds since
    1970, by which credentials expire.
    """
    settings = adopt(sockets, settings)
    tls = TlsFiles(settings.certfile, settings.keyfile) if settings.certfile and settings.keyfile else None
    chosen = guard_upstream(chosen or choose_upstream(settings), settings)
    store = open_store(settings.store, fsync=settings.fsync, replicas=settings.redis_wait)
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
        async with authenticator, hub, revocations_of(store, authenticator):
            await chosen.upstream.open()
            make_policy = partial(policy_of, chosen=chosen)
            server = Server(settings, hub, authenticator, tls=tls, make_policy=make_policy, now=now)
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
    sockets = take_sockets()
    async with running(settings, chosen, throttle=throttle, sockets=sockets) as server:
        _freeze_gc()
        _print_banner(settings, chosen, server)
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
        server.reload_certificate()
        try:
            await server.reload(read_settings())
        except ConfigError as error:
            faults = [line.strip() for line in str(error).splitlines()]
            log.error("reload_failed", faults=faults[1:] or faults)  # noqa: TRY400 - the faults say all
        except Exception:  # a server goes on with the settings that it has
            log.exception("reload_failed")
        notify_ready()


def _freeze_gc() -> None:
    """Exempt present objects from garbage collection, and collect less often: tokens make hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _print_banner(settings: Settings, chosen: UpstreamChoice, server: Server) -> None:
    """Print the addresses, the model and the store, and log `server_started`."""
    scheme = server.page_url.partition(":")[0]
    elsewhere = f"  ({scheme}://{socket.gethostname()}:{server.port}/ from other machines)" if server.is_open else ""
    lines = [
        f"askbot-ws {__version__}",
        f"  page    {server.page_url}{elsewhere}",
        f"  socket  {server.url}",
        f"  model   {chosen.upstream.model}",
        f"  store   {without_password(settings.store)}",
    ]
    if chosen.banner:
        lines.append(chosen.banner)
    try:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    except OSError:  # a full disk or a closed pipe: serve all the same, and do not fail at exit either
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open until the end
    log.info(
        "server_started",
        host=server.host,
        port=server.port,
        unix=server.unix,
        tls=server.has_tls,
        model=chosen.upstream.model,
    )
