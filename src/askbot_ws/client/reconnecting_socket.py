"""ReconnectingSocket: a WebSocket to the server that is opened again when it is lost.

It decides when to close, when to reconnect, and which errors are final. What frames mean is up to its owner.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, NoReturn, TypeAlias
from uuid import uuid4

from websockets.exceptions import ConnectionClosed

from ..dialects.askbot.frames import (
    Auth,
    Authorized,
    ClientFrame,
    Error,
    GoingAway,
    Ready,
    ServerFrame,
    UnknownEvent,
    decode_server,
    encode,
)
from ..errors import Forbidden, FrameError, SessionNotFound, Unauthorized
from ..events import Thinking, Token
from .backoff import Backoff
from .credentials import TokenError
from .endpoint import ConnectError, Endpoint, ResumePoint, Socket, is_temporary, safe_message, safe_url
from .errors import Closed
from .renewal import CredentialRenewal
from .view import Gap

TOKEN_WORKED_SECONDS = 30.0  # a connection that lasts so long was not closed because its token was bad from the start
OTHER_USER = "The credential is another user's than the one with which the conversation began."
BAD_FRAME_CODES = frozenset({1003, 1008, 1009})  # the server closes with these because of a frame of ours
LASTING_CODES = BAD_FRAME_CODES | {1002, 1007, 1010}  # and with these where it is another kind of server

# After these errors the connection is opened again. OSError: TimeoutError too. FrameError: it may have been an event.
_CONNECTION_ERRORS = (ConnectError, TokenError, ConnectionClosed, OSError, Gap, FrameError)

_logger = logging.getLogger("askbot_ws.client")

State: TypeAlias = Literal["connecting", "open", "waiting", "closed"]
"""What a conversation's connection does, as `connect` tells `on_state`.

