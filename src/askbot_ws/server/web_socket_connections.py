"""WebSocket connections: those of a server that are open, how each is served, and how they are closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from websockets.asyncio.server import ServerConnection

from ..auth import Authenticator
from ..dialects.askbot.connection import AskbotConnection, AskbotLimits
from ..dialects.connection import Connection
from ..hub import Hub
from .acceptor import Acceptor
from .connection_limits import ConnectionLimits
from .credential_monitor import CredentialMonitor
from .keepalive import KeepaliveMonitor
from .refusals import LIMIT_REASONS, RefusalLog
from .websocket import WebSocket

CLOSE_BATCH_SIZE = 50  # connections closed at once in a drain, so that their clients do not return all at once
CLOSE_PAUSE_SECONDS = 0.05  # for clients to answer, before the next are closed
MIN_CLOSES_PER_SECOND = CLOSE_BATCH_SIZE / CLOSE_PAUSE_SECONDS
CLOSE_TIMEOUT_SECONDS = 2.0  # for the close handshake of a connection


class WebSocketConnections:
    """The open WebSocket connections of a server."""

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        acceptor: Acceptor,
        *,
        limits: AskbotLimits,
        connection_limits: ConnectionLimits,
        keepalive: KeepaliveMonitor,
        refusals: RefusalLog,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`limits` are those of connections from now on; `now` is the time in seconds since 1970."""
        self._hub = hub
        self._authenticator = authenticator
        self._acceptor = acceptor
        self.limits = limits
        self._connection_limits = connection_limits
        self._keepalive = keepalive
        self._refusals = refusals
        self._open: dict[Connection, WebSocket] = {}
        self.credentials = CredentialMonitor(authenticator, hub, self._open, self.close, now=now)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._open)

    def pairs(self) -> Iterable[tuple[Connection, WebSocket]]:
        """Return the connections with their sockets, as they are now."""
        return tuple(self._open.items())

    async def serve(self, socket: ServerConnection) -> None:
        """Serve a connection that was accepted, until it is closed."""
        if not isinstance(socket, WebSocket):
            raise TypeError("connections are made as WebSocket, see `Server.listen`")
        connection = AskbotConnection(socket, self._hub, socket.principal, self.limits)
        connection.renewer = self.credentials
        self._open[connection] = socket
        self._hub.metrics.connections[connection.protocol] += 1
        self.credentials.expiry.watch(connection)
        self._keepalive.watch(socket)
        try:
            if socket.rejection is not None:
                await self._refuse(socket, *socket.rejection)
            elif self._authenticator.is_revoked(socket.principal):  # while the handshake was answered
                await self._refuse(socket, 4401, "the credential is not valid any more")
            elif (excess := socket.admission.excess) is None:
                await self._run(connection, socket)
            else:
                self._refusals.record(LIMIT_REASONS[excess], address=socket.client_address)
                if excess == "server":
                    await self._refuse(socket, 1013, "too many connections")
                else:
                    await self._refuse(socket, 4429, "too many connections from this address")
        finally:
            self._open.pop(connection, None)
            self._hub.metrics.closes[str(socket.close_code)] += 1
            self.credentials.expiry.forget(connection)

    async def _refuse(self, socket: WebSocket, code: int, reason: str) -> None:
        """Close a connection that is not accepted; it counts as open for a short time only."""
        await socket.close_or_abort(code, reason, max_seconds=CLOSE_TIMEOUT_SECONDS)

    async def _run(self, connection: Connection, socket: WebSocket) -> None:
        """Serve a connection, unless its user has too many."""
        user = socket.principal.user
        limit = self._hub.admission.allowances.of(socket.principal.role).connections
        if not self._connection_limits.admit_user(user, limit=limit):
            self._refusals.record("user_connection_limit", address=socket.client_address)
            await self._refuse(socket, 4429, "too many connections of this user")
            return
        try:
            await connection.run()
        finally:
            self._connection_limits.release_user(user)

    def close(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection, and abort it where its client does not answer."""
        socket = self._open.get(connection)
        if socket is not None:
            self._acceptor.spawn(socket.close_or_abort(code, reason, max_seconds=CLOSE_TIMEOUT_SECONDS))

    async def close_all(self) -> None:
        """Close all connections with code 1012, `CLOSE_BATCH_SIZE` at a time, and abort those that do not answer."""
        left, tasks = list(self._open.values()), list[asyncio.Task[None]]()
        while left:
            some, left = left[:CLOSE_BATCH_SIZE], left[CLOSE_BATCH_SIZE:]
            tasks += [
                asyncio.create_task(socket.close_or_abort(1012, max_seconds=CLOSE_TIMEOUT_SECONDS)) for socket in some
            ]
            await asyncio.wait(
                tasks[-len(some) :], timeout=CLOSE_PAUSE_SECONDS
            )  # slow clients do not delay the next batch
        await asyncio.gather(*tasks)
