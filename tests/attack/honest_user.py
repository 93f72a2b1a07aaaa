"""Honest user: holds conversations during an attack, checks every promise, and measures how long things take."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from askbot_ws import make_ticket

from ..auth.clients import bearer
from ..process import Json, Reader, Story
from .target import TICKET_SECRET, Attacked, member_token

PAUSE = 0.2  # seconds between what a user does
LONGEST = 20.0  # seconds for anything
BUSY = {"overloaded", "rate_limited"}  # errors after which one comes again
BUSY_CODES = {1013, 4429}  # with which a server that is full closes


class BusyError(Exception):
    """The server has too much to do, and said so."""


@dataclass
class Measured:
    """What all honest users have seen."""

    first_tokens: list[float] = field(default_factory=list[float])  # seconds from the question
    round_trips: list[float] = field(default_factory=list[float])  # seconds of a ping, or from a cancel to its `done`
    busy: Counter[str] = field(default_factory=Counter[str])  # refusals, by what was refused
    broken: list[str] = field(default_factory=list[str])
    sessions: set[str] = field(default_factory=set[str])  # that were made

    def at(self, part: float) -> tuple[float, float]:
        """Return this percentile (0 to 1) of first tokens and of round trips; 0 where there is none."""
        first, trip = (sorted(times) or [0.0] for times in (self.first_tokens, self.round_trips))
        return first[int(part * (len(first) - 1))], trip[int(part * (len(trip) - 1))]


class HonestUser:
    """One user on one device, with one kind of credential."""

    def __init__(self, attacked: Attacked, name: str, canary: str, measured: Measured, chance: random.Random) -> None:
        self._attacked = attacked
        self._name = name
        self._canary = canary
        self._measured = measured
        self._chance = chance
        self._own: set[str] = set()
        self._number = 0

    async def converse(self) -> None:
        """Hold conversations until cancelled."""
        story = Story()
        while True:
            try:
                async with asyncio.timeout(LONGEST * 3), self._connected(story) as reader:
                    for _ in range(self._chance.randrange(2, 9)):
                        await self._do_something(reader)
                        await asyncio.sleep(PAUSE)
            except BusyError:
                await asyncio.sleep(0.5)
            except InvalidStatus as refusal:
                if refusal.response.status_code not in (429, 503):
                    self._break(f"a handshake got {refusal.response.status_code}")
                self._measured.busy["handshake"] += 1
                await asyncio.sleep(0.5)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in BUSY_CODES:
                    self._break(f"a connection was closed with {code}")
                self._measured.busy["connection"] += 1
                await asyncio.sleep(0.5)
            except Exception as error:  # noqa: BLE001 - whatever it is, it was not promised
                self._break(repr(error))
                await asyncio.sleep(1)
                story = Story()
            if not story.turns or len(story.turns) > 25:  # a session without a question is dropped when nobody reads it
                story = Story()

    def _break(self, what: str) -> None:
        self._measured.broken.append(f"{self._name}: {what}")

    @asynccontextmanager
    async def _connected(self, story: Story) -> AsyncGenerator[Reader]:
        place = f"?session={story.session}&after={story.head}" if story.session else "?"
        headers = dict[str, str]()
        kind = self._chance.choice(("key", "token", "ticket"))
        if kind == "ticket":
            ticket = make_ticket(self._name, secret=TICKET_SECRET, role="member")
            place += f"&ticket={ticket.text}"
        else:
            headers = bearer(self._attacked.keys[self._name] if kind == "key" else member_token(self._name))
        async with connect(
            self._attacked.server.url + place,
            additional_headers=headers,
            proxy=None,
            compression=None,
            ping_interval=None,
            close_timeout=2,
        ) as socket:
            reader = Reader(socket, story)
            ready = await reader.next(LONGEST)
            assert ready["type"] == "ready", ready
            assert ready["user"] == self._name
            self._own.add(ready["session"])
            self._measured.sessions.add(ready["session"])
            yield reader

    async def _do_something(self, reader: Reader) -> None:
        pick = self._chance.random()
        if pick < 0.6:
            await self._ask(reader)
        elif pick < 0.8:
            await self._cancel(reader)
        elif pick < 0.9:
            await self._list_sessions(reader)
        else:
            await self._read_history(reader)
        begun = time.monotonic()
        await reader.send(type="ping", id="p")
        await reader.until("pong", LONGEST)
        self._measured.round_trips.append(time.monotonic() - begun)
        reader.frames.clear()
        reader.raw.clear()

    async def _accepted(self, reader: Reader, text: str) -> str:
        """Ask, and wait for the first token; returns the turn."""
        self._number += 1
        id = f"{self._name}-{self._number}"
        begun = time.monotonic()
        await reader.ask(text, id=id)
        answer = await reader.until(lambda frame: frame.get("id") == id, LONGEST)
        if answer["type"] == "error":
            assert answer["code"] in BUSY, answer
            self._measured.busy["question"] += 1
            raise BusyError
        turn: str = answer["turn"]
        first = await reader.until(lambda frame: frame.get("turn") == turn, LONGEST)
        assert first["type"] == "token", first
        self._measured.first_tokens.append(time.monotonic() - begun)
        return turn

    async def _done(self, reader: Reader, turn: str, reason: str) -> Json:
        told = reader.story.turns[turn]
        await reader.until(lambda _: told.done is not None, LONGEST) if told.done is None else None
        assert told.done is not None
        assert told.reason == reason, told.done
        return told.done

    async def _ask(self, reader: Reader) -> None:
        said = f"{self._canary} {self._chance.randrange(20)} for {self._name}"
        turn = await self._accepted(reader, f"say:{said}")
        await self._done(reader, turn, "stop")
        assert reader.story.turns[turn].answer == said

    async def _cancel(self, reader: Reader) -> None:
        turn = await self._accepted(reader, f"tokens:400 rate:100 note:{self._canary}")
        begun = time.monotonic()
        await reader.send(type="cancel", turn=turn)
        await self._done(reader, turn, "cancelled")
        self._measured.round_trips.append(time.monotonic() - begun)

    async def _list_sessions(self, reader: Reader) -> None:
        """Only one's own, of which this device knows some and another one the others."""
        await reader.send(type="sessions", id="s", limit=100)
        listed = await reader.until(lambda frame: frame.get("id") == "s", LONGEST)
        assert listed["type"] == "sessions" or listed["code"] in BUSY, listed
        for each in listed.get("sessions", ()):
            assert self._name in each["title"] or self._canary in each["title"], "a session of somebody else"

    async def _read_history(self, reader: Reader) -> None:
        await reader.send(type="history", id="h", limit=10)
        answer = await reader.until(lambda frame: frame.get("id") == "h", LONGEST)
        assert answer["type"] == "history" or answer["code"] in BUSY, answer
        for turn in answer.get("turns", ()):
            assert turn["answer"] == reader.story.turns[turn["turn"]].answer
