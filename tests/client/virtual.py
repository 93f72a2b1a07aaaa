"""A client in virtual time: a loop that moves its clock on where nothing is left to do, and servers without I/O."""

from __future__ import annotations

import asyncio
import hashlib
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeAlias, TypeVar

from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from askbot_ws.client import Chat, State, View
from askbot_ws.client.backoff import reconnect_delay
from askbot_ws.client.credentials import Credentials, TokenSource
from askbot_ws.client.endpoint import ConnectError, Endpoint, ResumePoint
from askbot_ws.client.multiplexer import SessionMultiplexer
from askbot_ws.dialects.askbot.frames import Alive, ClientFrame, Error, Limits, Ready, decode_client, encode
from askbot_ws.events import Check, Done, Question, Record, Timing, Token

T = TypeVar("T")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
HEARTBEAT = 20.0
CLOCK_OFFSET = 4_000_000_000.0  # of the server's clock to the loop's: a hundred years ahead of this machine's


class VirtualSelector(selectors.SelectSelector):
    """Moves a clock on by the time that would be waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; where nothing is, the time has passed."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen")
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._virtual.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


class Line:
    """A connection: a client's `Socket`, and the server's side of it, which sends heartbeats."""

    def __init__(self, point: ResumePoint) -> None:
        self.point = point
        self.clock_offset = CLOCK_OFFSET
        self.received: list[ClientFrame] = []
        self.on_frame: Callable[[ClientFrame], None] = lambda _: None
        self._frames: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._ended: Exception | None = None
        asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)

    def _beat(self) -> None:
        if self.is_open:
            asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)
            self.send(Alive())

    # --- the client's side

    async def recv(self, decode: Literal[False]) -> bytes:
        if self._ended and self._frames.empty():
            raise self._ended
        frame = await self._frames.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    def send_soon(self, data: bytes) -> None:
        if self._ended is None:
            frame = decode_client(data)
            self.received.append(frame)
            self.on_frame(frame)

    async def close(self) -> None:
        self._end(ConnectionClosedError(None, None))

    def abort(self) -> None:
        self._end(ConnectionClosedError(None, None))

    # --- the server's side

    @property
    def is_open(self) -> bool:
        return self._ended is None

    def send(self, *frames: Record | bytes) -> None:
        for frame in frames:
            self._frames.put_nowait(frame if isinstance(frame, bytes) else encode(frame))

    def end(self, code: int = 1006) -> None:
        """Close the connection; 1006: it is lost."""
        received = None if code == 1006 else Close(code, "")
        self._end(ConnectionClosedError(received, received, rcvd_then_sent=None if received is None else True))

    def _end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
            self._frames.put_nowait(error)


Accept: TypeAlias = Callable[[Line], Awaitable[None] | None]


class VirtualEndpoint(Endpoint):
    """Opens `Line`s in place of sockets, and counts the attempts."""

    attempts: list[float]
    lines: list[Line]
    tokens: list[str | None]
    tickets: list[str | None]
    accept: Accept

    async def open(self, point: ResumePoint, ticket: str | None = None) -> Line:
        """Call `accept` with the new line; what it raises refuses the connection."""
        self.attempts.append(now())
        self.tokens.append(await self.credentials.get_token())
        self.tickets.append(ticket or await self.credentials.get_ticket())
        line = Line(point)
        self.lines.append(line)
        try:
            if (wait := self.accept(line)) is not None:
                await wait
        except ConnectError:
            line.end()
            raise
        return line


def virtual_endpoint(
    accept: Accept,
    *,
    delay: Callable[[int], float] = reconnect_delay,
    token: TokenSource | None = None,
    ticket: TokenSource | None = None,
) -> VirtualEndpoint:
    endpoint = VirtualEndpoint("ws://virtual", credentials=Credentials(token, ticket), delay=delay)
    for name in ("attempts", "lines", "tokens", "tickets"):
        object.__setattr__(endpoint, name, [])
    object.__setattr__(endpoint, "accept", accept)
    return endpoint


def chat_with(
    endpoint: Endpoint, *, on_state: Callable[[State], None] = lambda _: None, session: str | None = None
) -> Chat:
    """A conversation, as `connect` returns it."""
    return Chat(SessionMultiplexer(endpoint, on_state=on_state), View(session=session), first=True)


def refuse(*, status: int | None = None, retry_after: float | None = None) -> None:
    raise ConnectError("refused", retryable=True, status=status, retry_after=retry_after)


# --- frames ----------------------------------------------------------------------------------------------------------


def ready(
    *,
    seq: int = 0,
    from_: int = 0,
    log: str = "log",
    session: str = "s",
    frame_bytes: int = 1_048_576,
    id: str | None = None,
    user: str | None = None,
    expires: float | None = None,
    title: str | None = None,
) -> Ready:
    limits = Limits(frame_bytes=frame_bytes, question_chars=8000, waiting_turns=8)
    return Ready(
        session=session, seq=seq, from_=from_, resumed=from_ > 0, protocol="askbot.v1", server="virtual", model="m",
        limits=limits, log=log, id=id, user=user, expires=expires, title=title,
    )  # fmt: skip


def error(code: str, *, id: str | None = None, retry_after: float | None = None) -> Error:
    return Error(code=code, message="No.", retryable=True, retry_after=retry_after, id=id, session="s")


def question(id: str | None, *, at: int = 0) -> Question:
    return Question(session="s", seq=at + 1, turn=f"t{at + 1}", id=id, text="Why?", created=0.0)


def token(text: str, *, at: int, turn: str = "t1") -> Token:
    return Token(session="s", seq=at + len(text), turn=turn, text=text)


def done(text: str = "", *, at: int, turn: str = "t1") -> Done:
    """The end of an answer with this text."""
    return Done(
        session="s", seq=at + 1, turn=turn, reason="stop", model="m", usage=None,
        timing=Timing(queued=0.0, first_token=0.0, total=0.0),
        check=Check(chars=len(text), sha256=hashlib.sha256(text.encode()).hexdigest()),
    )  # fmt: skip


def answer(id: str | None, *pieces: str, at: int = 0) -> list[Record]:
    """All events of a turn."""
    events: list[Record] = [question(id, at=at)]
    seq, turn = at + 1, f"t{at + 1}"
    for piece in pieces:
        events.append(token(piece, at=seq, turn=turn))
        seq += len(piece)
    return [*events, done("".join(pieces), at=seq, turn=turn)]
