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
from .inside import session_of
from .test_view import frame_of, literal

SAID = {"id", "session", "turn", "when_busy"}  # fields that the client gives though a dialogue may leave them out


@dataclass
class Stage:
    """A client, the server it talks to, and where they are in the dialogue."""

    url: str
    came: asyncio.Queue[ServerConnection]
    socket: ServerConnection | None = None
    chats: dict[str, Chat] = field(default_factory=dict[str, Chat])  # by session
    main: Chat | None = None  # the one that began the connection
    entering: asyncio.Task[Chat] | None = None
    left: dict[str, Chat] = field(default_factory=dict[str, Chat])  # detached
    doing: list[asyncio.Future[Any]] = field(default_factory=list[asyncio.Future[Any]])
    ids: dict[str, str] = field(default_factory=dict[str, str])  # the client's own, by the dialogue's
    unacknowledged: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # text and id
    told: str | None = None  # the client's id of what was said last
    unsaid: set[str | None] = field(default_factory=set[str | None])  # the ids of what it never says
    place: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])  # how far each was told
    proofs: dict[str, str] = field(default_factory=dict[str, str])  # of the answers, by turn
    errors: set[str] = field(default_factory=set[str])  # the codes that it was told
    first: str | None = None

    async def play(self, line: Json) -> None:
        match line:
            case {"connect": place}:
                await self.connect(place)
            case {">": frame}:
                await self.say(frame)
            case {">raw": _}:
                self.unsaid.add(None)
            case {"<": frame}:
                await self.tell(frame)
            case {"leave": _} if self.socket:
                self.socket.transport.abort()
            case {"closed": code} if self.socket:
                await self.socket.close(code)
            case {"view": view}:
                await self.shows(literal(view["turns"]))
            case _:
                pass  # the model's side

    # --- connections -------------------------------------------------------------------------------------------------

    async def connect(self, place: Json) -> None:
        """The client comes back by itself where it would say the same; else it is another one."""
        place = literal(place)
        await self.heard()
        main = self.main
        if main and not session_of(main).close_reason and place == said_by(main):
            if self.socket:
                self.socket.transport.abort()
        else:
            if main:
                await main.close()
            self.main = None
            new = connect(self.url, delay=lambda _: 0.0, **place)
            self.entering = asyncio.ensure_future(new)
        self.socket = await self.came.get()
        request = self.socket.request
        assert request
        said = {name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()}
        assert said == {name: str(value) for name, value in place.items()}

    async def entered(self, session: str | None = None) -> Chat | None:
        """The client's conversation, once it has come in; None where it has none of this session."""
        if self.entering:
            entering, self.entering = self.entering, None
            with self.as_told():
                chat = await entering
                if self.main is None:
                    self.main = chat
                    self.chats.clear()
                self.chats[chat.id or ""] = chat
                self.first = self.first or chat.id
        return self.chats.get(session) if session else [*self.chats.values()][-1]

    @contextmanager
    def as_told(self) -> Generator[None]:
        """Errors are raised as the server told of them."""
        try:
            yield
        except AskbotError as error:
            if error.code not in self.errors:
                raise

    async def heard(self) -> None:
        """Until the client has heard all that it was told."""
        for name, chat in self.chats.items():
            while not session_of(chat).close_reason and self.behind(chat.view, name):
                await chat.changed.wait()

    def behind(self, view: View, name: str) -> bool:
        log, place = self.place.get(name, (view.log, 0))
        return view.log != log or (view.seq or 0) < place

    # --- what the client says ----------------------------------------------------------------------------------------

    async def say(self, frame: Json) -> None:
        frame = literal(frame)
        await self.heard()
        chat = await self.entered(frame.get("session") if frame["type"] not in {"attach", "forget"} else None)
        said = False
        with self.as_told():
            said = chat is not None and self.follow(chat, frame)
        if not said:
            self.unsaid.add(frame.get("id"))
            return
        assert self.socket
        heard = json.loads(await self.socket.recv())
        given = {name: value for name, value in heard.items() if name not in SAID or name in frame}
        assert given | {"id": None} == frame | {"id": None}
        self.told = heard.get("id")
        if "id" in frame:
            self.ids[frame["id"]] = heard["id"]
        if heard["type"] in {"ask", "edit", "retry"}:
            self.unacknowledged.append((heard.get("text", ""), heard["id"]))

    def follow(self, chat: Chat, frame: Json) -> bool:
        """Have the client say this; False where it never would."""
        if frame.get("id") in self.ids or (frame["type"] == "ask" and self.ambiguous(frame)):
            return False
        match frame:
            case {"type": "ask", "text": str(text)}:
                options = {name: frame[name] for name in frame.keys() - {"type", "id", "text", "session"}}
                self.does(chat.ask(text, **options))
            case {"type": "retry"}:
                self.does(chat.retry(frame.get("turn")))
            case {"type": "edit", "turn": str(turn), "text": str(text)}:
                self.does(chat.edit(turn, text))
            case {"type": "cancel", **rest} if rest.get("turn") or any(not turn.end for turn in chat.view.turns):
                self.does(chat.cancel(frame.get("turn")))
            case {"type": "history"} if set(frame) >= {"before"} or frame.get("limit"):
                before = frame.get("before", (chat.view.seq or 0) + 1)
                self.does(chat.history(before=before, limit=frame.get("limit", 50)))
                frame |= {"before": before, "limit": frame.get("limit", 50)}
            case {"type": "attach"}:
                self.entering = asyncio.ensure_future(chat.session(frame.get("session"), after=frame.get("after")))
            case {"type": "detach"}:
                self.left[frame["session"]] = self.chats.pop(frame["session"])
                self.does(chat.close())
            case {"type": "forget"}:
                self.does(chat.forget())
            case _:
                return False
        return True

    def ambiguous(self, frame: Json) -> bool:
        return "session" not in frame and len(self.chats) > 1

    def does(self, doing: Awaitable[Any]) -> None:
        self.doing.append(asyncio.ensure_future(doing))

    # --- what it is told ---------------------------------------------------------------------------------------------

    async def tell(self, told: Json) -> None:
        if told["type"] in {"error", "pong"} and (told.get("id") in self.unsaid or (self.unsaid and "id" not in told)):
            self.unsaid.discard(told.get("id"))
            return
        frame = frame_of(told)
        named: Json = literal(told) if frame is None or isinstance(frame, UnknownEvent) else json.loads(encode(frame))
        if told["type"] == "question" and self.unacknowledged:
            place = next((number for number, (text, _) in enumerate(self.unacknowledged) if text == told["text"]), 0)
            named["id"] = self.unacknowledged.pop(place)[1]
        elif (told["type"] in {"history", "error"} or (told["type"] == "ready" and "id" in told)) and self.told:
            named["id"] = self.ids.get(told.get("id", ""), self.told)
        if told["type"] == "ready":
            self.place[named["session"]] = (named["log"], named["from"])
        elif "seq" in named:
            log, place = self.place[named["session"]]
            self.place[named["session"]] = (log, max(place, named["seq"]))
        if told["type"] == "done":
            self.proofs[named["turn"]] = named["check"]["sha256"]
        if told["type"] == "error":
            self.errors.add(named["code"])
            self.unacknowledged = [one for one in self.unacknowledged if one[1] != named.get("id")]
        assert self.socket
        await self.socket.send(json.dumps(named))

    async def shows(self, turns: list[Json]) -> None:
        """In the end: what the client shows, and what each question came to."""
        await self.entered()
        await self.heard()
        chat = (self.chats | self.left)[self.first or ""]
        shown = [
            {"turn": turn.turn, "text": turn.text, "answer": turn.answer, "reason": turn.end and turn.end.reason}
            for turn in chat.view.turns
        ]
        assert shown == turns
        for came in await asyncio.gather(*self.doing, return_exceptions=True):
            match came:
                case None | History():
                    pass
                case Answer():
                    assert hashlib.sha256(came.text.encode()).hexdigest() == self.proofs[came.turn]
                case AskbotError():
                    assert came.code in self.errors
                case _:
                    raise AssertionError(came)


