"""Server: listens, serves connections and drains."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from ssl import SSLContext
from typing import Any, cast

import structlog
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve

from .. import __version__
from ..auth import Authenticator
from ..auth.choose import reload_authenticator
from ..config import RELOADABLE, Settings, merge
from ..core.allowance import Allowances
from ..core.load import LoadLevel
from ..dialects.connection import Connection
from ..http.access import AccessPolicy
from ..http.application import cors_headers, make_application
from ..http.completion import Completions
from ..http.readiness import Readiness
from ..hub import Hub, Policy
from .acceptor import Acceptor, RequestLimits
from .address import Address
from .allowance_settings import allowances_of, askbot_limits, connection_limits
from .collector import MetricsPage, ServerCollector
from .connection_limits import ConnectionLimits
from .handshake import Handshake, select_subprotocol
from .keepalive import KeepaliveMonitor
from .listening import AF_UNIX, HAS_TCP_USER_TIMEOUT, LISTEN_BACKLOG, UnixSocket, stop_accepting
from .loop_lag import LoopLagMonitor
from .overload import OverloadMonitor, memory_threshold
from .proxies import TrustedProxies
from .refusals import RefusalLog
from .tls import TlsFiles
from .web_socket_connections import WebSocketConnections
from .websocket import WebSocket, allow_opening_after_close
from .workers.group import ServerGroup

HANDSHAKE_SECONDS = 3.0  # for clients whose connection was accepted before a drain to send their first request
TLS_HANDSHAKE_SECONDS = 10.0  # for a client's; asyncio would wait for a minute
CLOSE_TIMEOUT_SECONDS = 2.0  # for HTTP responses, and for the listeners, when the server ends
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
        group: ServerGroup | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make a server; `listen` starts it.

        Args:
            settings: All settings.
            hub: The sessions.
            authenticator: Makes the principals of clients.
            tls: The certificate with which it listens on TCP sockets.
            make_policy: Returns the policy of the hub for settings that have changed; None: it stays.
            group: The processes of which this one serves on the same sockets; `/metrics` and `/readyz` answer for all.
            now: The time in seconds since 1970, by which credentials expire.
        """
        self._settings = settings
        self._group = group
        self._hub = hub
        self._authenticator = authenticator
        self._make_policy = make_policy
        self._now = now
        self._tls = tls
        self._proxies = TrustedProxies.parse(settings.trusted_proxies)
        self.metrics = hub.metrics
        self.refusals = RefusalLog(hub.metrics)
        self.keepalive = KeepaliveMonitor(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        self._access = AccessPolicy(
            hosts=settings.hosts,
            origins=settings.origins,
            loopback=settings.loopback and not self._proxies,
            now=time.monotonic,
            own_names=own_names(settings),
            counts=hub.metrics.refusals,
        )
        self.readiness = Readiness({"store": hub.store, "upstream": hub.upstream}, draining=lambda: hub.draining)
        self._connection_limits = ConnectionLimits(**connection_limits(settings))
        self.metrics_page = MetricsPage(ServerCollector(self.metrics, hub, self, started_at=time.time()), group)
        self.acceptor = self._make_acceptor()
        self._connections = WebSocketConnections(
            hub,
            authenticator,
            self.acceptor,
            limits=askbot_limits(settings),
            connection_limits=self._connection_limits,
            keepalive=self.keepalive,
            refusals=self.refusals,
            now=now,
        )
        self.overload = OverloadMonitor(
            hub.admission, append_started_at=lambda: hub.append_started_at, turns_running=lambda: hub.turns_running
        )
        self.loop_lag = LoopLagMonitor(hub.metrics.loop_lag, self.overload.sample)
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
            find_faults=self.readiness.all_faults if self._group is None else self._group.faults,
            render_metrics=self.metrics_page.render,
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
            memory=memory_threshold(settings.overload_memory, processes=settings.workers) if on else None,
        )

    @property
    def listen_address(self) -> Address:
        """Where it listens."""
        return Address(self._sockets, self._settings.host, has_tls=self.has_tls)

    @property
    def unix(self) -> str | None:
        """The path of the Unix socket on which it listens; None where it listens on a TCP socket."""
        return self.listen_address.unix

    @property
    def host(self) -> str | None:
        """The name or address on which it listens; None for a Unix socket."""
        return self.listen_address.host

    @property
    def port(self) -> int:
        """The port on which it listens; with the setting `port=0`, the one that was chosen; 0 for a Unix socket."""
        return self.listen_address.port

    @property
    def address(self) -> str:
        """Host and port as in a URL that can be opened on this machine, for instance `127.0.0.1:8765`.

        For a Unix socket, its path.
        """
        return self.listen_address.authority

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return self.listen_address.listens_everywhere

    @property
    def page_url(self) -> str:
        """The URL of the page, for instance `http://127.0.0.1:8765/`; without a path for a Unix socket."""
        return self.listen_address.page_url

    @property
    def url(self) -> str:
        """The URL to which clients connect, for instance `ws://127.0.0.1:8765/v1/chat`, or `wss:` with a certificate.

        For a Unix socket, `ws+unix:/run/askbot/askbot.sock:/v1/chat`.
        """
        return self.listen_address.url

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
        if tls is not None:
            options["ssl_handshake_timeout"] = TLS_HANDSHAKE_SECONDS
        create: object = partial(WebSocket, acceptor=self.acceptor)
        listener = await serve(
            self._connections.serve,
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
        self._access.replace_allowed(hosts=applied.hosts, origins=applied.origins)
        self._connections.limits = askbot_limits(applied)
        self._limit_clients(applied, allowances)
        self._connection_limits.set_limits(**connection_limits(applied))
        self._connections.credentials.close_anonymous()
        for connection, opened in self._connections.pairs():
            connection.set_rates(self._connections.limits.rates)
            if not self._access.would_accept(opened.access_headers, secure=opened.secure):
                self._connections.close(connection, 4403, "this origin is not allowed any more")
        log.info("settings_reloaded", changed=sorted(changed & RELOADABLE), need_restart=sorted(changed - RELOADABLE))

    # --- shutdown ----------------------------------------------------------------------------------------------------

    async def stop_accepting(self) -> None:
        """Accept no more connections, and serve those that were accepted and have not sent their request yet.

        For a process whose listening sockets others go on with: `drain` would refuse such connections. It returns when
        they have sent it, at the latest after `HANDSHAKE_SECONDS`.
        """
        for listener in self._listeners:
            allow_opening_after_close(listener)
        await self._stop_listening()
        await self.acceptor.receive_first_requests(max_seconds=HANDSHAKE_SECONDS)

    async def drain(self) -> None:
        """Shut down: refuse connections and questions, send `going_away`, wait for running answers, close.

        Running answers have `drain` seconds (a setting); then they end as `interrupted`.
        """
        log.info("drain_started", connections=len(self._connections), limit_s=self._settings.drain)
        self._hub.refuse_turns()
        await self._stop_listening()
        self.acceptor.shutdown()
        for connection in tuple(self._connections):
            connection.announce_drain(drain_seconds=self._settings.drain)
        until = time.monotonic() + self._settings.drain
        await self._hub.drain(self._settings.drain)
        await self._hub.stop()
        await self.close(response_seconds=max(CLOSE_TIMEOUT_SECONDS, until - time.monotonic()))

    async def _stop_listening(self) -> None:
        """Accept no more connections, and remove the file of a Unix socket, so that another server can listen there."""
        for each in self._sockets:
            if isinstance(each, UnixSocket):
                each.unlink()
        await stop_accepting(number for each in self._sockets if (number := each.fileno()) >= 0)
        for listener in self._listeners:
            listener.close(close_connections=False)

    async def close(self, *, response_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Close all connections: WebSockets with code 1012, some at a time.

        HTTP responses that are being sent have `response_seconds`. A second call does nothing.
        """
        if self._closed:
            return
        await self._stop_listening()
        http = asyncio.create_task(self.acceptor.close(max_seconds=response_seconds))
        await asyncio.gather(http, self._connections.close_all())
        closed = [asyncio.ensure_future(listener.wait_closed()) for listener in self._listeners]
        await asyncio.wait(closed, timeout=CLOSE_TIMEOUT_SECONDS)
        self.readiness.close()
        self.keepalive.close()
        self.loop_lag.close()
        self._connections.credentials.expiry.close()
        self._closed = True


def own_names(settings: Settings) -> tuple[str, ...]:
    """Return the names by which the server names itself: its host, and where others can reach it, this machine's."""
    return (settings.host,) if settings.loopback else (settings.host, socket.gethostname())
