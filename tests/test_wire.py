"""The dialogues of tests/wire, played against the real server.

A dialogue is one JSON object a line; the Python and the JS client fold the same files.

    {"about": …}             what it shows; with "clients_only", what no server of this version says: clients play it;
                             with "server_only", what the Python client does not ask for
    {"upstream": [step, …]}  what the next question gets: a text, {"thinking": text}, {"error": code}, {"end": reason},
                             {"wait": name}
    {"go": name}             what was waited for has come
    {"connect": {…}}         a connection with these parameters, in the place of the one before; that "user"'s
    {"leave": true}          the connection is lost
    {">": frame}             the client sends this; {">raw": text} where it is no frame
    {"<": frame}             the server sends this, and nothing before it
    {"closed": code}         the server closes the connection
    {"view": {"turns": …}}   what a client shows of the first session at the end

A text that begins with `$` is a name: bound where it is first seen, the same from then on; `$any` is anything. Of
`created` and `timing` the shape counts. Neighbouring slices of an answer, or of reasoning, are the same as one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from askbot_ws.dialects.askbot.frames import decode_server
from askbot_ws.errors import AskbotError
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending, ThinkingText

from .process import Json, address
from .users import serving_users

SLICES = ("token", "thinking")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


DIALOGUES = sorted((Path(__file__).parent / "wire").glob("*.jsonl"))
SERVED = [path for path in DIALOGUES if "clients_only" not in lines(path)[0]]


def merged(dialogue: list[Json]) -> Iterator[Json]:
    """The dialogue with neighbouring slices as one."""
    last: Json | None = None
    for line in dialogue:
        frame = line.get("<", {})
        before: Json = last.get("<", {}) if last else {}
        kind = frame.get("type")
        if last and kind in SLICES and kind == before.get("type") and frame["turn"] == before["turn"]:
            last = {"<": {**frame, "text": before["text"] + frame["text"]}}
            continue
        if last:
            yield last
        last = line
    if last:
        yield last


@dataclass
class Player:
    """Plays a dialogue's client and its model."""

    url: str
    upstream: ScriptedUpstream
    socket: ClientConnection | None = None
    names: dict[str, str] = field(default_factory=dict[str, str])
    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    async def play_all(self, dialogue: list[Json]) -> None:
        self.upstream.scripts += [list(map(self.step, line["upstream"])) for line in dialogue if "upstream" in line]
        for line in merged(dialogue):
            await self.play(line)
        await self.quiet()

    async def play(self, line: Json) -> None:
        match line:
            case {"about": _} | {"upstream": _} | {"view": _}:
                pass
            case {"go": name}:
                self.gate(name).set()
            case {"connect": place}:
                await self.connect(place, user=line.get("user"))
            case {">": frame}:
                await (await self.line()).send(json.dumps(self.named(frame)))
            case {">raw": text}:
                await (await self.line()).send(text)
            case {"<": frame}:
                told = await self.told(frame)
                assert self.same(frame, told), f"expected {frame}, got {told}"
            case {"leave": _}:
                (await self.line()).transport.abort()
                await (await self.line()).wait_closed()
            case {"closed": code}:
                assert await self.closed() == code
            case _:
                raise AssertionError(f"no such line: {line}")

    def step(self, step: Any) -> Step:
        match step:
            case {"thinking": text}:
                return ThinkingText(text)
            case {"error": code}:
                return next(error for error in causes() if error.code == code)()
            case {"end": reason}:
                return Ending(reason)
            case {"wait": name}:
                return self.gate(name)
            case _:
                assert isinstance(step, str)
                return step

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def line(self) -> ClientConnection:
        if self.socket is None:
            await self.connect({})
        assert self.socket
        return self.socket

    async def connect(self, place: Json, *, user: str | None = None) -> None:
        await self.quiet()
        query = urlencode(self.named(place))
        headers = {"Authorization": f"Bearer {user}"} if user else None
        self.socket = await connect(f"{self.url}?{query}", proxy=None, compression=None, additional_headers=headers)

    async def quiet(self) -> None:
        """Nothing more is there to read."""
        if self.socket is None or self.socket.close_code is not None:
            return
        await self.socket.send('{"type":"ping","id":"the end"}')
        assert await self.next() == {"type": "pong", "id": "the end"}
        await self.socket.close()

    async def next(self) -> Json:
        data = await asyncio.wait_for((await self.line()).recv(), 5)
        assert decode_server(data)
        frame: Json = json.loads(data)
        return frame

    async def told(self, wanted: Json) -> Json:
        """The next frame; of an answer, or of reasoning, as much as is wanted."""
        frame = await self.next()
        while frame["type"] == wanted["type"] in SLICES and frame["seq"] < wanted["seq"]:
            more = await self.next()
            assert more["type"] == frame["type"]
            assert more["turn"] == frame["turn"]
            frame = {**more, "text": frame["text"] + more["text"]}
        return frame

    async def closed(self) -> int | None:
        socket = await self.line()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
        return socket.close_code

    def named(self, value: Any) -> Any:
        """A client's frame, with what the names stand for."""
        if isinstance(value, dict):
            return {name: self.named(one) for name, one in cast(Json, value).items()}
        return self.names[value] if isinstance(value, str) and value.startswith("$") else value

    def same(self, wanted: Any, told: Any, name: str = "") -> bool:
        """Whether a frame, or a part of one, is as it is written."""
        match wanted:
            case "$any":
                same = True
            case str() if name in {"created", "updated"}:
                same = MOMENT.fullmatch(told) is not None
            case {"queued": _, "first_token": first, **__}:
                same = wanted.keys() == told.keys() and (first is None) is (told["first_token"] is None)
            case dict():
                parts = cast(Json, wanted)
                same = parts.keys() == told.keys() and all(self.same(parts[key], told[key], key) for key in parts)
            case list():
                items: list[Any] = wanted  # pyright: ignore[reportUnknownVariableType]
                same = len(items) == len(told) and all(map(self.same, items, told))
            case str() if wanted.startswith("$"):
                same = self.names.setdefault(wanted, told) == told
            case _:
                same = type(wanted) is type(told) and wanted == told
        return same


def causes(root: type[AskbotError] = AskbotError) -> Iterator[type[AskbotError]]:
    """Every error that there is."""
    yield root
    for cause in root.__subclasses__():
        yield from causes(cause)


@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.stem)
async def test_a_dialogue_is_played_as_it_is_written(path: Path) -> None:
    """Frame by frame; and when it is over, the server has nothing more to say."""
    upstream = ScriptedUpstream()
    async with serving_users(upstream) as server:
        await Player(address(server.port), upstream).play_all(lines(path))

    assert not upstream.scripts, "every answer was asked for"


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_a_dialogue_says_what_it_shows(path: Path) -> None:
    """First what it is about, at last what a client shows; what a model waits for comes, or a cancel."""
    dialogue = lines(path)

    assert dialogue[0].keys() - {"clients_only", "server_only"} == {"about"}
    assert list(dialogue[-1]) == ["view"]
    steps = [step for line in dialogue for step in line.get("upstream", [])]
    waited = {cast(Json, step)["wait"] for step in steps if isinstance(step, dict) and "wait" in step}
    assert waited - {"cancel"} == {line["go"] for line in dialogue if "go" in line}
