"""The same client without asyncio: for scripts, threads and notebooks.

    with connect("ws://127.0.0.1:8765/v1/chat") as chat:
        for text in chat.ask("Why is the sky blue?"):
            print(text, end="")

The conversation lives on an event loop of its own, in a thread of its own, so it doesn't matter whether the caller
has a loop running, as Jupyter does. Ctrl-C in the middle of an answer stops it at the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import ParamSpec, Self

from ..dialects.askbot.frames import History
from ..events import WhenBusy
from . import answer, chat
from . import connect as connect_async
from .answer import Answer
from .chat import Chat as AsyncChat
from .loop import Loop
from .text_stream import Pieces
from .view import Turn

__all__ = ["Answer", "Asked", "Chat", "connect"]

P = ParamSpec("P")


def _blocking(connect_to: Callable[P, AsyncChat]) -> Callable[P, Chat]:
    def connect(*args: P.args, **kwargs: P.kwargs) -> Chat:
        """A conversation, entered at once: use it with `with`, or `close` it.

        It takes what `askbot_ws.connect` takes, and raises what entering that raises. `on_state` is called in the
        conversation's own thread.
        """
        loop = Loop()
        try:
            return Chat(loop, loop.call(connect_to(*args, **kwargs).__aenter__), owns=True)
        except BaseException:
            loop.stop()
            raise

    return connect


connect = _blocking(connect_async)


class Chat:
    """One session, over as many connections as it takes. Any thread may use it."""

    def __init__(self, loop: Loop, entered: chat.Chat, *, owns: bool) -> None:
        self._loop = loop
        self._chat = entered
        self._owns = owns  # the loop

    @property
    def id(self) -> str | None:
        """Its name: with it, `connect` continues this conversation anywhere."""
        return self._chat.id

    @property
    def turns(self) -> list[Turn]:
        """The turns to show, as far as they were read."""
        return self._loop.run(lambda: self._chat.view.turns)

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
        return self._asked(
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
    ) -> Asked:
        """Ask a turn's question again; without `turn`, the last one's. What is not given is as it was for that turn."""
        return self._asked(lambda: self._chat.retry(turn, model=model, temperature=temperature, max_tokens=max_tokens))

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
        return self._asked(
            lambda: self._chat.edit(turn, text, model=model, temperature=temperature, max_tokens=max_tokens)
        )

    def cancel(self, turn: str | None = None) -> None:
        """Stop a turn; without `turn`, the one that runs. Returns once it has ended; what has ended is no error."""
        self._loop.call(lambda: self._chat.cancel(turn))

    def history(self, *, before: int | None = None, limit: int = 50) -> History:
        """Fetch older turns; without `before`, those before the oldest in `turns`, which has them then too."""
        return self._loop.call(lambda: self._chat.history(before=before, limit=limit))

    def forget(self) -> None:
        """Delete this conversation, everywhere. It is over then."""
        self._loop.call(self._chat.forget)

    def session(self, id: str | None = None, *, after: int | None = None, log: str | None = None) -> Chat:
        """Another session on the same connection; without `id`, a new one.

        `after` is the place to read on from, `log` the history in which it is one. Leaving it detaches it; leaving the
        first one ends them all. Raises `SessionNotFound`.
        """
        entering = self._chat.session(id, after=after, log=log)
        return Chat(self._loop, self._loop.call(entering.__aenter__), owns=False)

    def _asked(self, ask: Callable[[], answer.Asked]) -> Asked:
        return Asked(self._loop, self._loop.run(ask))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave it. What still runs goes on at the server, but what nobody wants any more is cancelled."""
        if self._loop.ended:
            return
        try:
            self._loop.call(self._chat.close)
        finally:
            if self._owns:
                self._loop.stop()


class Asked:
    """A question under way: iterate over it for its text, or have the whole `answer`; both, if you like.

    Whoever leaves the loop, or stops waiting for the answer by Ctrl-C, stops the answer at the server.
    """

    def __init__(self, loop: Loop, under_way: answer.Asked) -> None:
        self._loop = loop
        self._asked = under_way

    @property
    def turn(self) -> str | None:
        """The turn's name; None until the server has acknowledged the question."""
        return self._asked.turn

    def __iter__(self) -> Iterator[str]:
        """The text, each piece once: who is slow gets longer ones. Raises in the end where the answer failed."""
        pieces = self._loop.run(self._asked.__aiter__)
        try:
            while (text := self._loop.call(lambda: _next(pieces))) is not None:
                yield text
        finally:
            self._loop.soon(pieces.close)

    def answer(self) -> Answer:
        """The answer once it has ended; partial ones too, its `reason` tells. Raises where it could not be asked."""
        return self._loop.call(lambda: _whole(self._asked))

    def cancel(self) -> None:
        """Stop it. Returns once it has ended."""
        self._loop.call(self._asked.cancel)


async def _next(pieces: Pieces) -> str | None:
    return await anext(pieces, None)


async def _whole(under_way: answer.Asked) -> Answer:
    return await under_way
