"""The same client without asyncio: for scripts, threads and notebooks.

    with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        for text in chat.ask("Why is the sky blue?"):
            print(text, end="")

The conversation runs on an event loop in a thread of its own, so the caller may have a running loop, as Jupyter has.
Ctrl-C in the middle of an answer stops it at the server.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from ..dialects.askbot.frames import History
from ..events import WhenBusy
from . import connect as connect_async
from .answer import Answer
from .answer import AnswerStream as AsyncAnswerStream
from .chat import Chat as AsyncChat
from .errors import Closed
from .text_stream import TextStream
from .view import Turn

__all__ = ["Answer", "AnswerStream", "Asked", "Chat", "connect"]

P = ParamSpec("P")
T = TypeVar("T")

# --- the event loop --------------------------------------------------------------------------------------------------


class EventLoopThread:
    """An event loop that runs in a thread of its own, until `stop`, or until nobody refers to it any more."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_loop, args=(self._loop,), name="askbot", daemon=True)
        self._thread.start()
        self._stop = weakref.finalize(self, _stop_loop, self._loop, self._thread)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return not self._stop.alive

    def run_coroutine(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop, and return its result; an interrupt meanwhile cancels it.

        Raises `Closed` where the loop is stopped, and RuntimeError in the loop's own thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("this would wait for itself: on_state must not use the conversation")
        if self.stopped:
            raise Closed
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def run_function(self, function: Callable[[], T]) -> T:
        """Call a function in the loop, and return its result. Raises what `run_coroutine` raises."""

        async def call() -> T:
            return function()

        return self.run_coroutine(call)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop, without waiting; in any thread. Does nothing where it is stopped."""
        if not self.stopped:
            self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """Cancel all tasks of the loop, close it and wait for the thread."""
        self._stop()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()


def _stop_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if threading.current_thread() is not thread:
        thread.join()


# --- the client ------------------------------------------------------------------------------------------------------


def _blocking(connect_to: Callable[P, AsyncChat]) -> Callable[P, Chat]:
    def connect(*args: P.args, **kwargs: P.kwargs) -> Chat:
        """Connect to a server, and return the conversation. A connection that is lost is opened again by itself.

        Args:
            *args: As for `askbot_ws.connect`: the URL.
            **kwargs: As for `askbot_ws.connect`. `on_state` is called in the conversation's own thread, and must not
                call the conversation's methods.

        Returns:
            A `Chat` that is connected: use it with `with`, or `close` it.

        Raises:
            Closed: The server can't be reached.
            SessionNotFound: The server has no such session, or it is another user's.
            Unauthorized: The server wants another `token`.
            Forbidden: The server doesn't serve this caller.

        Example:
            ```python
            from askbot_ws import connect_sync

            with connect_sync("ws://127.0.0.1:8765/v1/chat") as chat:
                for text in chat.ask("Why is the sky blue?"):
                    print(text, end="", flush=True)
            ```
        """
        loop = EventLoopThread()
        try:
            return Chat(loop, loop.run_coroutine(connect_to(*args, **kwargs).__aenter__), owns_loop=True)
        except BaseException:
            loop.stop()
            raise

    return connect


connect = _blocking(connect_async)


class Chat:
    """One session, over as many connections as it takes. All its methods may be called in any thread.

    They raise `Closed` where it was closed, or the server has ended the conversation, and `SessionNotFound` once the
    session was deleted.

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
    def id(self) -> str | None:
        """The session's name, with which `connect(url, session=…)` continues it."""
        return self._chat.id

    @property
    def turns(self) -> list[Turn]:
        """The newest turns, oldest first, as far as they were received; see `askbot_ws.View.turns`."""
        return self._loop.run_function(lambda: self._chat.view.turns)

    def ask(
        self,
        text: str,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        when_busy: WhenBusy = "queue",
    ) -> AnswerStream:
        """Ask a question, without waiting for the answer. Arguments as for `askbot_ws.Chat.ask`."""
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
        """Ask a turn's question again; by default the last one's. Arguments as for `askbot_ws.Chat.retry`."""
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
        """Ask another question in place of a turn's. Arguments as for `askbot_ws.Chat.edit`."""
        return self._stream(
            lambda: self._chat.edit(turn, text, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    def cancel(self, turn: str | None = None) -> None:
        """Stop a turn; by default the one that runs. Returns once it has ended; what has ended is no error."""
        self._loop.run_coroutine(lambda: self._chat.cancel(turn))

    def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns, which are added to `turns`. Arguments and result as for `askbot_ws.Chat.history`."""
        return self._loop.run_coroutine(lambda: self._chat.history(before=before, limit=limit))

    def forget(self) -> None:
        """Delete the session from the server, and close it here. Returns once it is deleted."""
        self._loop.run_coroutine(self._chat.forget)

    def session(self, id: str | None = None, *, after: int | None = None, log: str | None = None) -> Chat:
        """Return another session on the same connection, entered already; by default a new one.

        Arguments as for `askbot_ws.Chat.session`. Closing it detaches it; closing the `Chat` that `connect` returned
        closes all of them. Raises `SessionNotFound` where the server has no such session.
        """
        entering = self._chat.session(id, after=after, log=log)
        return Chat(self._loop, self._loop.run_coroutine(entering.__aenter__), owns_loop=False)

    def _stream(self, ask: Callable[[], AsyncAnswerStream]) -> AnswerStream:
        return AnswerStream(self._loop, self._loop.run_function(ask))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it here. Turns that run go on at the server, except answers that were cancelled or left."""
        if self._loop.stopped:
            return
        try:
            self._loop.run_coroutine(self._chat.close)
        finally:
            if self._owns_loop:
                self._loop.stop()


class AnswerStream:
    """The answer to a question that was asked: iterate over it for its text, call `answer` for the whole, or both.

    Iterating gives each piece of text once, as a `str` of one code point or more; a caller that is slow gets longer
    ones. A second iteration reads the answer from the server's log again. Leaving the loop before the end, or
    interrupting `answer` with Ctrl-C, stops the answer at the server. It raises what `askbot_ws.AnswerStream` raises.

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
    def turn(self) -> str | None:
        """The turn's name; None until the server has acknowledged the question."""
        return self._stream.turn

    def __iter__(self) -> Iterator[str]:
        """Yield the text from its beginning. Raises at the end where the answer failed."""
        stream = self._loop.run_function(self._stream.__aiter__)
        try:
            while (text := self._loop.run_coroutine(lambda: _next(stream))) is not None:
                yield text
        finally:
            self._loop.call_soon(stream.close)

    def answer(self) -> Answer:
        """Wait for the end, and return the `Answer`, also where it is partial. Raises where it could not be asked."""
        return self._loop.run_coroutine(lambda: _wait_for(self._stream))

    def cancel(self) -> None:
        """Stop the answer at the server. Returns once it has ended; `answer` then gives what there is of it."""
        self._loop.run_coroutine(self._stream.cancel)


Asked = AnswerStream
"""The name that `AnswerStream` had before."""


async def _next(stream: TextStream) -> str | None:
    return await anext(stream, None)


async def _wait_for(stream: AsyncAnswerStream) -> Answer:
    return await stream
