"""The Python client: a conversation that outlives its connections.

    async with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        async for text in chat.ask("Why is the sky blue?"):
            print(text, end="")

A connection is a cursor over the session's log, so coming back is connecting with `after` = the last `seq` that was
read. `view.py` decides what there is to see; this module connects, asks, and asks again what was not acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, assert_never
from uuid import uuid4

from . import line
from .asked import Answer, Asked, error_of
from .errors import AskbotError, SessionNotFound
from .frames import (
    Alive,
    Ask,
    Cancel,
    ClientFrame,
    Done,
    Edit,
    Error,
    Forget,
    GoingAway,
    History,
    HistoryRequest,
    Pong,
    Question,
    Ready,
    Retry,
    ServerFrame,
    Token,
    WhenBusy,
)
from .line import Closed, Line, State
from .view import Turn, View

__all__ = ["Answer", "Asked", "Chat", "Closed", "State", "Turn", "View", "connect"]

URL = "ws://127.0.0.1:8765/v1/chat"


def connect(
    url: str = URL,
    *,
    session: str | None = None,
    after: int | None = None,
    token: str | None = None,
    silence: float = line.SILENCE,
    delay: Callable[[int], float] = line.delay,
    on_state: Callable[[State], None] = lambda _: None,
) -> Chat:
    """A conversation, to be entered with `async with`; a new one, or `session` from the place `after` on.

    Entering raises `Closed` where the server can't be reached, `SessionNotFound`, `Unauthorized` or `Forbidden`. From
    then on lost connections come back by themselves.
    """
    return Chat(
        url=url, view=View(session=session, seq=after), token=token, silence=silence, delay=delay, on_state=on_state
    )


@dataclass(slots=True, eq=False)
class _Request:
    """A frame that waits for what it asked for; kept over connections, and sent again on each."""

    frame: ClientFrame
    settled: asyncio.Future[Any]
    unwanted: bool = False  # cancelled before the server acknowledged it


class Chat:
    """One session, over as many connections as it takes."""

    def __init__(
        self,
        *,
        url: str,
        view: View,
        token: str | None,
        silence: float,
        delay: Callable[[int], float],
        on_state: Callable[[State], None],
    ) -> None:
        self.view = view
        self.changed = asyncio.Event()  # set, and replaced, at each change of the view
        self._line = Line(
            url,
            token=token,
            silence=silence,
            delay=delay,
            on_state=on_state,
            place=lambda: (self.view.session, self.view.seq),
            hear=self._hear,
        )
        self._on_state = on_state
        self._requests: dict[str, _Request] = {}
        self._doubts: dict[str, str] = {}  # answers that fail their proof, by the request that asks for them again
        self._over: AskbotError | None = None

    # --- what a conversation can do ----------------------------------------------------------------------------------

    @property
    def session(self) -> str | None:
        """Its name: with it, `connect` continues this conversation anywhere."""
        return self.view.session

    def ask(
        self,
        text: str,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        when_busy: WhenBusy = "queue",
    ) -> Asked:
        """Ask a question."""
        return self._question(
            Ask(
                id=uuid4().hex,
                text=text,
                model=model,
                temperature=temperature,
                max_tokens=max_tokens,
                when_busy=when_busy,
            )
        )

    def retry(self, turn: str | None = None) -> Asked:
        """Ask a turn's question again; without `turn`, the last one's."""
        return self._question(Retry(id=uuid4().hex, turn=turn))

    def edit(self, turn: str, text: str) -> Asked:
        """Ask this instead of that turn's question."""
        return self._question(Edit(id=uuid4().hex, turn=turn, text=text))

    async def cancel(self, turn: str | None = None) -> None:
        """Stop a turn; without `turn`, the one that runs. Returns once it has ended; what has ended is no error."""
        unanswered = next((each.turn for each in self.view.turns if each.end is None), None)
        if turn := turn or unanswered:
            await self._request(Cancel(id=uuid4().hex, turn=turn))
            return
        for request in self._requests.values():  # asked, but not in the log yet: it is cancelled when it gets there
            request.unwanted = True

    async def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns into the view; without `before`, those before the oldest that it has."""
        oldest = next(iter(self.view.known.values()), None)
        place = (oldest.from_ if oldest else self.view.seq or 0) + 1
        request = HistoryRequest(id=uuid4().hex, before=place if before is None else before, limit=limit)
        history: History = await self._request(request)
        return history

    async def forget(self) -> None:
        """Delete this conversation, everywhere. It is over then."""
        if self.session is not None:
            await self._request(Forget(id=uuid4().hex, session=self.session))

    # --- coming and going --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live())
        try:
            await self._entered
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()  # a fault of ours is not swallowed

    async def _live(self) -> None:
        try:
            while True:
                await self._one_session()
        except AskbotError as error:
            self._end(error)
        finally:
            self._end(Closed())

    async def _one_session(self) -> None:
        try:
            await self._line.run()
        except SessionNotFound:
            if self.view.seq != 0:
                raise
            self.view = View()  # it was empty, so the server kept nothing of it, and nothing is lost

    def _end(self, error: AskbotError) -> None:
        """It is over: whoever waits is told why."""
        if self._over:
            return
        self._over = error
        if not self._entered.done():
            self._entered.set_exception(error)
        for request in [*self._requests.values()]:
            forgotten = isinstance(request.frame, Forget) and isinstance(error, SessionNotFound)
            self._settle(request.frame.id, None if forgotten else error)
        self._notify()
        self._on_state("closed")

    # --- hearing -----------------------------------------------------------------------------------------------------

    def _hear(self, frame: ServerFrame) -> None:
        self.view.fold(frame)
        match frame:
            case Ready():
                self._ready()
            case Question():
                self._acknowledged(frame)
            case Done():
                self._prove(self.view.known.get(frame.turn))
            case History():
                self._settle(frame.id, frame)
            case Error():
                self._refused(frame)
            case Token() | GoingAway() | Pong() | Alive():
                pass
            case _:
                assert_never(frame)
        self._settle_ended()
        self._notify()

    def _ready(self) -> None:
        for request in self._requests.values():
            self._send(request)
        if not self._entered.done():
            self._entered.set_result(None)

    def _acknowledged(self, question: Question) -> None:
        request = self._requests.get(question.id or "")
        if request and request.unwanted:
            self._begin(Cancel(id=uuid4().hex, turn=question.turn))

    def _prove(self, turn: Turn | None) -> None:
        """An answer that we hold otherwise than it was given is fetched whole."""
        if turn and not turn.proven:
            request = HistoryRequest(id=uuid4().hex, before=turn.from_ + 2, limit=1)  # before the next question
            self._doubts[request.id or ""] = turn.turn
            self._begin(request)

    def _refused(self, error: Error) -> None:
        request = self._requests.get(error.id or "")
        if request and isinstance(request.frame, Cancel):
            self._settle(error.id, None)  # as wanted: it ended in between
        elif request and isinstance(request.frame, Forget) and error.code == SessionNotFound.code:
            raise SessionNotFound(error.message)
        elif request:
            self._settle(error.id, error_of(error))
        elif error.code == SessionNotFound.code and error.session == self.session:
            raise SessionNotFound(error.message)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _question(self, frame: Ask | Retry | Edit) -> Asked:
        return Asked(self, frame.id or "", self._begin(frame))

    async def _request(self, frame: ClientFrame) -> Any:  # noqa: ANN401 - what the frame asks for
        return await asyncio.shield(self._begin(frame))

    def _begin(self, frame: ClientFrame) -> asyncio.Future[Any]:
        if self._over:
            raise self._over
        settled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        settled.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody has to await it
        request = self._requests[frame.id or ""] = _Request(frame, settled)
        self._send(request)
        return settled

    def _send(self, request: _Request) -> None:
        """Send what has no answer yet. What gets lost is sent again on the next connection, under the same id."""
        if not self.view.asked(request.frame.id or ""):
            self._line.send(request.frame)

    def _settle(self, id: str | None, result: object) -> None:
        request = self._requests.pop(id or "", None)
        self._doubts.pop(id or "", None)
        if request is None:
            return
        if isinstance(result, BaseException):
            request.settled.set_exception(result)
        else:
            request.settled.set_result(result)

    def _settle_ended(self) -> None:
        """Whoever waits for the end of a turn that has one, gets it."""
        for frame in [request.frame for request in self._requests.values()]:
            if isinstance(frame, Cancel):
                turn = self.view.known.get(frame.turn or "")
                if turn and turn.end:
                    self._settle(frame.id, None)
            elif (turn := self.view.asked(frame.id or "")) and turn.end and turn.turn not in self._doubts.values():
                self._settle(frame.id, Answer.of(turn))

    def _notify(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
