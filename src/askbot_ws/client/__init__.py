"""The Python client: a conversation that outlives its connections.

    async with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        async for text in chat.ask("Why is the sky blue?"):
            print(text, end="")

A connection is a cursor over the session's log, so coming back is connecting with `after` = the last `seq` that was
read. A script without asyncio has the same in `sync`.
"""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLContext
from typing import Literal

from . import reconnecting_socket
from .answer import Answer, Asked
from .chat import Chat
from .errors import Closed, Damaged
from .multiplexer import Connection
from .reconnecting_socket import State, Way
from .view import Turn, View

__all__ = ["Answer", "Asked", "Chat", "Closed", "Damaged", "State", "Turn", "View", "connect"]

URL = "ws://127.0.0.1:8765/v1/chat"
KEEP = 256 * 1024  # code points


def connect(
    url: str = URL,
    *,
    session: str | None = None,
    after: int | None = None,
    log: str | None = None,
    token: str | None = None,
    ssl: SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    keep: int | None = KEEP,
    silence: float = reconnecting_socket.SILENCE,
    delay: Callable[[int], float] = reconnecting_socket.delay,
    on_state: Callable[[State], None] = lambda _: None,
) -> Chat:
    """A conversation, to be entered with `async with`; a new one, or `session` from the place `after` on.

    `log` is the history in which `after` is a place: `view.seq` and `view.log` of an earlier conversation say both.
    Where the server has another history, or a shorter one, the view begins elsewhere than at `after`.

    Entering raises `Closed` where the server can't be reached, `SessionNotFound`, `Unauthorized` or `Forbidden`. From
    then on lost connections come back by themselves; `on_state` is told.

    `ssl` says what to trust with `wss://`, by default what Python does; `proxy` is a URL or None, by default what the
    environment says, but never for loopback. `chat.view` holds up to `keep` code points, None: all. A connection that
    says nothing for `silence` seconds is given up, and `delay` says how long to wait before the n-th try to come back.
    """
    way = Way(url=url, token=token, ssl=ssl, proxy=proxy, silence=silence, delay=delay)
    return Chat(Connection(way, on_state=on_state), View(session=session, seq=after, log=log, keep=keep), first=True)
