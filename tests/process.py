"""The real server and the scripted provider as processes, and a client that checks every frame it gets."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import psutil  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from . import fork_server
from .fork_server import ForkedProcess

ROOT = Path(__file__).parents[1]
KEY = "sk-test-5f1d8e20b7"  # the API key: nobody but the provider may ever see it
SLICE = 32 * 1024  # bytes of text in one frame, as in core/log_tail.py

Json: TypeAlias = dict[str, Any]

# --- processes -------------------------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would set up a server."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "OPENAI_"))}
    return plain | {"PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"} | more


class Askbot:
    """`askbot serve`, once it listens."""

    def __init__(self, process: ForkedProcess, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log

    @property
    def http(self) -> str:
        """Where its pages are."""
        return self.url.replace("ws://", "http://").removesuffix("/v1/chat")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, limit: float = 20) -> int:
        """Its exit code."""
        await eventually(lambda: self.process.poll() is not None, limit)
        return self.process.wait()

    def lines(self) -> list[Json]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


async def eventually(true: Callable[[], bool], limit: float = 15) -> None:
    """Wait for what nothing tells us of."""
    async with asyncio.timeout(limit):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def resident(pid: int) -> int:
    """How many bytes of memory a process takes."""
    return int(psutil.Process(pid).memory_info().rss)


MODULE = "askbot_ws.cli"  # which is the command `askbot`


def serve_arguments(*flags: str) -> list[str]:
    """Those of `askbot` for a server with these flags."""
    return ["serve", "--port", "0", "--log-format", "json", *flags]


def command(*flags: str) -> list[str]:
    """What starts a server in the current folder."""
    return [sys.executable, "-m", MODULE, *serve_arguments(*flags)]


@contextmanager
def forked_server(module: str, *arguments: str, folder: Path, env: Mapping[str, str]) -> Generator[Askbot]:
    """A server in a folder, by `python -m module …`; what it logs is added to askbot.log there."""
    log = folder / "askbot.log"
    with (
        log.open("a") as errors,
        fork_server.start(module, *arguments, stderr=errors, cwd=folder, env=env) as process,
    ):
        try:
            yield Askbot(process, url_of(process, log), log)
        finally:
            process.kill()


@contextmanager
def askbot(folder: Path, *flags: str, upstream: str, **environ: str) -> Generator[Askbot]:
    """A server in a folder that asks a provider. Called again with the same folder, it is the next server there."""
    given = serve_arguments("--store", "sqlite:///askbot.db", "--model", "scripted-1", *flags)
    variables = environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=upstream, **environ)
    with forked_server(MODULE, *given, folder=folder, env=variables) as server:
        yield server
    if "--log-content" not in flags:
        assert_not_logged(server.log.read_text(), SAID.pop(server.url, set()))


SAID: dict[str, set[str]] = {}
"""What readers have asked and were answered, by the server's URL."""


def assert_not_logged(log: str, said: set[str]) -> None:
    """Nobody's words are in a log. Those of a few characters may be there for another reason."""
    lines = log.lower()
    found = [text for text in said if len(text) > 15 if any(spelling in lines for spelling in spellings(text))]
    assert not found, f"the log has {found}"


def spellings(text: str) -> set[str]:
    """How a text may be written in a log, in lower case."""
    ways = {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        repr(repr(text))[2:-2],
        ascii(text)[1:-1],
        repr(text.encode(errors="replace"))[2:-1],
        html.escape(text),
        html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
        urllib.parse.quote(text, errors="replace"),
        urllib.parse.quote_plus(text, errors="replace"),
    }
    return {way.lower() for way in ways} | {json.dumps(way)[1:-1].lower() for way in ways}


def url_of(process: ForkedProcess, log: Path) -> str:
    url = ""
    for line in process.stdout:
        word, _, value = line.strip().partition(" ")
        url = value.strip() if word == "socket" else url
        if word == "store":
            return url
    raise AssertionError(f"it did not start: {log.read_text()}")