`connecting`: it is being opened. `open`: the server has answered, and events arrive. `waiting`: it was lost, or
an attempt to open it failed, and the next one follows after a pause. `closed`: there will be no further attempt.
"""


class ReconnectingSocket:
    """A WebSocket that is replaced by another one when it is lost; its owner gives the position to resume after."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_state: Callable[[State], None],
        resume_point: Callable[[], ResumePoint],
        on_frame: Callable[[ServerFrame | UnknownEvent], Awaitable[None] | None],
        on_bad_frame: Callable[[int], None],
    ) -> None:
        """`resume_point` returns what the next connection is to read.

        `on_frame` is called with each frame; where it returns an awaitable, the next one is read once that is done.
        `on_bad_frame` is called with the close code where the server has closed because of a frame of ours.
        """
        self.connection_number: int = 0  # counts the connections that got as far as `ready`
        self.given_up_for: object | None = None  # the session that had the last connection given up, by `Gap`
        self._endpoint = endpoint
        self._on_state = on_state
        self._resume_point = resume_point
        self._on_frame = on_frame
        self._on_bad_frame = on_bad_frame
        self._backoff = Backoff(endpoint.delay)
        self._socket: Socket | None = None
        self._session: str | None = None  # the one that the URL of this connection names
        self._ready_at: float | None = None  # the loop's time; None: there was no `ready` on this connection
        self._leave_at = math.inf  # the loop's time, when this connection is given up whatever comes
        self._going_away = False
        self._has_tried = False  # to connect
        self._token_renewed = False  # after 4401, since a connection has last brought something new
        self._renewal: CredentialRenewal | None = None  # of this connection's
        self._auth_id: str | None = None  # of the `auth` that was sent last
        self._reading: asyncio.Timeout | None = None  # the limit of the wait for a frame
        self._user: str | None = None  # who the server says that we are; None: nobody, so far
        self._next_ticket: str | None = None  # for the connection that takes this one's place

    @property
    def can_send(self) -> bool:
        """Whether frames can be sent: from `ready` to `going_away`."""
        return self._ready_at is not None and not self._going_away

    @property
    def is_ready(self) -> bool:
        """Whether frames arrive: from `ready` until the connection is lost."""
        return self._ready_at is not None

    def send(self, frame: ClientFrame) -> None:
        """Send a frame, without waiting. It is lost where the socket is not open, or breaks."""
        self.send_encoded(encode(frame))

    def send_encoded(self, data: bytes) -> None:
        """Send an encoded frame, without waiting. It is lost where the socket is not open, or breaks."""
        if self._socket and self.can_send:
            self._socket.send_soon(data)

    def on_progress(self, session: object) -> None:
        """Count the attempts to connect from zero again: an event of a session has come that was never read before.

        After a connection that was given up for a session, that is no reason where it is another one's.
        """
        self._token_renewed = False
        if self.given_up_for in (None, session):
            self._backoff.reset()

    def abort(self) -> None:
        """Lose this connection at once, without a closing handshake."""
        if self._socket:
            self._socket.abort()

    async def run(self) -> None:
        """Connect, and reconnect for ever. Raises the final error; a failure of the first connection is `Closed`.

        Where it is called again, it waits as it does after a lost connection.
        """
        while True:
            if self._has_tried and self._next_ticket is None:
                self._on_state("waiting")
                await asyncio.sleep(self._backoff.next_delay())
            self._has_tried = True
            self._on_state("connecting")
            error = await self._run_connection()
            code = _close_code(error)
            final = self._final_error(error, code)
            if self._ready_at is not None and code in BAD_FRAME_CODES:
                self._on_bad_frame(code)
            self._ready_at = None
            if not isinstance(error, Gap):
                self.given_up_for = None
            if final:
                raise final

    async def _run_connection(self) -> Exception:
        """Connect, and read frames; returns the error that ended the connection."""
        point = self._resume_point()
        self._session, self._ready_at, self._going_away = point.session, None, False
        ticket, self._next_ticket = self._next_ticket, None
        self._renewal, self._auth_id = CredentialRenewal(self._renew_credential), None
        try:
            self._socket = await self._endpoint.open(point, ticket)
            self._leave_at = asyncio.get_running_loop().time() + self._endpoint.silence
            await self._read_frames(self._socket)
        except _CONNECTION_ERRORS as error:
            if isinstance(error, ConnectError) and error.retry_after is not None:
                self._backoff.hold(error.retry_after)
            return error
        finally:
            self._renewal.stop()
            await self._close_socket()

    async def _close_socket(self) -> None:
        if (socket := self._socket) is None:
            return
        self._going_away = True
        try:
            await socket.close()  # else cancelling would close it as an internal error
        finally:
            socket.abort()  # also where closing is cancelled
            self._socket = None

    async def _read_frames(self, socket: Socket) -> NoReturn:
        """Read frames until the socket ends. Raises TimeoutError after too long a silence, or at `_leave_at`."""
        time, silence = asyncio.get_running_loop().time, self._endpoint.silence
        while True:
            try:
                async with asyncio.timeout_at(min(time() + silence, self._leave_at)) as self._reading:
                    data = await socket.recv(decode=False)
            except TimeoutError:
                if not self._going_away:
                    socket.abort()  # the peer is gone, so there is no closing handshake
                raise
            if (frame := decode_server(data)) and (wait := self._receive(frame)):
                await wait

    def _receive(self, frame: ServerFrame | UnknownEvent) -> Awaitable[None] | None:
        kind = type(frame)
        if kind is Token or kind is Thinking:
            return self._on_frame(frame)  # the most frequent by far
        if isinstance(frame, Ready):
            self._check_user(frame.user)
            if self._ready_at is None and not self._going_away:
                self._ready_at, self._leave_at = asyncio.get_running_loop().time(), math.inf
                self.connection_number += 1
                self._on_state("open")
                self._set_expiry(frame.expires)
        elif isinstance(frame, Authorized):
            self._set_expiry(frame.expires)
            return None
        elif isinstance(frame, GoingAway):  # it may still send, but new requests wait for the next connection
            self._going_away = True
            self._leave_at = min(self._leave_at, asyncio.get_running_loop().time() + frame.reconnect_after)
        elif isinstance(frame, Error):
            if frame.retry_after is not None:
                self._backoff.hold(frame.retry_after)
            if frame.id is not None and frame.id == self._auth_id:
                _logger.warning("the server has not taken the renewed token: %s", frame.code)
                return None
        return self._on_frame(frame)

    # --- credentials -------------------------------------------------------------------------------------------------

    def _check_user(self, user: str | None) -> None:
        """Raise `Unauthorized` where we are another user now: what one has asked is not asked again as another."""
        if self._user is not None and user != self._user:
            raise Unauthorized(OTHER_USER)
        self._user = user

    def _set_expiry(self, expires: float | None) -> None:
        """Have the credential renewed before it expires, in seconds since 1970 by the server's clock; None: never."""
        if self._renewal and self._socket and self._endpoint.credentials.renewable:
            self._renewal.set_deadline(math.inf if expires is None else expires - self._socket.clock_offset)

    async def _renew_credential(self) -> None:
        """Send a fresh token, or open another connection with a fresh ticket. A failure changes nothing."""
        credentials = self._endpoint.credentials
        try:
            if credentials.renewed_by_auth:
                self._send_auth(await credentials.get_token())
            else:
                self._replace_connection(await credentials.get_ticket())
        except TokenError as error:
            _logger.warning("the credential was not renewed: %s", type(error.__cause__).__name__)

    def _send_auth(self, token: str | None) -> None:
        if token:
            self._auth_id = uuid4().hex
            self.send(Auth(id=self._auth_id, token=token))

    def _replace_connection(self, ticket: str | None) -> None:
        """End this connection, and open the next one with this ticket, without a pause, unless the server wants one."""
        if ticket and self.can_send and not self._backoff.hold_seconds:
            self._next_ticket, self._going_away = ticket, True
            self._leave_at = asyncio.get_running_loop().time()
            if self._reading:
                with suppress(RuntimeError):  # no frame is waited for at this moment
                    self._reading.reschedule(self._leave_at)

    def _final_error(self, error: Exception, code: int | None) -> Exception | None:
        """Return the error to end with; None where another connection may help."""
        match code:
            case 4401 | 401 if self._renew_token():
                return None
            case 4401 | 401:
                return Unauthorized()
            case 4403 | 403:
                return Forbidden()
            case 4404 if self._session is not None or self._ready_at is not None:
                return SessionNotFound()
            case _:
                return None if self.connection_number else self._not_reached(error)

    def _renew_token(self) -> bool:
        """Return whether one more connection, with a fresh credential, may help, and count it."""
        if not self._endpoint.credentials.renewable:
            return False
        now = asyncio.get_running_loop().time()
        lasted = self._ready_at is not None and now - self._ready_at >= TOKEN_WORKED_SECONDS
        allowed = lasted or not self._token_renewed
        self._token_renewed = True
        return allowed

    def _not_reached(self, error: Exception) -> Exception:
        if isinstance(error, TokenError):
            return error.__cause__ if isinstance(error.__cause__, Exception) else error
        message = f"There is no answer from {safe_url(self._endpoint.url)}: {safe_message(error)}."
        return Closed(message, retry_after=self._backoff.hold_seconds or None, retryable=_may_pass(error))


def _may_pass(error: Exception) -> bool:
    """Return whether a first connection that has ended so may succeed later."""
    match error:
        case ConnectError():
            return error.retryable
        case FrameError():
            return False  # it speaks another protocol
        case _ if (code := _close_code(error)) is not None:
            return is_temporary(code - 4000) if 4400 <= code < 4600 else code not in LASTING_CODES
        case _:
            return True  # it broke off, or nothing came in time


def _close_code(error: Exception) -> int | None:
    """Return the code with which the server has closed, or the status with which it has refused the handshake."""
    if isinstance(error, ConnectError):
        return error.status
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd_then_sent is not False:
        return error.rcvd.code  # else it has only repeated ours
    return None
