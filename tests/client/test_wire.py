"""The dialogues of tests/wire, held by the client with a small server that plays the other side.

What the client would never say (a frame that is none, an id twice, a cancel of nothing) is left out, and so is what is
answered to it: those lines are for servers. Everything else has to be said by the client as it is written, and what it
shows in the end has to be what the dialogue tells.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve

from askbot_ws.client import Answer, Chat, Closed, View, connect
from askbot_ws.dialects.askbot.frames import History, UnknownEvent, encode
from askbot_ws.errors import AskbotError

from ..process import Json
from ..test_wire import DIALOGUES, lines
from .internals import session_of
from .test_view import frame_of, literal

OPTIONAL_FIELDS = {
    "id",
    "session",
    "turn",
    "when_busy",
}  # the client sends them where a dialogue leaves them out


@dataclass
class DialoguePlayer:
    """Plays a dialogue with a client: it is the server, and calls the client's methods."""

    url: str
    connections: asyncio.Queue[ServerConnection]
    socket: ServerConnection | None = None
    chats: dict[str, Chat] = field(default_factory=dict[str, Chat])  # by session
    main: Chat | None = None  # the one that `connect` returned
    entering: asyncio.Task[Chat] | None = None
    left: dict[str, Chat] = field(default_factory=dict[str, Chat])  # detached
    tasks: list[asyncio.Future[Any]] = field(default_factory=list[asyncio.Future[Any]])
    ids: dict[str, str] = field(default_factory=dict[str, str])  # the client's own, by the dialogue's
    unacknowledged: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # text and id
    last_id: str | None = None  # the id of the frame that the client sent last
    never_sent: set[str | None] = field(default_factory=set[str | None])  # the ids of frames it never sends
    positions: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])  # log and seq, by session
    proofs: dict[str, str] = field(default_factory=dict[str, str])  # of the answers, by turn
    errors: set[str] = field(default_factory=set[str])  # the codes that the server sent
    first: str | None = None

    async def play(self, line: Json) -> None:
        match line:
            case {"connect": place}:
                await self.connect(place)
            case {">": frame}:
                await self.client_sends(frame)
            case {">raw": _}:
                self.never_sent.add(None)
            case {"<": frame}:
                await self.server_sends(frame)
            case {"leave": _} if self.socket:
                self.socket.transport.abort()
            case {"closed": code} if self.socket:
                await self.socket.close(code)
            case {"view": view}:
                await self.check_view(literal(view["turns"]))
            case _:
                pass  # the model's side

    # --- connections -------------------------------------------------------------------------------------------------

    async def connect(self, place: Json) -> None:
        """The client reconnects by itself where it would connect with the same; else a new one is made."""
        place = literal(place)
        await self.caught_up()
        main = self.main
        if main and not session_of(main).close_reason and place == resume_point_of(main):
            if self.socket:
                self.socket.transport.abort()
        else:
            if main:
                await main.close()
            self.main = None
            new = connect(self.url, delay=lambda _: 0.0, **place)
            self.entering = asyncio.ensure_future(new)
        self.socket = await self.connections.get()
        request = self.socket.request
        assert request
        query = {name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()}
        assert query == {name: str(value) for name, value in place.items()}

    async def entered(self, session: str | None = None) -> Chat | None:
        """The client's conversation, once it is entered; None where it has none of this session."""
        if self.entering:
            entering, self.entering = self.entering, None
            with self.expected_errors():
                chat = await entering
                if self.main is None:
                    self.main = chat
                    self.chats.clear()
                self.chats[chat.id or ""] = chat
                self.first = self.first or chat.id
        return self.chats.get(session) if session else [*self.chats.values()][-1]

    @contextmanager
    def expected_errors(self) -> Generator[None]:
        """Ignore errors that the server has sent."""
        try:
            yield
        except AskbotError as error:
            if error.code not in self.errors:
                raise

    async def caught_up(self) -> None:
        """Wait until the client has received all that was sent."""
        for name, chat in self.chats.items():
            while not session_of(chat).close_reason and self.behind(chat.view, name):
                await chat.changed.wait()

    def behind(self, view: View, name: str) -> bool:
        log, place = self.positions.get(name, (view.log, 0))
        return view.log != log or (view.seq or 0) < place

    # --- what the client sends ---------------------------------------------------------------------------------------

    async def client_sends(self, frame: Json) -> None:
        frame = literal(frame)
        await self.caught_up()
        chat = await self.entered(frame.get("session") if frame["type"] not in {"attach", "forget"} else None)
        said = False
        with self.expected_errors():
            said = chat is not None and self.follow(chat, frame)
        if not said:
            self.never_sent.add(frame.get("id"))
            return
        assert self.socket
        received = json.loads(await self.socket.recv())
        given = {name: value for name, value in received.items() if name not in OPTIONAL_FIELDS or name in frame}
        assert given | {"id": None} == frame | {"id": None}
        self.last_id = received.get("id")
        if "id" in frame:
            self.ids[frame["id"]] = received["id"]
        if received["type"] in {"ask", "edit", "retry"}:
            self.unacknowledged.append((received.get("text", ""), received["id"]))

    def follow(self, chat: Chat, frame: Json) -> bool:
        """Have the client send this; False where it never would."""
        if frame.get("id") in self.ids or (frame["type"] == "ask" and self.ambiguous(frame)):
            return False
        match frame:
            case {"type": "ask", "text": str(text)}:
                options = {name: frame[name] for name in frame.keys() - {"type", "id", "text", "session"}}
                self.start(chat.ask(text, **options))
            case {"type": "retry"}:
                self.start(chat.retry(frame.get("turn")))
            case {"type": "edit", "turn": str(turn), "text": str(text)}:
                self.start(chat.edit(turn, text))
            case {"type": "cancel", **rest} if rest.get("turn") or any(not turn.end for turn in chat.view.turns):
                self.start(chat.cancel(frame.get("turn")))
            case {"type": "history"} if set(frame) >= {"before"} or frame.get("limit"):
                before = frame.get("before", (chat.view.seq or 0) + 1)
                self.start(chat.history(before=before, limit=frame.get("limit", 50)))
                frame |= {"before": before, "limit": frame.get("limit", 50)}
            case {"type": "attach" | "fork"}:
                self.entering = asyncio.ensure_future(opened(chat, frame))
            case {"type": "detach"}:
                self.left[frame["session"]] = self.chats.pop(frame["session"])
                self.start(chat.close())
            case {"type": "forget"}:
                self.start(chat.forget())
            case _:
                return False
        return True

    def ambiguous(self, frame: Json) -> bool:
        return "session" not in frame and len(self.chats) > 1

    def start(self, doing: Awaitable[Any]) -> None:
        self.tasks.append(asyncio.ensure_future(doing))

    # --- what the server sends ---------------------------------------------------------------------------------------

    async def server_sends(self, template: Json) -> None:
        if template["type"] in {"error", "pong"} and (
            template.get("id") in self.never_sent or (self.never_sent and "id" not in template)
        ):
            self.never_sent.discard(template.get("id"))
            return
        frame = frame_of(template)
        named: Json = (
            literal(template) if frame is None or isinstance(frame, UnknownEvent) else json.loads(encode(frame))
        )
        if template["type"] == "question" and self.unacknowledged:
            place = next((at for at, (text, _) in enumerate(self.unacknowledged) if text == template["text"]), 0)
            named["id"] = self.unacknowledged.pop(place)[1]
        elif (
            template["type"] in {"history", "error"} or (template["type"] == "ready" and "id" in template)
        ) and self.last_id:
            named["id"] = self.ids.get(template.get("id", ""), self.last_id)
        if template["type"] == "ready":
            self.positions[named["session"]] = (named["log"], named["from"])
        elif "seq" in named:
            log, place = self.positions[named["session"]]
            self.positions[named["session"]] = (log, max(place, named["seq"]))
        if template["type"] == "done":
            self.proofs[named["turn"]] = named["check"]["sha256"]
        if template["type"] == "error":
            self.errors.add(named["code"])
            self.unacknowledged = [one for one in self.unacknowledged if one[1] != named.get("id")]
        assert self.socket
        await self.socket.send(json.dumps(named))

    async def check_view(self, turns: list[Json]) -> None:
        """Check what the client shows at the end, and the outcome of each request."""
        await self.entered()
        await self.caught_up()
        chat = (self.chats | self.left)[self.first or ""]
        shown = [
            {"turn": turn.turn, "text": turn.question, "answer": turn.answer, "reason": turn.end and turn.end.reason}
            for turn in chat.view.turns
        ]
        assert shown == turns
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            match outcome:
                case None | History():
                    pass
                case Answer():
                    assert hashlib.sha256(outcome.text.encode()).hexdigest() == self.proofs[outcome.turn]
                case AskbotError():
                    assert outcome.code in self.errors
                case _:
                    raise AssertionError(outcome)


