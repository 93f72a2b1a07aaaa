"""The Python client: a conversation that outlives its connections.

A connection is a cursor over the session's log: reconnecting is connecting with `after` = the last `seq` that was
received. Programs without asyncio have the same in `askbot_ws.client.sync`.

Example:
    async with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        async for text in chat.ask("Why is the sky blue?"):
            print(text, end="")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Literal

from .answer import Answer, AnswerStream, Asked
from .backoff import reconnect_delay
from .chat import Chat
from .credentials import Credentials
from .endpoint import MAX_SILENCE_SECONDS, Endpoint
from .errors import Closed, Damaged, TimedOut
from .multiplexer import SessionMultiplexer
from .reconnecting_socket import State
from .view import End, Status, Turn, View

__all__ = [
    "Answer",
    "AnswerStream",
    "Asked",
    "Chat",
    "Closed",
    "Damaged",
    "End",
    "State",
    "Status",
    "TimedOut",
    "Turn",
    "View",
    "connect",
]

DEFAULT_URL = "ws://127.0.0.1:8765/v1/chat"
DEFAULT_KEEP_CODE_POINTS = 256 * 1024


def connect(
    url: str = DEFAULT_URL,
    *,
    session: str | None = None,
    after: int | None = None,
    log: str | None = None,
    token: str | Callable[[], str | Awaitable[str]] | None = None,
    ticket: str | Callable[[], str | Awaitable[str]] | None = None,
    ssl: SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    keep: int | None = DEFAULT_KEEP_CODE_POINTS,
    silence: float = MAX_SILENCE_SECONDS,
    delay: Callable[[int], float] = reconnect_delay,
    on_state: Callable[[State], None] = lambda _: None,
) -> Chat:
    """Return a conversation with a server; entering it connects. A connection that is lost is opened again by itself.

    Args:
        url: The server's: `ws://` or `wss://`, or `http(s)://` for the same; without a path, it is `/v1/chat`.
        session: The id of the session to continue, `chat.id` of an earlier conversation; by default a new one.
        after: The position in the session's log to read on from, `chat.view.seq` of that conversation; by default the
            view begins with the newest turns.
        log: The history in which `after` is a position, `chat.view.log` of that conversation. Where the server has
            another history, or a shorter one, the view begins elsewhere than at `after`.
        token: A key or a JWT, sent as `Authorization: Bearer …`. A function is called before each connection, and
            returns the token or an awaitable of it, within 30 seconds. What it raises is raised by entering, and later
            counts as a failed attempt to connect. It is called too a minute before the token expires, and what it
            returns is sent on the open connection; and once more where the server refuses the token later on.
        ticket: A ticket that your application's server has made, sent in the query in place of a token. As it is good
            for one connection, give a function, which is called as `token` is; before the ticket's connection expires,
            another one is opened with a fresh ticket. A string is for programs that connect once.
        ssl: What to trust with `wss://`; by default what Python trusts.
        proxy: A proxy's URL, or None for no proxy; by default what the environment names (`HTTPS_PROXY`, `NO_PROXY`),
            but none for this machine.
        keep: How many code points of questions and answers `chat.view` holds; None for all.
        silence: After how many seconds without a frame a connection is given up. By default 45; the server sends a
            frame every 20 seconds, or as its `ASKBOT_HEARTBEAT` says.
        delay: Returns the seconds to wait before an attempt to reconnect, given the number of attempts before it that
            brought no new event. By default random ones, up to 0.5 for the first, then 1, 2, … 30. What the server asks
            for is added (`retry_after` of its errors, `Retry-After` of a refused handshake).
        on_state: Called with each new `State`.

    Returns:
        A `Chat`, to be entered with `async with`, or awaited and closed.

    Raises:
        Closed: By entering: the server can't be reached. Once it was, nothing is raised for a lost connection.
        SessionNotFound: By entering: the server has no such session, or it is another user's.
        Unauthorized: By entering: the server wants another `token` or `ticket`. While it is read: it is no longer good.
        Forbidden: By entering: the server doesn't serve this caller.
        TimedOut: By entering: the connection is open, but the server has not sent the session for 60 seconds.

    Example:
        ```python
        import asyncio
        from askbot_ws import connect

        async def main() -> None:
            async with connect("ws://127.0.0.1:8765/v1/chat") as chat:
                async for text in chat.ask("Why is the sky blue?"):
                    print(text, end="", flush=True)

        asyncio.run(main())
        ```
    """
    credentials = Credentials(token, ticket)
    endpoint = Endpoint(url=url, credentials=credentials, ssl=ssl, proxy=proxy, silence=silence, delay=delay)
    multiplexer = SessionMultiplexer(endpoint, on_state=on_state)
    return Chat(multiplexer, View(session=session, seq=after, log=log, keep=keep), first=True)
