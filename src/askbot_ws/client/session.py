"""Session: one log as this client reads it, over a line that it may share with others.

    AWAY --attach--> COMING --ready--> HERE --pause--> PAUSED
                        ^                |               |
                        '----attach------+----attach-----'

Its place on the wire is one cursor for all who read: where somebody wants what lies before it, or reading was paused
because nobody had room, it attaches again from there.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum, auto
from typing import Any, TypeAlias, TypeVar, assert_never
from uuid import uuid4

from ..dialects.askbot.frames import (
    Ask,
    Attach,
    Cancel,
    ClientFrame,
    Detach,
    Edit,
    Error,
    Forget,
    History,
    Ready,
    Retry,
    SessionCommand,
    UnknownEvent,
)
from ..errors import AskbotError, SessionNotFound
from ..events import Done, Event, Question, Token
from .doubts import Doubts
from .errors import Damaged, error_of
from .line import Line, Place
from .pieces import GONE, Pieces
from .readers import Readers
from .requests import Asking, Request, Requests
from .view import End, Gap, View

Heard: TypeAlias = Ready | Event | UnknownEvent | History | Error
"""What the server says of a session."""
R = TypeVar("R", bound=Request)


class Stage(Enum):
    """Where it is, seen from the server."""

    AWAY = auto()
    COMING = auto()
    HERE = auto()
    PAUSED = auto()


class Session:
    """What the server says of one session, and what is asked of it."""

    def __init__(self, line: Line, view: View) -> None:
        self.view = view
        self.stage = Stage.AWAY
        self.over: AskbotError | None = None
        self.changed = asyncio.Event()  # set, and replaced, at each change of the view
        self.room = asyncio.Event()  # set when somebody may have room again
        self.attaching = ""  # the id of the frame that it was attached with last, none where the address did it
        self.entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # all that was there is read
        self.requests = Requests()
        self.doubts = Doubts(self.begin)
        self._line = line
        self._readers = Readers()
        self._place = 0  # on the wire
        self._head = 0  # of the log, when we came
        self._from: int | None = None  # what was attached from
        self._history = 0  # the number of the one that is told

    # --- where it is -------------------------------------------------------------------------------------------------

    def set_out(self) -> Place:
        """What to read; whoever connects with it is coming."""
        self.stage, self.attaching = Stage.COMING, ""
        if self.view.seq is None:
            self._from = None
            return Place(self.view.session)
        self._from = self._readers.earliest(self.view.seq)
        return Place(self.view.session, self._from, self.view.log)

    def attach(self) -> None:
        """Read on, on the line as it is; what has no name yet is a new session."""
        session, after, log = self.set_out()
        self.attaching = uuid4().hex
        self._line.send(Attach(id=self.attaching, session=session, after=after, log=log))

    def detach(self) -> None:
        """Read no more. What has no name yet can't be left before it has one: `Connection` sees to that."""
        if self.stage in {Stage.COMING, Stage.HERE} and self.view.session is not None:
            self._line.send(Detach(session=self.view.session))

    def awaits(self, id: str | None) -> bool:
        """Whether an answer to this frame is for us."""
        return id is not None and (id == self.attaching or self.requests.get(id) is not None)

    def pause(self) -> None:
        """Whoever reads has no room, nobody waits: go on later, from there."""
        if self.stage is Stage.HERE:
            self.detach()
            self.stage = Stage.PAUSED

    def relax(self) -> None:
        """Somebody wants more, or has room again."""
        self.room.set()
        if self.over or not self._line.open:
            return
        back = self.stage is Stage.HERE and self._readers.behind(self._place)
        if back or (self.stage is Stage.PAUSED and not self.pressed):
            self.attach()

    @property
    def pressed(self) -> bool:
        """Whether what comes next would find no room, and nobody waits for it."""
        return self._readers.stuck and not self.requests.waited_for

    def missing(self, error: AskbotError) -> None:
        """The server has no such session."""
        if self.view.seq == 0 and self.entered.done():  # it was empty, so nothing was kept of it, and nothing is lost
            self.view = View(keep=self.view.keep)
        else:
            self.end(error)

    def end(self, error: AskbotError) -> None:
        """It is over: whoever waits is told why."""
        if self.over:
            return
        self.over = error
        if not self.entered.done():
            self.entered.set_exception(error)
        for request in self.requests.all():
            forgotten = isinstance(request.frame, Forget) and isinstance(error, SessionNotFound)
            self.requests.settle(request.frame.id, None if forgotten else error)
        for pieces in self._readers:
            pieces.fail(error)
        self.relax()
        self._notify()

    # --- hearing -----------------------------------------------------------------------------------------------------

    def hear(self, frame: Heard) -> None:
        """Take a frame. Raises `Gap`."""
        match frame:
            case Ready():
                self._ready(frame)
            case Question() | Token() | Done():
                if self.stage is not Stage.HERE:
                    return  # still on its way when we left, and it will be sent again
                self._event(frame)
            case UnknownEvent():
                if self.stage is Stage.HERE and frame.seq > self._place:
                    self._pass_over(frame)
            case History():
                self.view.fold(frame)
                self.requests.settle(frame.id, frame)
            case Error():
                self._refused(frame)
            case _:
                assert_never(frame)
        self._notify()

    def _ready(self, ready: Ready) -> None:
        if self.stage in {Stage.AWAY, Stage.PAUSED}:
            return  # still on its way when we left: what it tells anew is told when we come back
        anew = not self.view.continues(ready) or ready.from_ != self._from
        self.stage, self._place = Stage.HERE, ready.from_
        if anew:
            self._anew(ready)
        else:
            self.view.ready, self.view.log = ready, ready.log or self.view.log
        for request in self.requests.all():
            self._send(request)
        self._head = ready.seq
        self._enter()
        if self.pressed:
            self.pause()
        else:
            self.relax()  # somebody may have come to want what is before

    def _enter(self) -> None:
        if not self.entered.done() and self._place >= self._head:
            self.entered.set_result(None)

    def _anew(self, ready: Ready) -> None:
        """What waited for the history that was lost is sent again, on the same connection too."""
        self.view.seq = None
        self.view.fold(ready)
        self._history += 1
        self.doubts = Doubts(self.begin)
        for request in self.requests.all():
            request.sent = 0
        for asking in self.requests.asking():
            asking.turn = None
        for pieces in self._readers:
            pieces.anew(ready.from_)

    def _event(self, event: Event) -> None:
        if event.seq <= self._place:
            return
        if event.start > self._place:
            raise Gap
        self._place = event.seq
        self.view.fold(event)
        for pieces in self._readers:  # before anything else: all are where the wire is, or behind on purpose
            pieces.take(event)
        match event:
            case Question():
                self._acknowledged(event)
            case Done():
                self._ended(event)
            case Token():
                pass
        self._enter()

    def _pass_over(self, event: UnknownEvent) -> None:
        before, self._place = self._place, event.seq
        self.view.fold(event)
        for pieces in self._readers:
            pieces.pass_over(event.seq, after=before)
        self._enter()

    def _acknowledged(self, question: Question) -> None:
        asking = self.requests.get(question.id)
        if isinstance(asking, Asking) and asking.turn is None:
            asking.turn, asking.start, asking.history = question.turn, question.start, self._history
            if asking.unwanted:
                self.begin(Cancel(id=uuid4().hex, turn=question.turn))

    def _ended(self, done: Done) -> None:
        for request in self.requests.all():
            if isinstance(request.frame, Cancel) and request.frame.turn == done.turn:
                self.requests.settle(request.frame.id, None)
            elif isinstance(request, Asking) and request.turn == done.turn:
                request.end = End.of(done)
                self.requests.settle(request.frame.id, request.end)
        turn = self.view.known.get(done.turn)
        if turn and not turn.proven:
            self.doubts.fetch(turn.turn, turn.from_)

    def _refused(self, error: Error) -> None:
        request, raised = self.requests.get(error.id), error_of(error)
        gone = error.code == SessionNotFound.code
        if error.id is not None and error.id == self.attaching:
            self._not_attached(raised)
        elif request is None:
            if gone and error.id is None:
                self.end(raised)
        elif isinstance(request.frame, Forget) and gone:
            self.end(raised)
        elif isinstance(request.frame, Cancel):
            self.requests.settle(error.id, None)  # as wanted: it ended in between
        else:
            for pieces in self._readers:
                if pieces.asking is request:
                    pieces.fail(raised)
            self.requests.settle(error.id, raised)

    def _not_attached(self, error: AskbotError) -> None:
        self.stage = Stage.AWAY
        if error.retryable and self.entered.done():
            raise Gap  # the server can't read its log right now: on the next connection, then
        if isinstance(error, SessionNotFound):
            self.missing(error)
        else:
            self.end(error)
        if not self.over:
            self.attach()

    # --- asking ------------------------------------------------------------------------------------------------------

    def ask(self, frame: Ask | Retry | Edit) -> Asking:
        """Send a question, and keep it until it has ended."""
        return self._begin(Asking(frame, asyncio.get_running_loop().create_future()))

    def begin(self, frame: ClientFrame) -> asyncio.Future[Any]:
        """Send a frame, and keep it until something comes of it."""
        return self._begin(Request(frame, asyncio.get_running_loop().create_future())).settled

    def _begin(self, request: R) -> R:
        if self.over:
            raise self.over
        self.requests.add(request)
        if self.stage is Stage.HERE:
            self._send(request)
        self.relax()
        return request

    def _send(self, request: Request) -> None:
        """Send what has no answer yet. What gets lost is sent again on the next connection, under the same id."""
        known = isinstance(request, Asking) and request.turn is not None
        if self._line.open and request.sent != self._line.number and not known:
            request.sent = self._line.number
            frame = request.frame
            self._line.send(replace(frame, session=self.view.session) if isinstance(frame, SessionCommand) else frame)

    def abandon(self, asking: Asking) -> None:
        """Nobody wants the answer any more: stop it at the server, if it has not ended."""
        if asking.settled.done() or asking.unwanted or self.over:
            return
        asking.unwanted = True
        if asking.turn is not None:
            self.begin(Cancel(id=uuid4().hex, turn=asking.turn))

    # --- reading -----------------------------------------------------------------------------------------------------

    async def recover(self, asking: Asking) -> str:
        """An answer that failed its proof, as it was given. Raises `Damaged`."""
        return await self.doubts.settle(asking)

    def read(self, asking: Asking, *, keeps: bool) -> Pieces:
        """Read an answer from its beginning."""
        at = asking.start if asking.turn is not None else self._place
        pieces = Pieces(self, asking, at=at, keeps=keeps)
        self._readers.add(pieces)
        failure = asking.settled.exception() if asking.settled.done() else None
        if isinstance(error := failure or self.over, AskbotError):
            pieces.fail(error)
        elif asking.end and asking.history != self._history:
            pieces.fail(Damaged(GONE))  # its place may be another turn's by now
        return pieces

    def leave(self, pieces: Pieces) -> None:
        """Nobody reads here any more."""
        self._readers.remove(pieces)
        self.relax()

    def _notify(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
