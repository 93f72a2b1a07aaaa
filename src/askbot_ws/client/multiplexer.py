"""SessionMultiplexer: several sessions on one socket.

The connection's URL names the first of them, the others are attached on it. A session that is lost ends no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

from ..dialects.askbot.frames import (
    Alive,
    Attach,
    Authorized,
    Detach,
    Error,
    Fork,
    GoingAway,
    Pong,
    Ready,
    ServerFrame,
    Sessions,
    UnknownEvent,
)
from ..errors import AskbotError, InvalidFrame, SessionNotFound
from .endpoint import Endpoint, ResumePoint
from .errors import Closed
from .pending import encoding_error, ignore_result, too_long_error
from .reconnecting_socket import ReconnectingSocket, State
from .session import ClientSession, SessionFrame
from .view import Gap, View

MAX_BLOCKED_SECONDS = 5.0  # for which the socket waits for a slow caller; the server closes a slow reader after 30
FRAME_TOO_LONG_CODE = 1009
FLUSH_CANCELS_SECONDS = 1.0  # for which closing waits, until cancels are sent


class _NoSessionsLeft(Exception):
    """The last session was closed."""


class SessionMultiplexer:
    """A reconnecting socket, and the sessions that are read on it."""

    def __init__(self, endpoint: Endpoint, *, on_state: Callable[[State], None]) -> None:
        self.state: State = "connecting"
        self._on_state = on_state
        self._sessions: list[ClientSession] = []
        self._first: ClientSession | None = None  # the one that the connection's URL names, or makes
        self._connection_number = 0  # of the connection on which all sessions were attached
        self._socket = ReconnectingSocket(
            endpoint,
            on_state=self._set_state,
            resume_point=self._resume_point,
            on_frame=self._dispatch,
            on_bad_frame=self._on_bad_frame,
        )
        self._task: asyncio.Task[None] | None = None

    async def open_session(self, view: View, fork: Fork | None = None) -> ClientSession:
        """Read a session, and return it once its log was read; the first one connects. Raises what `connect` raises.

        `fork` is the frame that makes it; None: it exists, or is to be a new one.
        """
        if error := encoding_error(fork or Attach(session=view.session, log=view.log)):
            raise error
        if view.session is not None and self._find(view.session):
            raise ValueError(f"session {view.session} is being read on this connection already")
        session = ClientSession(self._socket, view, fork)
        self._sessions.append(session)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            elif self._task.done():
                session.close(Closed())
            elif self._socket.can_send:
                session.attach()
            for other in self._sessions:
                other.unblocked.set()  # one that has the socket wait can't do so any more
            await session.wait_until_caught_up()
        except BaseException:
            self._remove(session)
            raise
        return session

    async def close_session(self, session: ClientSession) -> None:
        """Detach a session, after its cancels are sent."""
        try:
            await self._flush_cancels([session])
        finally:
            self._remove(session)

    def _remove(self, session: ClientSession) -> None:
        session.detach()
        session.close(Closed())
        if session in self._sessions:
            self._sessions.remove(session)
        if self._task and not self._sessions:
            self._task.cancel()

    async def close(self) -> None:
        """Close all sessions and the socket, after the cancels are sent; at once where this is cancelled."""
        task = self._task
        if task is None:
            return
        try:
            await self._flush_cancels([*self._sessions])
            task.cancel()
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            self._socket.abort()
            ignore_result(task)
            await asyncio.wait([task])  # this takes no time, and needs none of ours: it ends if we are cancelled again
            raise
        if not task.cancelled():
            task.result()  # raises an unexpected error

    async def _flush_cancels(self, sessions: list[ClientSession]) -> None:
        """Wait until the server knows of all cancels, up to FLUSH_CANCELS_SECONDS."""
        await asyncio.sleep(0)  # streams that were dropped just now call `cancel_question` in the next iteration
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_CANCELS_SECONDS):
                for session in sessions:
                    while (
                        self._socket.can_send
                        and not session.close_reason
                        and session.requests.has_unsent_cancel(self._socket.connection_number)
                    ):
                        await session.changed.wait()

    # --- the socket --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep the socket connected until no session is left, or an error is final."""
        reason: AskbotError = Closed()
        try:
            while self._sessions:
                with suppress(SessionNotFound):
                    await self._run_until_not_found()
        except AskbotError as final:
            reason = final
        except _NoSessionsLeft:
            pass
        except Exception as unexpected:  # a function of the caller's has raised
            reason.__cause__ = unexpected
            for session in self._sessions:
                session.fail_entering(unexpected)
            raise
        finally:
            for session in tuple(self._sessions):
                session.close(reason)
            self._set_state("closed")

    def _set_state(self, state: State) -> None:
        self.state = state
        self._on_state(state)

    async def _run_until_not_found(self) -> None:
        """Keep the socket connected until the server no longer has the session that the URL names."""
        try:
            await self._socket.run()
        except SessionNotFound as error:
            if self._first:
                self._first.on_not_found(error)
                self._remove_closed(self._first)

    def _on_bad_frame(self, code: int) -> None:
        """Fail the request that the server has probably closed the connection for, so that it is not sent again."""
        error: AskbotError = InvalidFrame(f"The server takes this for a bad frame, and has closed with {code}.")
        number = self._socket.connection_number
        suspects = [
            (session, request)
            for session in self._sessions
            for request in session.requests.all()
            if request.sent_on == number and not request.acknowledged
        ]
        if not suspects:
            behind = [each for each in self._sessions if each is not self._first and not each.caught_up.done()]
            if behind:
                behind[-1].close(error)
            return
        session, request = min(suspects, key=lambda each: each[1].number)
        if code == FRAME_TOO_LONG_CODE:
            session, request = max(suspects, key=lambda each: (each[1].size, -each[1].number))
            error = too_long_error(request.frame)
        session.fail(request, error)

    def _resume_point(self) -> ResumePoint:
        self._first = next((session for session in self._sessions if session.can_be_first), None)
        return self._first.attach_by_url() if self._first else ResumePoint()

    def _dispatch(self, frame: ServerFrame | UnknownEvent) -> Awaitable[None] | None:
        """Pass a frame to its session; returns what to wait for before the next one, where a reader is blocked."""
        if self._socket.connection_number != self._connection_number:
            self._attach_others()
        if isinstance(frame, GoingAway | Pong | Alive | Authorized):
            return None
        session = self._session_of(frame)
        if session is None:
            if isinstance(frame, Ready) and not self._find(frame.session):  # it was closed before it had a name
                self._socket.send(Detach(id=uuid4().hex, session=frame.session))
            return None
        try:
            session.receive(frame)
        except Gap:
            self._socket.given_up_for = session
            raise
        self._remove_closed(session)
        return self._wait_for_readers(session) if session.blocked else None

    def _attach_others(self) -> None:
        """Attach all sessions but the first on a new connection, whose first frame is the `ready` of that one."""
        self._connection_number = self._socket.connection_number
        for session in self._sessions:
            if session is self._first:
                session.start_ready_timer()
            else:
                session.attach()

    def _session_of(self, frame: SessionFrame) -> ClientSession | None:
        match frame:
            case Ready() if frame.id is not None:
                return next((session for session in self._sessions if session.attachment.id == frame.id), None)
            case Ready():
                return self._find(frame.session) or self._new_first
            case Sessions():
                return next((session for session in self._sessions if session.awaits_reply(frame.id)), None)
            case Error():
                waiting = (session for session in self._sessions if session.awaits_reply(frame.id))
                return next(waiting, None) or (self._find(frame.session) if frame.session else None)
            case _:
                return self._find(frame.session)

    @property
    def _new_first(self) -> ClientSession | None:
        """The new session that this connection was opened for, while it has no name."""
        first = self._first
        return first if first in self._sessions and first and first.view.session is None else None

    def _find(self, name: str) -> ClientSession | None:
        """Return the session of this name."""
        for session in self._sessions:
            if session.view.session == name:
                return session
        return None

    def _remove_closed(self, session: ClientSession) -> None:
        if session.close_reason and session in self._sessions:
            self._sessions.remove(session)
            if not self._sessions:
                raise _NoSessionsLeft

    async def _wait_for_readers(self, session: ClientSession) -> None:
        """Wait for room, up to MAX_BLOCKED_SECONDS, or not at all on a shared socket. Then pause the session."""
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_BLOCKED_SECONDS):
                while session.blocked and len(self._sessions) == 1:
                    session.unblocked.clear()
                    await session.unblocked.wait()
        if session.blocked:
            session.pause()
