"""The server: listens, lets in, drains."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any, cast

import structlog
from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve

from .. import __version__
from ..config import Settings
from ..core.principal import ANONYMOUS
from ..dialects.askbot.connection import AskbotConnection, AskbotLimits
from ..dialects.askbot.frames import Limits
from ..dialects.connection import Connection, RateLimits, ResumeLimit
from ..errors import ConfigError
from ..http.access import AccessPolicy
from ..http.application import application, cors_headers
from ..http.completion import Completions
from ..http.readiness import Readiness
from ..hub import Hub, Policy
from ..hub.group_commit import Throttle
from ..store.url import open_store
from ..upstream.choose import Chosen, choose
from .acceptor import Acceptor, RequestLimits
from .connection_limits import ConnectionLimits
from .handshake import Handshake, process_response, select_subprotocol
from .keepalive import STALL_CHECKS, KeepaliveMonitor
from .throttle import LoopThrottle, usable_cpus
from .websocket import STALLED_CLOSE_SECONDS, WebSocket

SEND_BUFFER_BYTES = (
    64 * 1024
)  # the kernel's for each connection: a reader that stops is felt after this, not after 4 MB
LISTEN_BACKLOG = 1024  # connections that wait to be accepted: with too few, a burst of them waits a second each
CLOSE_BATCH_SIZE = 50  # connections closed at once in a drain: their clients come back all together otherwise
CLOSE_TIMEOUT_SECONDS = 2.0  # seconds that a connection has to close when the server ends
HAS_TCP_USER_TIMEOUT = hasattr(
    socket, "TCP_USER_TIMEOUT"
)  # who is gone without a word; elsewhere it takes pings to know
SERVER_HEADER = f"askbot-ws/{__version__}"

log = structlog.get_logger(__name__)


class Server:
    """All connections of one listening socket."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings = settings
        self._hub = hub
        self._limits = AskbotLimits(
            advertised=Limits(
                frame_bytes=settings.max_frame,
                question_chars=settings.max_question,
                waiting_turns=settings.max_waiting,
            ),
            rates=RateLimits(settings.frames_per_minute, ResumeLimit()) if settings.limits else RateLimits(),
        )
        self.keepalive = KeepaliveMonitor(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        self._access = AccessPolicy(
            hosts=settings.hosts, origins=settings.origins, loopback=settings.loopback, now=time.monotonic
        )
        self._readiness = Readiness({"store": hub.store, "upstream": hub.upstream})
        self.acceptor = self._make_acceptor()
        self._connections: dict[Connection, WebSocket] = {}
        self._listener: Listener
        self._closed = False

    def _make_acceptor(self) -> Acceptor:
        settings, most = self._settings, sys.maxsize
        app = application(Completions(self._hub), access=self._access, readiness=self._readiness, version=__version__)
        return Acceptor(
            app,
            server=SERVER_HEADER,
            cors_headers=partial(cors_headers, self._access),
            limits=RequestLimits(body_bytes=settings.max_frame, reader_timeout=settings.reader_timeout),
            connection_limits=ConnectionLimits(
                max_total=settings.max_connections if settings.limits else most,
                max_per_address=settings.max_connections_per_address if settings.limits else most,
            ),
            keepalive=self.keepalive,
        )

    @property
    def port(self) -> int:
        """Where it listens; useful with port 0."""
        return int(next(iter(self._listener.sockets)).getsockname()[1])

    @property
    def address(self) -> str:
        """Host and port, as URLs have them."""
        host = self._settings.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{self.address}/v1/chat"

    @property
    def hub(self) -> Hub:
        """Its sessions."""
        return self._hub

    @property
    def connection_count(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def listen(self, listening: socket.socket, *, tls: SSLContext | None = None) -> None:
        """Begin to take connections, of a TCP or a Unix socket."""
        handshake = Handshake(self._access, draining=lambda: self._hub.draining)
        options: dict[str, Any] = {"unix": True} if listening.family == getattr(socket, "AF_UNIX", None) else {}
        create: object = partial(WebSocket, acceptor=self.acceptor)
        self._listener = await serve(
            self._serve,
            sock=listening,
            backlog=LISTEN_BACKLOG,  # asyncio listens once more, with 100
            process_request=handshake.process_request,
            process_response=process_response,
            select_subprotocol=select_subprotocol,
            create_connection=cast(type[ServerConnection], create),
            compression="deflate" if self._settings.compression else None,
            write_limit=1,  # what the kernel does not take at once, makes a reader lag; 0 is always full with TLS
            ping_interval=None if HAS_TCP_USER_TIMEOUT else self._settings.heartbeat,
            max_size=self._settings.max_frame,
            server_header=SERVER_HEADER,
            ssl=tls,
            **options,
        )

    async def _serve(self, socket: ServerConnection) -> None:
        if not isinstance(socket, WebSocket):
            raise TypeError("connections are made as Socket, see `listen`")
        connection = AskbotConnection(socket, self._hub, ANONYMOUS, self._limits)
        self._connections[connection] = socket
        self.keepalive.watch(socket)
        try:
            if socket.admission.excess is None:
                await connection.run()
            elif socket.admission.excess == "server":
                await socket.close(1013, "too many connections")
            else:
                await socket.close(4429, "too many connections from this address")
        finally:
            self._connections.pop(connection, None)

    async def serve_forever(self) -> None:
        """Serve until the task is cancelled."""
        await asyncio.Event().wait()

    # --- the end -----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing new, let running answers end, tell the clients, and close."""
        log.info("draining", connections=len(self._connections), limit_s=self._settings.drain)
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
        """Close every connection, a few at a time, with the code that means: resume elsewhere.

        That there is not for a response over HTTP: whoever still takes one has this many seconds for it.
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
            await asyncio.wait(tasks[-len(some) :], timeout=0.05)  # whoever is slow holds up nobody
        await asyncio.gather(http, *tasks)
        await asyncio.wait([asyncio.ensure_future(self._listener.wait_closed())], timeout=CLOSE_TIMEOUT_SECONDS)
        self._readiness.close()
        self.keepalive.close()
        self._closed = True


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises `ConfigError`."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if HAS_TCP_USER_TIMEOUT:  # a reader that is only slow is ours to close, before that
                patience = settings.heartbeat + settings.reader_timeout * (1 + 2 / STALL_CHECKS) + STALLED_CLOSE_SECONDS
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
            bound.bind(address)
            bound.listen(LISTEN_BACKLOG)
            undo.pop_all()
    except OSError as error:
        raise ConfigError(
            f"askbot can't listen on {host}, port {port}: {error.strerror or error}. "
            "Choose others with ASKBOT_HOST and ASKBOT_PORT (--host, --port), or end what listens there."
        ) from error
    bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return bound


# --- from settings to a running server -------------------------------------------------------------------------------


@asynccontextmanager
async def running(
    settings: Settings, chosen: Chosen | None = None, *, throttle: Throttle | None = None
) -> AsyncGenerator[Server]:
    """A server that listens; `chosen` overrides the upstream that the settings choose. Raises `ConfigError`.

    `throttle` may stop the event loop for a moment, where it is all ours.
    """
    chosen = chosen or choose(settings)
    store = open_store(settings.store, fsync=settings.fsync)
    listening = bind(settings)
    try:
        async with Hub(store, chosen.upstream, _policy(settings, chosen), throttle=throttle) as hub:
            await chosen.upstream.open()
            server = Server(settings, hub)
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


def _policy(settings: Settings, chosen: Chosen) -> Policy:
    return Policy(
        persona=chosen.persona if settings.persona is None else settings.persona,
        models=frozenset(settings.models),
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


def run(settings: Settings) -> int:
    """Serve until a signal; returns the exit code. Raises `ConfigError`."""
    if sys.platform == "win32":
        return asyncio.run(_main(settings))
    _raise_file_limit()
    import uvloop  # noqa: PLC0415 - not there on Windows

    return uvloop.run(_main(settings))


def _raise_file_limit() -> None:
    """As many files as we are allowed at all: the usual 1,024 are a thousand connections."""
    import resource  # noqa: PLC0415 - not there on Windows

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _main(settings: Settings) -> int:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    chosen = choose(settings)
    throttle = LoopThrottle(cpus=usable_cpus()) if settings.pause else None
    async with running(settings, chosen, throttle=throttle) as server:
        _freeze_gc()
        _print_banner(settings, chosen, server)
        await signals.get()
        draining = asyncio.create_task(server.drain())
        again = asyncio.create_task(signals.get())
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if draining.done():
            await draining
            return 0
        draining.cancel()
        return 1


def _freeze_gc() -> None:
    """What is here now stays: no look at it again. What a token makes dies by its count, hardly ever in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _print_banner(settings: Settings, chosen: Chosen, server: Server) -> None:
    """What a person, or a script, that starts a server waits for."""
    lines = [
        f"askbot-ws {__version__}",
        f"  page    http://{server.address}/",
        f"  socket  {server.url}",
        f"  model   {chosen.upstream.model}",
        f"  store   {settings.store}",
    ]
    if chosen.banner:
        lines.append(chosen.banner)
    try:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    except OSError:  # its disk is full, or nobody is there: no reason not to serve, nor to fail at the end
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open until the end
    log.info("listening", host=settings.host, port=server.port, model=chosen.upstream.model)