def said_by(chat: Chat) -> Json:
    """What it connects with when it comes back."""
    return {"session": chat.id, "after": chat.view.seq, "log": chat.view.log}


@asynccontextmanager
async def staged() -> AsyncGenerator[Stage]:
    came: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def accept(socket: ServerConnection) -> None:
        came.put_nowait(socket)
        await socket.wait_closed()

    async with asyncio.timeout(10), serve(accept, "127.0.0.1", 0, ping_interval=None) as server:
        stage = Stage(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", came)
        yield stage
        if stage.main:
            await stage.main.close()


HELD = [path for path in DIALOGUES if path.stem != "bad_frames"]  # those that it would say anything of


@pytest.mark.parametrize("path", HELD, ids=lambda path: path.stem)
async def test_the_client_holds_the_dialogue(path: Path) -> None:
    """Over a real socket; the JS client plays the same ones."""
    async with staged() as stage:
        await stage.connect({})
        for line in lines(path):
            await stage.play(line)


def a_ready(session: str) -> str:
    frame = frame_of({"type": "ready", "session": session, "seq": 0, "from": 0})
    assert frame
    return encode(frame).decode()


async def test_a_session_whose_log_cannot_be_read_is_attached_again_later() -> None:
    """The server's trouble is over on the next connection, or on the one after that."""
    async with staged() as stage:
        await stage.connect({})
        assert stage.socket
        await stage.socket.send(a_ready("one"))
        one = await stage.entered()
        assert one
        entering = asyncio.ensure_future(one.session("other"))
        assert json.loads(await stage.socket.recv())["type"] == "attach"
        await stage.socket.send(a_ready("other"))
        other = await entering
        stage.socket.transport.abort()
        for fault in ("internal", None):
            stage.socket = await stage.came.get()
            await stage.socket.send(a_ready("one"))
            attach = json.loads(await stage.socket.recv())
            assert attach == {"type": "attach", "id": attach["id"], "session": "other", "after": 0}
            error = {"type": "error", "code": fault, "message": "Later.", "retryable": True, "id": attach["id"]}
            await stage.socket.send(json.dumps(error) if fault else a_ready("other"))
        answer = asyncio.ensure_future(other.ask("Why?"))
        assert json.loads(await stage.socket.recv())["session"] == "other"
        await one.close()
        with pytest.raises(Closed):
            await answer
