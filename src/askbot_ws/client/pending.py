"""Requests: frames that wait for what they asked for, kept over connections, and sent again on each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from ..dialects.askbot.frames import Cancel, ClientFrame
from .view import End, TextBuffer

KEPT = 64 * 1024  # code points of an answer that was iterated over; who awaits a longer one then reads it again


@dataclass(slots=True, eq=False)
class Request:
    """A frame that something will come of."""

    frame: ClientFrame
    settled: asyncio.Future[Any]
    sent: int = 0  # the number of the connection that it went out on


@dataclass(slots=True, eq=False)
class Asking(Request):
    """A question; it is settled when its turn has ended."""

    turn: str | None = None  # once it is in the log
    start: int = 0  # the place before it there
    history: int = 0  # the number of the history in which it has them
    end: End | None = None
    unwanted: bool = False  # cancelled before it was acknowledged
    awaited: int = 0  # by how many, while somebody else iterates
    kept: TextBuffer | None = field(default_factory=TextBuffer)  # what was iterated over; None: it was too much

    def keep(self, text: str) -> None:
        """Remember it, for whoever awaits the answer after iterating over it."""
        if self.kept is not None:
            self.kept.append(text)
            self.kept = self.kept if self.kept.size <= KEPT else None

    @property
    def text(self) -> str | None:
        """The answer, where it was iterated over and is remembered."""
        check = self.end.check if self.end else None
        return str(self.kept) if check and self.kept is not None and self.kept.size == check.chars else None


class Requests:
    """Those of one session, by their ids."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, Request] = {}

    def add(self, request: Request) -> None:
        """One more."""
        request.settled.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody must await
        self._open[request.frame.id or ""] = request

    def get(self, id: str | None) -> Request | None:
        """The one with this id, while it waits."""
        return self._open.get(id or "")

    def all(self) -> list[Request]:
        """Those that wait, oldest first."""
        return [*self._open.values()]

    def asking(self) -> list[Asking]:
        """The questions among them."""
        return [request for request in self._open.values() if isinstance(request, Asking)]

    def settle(self, id: str | None, result: object) -> None:
        """Here is what it asked for, or an exception."""
        request = self._open.pop(id or "", None)
        if request is None or request.settled.done():
            return
        if isinstance(result, BaseException):
            request.settled.set_exception(result)
        else:
            request.settled.set_result(result)

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for more than the text of an answer."""
        return any(not isinstance(request, Asking) or request.awaited for request in self._open.values())

    def unsaid(self, connection: int) -> bool:
        """Whether the server can't know yet that a turn is to be cancelled."""
        return any(
            (isinstance(request, Asking) and request.unwanted and request.turn is None)
            or (isinstance(request.frame, Cancel) and request.sent != connection)
            for request in self._open.values()
        )
