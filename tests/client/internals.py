"""Internals that only tests read: a client's session, and a server's connections."""

from __future__ import annotations

from askbot_ws.client import Chat
from askbot_ws.client.multiplexer import SessionMultiplexer
from askbot_ws.client.session import ClientSession
from askbot_ws.core.commands import Forget
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.server.app import Server


def session_of(chat: Chat) -> ClientSession:
    """What a conversation is made of."""
    return chat._session  # pyright: ignore[reportPrivateUsage]


def multiplexer_of(chat: Chat) -> SessionMultiplexer:
    """What holds a conversation's connection."""
    return chat._multiplexer  # pyright: ignore[reportPrivateUsage]


def cut(server: Server) -> None:
    """Lose all connections."""
    for _, socket in server._connections.pairs():  # pyright: ignore[reportPrivateUsage]
        socket.transport.abort()


def attached(server: Server) -> list[list[str]]:
    """The sessions that each connection reads."""
    return [list(connection.readers) for connection in server._connections]  # pyright: ignore[reportPrivateUsage]


async def forget(server: Server, session: str) -> None:
    """Delete a session without telling anybody who is not there."""
    hub = server._hub  # pyright: ignore[reportPrivateUsage]
    await hub.command(ANONYMOUS, session, Forget())
