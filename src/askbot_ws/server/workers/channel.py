"""Channel: messages between the supervisor and a worker, over a pair of connected sockets.

A message is a line of JSON: something told, a question (with an id), or the answer to one (with the same id).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any, Self, TypeAlias

import structlog

MAX_MESSAGE_BYTES = 8 * 1024**2
MAX_UNREAD_BYTES = 64 * 1024  # of messages that the other side has not read, before it counts as stopped

Facts: TypeAlias = dict[str, Any]
"""What is told or asked beside the word for it: JSON."""

log = structlog.get_logger(__name__)


class ChannelClosed(ConnectionError):
    """The other process has ended, does not read, or could not answer."""


class Channel:
    """One end of the connection between the supervisor and a worker.

    Attributes:
        closed: Set once the other process has closed its end, as at its end.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_told: Callable[[str, Facts], None],
        on_asked: Callable[[str, Facts], Awaitable[object]],
    ) -> None:
        self.closed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._on_told = on_told
        self._on_asked = on_asked
        self._ids = count(1)
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._read())

    @classmethod
    async def open(
        cls,
        end: socket.socket,
        *,
        on_told: Callable[[str, Facts], None],
        on_asked: Callable[[str, Facts], Awaitable[object]],
    ) -> Self:
        """Return a channel over one socket of a connected pair.

        Args:
            end: The socket, which belongs to the channel from now on.
            on_told: Called with what the other process tells, in order.
            on_asked: Returns the answer to what the other process asks; what it raises is no answer, and logged.
        """
        reader, writer = await asyncio.open_connection(sock=end, limit=MAX_MESSAGE_BYTES)
        return cls(reader, writer, on_told=on_told, on_asked=on_asked)

    def tell(self, word: str, **facts: object) -> None:
        """Send a message that has no answer; where the other process is gone, nothing happens."""
        self._send({"tell": word, "facts": facts})

    async def ask(self, word: str, *, max_seconds: float, **facts: object) -> Any:  # noqa: ANN401 - JSON
        """Return the other process's answer.

        Raises `TimeoutError` where there is none in `max_seconds`, and `ChannelClosed` where there will be none.
        """
        if self.closed.is_set() or self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            raise ChannelClosed(word)
        id, answer = next(self._ids), asyncio.get_running_loop().create_future()
        self._questions[id] = answer
        try:
            self._send({"ask": word, "id": id, "facts": facts})
            async with asyncio.timeout(max_seconds):
                return await answer
        finally:
            del self._questions[id]

    async def close(self) -> None:
        """Send what is left, and close this end."""
        try:
            self._writer.close()
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    def _send(self, message: Facts) -> None:
        if not self.closed.is_set():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except OSError:
            pass  # it was killed
        finally:
            self.closed.set()
            for answer in self._questions.values():
                if not answer.done():
                    answer.set_exception(ChannelClosed("the other process has ended"))

    def _take(self, message: Facts) -> None:
        match message:
            case {"tell": word, "facts": facts}:
                self._on_told(word, facts)
            case {"ask": word, "id": id, "facts": facts}:
                self._spawn(self._answer(id, word, facts))
            case {"answer": value, "id": id}:
                self._settle(id, value)
            case {"id": id}:
                self._settle(id, ChannelClosed("the other process could not answer"))
            case _:
                log.error("worker_message_ignored", keys=sorted(message))

    def _settle(self, id: int, value: object) -> None:
        answer = self._questions.get(id)
        if answer is None or answer.done():  # it came too late
            return
        if isinstance(value, ChannelClosed):
            answer.set_exception(value)
        else:
            answer.set_result(value)

    async def _answer(self, id: int, word: str, facts: Facts) -> None:
        try:
            self._send({"id": id, "answer": await self._on_asked(word, facts)})
        except Exception as error:  # a fault in one answer must not end the process
            if not isinstance(error, ChannelClosed | TimeoutError):
                log.exception("worker_question_failed", question=word)
            self._send({"id": id})

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
