"""AnswerStream and Answer: the answer to a question, as its text while it comes, and as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ..events import Failure, Timing, Usage
from .errors import Damaged
from .pending import PendingQuestion
from .text_stream import AnswerSource, TextStream
from .view import End


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has ended, whatever the `reason`.

    Attributes:
        text: The answer's text, which has the length and the SHA-256 that the server gave for it; with a `reason` other
            than `stop`, the text up to where the answer ended. `answer` is the same, as a `Turn` has it.
        turn: The turn's id: what `retry` and `edit` take.
        reason: One of `askbot_ws.events.Reason` (`stop`, `length`, `cancelled`, `refused`, `interrupted`, `error`), or
            a word that a later version of the server uses.
        model: The model that was asked.
        usage: The provider's count, `input_tokens` and `output_tokens`; None where it gave none.
        timing: `queued`, `first_token` and `total`, in seconds since the question arrived; `first_token` is None where
            no text came. Where the server has lost the turn, only `total` is known, as it was measured here.
        error: Where `reason` is `error`: `code`, `message`, `retryable` and `retry_after` (seconds, or None).
        thinking: The reasoning that the model has shown; empty where it showed none. It is no part of `text`. Of what
            is longer than `connect(…, keep=)`, the beginning.
        thinking_time: How long it thought before it answered, in seconds; None where that is not known.
        question: The question.
        id: The question's id, as it is in the log.

    Example:
        ```python
        turn = await chat.ask("Why is the sky blue?")
        if turn.reason == "stop":
            print(turn.answer, f"({turn.timing.total:.1f} s)")
        ```
    """

    text: str
    turn: str
    reason: str
    model: str
    usage: Usage | None
    timing: Timing
    error: Failure | None
    thinking: str = ""
    thinking_time: float | None = None
    question: str = ""
    id: str = ""

    @property
    def answer(self) -> str:
        """The answer's text."""
        return self.text


class AnswerStream:
    """The answer to a question that was asked: iterate over it for its text, await it for the `Answer`, or both.

    Iterating gives each piece of text once, as a `str` of one code point or more; a caller that is slow gets longer
    ones. A second iteration reads the answer from the server's log again. Leaving the loop or the `await` before the
    end stops the answer at the server: `break` or an exception in the loop, the cancellation of the task, a time limit.
    A question that nobody reads is answered all the same. `chat.ask`, `chat.retry` and `chat.edit` return it; it can be
    entered with `async with` as well, whose end stops what has not ended.

    Raises:
        AskbotError: The question was refused (`QuestionEmpty`, `Busy`, …), by iterating and by awaiting. Where the
            answer failed on its way (`UpstreamStalled`, …), iterating gives the text so far and raises then; awaiting
            returns the `Answer`, with `error`.
        Damaged: By iterating: the text has not the length and the SHA-256 that the server gave for it. By awaiting: nor
            has the text in the server's history.
        TimedOut: The server has not acknowledged the question in time.
        Closed: The conversation was closed.
        RuntimeError: By an iterator, in a task that asks for a piece while another one waits for it.

    Example:
        ```python
        stream = chat.ask("Why is the sky blue?")
        async for text in stream:
            print(text, end="", flush=True)
        turn = await stream
        print(turn.reason, turn.usage)
        ```
    """

    def __init__(self, source: AnswerSource, question: PendingQuestion) -> None:
        self._source = source
        self._question = question
        self._first: TextStream | None = source.open_stream(question, cache=True)  # has what comes before it is read

    @property
    def id(self) -> str:
        """The question's id, as it is in the log."""
        return self._question.frame.id or ""

    @property
    def turn(self) -> str | None:
        """The turn's id; None until the server has acknowledged the question."""
        return self._question.turn

    def __aiter__(self) -> TextStream:
        """Return an iterator over the text, from its beginning. Its `aclose` stops the answer before its end."""
        return self._pop_first_stream() or self._source.open_stream(self._question, cache=False)

    def __await__(self) -> Generator[Any, None, Answer]:
        """Wait for the end, and return the `Answer`, also where it is partial. Raises if the question was refused."""
        return self._answer().__await__()

    async def thinking(self) -> AsyncGenerator[str]:
        """Iterate over the reasoning that the model shows before it answers, as it comes; it may show none.

        It ends where the answer begins, or nothing more can come: what has gone wrong is raised where the answer is
        read. Leaving the loop doesn't stop the answer, but being cancelled in it does.

        Yields:
            The next piece, of one code point or more.
        """
        try:
            async for text in self._source.read_thinking(self._question):
                yield text
        except asyncio.CancelledError:
            self._source.cancel_question(self._question)
            raise

    async def cancel(self) -> None:
        """Stop the answer at the server. Returns once it has ended; awaiting it then gives what there is of it.

        Raises:
            TimedOut: The server has not ended it in time.
            AskbotError: The server has refused to stop it.
        """
        self._source.cancel_question(self._question)
        await self._question.wait_until_cancelled()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the answer at the server, unless it has ended."""
        self._source.cancel_question(self._question)

    # --- the whole answer --------------------------------------------------------------------------------------------

    def _pop_first_stream(self) -> TextStream | None:
        first, self._first = self._first, None
        return first

    async def _answer(self) -> Answer:
        try:
            if first := self._pop_first_stream():
                return await self._read_answer(first)
            end = await self._wait_for_end()
            text = self._question.cached_answer
            if text is None:
                return await self._read_answer(self._source.open_stream(self._question, cache=False))
            return self._build_answer(text if end.proves(text) else await self._source.recover(self._question), end)
        except asyncio.CancelledError:
            self._source.cancel_question(self._question)
            raise

    async def _wait_for_end(self) -> End:
        """Return how the turn ended. It is waited for without a stream, as the text may be read elsewhere."""
        self._question.waiters += 1
        self._source.resume()
        try:
            end: End = await self._question.wait()
        finally:
            self._question.waiters -= 1
        return end

    async def _read_answer(self, stream: TextStream) -> Answer:
        try:
            text = await stream.read_all()
        except Damaged:
            text = await self._source.recover(self._question)
        return self._build_answer(text, await self._wait_for_end())

    def _build_answer(self, text: str, end: End) -> Answer:
        asked = self._question
        return Answer(
            text,
            turn=asked.turn or "",
            reason=end.reason,
            model=end.model,
            usage=end.usage,
            timing=end.timing,
            error=end.error,
            thinking=asked.thinking,
            thinking_time=asked.thinking_time,
            question=asked.question,
            id=self.id,
        )


Asked = AnswerStream
"""The name that `AnswerStream` had before."""