def opened(chat: Chat, frame: Json) -> Chat:
    """The further conversation that this frame asks for, to be entered."""
    if frame["type"] == "fork":
        return chat.fork(frame["turn"])
    return chat.session(frame.get("session"), after=frame.get("after"))


def resume_point_of(chat: Chat) -> Json:
    """What it connects with when it reconnects."""
    return {"session": chat.id, "after": chat.view.seq, "log": chat.view.log}


@asynccontextmanager
async def playing() -> AsyncGenerator[DialoguePlayer]:
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def accept(socket: ServerConnection) -> None:
        connections.put_nowait(socket)
        await socket.wait_closed()

    async with asyncio.timeout(10), serve(accept, "127.0.0.1", 0, ping_interval=None) as server:
        player = DialoguePlayer(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", connections)
        yield player
        if player.main:
            await player.main.close()


PLAYABLE = [  # not what has frames that the client does not send
    path for path in DIALOGUES if path.stem != "bad_frames" and "server_only" not in lines(path)[0]
]


@pytest.mark.parametrize("path", PLAYABLE, ids=lambda path: path.stem)
async def test_the_client_holds_the_dialogue(path: Path) -> None:
    """Over a real socket; the JS client plays the same ones."""
    async with playing() as player:
        await player.connect({})
        for line in lines(path):
            await player.play(line)


def a_ready(session: str) -> str:
    frame = frame_of({"type": "ready", "session": session, "seq": 0, "from": 0})
    assert frame
    return encode(frame).decode()


async def test_a_session_whose_log_cannot_be_read_is_attached_again_later() -> None:
    """The server's trouble is over on the next connection, or on the one after that."""
    async with playing() as player:
        await player.connect({})
        assert player.socket
        await player.socket.send(a_ready("one"))
        one = await player.entered()
        assert one
        entering = asyncio.ensure_future(one.session("other"))
        assert json.loads(await player.socket.recv())["type"] == "attach"
        await player.socket.send(a_ready("other"))
        other = await entering
        player.socket.transport.abort()
        for fault in ("internal", None):
            player.socket = await player.connections.get()
            await player.socket.send(a_ready("one"))
            attach = json.loads(await player.socket.recv())
            assert attach == {"type": "attach", "id": attach["id"], "session": "other", "after": 0}
            error = {"type": "error", "code": fault, "message": "Later.", "retryable": True, "id": attach["id"]}
            await player.socket.send(json.dumps(error) if fault else a_ready("other"))
        answer = asyncio.ensure_future(other.ask("Why?"))
        assert json.loads(await player.socket.recv())["session"] == "other"
        await one.close()
        with pytest.raises(Closed):
            await answer
