"""Checking client: holds a conversation over a bad network, and checks each frame.

It does what a good client does (resumes with `after`, sends what was not acknowledged again under its id, follows
`going_away`, gives up a connection that has fallen silent), and holds each frame to the promises of docs/protocol.md.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from ..process import Json, Story, Told
from .provider import ASKED, TAG, pieces
from .results import BrokenError, Results

BOUND = 60.0  # seconds within which every turn ends, whatever happens
SILENCE = 4.0  # seconds without a sign of life after which a connection is given up; the server beats every second
PASSING = {"overloaded", "internal", "queue_full", "busy"}  # errors after which a question may be sent again
Lost = (OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError)


def take(story: Story, frame: Json) -> None:
    """Let a story take a frame. Raises `BrokenError`."""
    kind = frame["type"]
    if kind in ("question", "token", "thinking", "done"):
        start = frame["seq"] - (len(frame["text"]) if kind in ("token", "thinking") else 1)
        if start != story.head:
            promise = "lost" if start > story.head else "doubled"
            raise BrokenError(promise, f"{kind} from {start}, but the reader is at {story.head} in {story.session}")
        turn = story.turns.get(frame["turn"])
        if turn is not None and (turn.done or kind == "question"):
            raise BrokenError("doubled", f"{kind} of {frame['turn']} in {story.session} after {turn.reason}: {frame}")
    if kind == "ready" and frame["session"] == story.session and frame["from"] != story.head:
        raise BrokenError("lost", f"at {story.head} of {story.session}, the server goes on from {frame['from']}")
    try:
        story.take(frame)
    except AssertionError as error:
        raise BrokenError("wrong", f"{error} in {story.session}: {str(frame)[:300]}") from error


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class SessionReader:
    """One reader: its story, and a connection that is made again and again."""

    def __init__(self, client: CheckingClient, story: Story, *, speaks: bool) -> None:
        self.client = client
        self.story = story
        self.speaks = speaks
        self.replaced: list[Story] = []  # as it was seen in histories that are not the session's any more
        self.history: str | None = None  # which the story is of
        self._end = math.inf  # to where the session went when `ready` came; infinite: it is yet to come
        self._socket: ClientConnection | None = None
        self._leave_at: float | None = None

    async def keep(self) -> None:
        """Until it is cancelled, or a promise is broken."""
        try:
            while True:
                with suppress(*Lost):
                    await self._converse()
                await asyncio.sleep(self.client.chance.uniform(0.02, 0.3))
        except BrokenError as error:
            self.client.breaks(error)

    async def _converse(self) -> None:
        self.client.results.connections += 1
        socket = await connect(
            self.client.url + self._place(),
            proxy=None,
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=SILENCE,
            close_timeout=0.2,
        )
        self._leave_at, first = None, True
        try:
            while not self._leaves:
                async with asyncio.timeout(SILENCE):
                    data = await socket.recv()
                frame = json.loads(data)
                if first and frame["type"] not in ("ready", "error"):
                    raise BrokenError("wrong", f"the first frame is {frame}")
                first = False
                self._take(frame, socket)
        except ConnectionClosed:
            if socket.close_code == 4404:
                self._gone()
            raise
        finally:
            self._socket = None
            socket.transport.abort()

    @property
    def has_caught_up(self) -> bool:
        """Whether it has read what was there when it came; another history is read from its beginning."""
        return self.story.head >= self._end

    def _place(self) -> str:
        """Where it goes on, as a query."""
        if not self.story.session:
            return ""
        history = f"&log={self.history}" if self.history else ""
        return f"?session={self.story.session}&after={self.story.head}{history}"

    @property
    def _leaves(self) -> bool:
        """Whether the server wants it gone by now."""
        return self._leave_at is not None and time.monotonic() >= self._leave_at

    def _take(self, frame: Json, socket: ClientConnection) -> None:
        if frame["type"] == "ready" and self._is_replaced(frame):
            self._replace(frame["log"])
            if frame["from"]:
                raise ConnectionError  # it wants all of it, and comes again
        take(self.story, frame)
        match frame["type"]:
            case "ready":
                self._socket, self.history, self._end = socket, frame["log"], frame["seq"]
                if self.speaks:
                    for command in self.client.pending.values():
                        self.say(command)
            case "going_away":
                self._leave_at = time.monotonic() + frame["reconnect_after"] / 1000
            case _:
                self.client.told(frame, speaks=self.speaks)
        self.client.news.set()

    def _is_replaced(self, ready: Json) -> bool:
        """Whether what was seen is to be dropped, as the protocol says; a log that is too short has lost something."""
        shorter = self.client.may_lose and ready["from"] != self.story.head
        return self.story.session is not None and (shorter or self.history not in (None, ready["log"]))

    def _replace(self, history: str) -> None:
        """Drop what was seen: the session has another history now. What of it was lost shows once that was read."""
        self.client.results.history_changes += 1
        self.replaced.append(self.story)
        self.story, self.history, self._end = Story(session=self.story.session), history, math.inf

    def _gone(self) -> None:
        """There is no such session. That is the truth only where nothing was ever acknowledged, or it may be lost."""
        if self.story.head or not self.speaks:
            if not self.client.may_lose:
                raise BrokenError("lost", f"session {self.story.session} is gone")
            self.client.over("session")
            return
        self.client.nowhere += [(str(frame["text"]), time.time()) for frame in self.client.pending.values()]
        self.story.session = None

    def say(self, frame: Json) -> None:
        """Send it, if there is a connection: what counts is sent again on the next."""
        if self._socket is not None:
            task = asyncio.create_task(self._send(self._socket, frame))
            self.client.sending.add(task)
            task.add_done_callback(self.client.sending.discard)

    async def _send(self, socket: ClientConnection, frame: Json) -> None:
        with suppress(*Lost):
            await asyncio.wait_for(socket.send(json.dumps(frame)), SILENCE)

    def cut(self) -> None:
        """Lose the connection."""
        if self._socket is not None:
            self._socket.transport.abort()


@dataclass
class CheckingClient:
    """One session's client, or two of them."""

    number: int
    url: str
    chance: random.Random
    results: Results
    model: bool = False  # a real one answers: nobody knows what it will say
    may_lose: bool = False  # the store may lose what it acknowledged; then it says so
    pending: dict[str, Json] = field(default_factory=dict[str, Json])  # not acknowledged yet
    nowhere: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    sending: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    news: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False
    finish: bool = False  # say no more than what was begun
    histories: int = 0
    errors: list[Json] = field(default_factory=list[Json])
    lines: list[SessionReader] = field(default_factory=list[SessionReader])

    def __post_init__(self) -> None:
        self._ids = count()

    @property
    def story(self) -> Story:
        """As the one who asks has seen it."""
        return self.lines[0].story

    @property
    def hears(self) -> bool:
        """Whether an answer has begun."""
        return bool(self.lines) and any(turn.answer for turn in self.story.turns.values())

    def breaks(self, error: BrokenError) -> None:
        """A promise was broken: this conversation is over."""
        if not self.broken:
            self.results.breaks(error)
        self.broken = True
        self.news.set()

    def over(self, what: str) -> None:
        """It was told that something is lost, and talks no more."""
        if not self.broken:
            self.results.detected[what] += 1
        self.broken = True
        self.news.set()

    # --- what comes --------------------------------------------------------------------------------------------------

    def told(self, frame: Json, *, speaks: bool) -> None:
        """What a line has taken."""
        if frame["type"] == "question" and speaks:  # the other line may be ahead of the story that `_calm` looks at
            self.pending.pop(frame.get("id", ""), None)
        elif frame["type"] == "done":
            self._look_at(next(line.story for line in self.lines if line.speaks is speaks).turns[frame["turn"]])
        elif frame["type"] == "history":
            self._compare(frame["turns"])
        elif frame["type"] == "error":
            self.errors.append(frame)
            self._refused(frame)

    def _refused(self, frame: Json) -> None:
        if frame.get("id") in self.pending:
            if frame["code"] == "turn_not_found" and self.may_lose:  # what was to be edited, or asked again, is lost
                del self.pending[frame["id"]]
                self.results.detected["a turn"] += 1
                return
            if frame["code"] not in PASSING:
                raise BrokenError("wrong", f"a good question was refused: {frame}, {self.pending[frame['id']]}")
            delay = self.chance.uniform(0.1, 0.5)
            asyncio.get_running_loop().call_later(delay, self._again, frame["id"])

    def _again(self, id: str) -> None:
        if id in self.pending:
            self.lines[0].say(self.pending[id])

    def _look_at(self, turn: Told) -> None:
        """The answer is the provider's, of one request, from its beginning on; all of it where it says so."""
        asked = ASKED.fullmatch(turn.text)
        if asked is None or not turn.answer:
            return
        tag = TAG.match(turn.answer)
        whole = "".join(pieces(tag[1], int(asked[1]))) if tag else ""
        if not whole.startswith(turn.answer) or (turn.reason == "stop" and whole != turn.answer):
            several = len(set(TAG.findall(turn.answer))) > 1
            raise BrokenError("doubled" if several else "lost", f"{turn.turn}: {turn.answer[:400]!r} {turn.reason}")

    def _compare(self, turns: list[Json]) -> None:
        """What `history` says is what was read, as far as that is read."""
        self.histories += 1
        for one in turns:
            turn = self.story.turns.get(one["turn"])
            ended = turn is not None and turn.done is not None and one["reason"] is not None
            if turn and ended and (one["answer"], one["text"]) != (turn.answer, turn.text):
                raise BrokenError("wrong", f"history tells {one}, but {turn} was read")

    # --- what is done ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """One reader, until the end of the block."""
        self.lines = [SessionReader(self, Story(), speaks=True)]
        task = asyncio.create_task(self.lines[0].keep())
        try:
            yield
        finally:
            await _end([task, *self.sending])

    async def answer(self, *, tokens: int, rate: int) -> None:
        """Ask, and wait for the end."""
        self._ask(tokens=tokens, rate=rate)
        await self._calm()

    async def run(self, *, readers: int) -> None:
        """Converse until told to finish."""
        self.lines = [SessionReader(self, Story(), speaks=True)]
        tasks = [asyncio.create_task(self.lines[0].keep())]
        try:
            while not self.broken and not self.finish:
                await self._step()
                if len(self.lines) < readers and self.story.head:
                    self.lines.append(SessionReader(self, Story(session=self.story.session), speaks=False))
                    tasks.append(asyncio.create_task(self.lines[-1].keep()))
            await self._calm()
            await self._until(self._all_read_the_same, "a reader lags")
        finally:
            await _end([*tasks, *self.sending])

    def _all_read_the_same(self) -> bool:
        return all(line.has_caught_up and line.story.head == self.story.head for line in self.lines)

    async def _step(self) -> None:
        steps: dict[Callable[[], None], int] = {
            self._ask: 40,
            self._ask_many: 10,
            lambda: self._ask(tokens=self.chance.randrange(1000, 6000), rate=0): 5,
            lambda: self._ask(when_busy="replace"): 5,
            lambda: self._ask(when_busy="reject"): 5,
            lambda: self._again_or_else("retry"): 8,
            lambda: self._again_or_else("edit"): 8,
            lambda: self._say({"type": "history", "limit": self.chance.randrange(1, 10)}): 8,
            self.lines[0].cut: 5,
        }
        [step] = self.chance.choices(list(steps), list(steps.values()))
        step()
        if self.chance.random() < 0.2:
            await asyncio.sleep(self.chance.uniform(0, 0.8))
            self._cancel()
        if self.chance.random() < 0.85:
            await self._calm()
        await asyncio.sleep(self.chance.expovariate(1 / 0.3))

    def _text(self, tokens: int | None = None, rate: int | None = None) -> tuple[str, str]:
        id = f"q{next(self._ids)}"
        if self.model:
            return id, f"What is {self.chance.randrange(100)} plus {self.number}? ({id})"
        tokens = self.chance.randrange(1, 80) if tokens is None else tokens
        rate = self.chance.choice((20, 50, 100)) if rate is None else rate
        return id, f"tell:{tokens} rate:{rate} note:s{self.number}-{id}"

    def _ask(self, *, tokens: int | None = None, rate: int | None = None, when_busy: str = "queue") -> None:
        id, text = self._text(tokens, rate)
        self._send(type="ask", id=id, text=text, when_busy=when_busy)

    def _cancel(self) -> None:
        """The running turn, or any that has not ended."""
        turns = [turn.turn for turn in list(self.story.turns.values())[-5:] if turn.done is None]
        self._say({"type": "cancel"} | ({"turn": self.chance.choice(turns)} if turns else {}))

    def _ask_many(self) -> None:
        for _ in range(3):
            self._ask()

    def _again_or_else(self, type: str) -> None:
        """Retry or edit one of the newest turns."""
        turns = list(self.story.turns.values())[-5:]
        if not turns:
            return
        turn = self.chance.choice(turns)
        id, text = self._text()
        if type == "edit":
            self._send(type="edit", id=id, turn=turn.turn, text=text)
        else:
            self._send(type="retry", id=id, turn=turn.turn, text=turn.text)  # the text is ours, it is ignored

    def _send(self, **frame: object) -> None:
        self.pending[str(frame["id"])] = frame
        self._say(frame)

    def _say(self, frame: Json) -> None:
        if self.story.session or frame["type"] == "ask":
            self.lines[0].say(frame)

    async def _calm(self) -> None:
        """Until all that was asked is acknowledged, and has ended."""
        await self._until(
            lambda: not self.pending and self.lines[0].has_caught_up and all(turn.done for turn in self._newest),
            "a turn does not end",
        )

    @property
    def _newest(self) -> list[Told]:
        return list(self.story.turns.values())[-30:]

    async def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(BOUND):
                while not self.broken and not true():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            last = [(turn.turn, turn.text, turn.reason) for turn in list(self.story.turns.values())[-3:]]
            what = f"{otherwise}: {self.story.session} at {self.story.head}, {last}, unanswered {list(self.pending)}"
            self.breaks(BrokenError("stuck", what))
