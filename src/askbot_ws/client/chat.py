"""Chat: a conversation, as programs hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from ..dialects.askbot.frames import Ask, Cancel, Edit, Forget, History, HistoryRequest, Retry
from ..events import WhenBusy
from .answer import Asked
from .errors import Closed
from .multiplexer import Connection
from .session import Session
from .view import View


class Chat:
    """One session, over as many connections as it takes.

    Enter it with `async with`, or await it and `close` it.
    """

    def __init__(self, connection: Connection, view: View, *, first: bool) -> None:
        self._connection = connection
        self._wanted = view
        self._first = first  # with it the connection ends
        self._entered: Session | None = None

    # --- what a conversation can do ----------------------------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """Its name: with it, `connect` continues this conversation anywhere."""
        return self.view.session

    @property
    def view(self) -> View:
        """What there is to see of it: the newest turns, as far as they were read."""
        return self._entered.view if self._entered else self._wanted

    @property
    def changed(self) -> asyncio.Event:
        """Set, and replaced, at each change of the view."""
        return self._session.changed

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

    def retry(
        self,
        turn: str | None = None,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Asked:
        """Ask a turn's question again; without `turn`, the last one's. What is not given is as it was for that turn."""
        return self._question(
            Retry(id=uuid4().hex, turn=turn, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    def edit(
        self,
        turn: str,
        text: str,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Asked:
        """Ask this instead of that turn's question. What is not given is as it was for that turn."""
        return self._question(
            Edit(id=uuid4().hex, turn=turn, text=text, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    async def cancel(self, turn: str | None = None) -> None:
        """Stop a turn; without `turn`, the one that runs. Returns once it has ended; what has ended is no error."""
        session = self._session
        if turn := turn or next((each.turn for each in self.view.turns if each.end is None), None):
            await asyncio.shield(session.begin(Cancel(id=uuid4().hex, turn=turn)))
            return
        for asking in session.requests.asking():  # asked, but not in the log yet: it is cancelled when it gets there
            session.abandon(asking)

    async def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns, into the view too; without `before`, those before the oldest that the view has."""
        oldest = next(iter(self.view.all_turns.values()), None)
        place = (oldest.from_ if oldest else self.view.seq or 0) + 1
        request = HistoryRequest(id=uuid4().hex, before=place if before is None else before, limit=limit)
        history: History = await asyncio.shield(self._session.begin(request))
        return history

    async def forget(self) -> None:
        """Delete this conversation, everywhere. It is over then."""
        if self.id is not None:
            await asyncio.shield(self._session.begin(Forget(id=uuid4().hex, session=self.id)))

    def session(self, id: str | None = None, *, after: int | None = None, log: str | None = None) -> Chat:
        """Another session on the same connection, to be entered with `async with`, or awaited; without `id`, a new one.

        `after` is the place to read on from, `log` the history in which it is one, as `view.seq` and `view.log` of an
        earlier conversation said. Leaving it detaches it; leaving the first one ends them all. Raises
        `SessionNotFound` when it is entered.
        """
        return Chat(self._connection, View(session=id, seq=after, log=log, keep=self.view.keep), first=False)

    def _question(self, frame: Ask | Retry | Edit) -> Asked:
        return Asked(self._session, self._session.ask(frame))

    @property
    def _session(self) -> Session:
        if self._entered is None:
            raise Closed("The conversation has not begun: enter it with `async with`.")
        return self._entered

    # --- coming and going --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered is None:
            try:
                self._entered = await self._connection.enter(self._wanted)
            except BaseException:
                if self._first:
                    await self._connection.close()
                raise
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave it. What still runs goes on at the server, but what nobody wants any more is cancelled."""
        if self._first:
            await self._connection.close()
        elif self._entered:
            await self._connection.leave(self._entered)
