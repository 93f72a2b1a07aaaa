"""ClientDriver: has a client do what a case says; one for each client."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from askbot_ws import AnswerStream, Chat, connect, connect_sync
from askbot_ws.client import sync
from askbot_ws.errors import AskbotError

from .case import Outcome

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 0.03
NODE = Path(sys.executable).parent / "node"
DRIVER = Path(__file__).parent / "driver.js"


class ClientDriver(ABC):
    """One conversation of one client."""

    def __init__(self) -> None:
        self.attempts: list[int] = []  # the numbers of failed attempts that pauses were chosen by

    @abstractmethod
    async def open(self, url: str, options: Mapping[str, Any]) -> Outcome:
        """Connect; the outcome has the code of the error, if there is one."""

    @abstractmethod
    async def call(self, name: str, method: str, *arguments: Any) -> Outcome:
        """Call a method, and wait for what comes of it."""

    @abstractmethod
    async def shown(self, text: str) -> None:
        """Wait until the newest answer in the view is this."""

    @abstractmethod
    async def has_read(self, name: str, text: str) -> None:
        """Wait until who reads the answer of a call has got this of it."""

    @abstractmethod
    async def reached(self, state: str) -> None:
        """Wait until the connection is in this state."""

    @abstractmethod
    async def end(self) -> list[str]:
        """Close the conversation; returns the answers of its view."""


def code_of(error: BaseException) -> str:
    return error.code if isinstance(error, AskbotError) else repr(error)


def failure(error: BaseException) -> dict[str, Any]:
    return {"code": code_of(error), "message": str(error)}


def refused(error: AskbotError) -> dict[str, Any]:
    """The outcome of a question that is not even begun: nothing can be read."""
    return failure(error) | {"read": "", "read_code": code_of(error)}


async def outcome_of(result: Awaitable[dict[str, Any] | None]) -> Outcome:
    try:
        return {"code": None} | (await result or {})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        return failure(error)


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true, which is looked at each millisecond."""
    while not is_true():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.001)