@dataclass
class ProviderProcess:
    """`python -m tests.provider`."""

    url: str

    def requests(self) -> list[Json]:
        """What it was asked, oldest first."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/requests", timeout=20) as response:
            return [request for request in json.load(response) if request["method"] == "POST"]

    def chats(self) -> list[Json]:
        """The requests for an answer, oldest first; other tests have it moderate too."""
        return [request for request in self.requests() if "messages" in request["body"]]

    def questions(self) -> Counter[str]:
        """How often each question was asked."""
        return Counter(request["body"]["messages"][-1]["content"] for request in self.chats())


@contextmanager
def provider_process() -> Generator[ProviderProcess]:
    """A provider that takes our key only."""
    start = [sys.executable, "-m", "tests.provider", "--port", "0", "--key", KEY]
    with subprocess.Popen(start, stdout=subprocess.PIPE, cwd=ROOT, env=environment(), text=True) as process:
        try:
            assert process.stdout
            yield ProviderProcess(process.stdout.readline().strip())
        finally:
            process.kill()


# --- what a reader was told ------------------------------------------------------------------------------------------


STEP_TYPES = {"token": "text", "thinking": "thinking"}  # of a slice's frame, in `history`


@dataclass(slots=True)
class Told:
    """One turn."""

    turn: str
    id: str | None
    text: str
    replaces: str | None
    answer: str = ""
    steps: list[Json] = field(default_factory=list[Json])  # as `history` has them
    done: Json | None = None

    @property
    def reason(self) -> str | None:
        """How it ended; None: it has not."""
        return self.done["reason"] if self.done else None

    def add(self, kind: str, text: str) -> None:
        """Add a slice of the answer or of the reasoning."""
        if kind == "text":
            self.answer += text
        if self.steps and self.steps[-1]["type"] == kind:
            self.steps[-1]["text"] += text
        else:
            self.steps.append({"type": kind, "text": text})


@dataclass(slots=True)
class Story:
    """One session as one reader saw it, over all its connections. Every frame is held to the promises."""

    session: str | None = None
    head: int = 0
    turns: dict[str, Told] = field(default_factory=dict[str, Told])

    def take(self, frame: Json) -> None:
        """Take the next frame. AssertionError where it breaks a promise."""
        if frame["type"] == "ready":
            self._ready(frame)
        elif frame["type"] in ("question", "token", "thinking", "done") and frame["session"] == self.session:
            start = frame["seq"] - (len(frame["text"]) if frame["type"] in STEP_TYPES else 1)
            assert start == self.head, f"{frame['type']} from {start}, but the reader is at {self.head}"
            self.head = frame["seq"]
            self._logged(frame)

    def _ready(self, frame: Json) -> None:
        if self.session is None:
            self.session, self.head = frame["session"], frame["from"]
        elif frame["session"] == self.session:
            assert frame["from"] == self.head, "a reader goes on from where it is"
        assert frame["seq"] >= frame["from"]

    def _logged(self, frame: Json) -> None:
        if frame["type"] == "question":
            assert frame["turn"] not in self.turns, "a turn begins once"
            turn = Told(frame["turn"], frame.get("id"), frame["text"], frame.get("replaces"))
            self.turns[turn.turn] = turn
            return
        turn = self.turns[frame["turn"]]
        assert turn.done is None, f"{frame['type']} after done"
        if frame["type"] in STEP_TYPES:
            assert 0 < len(frame["text"].encode()) <= SLICE, f"a slice of {len(frame['text'].encode())} bytes"
            turn.add(STEP_TYPES[frame["type"]], frame["text"])
        else:
            turn.done = frame
            proof = {"chars": len(turn.answer), "sha256": hashlib.sha256(turn.answer.encode()).hexdigest()}
            assert frame["check"] == proof, "the answer is not what was given"
            assert ("error" in frame) is (frame["reason"] == "error")

    def asked(self, id: str) -> Told | None:
        """The turn that was asked with this id."""
        return next((turn for turn in self.turns.values() if turn.id == id), None)

    @property
    def last(self) -> Told:
        """The newest turn."""
        return list(self.turns.values())[-1]


# --- the client ------------------------------------------------------------------------------------------------------


class Reader:
    """One connection, which tells a story on."""

    def __init__(self, socket: ClientConnection, story: Story) -> None:
        self.socket = socket
        self.story = story
        self.frames: list[Json] = []
        self.raw: list[str] = []

    async def send(self, **frame: object) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps(frame))

    async def ask(self, text: str, **more: object) -> None:
        """Ask a question."""
        await self.send(type="ask", text=text, **more)

    async def next(self, limit: float = 10) -> Json:
        """The next frame, checked."""
        async with asyncio.timeout(limit):
            data = await self.socket.recv()
        assert isinstance(data, str)
        frame: Json = json.loads(data)
        self.raw.append(data)
        self.frames.append(frame)
        self.story.take(frame)
        return frame

    async def until(self, wanted: str | Callable[[Json], bool], limit: float = 10) -> Json:
        """Read on to a frame of this type, or of this kind."""
        async with asyncio.timeout(limit):
            while True:
                frame = await self.next(limit)
                if frame["type"] == wanted if isinstance(wanted, str) else wanted(frame):
                    return frame

    async def answer(self, text: str, limit: float = 10, **more: object) -> Told:
        """Ask, and read to the end of the answer."""
        await self.ask(text, **more)
        question = await self.until(lambda frame: frame["type"] == "question" and frame["text"] == text, limit)
        turn = self.story.turns[question["turn"]]
        await self.until(lambda _: turn.done is not None, limit)
        return turn

    async def rest(self, limit: float = 10) -> int:
        """Read to the end of the connection; the code with which it was closed."""
        async with asyncio.timeout(limit):
            try:
                while True:
                    await self.next(limit)
            except ConnectionClosed:
                await self.socket.wait_closed()
        return self.socket.close_code or 0

    def cut(self) -> None:
        """Lose the connection."""
        self.socket.transport.abort()


class NotReadyError(Exception):
    """The connection did not begin with `ready`."""


@asynccontextmanager
async def reading(url: str, story: Story | None = None, **options: Any) -> AsyncGenerator[Reader]:
    """A connection; it goes on where the story is. It has read `ready`."""
    story = story or Story()
    place = f"?session={story.session}&after={story.head}" if story.session else ""
    socket = await connect(
        url + place, proxy=None, compression=None, max_size=None, ping_interval=None, close_timeout=2, **options
    )
    try:
        reader = Reader(socket, story)
        if (await reader.next())["type"] != "ready":
            raise NotReadyError(reader.frames)
        yield reader
    finally:
        SAID.setdefault(url, set()).update(text for turn in story.turns.values() for text in (turn.text, turn.answer))
        await socket.close()


async def session_of(port: int, questions: Sequence[str]) -> str:
    """Ask a server in this process one question after the other; returns the session."""
    async with reading(address(port)) as reader:
        for question in questions:
            await reader.answer(question)
        return reader.story.session or ""


def address(port: int) -> str:
    """Of a server in this process."""
    return f"ws://127.0.0.1:{port}/v1/chat"
