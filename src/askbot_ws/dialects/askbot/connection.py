"""Connection: one client, from its handshake to its close."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import parse_qs, urlsplit

import structlog
from pydantic import TypeAdapter, ValidationError
from websockets.exceptions import ConnectionClosed

from ... import __version__
from ...core.cursor import newest, resumes
from ...core.limits import Bucket
from ...core.log import size
from ...errors import AskbotError, FrameError, Internal, InvalidFrame, SessionNotFound
from ...events import MAX_SEQ, SessionId, TurnRecord
from ...hub import Hub, Live
from ...server.socket import Socket
from ..flow import Reading
from .frames import (
    PROTOCOL,
    About,
    Ask,
    Attach,
    Cancel,
    ClientFrame,
    Detach,
    Edit,
    Forget,
    Frame,
    GoingAway,
    History,
    HistoryRequest,
    Limits,
    Ping,
    Pong,
    Ready,
    Retry,
    decode_client,
    encode,
    error_frame,
)

HISTORY_BYTES = 256 * 1024  # a history frame may have so much text, and one turn more
SESSIONS = 100  # on one connection
RECONNECT_AFTER = 0.5  # seconds; clients spread themselves from there on

log = structlog.get_logger(__name__)
_session: TypeAdapter[str] = TypeAdapter(SessionId)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a connection may do."""

    limits: Limits
    frames_per_minute: int | None = None