class PythonDriver(ClientDriver):
    """What both Python clients have in common: the options of `connect`."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "connecting"
        self.reading: dict[str, Outcome] = {}  # of calls, by name

    def delay(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return min(LONGEST_PAUSE_SECONDS, 0.0005 * (1 << min(attempt, 10)))

    def set_state(self, state: str) -> None:
        self.state = state

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        options = {name: value for name, value in given.items() if name != "limit"}
        for name in ("token", "ticket"):
            if isinstance(tokens := options.get(name), list):
                options[name] = token_function([*tokens])
        return options | {"delay": self.delay, "on_state": self.set_state}

    async def has_read(self, name: str, text: str) -> None:
        await until(lambda: name in self.reading and self.reading[name]["read"] == text)

    async def reached(self, state: str) -> None:
        await until(lambda: self.state == state)


def token_function(tokens: list[str | None]) -> Callable[[], str]:
    def token() -> str:
        value = tokens.pop(0) if len(tokens) > 1 else tokens[0]
        if value is None:
            raise LookupError("no token")
        return value

    return token


class AsyncDriver(PythonDriver):
    """`askbot_ws.connect`."""

    def __init__(self) -> None:
        super().__init__()
        self.chat: Chat | None = None
        self.streams: dict[str, AnswerStream] = {}

    async def open(self, url: str, options: Mapping[str, Any]) -> Outcome:
        async def enter() -> None:
            self.chat = await connect(url, **self.options(options))

        return await outcome_of(enter())

    async def call(self, name: str, method: str, *arguments: Any) -> Outcome:
        return await outcome_of(self._call(name, method, arguments))

    async def _call(self, name: str, method: str, arguments: tuple[Any, ...]) -> dict[str, Any] | None:
        assert self.chat
        match method:
            case "ask" | "retry" | "edit":
                try:
                    self.streams[name] = getattr(self.chat, method)(*arguments)
                except AskbotError as error:
                    return refused(error)
                return await self._read(name, self.streams[name])
            case "cancel_answer":
                await self.streams[arguments[0]].cancel()
            case "history":
                return {"answers": [turn.answer for turn in (await self.chat.history()).turns]}
            case "sessions":
                return {"titles": [each.title for each in (await self.chat.sessions()).sessions]}
            case _:
                await getattr(self.chat, method)(*arguments)
        return None

    async def _read(self, name: str, stream: AnswerStream) -> dict[str, Any]:
        outcome = self.reading[name] = {"read": "", "read_code": None}
        try:
            async for text in stream:
                outcome["read"] += text
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            outcome["read_code"] = code_of(error)
        try:
            answer = await stream
        except Exception as error:  # noqa: BLE001 - the same
            return outcome | failure(error)
        return outcome | {"text": answer.text, "reason": answer.reason}

    async def shown(self, text: str) -> None:
        assert self.chat
        while not (turns := self.chat.view.turns) or turns[-1].answer != text:
            await self.chat.changed.wait()

    async def end(self) -> list[str]:
        if self.chat is None:
            return []
        answers = [turn.answer for turn in self.chat.view.turns]
        await self.chat.close()
        return answers


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread that nobody has to wait for, should it hang."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(set_outcome: Callable[[Any], None], value: object) -> None:
        if not future.done():
            set_outcome(value)

    def run() -> None:
        finished: tuple[Callable[[Any], None], object]
        try:
            finished = future.set_result, function()
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            finished = future.set_exception, error
        with suppress(RuntimeError):  # the test is over
            loop.call_soon_threadsafe(finish, *finished)

    threading.Thread(target=run, daemon=True).start()
    return await future


class SyncDriver(PythonDriver):
    """`askbot_ws.connect_sync`."""

    def __init__(self) -> None:
        super().__init__()
        self.chat: sync.Chat | None = None
        self.streams: dict[str, sync.AnswerStream] = {}
        self._asked = threading.Event()  # what was to be asked last, by its thread
        self._asked.set()

    async def open(self, url: str, options: Mapping[str, Any]) -> Outcome:
        async def enter() -> None:
            self.chat = await in_thread(lambda: connect_sync(url, **self.options(options)))

        return await outcome_of(enter())

    async def call(self, name: str, method: str, *arguments: Any) -> Outcome:
        if method in ("ask", "retry", "edit"):
            before, self._asked = self._asked, threading.Event()
            asked = self._asked
            return await outcome_of(in_thread(lambda: self._ask(name, method, arguments, before=before, asked=asked)))
        return await outcome_of(in_thread(lambda: self._call(method, arguments)))

    def _ask(
        self, name: str, method: str, arguments: tuple[Any, ...], *, before: threading.Event, asked: threading.Event
    ) -> dict[str, Any]:
        """In the order of the calls, though each has a thread of its own."""
        before.wait()
        try:
            self.streams[name] = getattr(self.chat, method)(*arguments)
        except AskbotError as error:
            return refused(error)
        finally:
            asked.set()
        return self._read(name, self.streams[name])

    def _call(self, method: str, arguments: tuple[Any, ...]) -> dict[str, Any] | None:
        assert self.chat
        match method:
            case "cancel_answer":
                while arguments[0] not in self.streams:  # its question may be sent before its thread has the stream
                    time.sleep(0.001)
                self.streams[arguments[0]].cancel()
            case "history":
                return {"answers": [turn.answer for turn in self.chat.history().turns]}
            case "sessions":
                return {"titles": [each.title for each in self.chat.sessions().sessions]}
            case _:
                getattr(self.chat, method)(*arguments)
        return None

    def _read(self, name: str, stream: sync.AnswerStream) -> dict[str, Any]:
        outcome = self.reading[name] = {"read": "", "read_code": None}
        try:
            for text in stream:
                outcome["read"] += text
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            outcome["read_code"] = code_of(error)
        try:
            answer = stream.answer()
        except Exception as error:  # noqa: BLE001 - the same
            return outcome | failure(error)
        return outcome | {"text": answer.text, "reason": answer.reason}

    async def shown(self, text: str) -> None:
        assert self.chat
        chat = self.chat
        await in_thread(lambda: _wait_until_shown(chat, text))

    async def end(self) -> list[str]:
        if self.chat is None:
            return []
        chat = self.chat
        try:
            answers = [turn.answer for turn in await in_thread(lambda: chat.turns)]
        except AskbotError:  # it was closed
            answers = []
        await in_thread(chat.close)
        return answers


def _wait_until_shown(chat: sync.Chat, text: str) -> None:
    while not (turns := chat.turns) or turns[-1].answer != text:
        time.sleep(0.001)


class NodeProcess:
    """Node, which plays cases with askbot.js."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [NODE, DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._ids = itertools.count()
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Future[Outcome]]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def call(self, client: int, method: str, *arguments: Any) -> Outcome:
        id, loop = next(self._ids), asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting[id] = loop, future
        message = {"id": id, "client": client, "method": method, "arguments": arguments}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        return await future

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            message = json.loads(line)
            loop, future = self._waiting.pop(message["id"])
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future, message["outcome"])

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()  # which ends it
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


class JSDriver(ClientDriver):
    """`client/askbot.js`, in Node."""

    _numbers = itertools.count()

    def __init__(self, node: NodeProcess) -> None:
        super().__init__()
        self._node = node
        self._number = next(self._numbers)

    async def open(self, url: str, options: Mapping[str, Any]) -> Outcome:
        return await self._node.call(self._number, "open", url, options)

    async def call(self, name: str, method: str, *arguments: Any) -> Outcome:
        return await self._node.call(self._number, method, name, *arguments)

    async def shown(self, text: str) -> None:
        await self._node.call(self._number, "shown", "", text)

    async def has_read(self, name: str, text: str) -> None:
        await self._node.call(self._number, "hasRead", name, text)

    async def reached(self, state: str) -> None:
        await self._node.call(self._number, "reached", "", state)

    async def end(self) -> list[str]:
        left = await self._node.call(self._number, "end")
        assert not left["faults"]
        self.attempts = [round(math.log2(pause / 0.5)) for pause in left["pauses"]]
        answers: list[str] = left["answers"]
        return answers
