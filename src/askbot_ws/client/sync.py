"""The Python client without asyncio, for scripts, threads and notebooks: `connect` and `Chat` with methods that wait.

The conversation runs on an event loop in a thread of its own, so the caller may have a running loop, as Jupyter has.
Ctrl-C in the middle of an answer stops it at the server.

Example:
    with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        for text in chat.ask("Why is the sky blue?"):
            print(text, end="")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Literal, Self, TypeVar

from ..dialects.askbot.frames import History, SessionEntry, Sessions
from ..events import WhenBusy
from . import DEFAULT_KEEP_CODE_POINTS, DEFAULT_URL
from . import connect as connect_async
from .answer import Answer
from .answer import AnswerStream as AsyncAnswerStream
from .backoff import reconnect_delay
from .chat import Chat as AsyncChat
from .endpoint import MAX_SILENCE_SECONDS
from .errors import Closed
from .event_loop_thread import EventLoopThread
from .reconnecting_socket import State
from .text_stream import TextStream
from .view import Turn, View

__all__ = ["Answer", "AnswerStream", "Asked", "Chat", "connect"]

T = TypeVar("T")


def connect(
    url: str = DEFAULT_URL,
    *,
    session: str | None = None,
    after: int | None = None,
    log: str | None = None,
    token: str | Callable[[], str | Awaitable[str]] | None = None,
    ticket: str | Callable[[], str | Awaitable[str]] | None = None,
    ssl: SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    keep: int | None = DEFAULT_KEEP_CODE_POINTS,
    silence: float = MAX_SILENCE_SECONDS,
    delay: Callable[[int], float] = reconnect_delay,
    on_state: Callable[[State], None] = lambda _: None,
) -> Chat:
    """Connect to a server, and return the conversation. A connection that is lost is opened again by itself.

    Args:
        url: The server's: `ws://` or `wss://`, or `http(s)://` for the same; without a path, it is `/v1/chat`.
        session: The id of the session to continue, `chat.id` of an earlier conversation; by default a new one.
        after: The position in the session's log to read on from, `chat.view.seq` of that conversation; by default the
            view begins with the newest turns.
        log: The history in which `after` is a position, `chat.view.log` of that conversation. Where the server has
            another history, or a shorter one, the view begins elsewhere than at `after`.
        token: A key or a JWT, sent as `Authorization: Bearer …`. A function is called before each connection, in the
            conversation's own thread, which it holds up meanwhile, and returns the token, or an awaitable of it within
            30 seconds. What it raises is raised by `connect`, and later counts as a failed attempt to connect. It is
            called too a minute before the token expires, and what it returns is sent on the open connection; and once
            more where the server refuses the token later on.
        ticket: A ticket that your application's server has made, sent in the query in place of a token. As it is good
            for one connection, give a function, which is called as `token` is; before the ticket's connection expires,
            another one is opened with a fresh ticket. A string is for programs that connect once.
        ssl: What to trust with `wss://`; by default what Python trusts.
        proxy: A proxy's URL, or None for no proxy; by default what the environment names (`HTTPS_PROXY`, `NO_PROXY`),
            but none for this machine.
        keep: How many code points of questions and answers `chat.view` holds; None for all.
        silence: After how many seconds without a frame a connection is given up. By default 45; the server sends a
            frame every 20 seconds, or as its `ASKBOT_HEARTBEAT` says.
        delay: Returns the seconds to wait before an attempt to reconnect, given the number of attempts before it that
            brought no new event. By default random ones, up to 0.5 for the first, then 1, 2, … 30. What the server asks
            for is added (`retry_after` of its errors, `Retry-After` of a refused handshake). Called in the
            conversation's own thread.
        on_state: Called with each new `askbot_ws.client.State`, in the conversation's own thread. It must not call the
            conversation's methods.

    Returns:
        An `askbot_ws.client.sync.Chat` that is connected: use it with `with`, or `close` it.

    Raises:
        Closed: The server can't be reached.
        SessionNotFound: The server has no such session, or it is another user's.
        Unauthorized: The server wants another `token` or `ticket`.
        Forbidden: The server doesn't serve this caller.
        TimedOut: The connection is open, but the server has not sent the session for 60 seconds.

    Example:
        ```python
        from askbot_ws import connect_sync

        with connect_sync("ws://127.0.0.1:8765/v1/chat") as chat:
            for text in chat.ask("Why is the sky blue?"):
                print(text, end="", flush=True)
        ```
    """
    chat = connect_async(
        url,
        session=session,
        after=after,
        log=log,
        token=token,
        ticket=ticket,
        ssl=ssl,
        proxy=proxy,
        keep=keep,
        silence=silence,
        delay=delay,
        on_state=on_state,
    )
    loop = EventLoopThread()
    try:
        return Chat(loop, loop.run_coroutine(chat.__aenter__), owns_loop=True)
    except BaseException:
        loop.stop()
        raise


class Chat:
    """One session, over as many connections as it takes. All its methods may be called in any thread.

    `connect`, `Chat.session` and `Chat.fork` return it. Use it with `with`, or `close` it.

    Raises:
        Closed: By every method but `close`, where it was closed, or is closed meanwhile.
        SessionNotFound: By every method but `close` and `session`, once the session was deleted.
        Unauthorized: By every method but `close` and `session`, once the server has refused the token or ticket, or it
            was another user's than before.
        TimedOut: By `cancel`, `history`, `sessions`, `all_sessions`, `set_title`, `forget` and reading an answer: a
            connection was open for 60 seconds, and the server has not answered. The answer to a question that it has
            acknowledged may take any time.
        RuntimeError: By every method, where it is called by `on_state`, `delay` or `token`. By every method but
            `close`, in a process that was forked from the one that opened the conversation.

    Example:
        ```python
        with connect_sync("ws://127.0.0.1:8765/v1/chat") as chat:
            for text in chat.ask("Why is the sky blue?"):
                print(text, end="", flush=True)
            answer = chat.ask("And at night?").answer()
        ```
    """

    def __init__(self, loop: EventLoopThread, entered: AsyncChat, *, owns_loop: bool) -> None:
        self._loop = loop
        self._chat = entered
        self._owns_loop = owns_loop

    @property
    def id(self) -> str:
        """The session's id, with which `connect(url, session=…)` continues it. It stays once this is closed."""
        return self._chat.id

    @property
    def view(self) -> View:
        """The conversation as far as it was received: a copy, which doesn't change when more is."""
        return self._loop.run_function(self._chat.view.snapshot)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that a question may name, the default first; empty where an older server does not say."""
        return self._chat.models

    @property
    def user(self) -> str | None:
        """The user whose credential the connection has; None for an anonymous one."""
        return self._chat.user

    @property
    def title(self) -> str | None:
        """What the conversation is called, as it was received; `set_title` changes it."""
        return self._chat.title

    @property
    def turns(self) -> list[Turn]:
        """The newest turns, oldest first, as far as they were received: `view.turns`, copies as that is."""
        return self._loop.run_function(lambda: [turn.snapshot() for turn in self._chat.turns])

    @property
    def state(self) -> State:
        """What the connection does, as `connect` tells `on_state`."""
        return self._chat.state

    def ask(
        self,
        text: str,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        when_busy: WhenBusy = "queue",
    ) -> AnswerStream:
        """Ask a question. It is sent at once, or on the next connection; this doesn't wait for the answer.

        Args:
            text: The question; how long it may be, in code points, is `view.limits.question_chars`.
            model: The model to ask; by default the server's.
            temperature: The sampling temperature, from 0 to 2; by default the server's `temperature`, else the model's
                own.
            max_tokens: How long the answer may be, in the model's tokens; by default the server's limit.
            when_busy: What to do where an answer is running: `queue` asks after it, `reject` has the `AnswerStream`
                raise `Busy`, `replace` stops it.

        Returns:
            The answer: iterate over it for its text, or call its `answer`. Where the question was refused, that raises.
        """
        return self._stream(
            lambda: self._chat.ask(
                text, model=model, temperature=temperature, max_tokens=max_tokens, when_busy=when_busy
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
            The answer, as `ask` returns it. Reading it raises `TurnNotFound` where there is no such turn.
        """
        return self._stream(lambda: self._chat.retry(turn, model=model, temperature=temperature, max_tokens=max_tokens))

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
            The answer, as `ask` returns it. Reading it raises `TurnNotFound` where there is no such turn.
        """
        return self._stream(
            lambda: self._chat.edit(turn, text, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    def cancel(self, turn: str | None = None) -> None:
        """Stop a turn. Returns once it has ended; one that has ended already is no error. Sent again until then.

        Args:
            turn: The turn's id; by default the one that runs. Where none is in the log yet, questions that the server
                has not acknowledged are cancelled once they get there, and this doesn't wait.
        """
        self._loop.run_coroutine(lambda: self._chat.cancel(turn))

    def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns. They are added to `turns`, too.

        Args:
            before: A position in the log: turns are fetched whose questions are before it. By default those before the
                oldest turn that was received; for the page before another one, `page.turns[0].from_ + 1`.
            limit: How many turns at most, from 1 to 50.

        Returns:
            A page: `turns` (of `askbot_ws.events.TurnRecord`), oldest first, replaced ones too, and `more`, whether the
            log has older ones.
        """
        return self._loop.run_coroutine(lambda: self._chat.history(before=before, limit=limit))

    def sessions(self, *, before: str | None = None, limit: int = 50) -> Sessions:
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
            for each in chat.sessions(limit=10).sessions:
                print(each.session, each.title)
            ```
        """
        return self._loop.run_coroutine(lambda: self._chat.sessions(before=before, limit=limit))

    def all_sessions(self) -> Iterator[SessionEntry]:
        """Iterate over all of the user's sessions, page by page, those with the newest question or answer first.

        One in which a question is asked, or an answer ends, meanwhile may be left out.

        Yields:
            A session, as in a page of `sessions`.

        Raises:
            Forbidden: The connection is anonymous.

        Example:
            ```python
            for each in chat.all_sessions():
                print(each.session, each.title)
            ```
        """
        sessions = self._chat.all_sessions()
        while (each := self._loop.run_coroutine(lambda: _next(sessions))) is not None:
            yield each

    def set_title(self, text: str) -> None:
        """Give the conversation a title, which all who read it see. Returns once the log has it. Sent again until then.

        Args:
            text: The title, of 200 code points at most, without control characters; empty for none.

        Raises:
            TurnNotFound: Nothing was asked in the session yet.
            InvalidFrame: The text can't be a title.

        Example:
            ```python
            chat.set_title("About the sky")
            print(chat.title)
            ```
        """
        self._loop.run_coroutine(lambda: self._chat.set_title(text))

    def forget(self) -> None:
        """Delete the session from the server, and close it here. Returns once it is deleted. Sent again until then.

        Raises:
            AskbotError: The server has refused it, and the session is as it was.
        """
        self._loop.run_coroutine(self._chat.forget)

    def session(self, id: str | None = None, *, after: int | None = None, log: str | None = None) -> Chat:
        """Read another session on the same connection.

        Closing it detaches it; closing the `Chat` that `connect` returned closes all of them.

        Args:
            id: The session's id; by default a new session.
            after: The position in its log to read on from.
            log: The history in which `after` is a position.

        Returns:
            A `Chat` that is entered already.

        Raises:
            SessionNotFound: The server has no such session, or it is another user's.
            ValueError: The session is read on this connection already.
        """
        entering = self._chat.session(id, after=after, log=log)
        return Chat(self._loop, self._loop.run_coroutine(entering.__aenter__), owns_loop=False)

    def fork(self, turn: str) -> Chat:
        """Make a new session of a turn and of what the model was shown for it, and read it on the same connection.

        It has these turns, each whole, with new ids, and goes on from there; this session stays as it is. Closing the
        new one detaches it; closing the `Chat` that `connect` returned closes all of them.

        Args:
            turn: The turn's id; it must have ended.

        Returns:
            A `Chat` that is entered already. It is made once, over as many connections as it takes.

        Raises:
            Busy: The turn has not ended.
            TurnNotFound: This session has no such turn.
        """
        entered = self._loop.run_coroutine(lambda: self._chat.fork(turn).__aenter__())
        return Chat(self._loop, entered, owns_loop=False)

    def _stream(self, ask: Callable[[], AsyncAnswerStream]) -> AnswerStream:
        return AnswerStream(self._loop, self._loop.run_function(ask))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it here. Turns that run go on at the server, except answers that were cancelled or left.

        Waits for up to a second until the server has been sent those cancels. Calls that wait in other threads raise
        `Closed`. It does nothing where the conversation is closed, or was opened by another process.
        """
        if self._loop.belongs_elsewhere or self._loop.stopped:
            return
        self._loop.check_thread()
        try:
            with suppress(Closed):  # by another thread, meanwhile
                self._loop.run_coroutine(self._chat.close)
        finally:
            if self._owns_loop:
                self._loop.stop()


class AnswerStream:
    """The answer to a question that was asked: iterate over it for its text, call `answer` for the whole, or both.

    Iterating gives each piece of text once, as a `str` of one code point or more; a caller that is slow gets longer
    ones. A second iteration reads the answer from the server's log again. Leaving the loop before the end, or
    interrupting `answer` with Ctrl-C, stops the answer at the server. A question that nobody reads is answered all the
    same. `chat.ask`, `chat.retry` and `chat.edit` return it; it can be used with `with` as well, whose end stops what
    has not ended.

    Raises:
        AskbotError: The question was refused (`QuestionEmpty`, `Busy`, …), by iterating and by `answer`. Where the
            answer failed on its way (`UpstreamStalled`, …), iterating gives the text so far and raises then; `answer`
            returns the `Answer`, with `error`.
        Damaged: By iterating: the text has not the length and the SHA-256 that the server gave for it. By `answer`: nor
            has the text in the server's history.
        TimedOut: The server has not acknowledged the question in time.
        Closed: The conversation was closed.

    Example:
        ```python
        stream = chat.ask("Why is the sky blue?")
        for text in stream:
            print(text, end="", flush=True)
        print(stream.answer().reason)
        ```
    """

    def __init__(self, loop: EventLoopThread, stream: AsyncAnswerStream) -> None:
        self._loop = loop
        self._stream = stream

    @property
    def id(self) -> str:
        """The question's id, as it is in the log."""
        return self._stream.id

    @property
    def turn(self) -> str | None:
        """The turn's id; None until the server has acknowledged the question."""
        return self._stream.turn

    def __iter__(self) -> TextIterator:
        """Return an iterator over the text, from its beginning. Its `close` stops the answer before its end.

        It raises at the end where the question was refused or the answer failed, and RuntimeError in a thread that
        asks for a piece while another one waits for it.
        """
        return TextIterator(self._loop, self._loop.run_function(self._stream.__aiter__))

    def thinking(self) -> Iterator[str]:
        """Iterate over the reasoning that the model shows before it answers, as it comes; it may show none.

        It ends where the answer begins, or nothing more can come: what has gone wrong is raised where the answer is
        read. Leaving the loop doesn't stop the answer, but Ctrl-C in it does.

        Returns:
            An iterator over the pieces, each of one code point or more. It raises RuntimeError in a thread that asks
            for a piece while another one waits for it.
        """
        return TextIterator(self._loop, self._stream.thinking())

    def answer(self) -> Answer:
        """Wait for the end of the answer.

        Returns:
            The `Answer`, also where it is partial: `reason` says how it ended.

        Raises:
            AskbotError: The question was refused; see `AnswerStream`.
            Damaged: The server has no text with the answer's length and SHA-256.
            Closed: The conversation was closed.
        """
        return self._loop.run_coroutine(lambda: _wait_for(self._stream))

    def cancel(self) -> None:
        """Stop the answer at the server. Returns once it has ended; `answer` then gives what there is of it.

        Raises:
            TimedOut: The server has not ended it in time.
            AskbotError: The server has refused to stop it.
        """
        self._loop.run_coroutine(self._stream.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the answer at the server, unless it has ended."""
        with suppress(Closed):
            self._loop.run_coroutine(lambda: self._stream.__aexit__(kind, error, trace))


Asked = AnswerStream
"""The name that `AnswerStream` had before."""


class TextIterator(Iterator[str]):
    """An iterator over pieces of text that come in the conversation's event loop."""

    def __init__(self, loop: EventLoopThread, pieces: TextStream | AsyncGenerator[str]) -> None:
        self._loop = loop
        self._pieces = pieces

    def __next__(self) -> str:
        """Wait for the next piece, and return it."""
        text = self._loop.run_coroutine(lambda: _next(self._pieces))
        if text is None:
            raise StopIteration
        return text

    def close(self) -> None:
        """Stop iterating; where that is over an answer's text, stop the answer at the server."""
        with suppress(Closed):
            self._loop.run_coroutine(self._pieces.aclose)


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


async def _wait_for(stream: AsyncAnswerStream) -> Answer:
    return await stream
