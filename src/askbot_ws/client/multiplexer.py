"""Connection: sessions that share a line, so that one socket serves them all.

The address names one of them, the others are attached behind it. A session that is lost takes no other along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

from ..dialects.askbot.frames import Alive, Detach, Error, GoingAway, Pong, Ready, ServerFrame, UnknownEvent
from ..errors import AskbotError, SessionNotFound
from .errors import Closed
from .reconnecting_socket import Line, Place, State, Way
from .session import Heard, Session
from .view import View

PATIENCE = 5.0  # seconds in which the socket waits for a slow caller; the server gives up on a reader after 30
LINGER = 1.0  # seconds for which leaving waits, until the server knows which answers nobody wants


class _Over(Exception):
    """No session is left."""


class Connection:
    """One socket after another, and who reads on it."""

    def __init__(self, way: Way, *, on_state: Callable[[State], None]) -> None:
        self._on_state = on_state
        self._sessions: list[Session] = []
        self._first: Session | None = None  # the one that the address names
        self._number = 0  # of the line's connections, the one whose sessions are attached
        self._line = Line(way, on_state=on_state, place=self._place, hear=self._hear)
        self._task: asyncio.Task[None] | None = None

    async def enter(self, view: View) -> Session:
        """Read a session; the first one opens the line. Raises what `connect` raises."""
        if view.session is not None and self._named(view.session):
            raise ValueError(f"session {view.session} is being read on this connection already")
        session = Session(self._line, view)
        self._sessions.append(session)
        if self._task is None:
            self._task = asyncio.create_task(self._live())
        elif self._task.done():
            session.end(Closed())
        elif self._line.open:
            session.attach()
        for other in self._sessions:
            other.room.set()  # nobody has the socket to itself any more
        try:
            await session.entered
        except BaseException:
            self._drop(session)
            raise
        return session

    async def leave(self, session: Session) -> None:
        """Read it no more; what it was asked to cancel is cancelled."""
        await self._linger([session])
        self._drop(session)

    def _drop(self, session: Session) -> None:
        session.detach()
        session.end(Closed())
        if session in self._sessions:
            self._sessions.remove(session)
        if self._task and not self._sessions:
            self._task.cancel()

    async def close(self) -> None:
        """Leave all of them, and end."""
        task = self._task
        if task is None:
            return
        await self._linger([*self._sessions])
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()  # a fault of ours is not swallowed

    async def _linger(self, sessions: list[Session]) -> None:
        await asyncio.sleep(0)  # loops that were left on the way here say so now
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                for session in sessions:
                    while self._line.open and not session.over and session.requests.unsaid(self._line.number):
                        await session.changed.wait()

    # --- the line ----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        error: AskbotError = Closed()
        try:
            while self._sessions:
                with suppress(SessionNotFound):
                    await self._one_session()
        except AskbotError as fatal:
            error = fatal
        except _Over:
            pass
        finally:
            for session in tuple(self._sessions):
                session.end(error)
            self._on_state("closed")

    async def _one_session(self) -> None:
        """Until the one that the address names is lost."""
        try:
            await self._line.run()
        except SessionNotFound as error:
            if self._first:
                self._first.missing(error)
                self._remove_ended(self._first)

    def _place(self) -> Place:
        self._first = self._sessions[0]
        return self._first.set_out()

    def _hear(self, frame: ServerFrame | UnknownEvent) -> Awaitable[None] | None:
        """Pass a frame on to whom it is about; returns something to wait for where there is no room for the next."""
        if self._line.number != self._number:
            self._arrived()
        if isinstance(frame, GoingAway | Pong | Alive):
            return None
        session = self._about(frame)
        if session is None:
            if isinstance(frame, Ready) and not self._named(frame.session):  # it was left before it had a name
                self._line.send(Detach(id=uuid4().hex, session=frame.session))
            return None
        session.hear(frame)
        self._remove_ended(session)
        return self._breathe(session) if session.pressed else None

    def _arrived(self) -> None:
        """A connection is open. The address named the first session, and its `ready` is what we hear now."""
        self._number = self._line.number
        for session in self._sessions:
            if session is not self._first:
                session.attach()

    def _about(self, frame: Heard) -> Session | None:
        match frame:
            case Ready() if frame.id is not None:
                return next((session for session in self._sessions if session.awaits(frame.id)), None)
            case Ready():
                return self._named(frame.session) or self._named(None)
            case Error():
                waiting = (session for session in self._sessions if session.awaits(frame.id))
                return next(waiting, None) or (self._named(frame.session) if frame.session else None)
            case _:
                return self._named(frame.session)

    def _named(self, name: str | None) -> Session | None:
        for session in self._sessions:
            if session.view.session == name:
                return session
        return None

    def _remove_ended(self, session: Session) -> None:
        if session.over and session in self._sessions:
            self._sessions.remove(session)
            if not self._sessions:
                raise _Over

    async def _breathe(self, session: Session) -> None:
        """Let whoever reads have its turn. Who is slow has the socket wait; where others use it, it goes on without."""
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while session.pressed and len(self._sessions) == 1:
                    session.room.clear()
                    await session.room.wait()
        if session.pressed:
            session.pause()
