"""Asked: a question under way, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from ..events import Failure, Timing, Usage
from .errors import Damaged
from .pending import Asking
from .text_stream import Pieces, Source
from .view import End


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has ended, whatever the `reason`: one of `askbot_ws.events.Reason`, or a later version's word."""

    text: str
    turn: str
    reason: str
    model: str | None
    usage: Usage | None
    timing: Timing | None
    error: Failure | None


class Log(Source, Protocol):
    """A session's log, from which answers are read."""

    def read(self, asking: Asking, *, keeps: bool) -> Pieces:
        """Read an answer from its beginning."""
        ...

    async def recover(self, asking: Asking) -> str:
        """Fetch an answer that failed its proof as the server's history has it. Raises `Damaged`."""
        ...


class Asked:
    """A question under way: iterate over it for its text, await it for the `Answer`; both, if you like.

    Whoever stops iterating or awaiting before the end stops the answer at the server: by leaving the loop, by an
    exception in it, by the task's cancellation. A question that nobody reads is answered all the same.
    """

    def __init__(self, log: Log, asking: Asking) -> None:
        self._log = log
        self._asking = asking
        self._first: Pieces | None = log.read(asking, keeps=True)  # gets what comes before somebody reads

    @property
    def id(self) -> str:
        """The question's, as it is in the log."""
        return self._asking.frame.id or ""

    @property
    def turn(self) -> str | None:
        """The turn's name; None until the server has acknowledged the question."""
        return self._asking.turn

    def __aiter__(self) -> Pieces:
        """The text, each piece once: who iterates slowly gets longer ones. Raises in the end where the answer failed.

        A second time, it is read from the server's log again.
        """
        return self._reading() or self._log.read(self._asking, keeps=False)

    def __await__(self) -> Generator[Any, None, Answer]:
        """The answer once it has ended; partial ones too, its `reason` tells. Raises where it could not be asked."""
        return self._answer().__await__()

    async def cancel(self) -> None:
        """Stop it. Returns once it has ended."""
        self._log.abandon(self._asking)
        await asyncio.wait([self._asking.settled])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever has not ended by then is stopped."""
        self._log.abandon(self._asking)

    # --- the answer --------------------------------------------------------------------------------------------------

    def _reading(self) -> Pieces | None:
        first, self._first = self._first, None
        return first

    async def _answer(self) -> Answer:
        try:
            if first := self._reading():
                return await self._read(first)
            end = await self._ended()
            text = self._asking.text
            if text is None:
                return await self._read(self._log.read(self._asking, keeps=False))
            return self._as_answer(text if end.proves(text) else await self._log.recover(self._asking), end)
        except asyncio.CancelledError:
            self._log.abandon(self._asking)
            raise

    async def _ended(self) -> End:
        """Somebody iterates over it, or has: there may be nothing to read any more."""
        self._asking.awaited += 1
        self._log.relax()
        try:
            end: End = await asyncio.shield(self._asking.settled)
        finally:
            self._asking.awaited -= 1
        return end

    async def _read(self, pieces: Pieces) -> Answer:
        try:
            text = await pieces.rest()
        except Damaged:
            text = await self._log.recover(self._asking)
        return self._as_answer(text, await self._ended())

    def _as_answer(self, text: str, end: End) -> Answer:
        turn = self._asking.turn or ""
        return Answer(text, turn, end.reason, end.model, end.usage, end.timing, end.error)
