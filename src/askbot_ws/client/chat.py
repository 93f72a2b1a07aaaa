"""Chat: one conversation, with the methods that programs call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from ..dialects.askbot.frames import (
    Ask,
    Cancel,
    Edit,
    Forget,
    Fork,
    History,
    HistoryRequest,
    Retry,
    SessionEntry,
    Sessions,
    SessionsRequest,
    TitleRequest,
)
from ..events import WhenBusy
from .answer import AnswerStream
from .errors import NOT_ENTERED, Closed, copy_of
from .multiplexer import SessionMultiplexer
from .reconnecting_socket import State
from .session import ClientSession
from .view import Turn, View

MAX_PAGE_SESSIONS = 100  # on one page


class Chat:
    """One session, over as many connections as it takes.

    `connect`, `Chat.session` and `Chat.fork` return it. Enter it with `async with`, or await it and `close` it. It
    belongs to the event loop that it was entered in; all its methods may be called by several tasks of that loop at the
    same time.

    Raises:
        Closed: By every method but `close` and `session`, where it was not entered, or was closed.
        SessionNotFound: By every method but `close` and `session`, once the session was deleted.
        Unauthorized: By every method but `close` and `session`, once the server has refused the token or ticket, or it
            was another user's than before.
        TimedOut: By `cancel`, `history`, `sessions`, `all_sessions`, `set_title`, `forget` and reading an answer: a
            connection was open for 60 seconds, and the server has not answered. The answer to a question that it has
            acknowledged may take any time.

    Example:
        ```python
        async with connect("ws://127.0.0.1:8765/v1/chat") as chat:
            async for text in chat.ask("Why is the sky blue?"):
                print(text, end="", flush=True)
            answer = await chat.ask("And at night?")
        ```
    """

    def __init__(self, multiplexer: SessionMultiplexer, view: View, *, first: bool, fork: Fork | None = None) -> None:
        self._multiplexer = multiplexer
        self._initial_view = view
        self._first = first  # closing it closes the connection
        self._fork = fork  # the frame that makes the session; None: it exists, or is to be a new one
        self._entered: ClientSession | None = None
        self._is_entering = False

    # --- the conversation --------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id, with which `connect(url, session=…)` continues it. It stays once this is closed.

        Raises:
            Closed: A new session has no id yet, as it was not entered.
        """
        if self._entered:
            return self._entered.id
        if self._initial_view.session is None:
            raise Closed(NOT_ENTERED)
        return self._initial_view.session

    @property
    def view(self) -> View:
        """The conversation as far as it was received. Read it; don't change it."""
        return self._entered.view if self._entered else self._initial_view

    @property
    def turns(self) -> list[Turn]:
        """The newest turns, oldest first, as far as they were received: `view.turns`."""
        return self.view.turns

    @property
    def state(self) -> State:
        """What the connection does, as `connect` tells `on_state`; `connecting` before this is entered too."""
        return self._multiplexer.state

    @property
    def models(self) -> tuple[str, ...]:
        """The models that a question may name, the default first; empty until it is entered, or by an older server."""
        return self.view.last_ready.models if self.view.last_ready else ()

    @property
    def user(self) -> str | None:
        """The user whose credential the connection has, None for an anonymous one: `view.user`."""
        return self.view.user

    @property
    def title(self) -> str | None:
        """What the conversation is called: `view.title`; `set_title` changes it."""
        return self.view.title

    @property
    def changed(self) -> asyncio.Event:
        """An event that is set, and replaced by another one, at each change of the view."""
        return self._session.changed

    def ask(
        self,
        text: str,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        when_busy: WhenBusy = "queue",
    ) -> AnswerStream:
        """Ask a question. It is sent at once, or on the next connection; this doesn't wait.

        Args:
            text: The question; how long it may be, in code points, is `view.limits.question_chars`.
            model: The model to ask; by default the server's.
            temperature: The sampling temperature, from 0 to 2; by default the server's `temperature`, else the model's
                own.
            max_tokens: How long the answer may be, in the model's tokens; by default the server's limit.
            when_busy: What to do where an answer is running: `queue` asks after it, `reject` has the `AnswerStream`
                raise `Busy`, `replace` stops it.

        Returns:
            The answer: iterate over it for its text, or await it. Where the question was refused, that raises.
        """
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
    ) -> AnswerStream:
        """Ask a turn's question again; the new turn replaces that one, and all that came after it.

        Args:
            turn: The turn's id; by default the last turn.
            model: As for `ask`; by default what that turn had.
            temperature: As for `ask`; by default what that turn had.
            max_tokens: As for `ask`; by default what that turn had.

        Returns:
            The answer, as `ask` returns it. `TurnNotFound` is raised by reading it where there is no such turn.
        """
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
    ) -> AnswerStream:
        """Ask another question in place of a turn's; the new turn replaces that one, and all that came after it.

        Args:
            turn: The turn's id.
            text: The question to ask instead.
            model: As for `ask`; by default what that turn had.
            temperature: As for `ask`; by default what that turn had.
            max_tokens: As for `ask`; by default what that turn had.

        Returns:
            The answer, as `ask` returns it. `TurnNotFound` is raised by reading it where there is no such turn.
        """
        return self._question(
            Edit(id=uuid4().hex, turn=turn, text=text, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    async def cancel(self, turn: str | None = None) -> None:
        """Stop a turn. Returns once it has ended; one that has ended already is no error. Sent again until then.

        Args:
            turn: The turn's id; by default the one that runs. Where none is in the log yet, questions that the server
                has not acknowledged are cancelled once they get there, and this doesn't wait.
        """
        session = self._session
        if turn := turn or next((each.turn for each in self.view.turns if each.end is None), None):
            await session.request(Cancel(id=uuid4().hex, turn=turn)).wait()
            return
        for question in session.requests.questions():
            session.cancel_question(question)

    async def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns. They are added to the view, too.

        Args:
            before: A position in the log: turns are fetched whose questions are before it. By default those before the
                oldest turn of the view; for the page before another one, `page.turns[0].from_ + 1`.
            limit: How many turns at most, from 1 to 50.

        Returns:
            A page: `turns` (of `askbot_ws.events.TurnRecord`), oldest first, replaced ones too, and `more`, whether the
            log has older ones.
        """
        oldest = next(iter(self.view.all_turns.values()), None)
        position = (oldest.from_ if oldest else self.view.seq or 0) + 1
        request = HistoryRequest(id=uuid4().hex, before=position if before is None else before, limit=limit)
        history: History = await self._session.request(request).wait()
        return history

    async def sessions(self, *, before: str | None = None, limit: int = 50) -> Sessions:
        """Fetch a page of the user's sessions, those with the newest question or answer first.

        Args:
            before: `more` of the page before; by default the first page.
            limit: How many sessions at most, from 1 to 100.

        Returns:
            A page: `sessions`, each with `session` (its id), `title` (or the beginning of its first question),
            `created` and `updated` (in seconds since 1970), `turns`, `seq` and `running`; and `more`, None on the last
            page.

        Raises:
            Forbidden: The connection is anonymous.

        Example:
            ```python
            page = await chat.sessions(limit=10)
            for each in page.sessions:
                print(each.session, each.title)
            ```
        """
        page: Sessions = await self._session.request(SessionsRequest(id=uuid4().hex, before=before, limit=limit)).wait()
        return page

    async def all_sessions(self) -> AsyncIterator[SessionEntry]:
        """Iterate over all of the user's sessions, page by page, those with the newest question or answer first.

        One in which a question is asked, or an answer ends, meanwhile may be left out.

        Yields:
            A session, as in a page of `sessions`.

        Raises:
            Forbidden: The connection is anonymous.

        Example:
            ```python
            async for each in chat.all_sessions():
                print(each.session, each.title)
            ```
        """
        before: str | None = None
        while True:
            page = await self.sessions(before=before, limit=MAX_PAGE_SESSIONS)
            for each in page.sessions:
                yield each
            if page.more in {None, before}:
                return
            before = page.more

    async def set_title(self, text: str) -> None:
        """Give the conversation a title, which all who read it see. Returns once the log has it. Sent again until then.

        Args:
            text: The title, of 200 code points at most, without control characters; empty for none.

        Raises:
            TurnNotFound: Nothing was asked in the session yet.
            InvalidFrame: The text can't be a title.

        Example:
            ```python
            await chat.set_title("About the sky")
            print(chat.title)
            ```
        """
        await self._session.request(TitleRequest(id=uuid4().hex, text=text)).wait()

    async def forget(self) -> None:
        """Delete the session from the server, and close it here. Returns once it is deleted. Sent again until then.

        Raises:
            AskbotError: The server has refused it, and the session is as it was.
        """
        session = self._session
        await session.request(Forget(id=uuid4().hex, session=session.id)).wait()

    def session(self, id: str | None = None, *, after: int | None = None, log: str | None = None) -> Chat:
        """Return another session on the same connection, to be entered with `async with`, or awaited.

        Closing it detaches it; closing the `Chat` that `connect` returned closes all of them.

        Args:
            id: The session's id; by default a new session.
            after: The position in its log to read on from, the `view.seq` of an earlier conversation.
            log: The history in which `after` is a position, the `view.log` of that conversation.

        Returns:
            A `Chat`. Entering it raises `SessionNotFound` where the server has no such session, and `ValueError` where
            it is read on this connection already.
        """
        return Chat(self._multiplexer, View(session=id, seq=after, log=log, keep=self.view.keep), first=False)

    def fork(self, turn: str) -> Chat:
        """Return a new session on the same connection, to be entered with `async with`, or awaited.

        It has, each whole, the turns that the model was shown for a turn of this session, and that turn, with new ids,
        and goes on from there; this session stays as it is. Once it is entered, it is a session like any other, which
        `connect(url, session=fork.id)` continues. Closing it detaches it; closing the `Chat` that `connect` returned
        closes all of them.

        Args:
            turn: The turn's id; it must have ended.

        Returns:
            A `Chat`. Entering it makes the session, once, over as many connections as it takes. Entering raises `Busy`
            where the turn has not ended, and `TurnNotFound` where this session has no such turn.
        """
        if error := self._session.close_reason:
            raise copy_of(error)
        frame = Fork(id=uuid4().hex, session=self.id, turn=turn)
        return Chat(self._multiplexer, View(keep=self.view.keep), first=False, fork=frame)

    def _question(self, frame: Ask | Retry | Edit) -> AnswerStream:
        return AnswerStream(self._session, self._session.ask(frame))

    @property
    def _session(self) -> ClientSession:
        if self._entered is None:
            raise Closed(NOT_ENTERED)
        return self._entered

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect, and read the session up to its end. Raises as `connect` does."""
        if self._is_entering:
            raise RuntimeError("another task is entering this conversation")
        if self._entered is None:
            self._is_entering = True
            try:
                self._entered = await self._multiplexer.open_session(self._initial_view, self._fork)
            except BaseException:
                if self._first:
                    await self._multiplexer.close()
                raise
            finally:
                self._is_entering = False
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close it here. Turns that run go on at the server, except answers that were cancelled or left.

        Waits for up to a second until the server has been sent those cancels. Where it is cancelled meanwhile, it
        closes the connection at once, and then raises `CancelledError`. It may be called again, and by several tasks.
        """
        if self._first:
            await self._multiplexer.close()
        elif self._entered:
            await self._multiplexer.close_session(self._entered)