class Connection:
    """Reads commands, and has a cursor for each session that it reads."""

    def __init__(self, socket: Socket, hub: Hub, terms: Terms) -> None:
        self.socket = socket
        self._hub = hub
        self._terms = terms
        self._readings: dict[str, Reading] = {}
        self._bad = Bucket(rate=1.0, burst=200)
        self._pace: Bucket | None = None
        if terms.frames_per_minute is not None:
            self._pace = Bucket(rate=terms.frames_per_minute / 60, burst=terms.frames_per_minute)
        self._room: asyncio.Event | None = None  # what a client that takes no answers has to wait for
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        socket.on_writable = self._writable

    # --- the life of a connection ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve it until it closes."""
        begun = self._now()
        frames = 0
        try:
            await self._enter()
            going = True
            while going:  # `async for` would be one more generator in memory, and to go through
                data = await self.socket.recv()
                frames += 1
                going = await self._take(data)
        except ConnectionClosed:
            pass
        except Exception:  # the other edge: a fault in one connection is that connection's
            log.exception("connection_failed")
            await self.socket.close(1011)
        finally:
            for reading in tuple(self._readings.values()):
                self._detach(reading)
            log.info(
                "connection_closed", code=self.socket.close_code, frames=frames, total_s=round(self._now() - begun, 3)
            )

    async def _enter(self) -> None:
        """Attach the session that the address names, or a new one."""
        query = parse_qs(urlsplit(self.socket.request.path if self.socket.request else "").query)
        for said in (self.socket.request, self.socket.response):
            if said is not None:
                said.headers.clear()  # kilobytes that nobody looks at again
        session, after = query.get("session", [None])[-1], query.get("after", [None])[-1]
        try:
            place = None if after is None else _whole_number(after)
            if session is None:
                await self._attach(self._hub.create(), place, resumed=False)
            else:
                await self._attach(await self._open(session), place, resumed=True)
        except FrameError as error:
            self._refuse(error, None)
            await self.socket.close(1008, error.message[:100])
        except SessionNotFound as error:
            self._refuse(error, None)
            await self.socket.close(4404, error.message)
        except AskbotError as error:
            self._refuse(error, None)
            await self.socket.close(1013, error.message[:100])

    async def _open(self, session: str) -> Live:
        try:
            _session.validate_python(session)
        except ValidationError:
            raise SessionNotFound from None
        return await self._hub.open(session)

    async def _attach(self, live: Live, after: int | None, *, resumed: bool, id: str | None = None) -> None:
        """Begin to read a session: `ready`, then what follows, with no gap and no overlap."""
        reading = Reading(live, self.socket, self._hub, self._closed)
        self._readings[live.id] = reading
        self._hub.attach(live, reading)
        try:
            start = after if after is not None and resumes(after, head=live.log.head) else await self._newest(live)
        except BaseException:
            self._detach(reading)
            raise
        self._ready(live, start, resumed=resumed, id=id)
        reading.begin(start)

    async def _newest(self, live: Live) -> int:
        return newest(await self._hub.turns(live, limit=60)) if live.log.head else 0

    def _ready(self, live: Live, start: int, *, resumed: bool, id: str | None) -> None:
        self.send(
            Ready(
                session=live.id,
                seq=live.log.head,
                from_=start,
                resumed=resumed,
                protocol=PROTOCOL,
                server=f"askbot-ws/{__version__}",
                model=self._hub.upstream.model,
                limits=self._terms.limits,
                log="log",
                id=id,
            )
        )

    def _detach(self, reading: Reading) -> None:
        reading.end()
        self._readings.pop(reading.live.id, None)

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Send a frame that is not in the log."""
        self.socket.write(encode(frame))

    def _closed(self, reading: Reading, error: AskbotError) -> None:
        """The session is gone."""
        self._detach(reading)
        self.send(error_frame(error, session=reading.live.id))

    def _refuse(self, error: AskbotError, frame: ClientFrame | None) -> None:
        """Tell the client why nothing has changed, and which session that is about where there is but one."""
        id = error.id if isinstance(error, FrameError) and error.id else frame.id if frame else None
        session = frame.session if frame and not isinstance(frame, Ping) else None
        if session is None and len(self._readings) == 1:
            session = next(iter(self._readings))
        self.send(error_frame(error, id=id, session=session))

    def _writable(self) -> None:
        if self._room is not None:
            self._room.set()
        for reading in tuple(self._readings.values()):
            reading.pump()

    def going_away(self, *, limit: float) -> None:
        """Tell the client that the server drains. Whoever has a turn running here stays for it, `limit` at most."""
        busy = any(not reading.live.session.idle for reading in self._readings.values())
        if self._begun:
            self.send(GoingAway(reconnect_after=limit if busy else RECONNECT_AFTER))

    @property
    def _begun(self) -> bool:
        """Whether `ready` was sent: it is the first frame, however long the store takes for it (PROTOCOL 2)."""
        return self.socket.sent_at > 0

    # --- taking frames -----------------------------------------------------------------------------------------------

    async def _take(self, data: str | bytes) -> bool:
        """Follow one frame; False where the connection is to end."""
        if not isinstance(data, str):
            await self._close(1003, "text frames only")
            return False
        if self._pace is not None and self._pace.take(now=self._now()):
            await self._close(4429, "too many frames")
            return False
        try:
            frame = decode_client(data)
        except FrameError as error:
            return await self._bad_frame(error)
        try:
            await self._follow(frame)
        except AskbotError as error:
            if isinstance(error, Internal) or error.code == "internal":
                log.warning("command_failed", type=frame.type, exc_info=True)
            self._refuse(error, frame)
        if not self.socket.writable:  # whoever takes no answers gets to send no questions
            self._room = asyncio.Event()
            await self._room.wait()
            self._room = None
        return True

    async def _bad_frame(self, error: FrameError) -> bool:
        self._refuse(error, None)
        if self._bad.take(now=self._now()):
            await self._close(1008, "too many bad frames")
            return False
        return True

    async def _close(self, code: int, reason: str) -> None:
        """Close it, and read what still arrives: behind all of that is the client's own close."""
        closing = asyncio.create_task(self.socket.close(code, reason))
        try:
            async for _ in self.socket:
                pass
        finally:
            await closing

    async def _follow(self, frame: ClientFrame) -> None:
        match frame:
            case Ask():
                await self._hub.ask(self._about(frame), frame)
            case Cancel():
                await self._hub.cancel(self._about(frame), frame)
            case Retry():
                await self._hub.retry(self._about(frame), frame)
            case Edit():
                await self._hub.edit(self._about(frame), frame)
            case HistoryRequest():
                await self._history(self._about(frame), frame)
            case Attach():
                await self._attach_further(frame)
            case Detach():
                self._detach(self._readings[self._about(frame).id])
            case Forget():
                await self._forget(frame)
            case Ping():
                self.send(Pong(id=frame.id))
            case _:
                assert_never(frame)

    def _about(self, frame: About) -> Live:
        """The attached session that a frame is about. Raises `SessionNotFound`, `InvalidFrame`."""
        if frame.session is None:
            if not self._readings:
                raise SessionNotFound("No session is attached.")
            if len(self._readings) > 1:
                raise InvalidFrame("session: more than one is attached, so say which.")
            return next(iter(self._readings.values())).live
        reading = self._readings.get(frame.session)
        if reading is None:
            raise SessionNotFound("This session is not attached here.")
        return reading.live

    async def _attach_further(self, frame: Attach) -> None:
        if frame.session in self._readings:  # read anew from there
            self._detach(self._readings[frame.session])
        if len(self._readings) >= SESSIONS:
            raise InvalidFrame(f"session: {SESSIONS} are the most on one connection.")
        if frame.session is None:
            await self._attach(self._hub.create(), frame.after, resumed=False, id=frame.id)
        else:
            await self._attach(await self._open(frame.session), frame.after, resumed=True, id=frame.id)

    async def _forget(self, frame: Forget) -> None:
        live = await self._open(frame.session)
        reading = self._readings.get(frame.session)
        await self._hub.forget(live, keep_quiet=reading)
        if reading is not None:
            self._detach(reading)
        self._refuse(SessionNotFound("The session was forgotten."), frame)

    async def _history(self, live: Live, frame: HistoryRequest) -> None:
        turns = list(await self._hub.turns(live, before=frame.before, limit=frame.limit + 1))
        kept = _affordable(turns[-frame.limit :])
        self.send(History(session=live.id, id=frame.id, turns=kept, more=len(kept) < len(turns)))


def _affordable(turns: list[TurnRecord]) -> list[TurnRecord]:
    """The newest turns that make a frame of a bearable size, but at least one."""
    room = HISTORY_BYTES
    for index in range(len(turns) - 1, -1, -1):
        if room <= 0:
            return turns[index + 1 :]
        room -= size(turns[index].text) + size(turns[index].answer)
    return turns


def _whole_number(text: str) -> int:
    """A place in a log, from the address. Raises `InvalidFrame`."""
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MAX_SEQ:
        raise InvalidFrame("after: it should be a whole number, 0 or more.")
    return int(text)
