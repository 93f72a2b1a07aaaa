"""Whose a session is: over real connections, of users and of nobody (docs/protocol.md, promise 10)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from websockets.asyncio.client import ClientConnection, connect

from askbot_ws.dialects.askbot.frames import ClientFrame, type_of
from askbot_ws.hub import Policy
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream

from ..process import Json, address
from ..users import serving_users

UNKNOWN = "nobodys-session-ever-was"
NEEDED: Json = {
    "ask": {"text": "Why?"},
    "edit": {"turn": "t1", "text": "Why?"},
    "fork": {"turn": "t1"},
    "title": {"text": "Mine now"},
}
ABOUT_A_SESSION = sorted({type_of(model) for model in ClientFrame.__args__} - {"auth", "ping", "sessions"})


class Client:
    """A connection of a user, or of nobody."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **frame: object) -> None:
        await self.socket.send(json.dumps(frame))

    async def until(self, *kinds: str) -> Json:
        """The next frame of one of these types; behind a `ready`, the replay is read too."""
        while (frame := await self._next())["type"] not in kinds:
            pass
        seq = frame["from"] if frame["type"] == "ready" else 0
        while frame["type"] == "ready" and seq < frame["seq"]:
            seq = (await self._next())["seq"]
        return frame

    async def _next(self) -> Json:
        return cast(Json, json.loads(await asyncio.wait_for(self.socket.recv(), 5)))

    async def ask(self, text: str = "Why?", **fields: object) -> Json:
        await self.send(type="ask", text=text, **fields)
        return await self.until("done")

    async def refused(self, kind: str, **fields: object) -> Json:
        """The error that answers a frame, without what repeats the frame."""
        await self.send(type=kind, id="f", **{**NEEDED.get(kind, {}), **fields})
        error = await self.until("error", "ready", "question", "title", "history", "done", "sessions")
        assert (error["type"], error.get("id")) == ("error", "f"), error
        return {name: value for name, value in error.items() if name not in {"id", "session"}}


@asynccontextmanager
async def client(server: Server, token: str | None = None, query: str = "") -> AsyncGenerator[tuple[Client, Json]]:
    """A connection with this token, and its `ready`."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    async with connect(f"{address(server.port)}?{query}", proxy=None, additional_headers=headers) as socket:
        one = Client(socket)
        yield one, await one.until("ready", "error")


async def session_of(server: Server, token: str | None) -> str:
    """A session with one turn."""
    async with client(server, token) as (one, ready):
        await one.ask()
        return str(ready["session"])


async def test_another_users_session_is_as_none_in_every_frame() -> None:
    """Also where it is not in memory, and for anonymous clients; the two answers are the same to the letter."""
    async with serving_users(ScriptedUpstream(["Because."])) as server:
        hers = await session_of(server, "ann")
        for stranger in ("bob", None):
            async with client(server, stranger) as (one, _):
                for kind in ABOUT_A_SESSION:
                    refused = await one.refused(kind, session=hers)
                    assert refused == await one.refused(kind, session=UNKNOWN)
                    assert refused["code"] == "session_not_found"
        async with client(server, "ann", f"session={hers}") as (_, ready):
            assert (ready["seq"], ready["title"], ready["user"]) == (10, None, "ann")


@pytest.mark.parametrize("stranger", ["bob", None])
async def test_a_connection_to_another_users_session_is_closed_as_to_none(stranger: str | None) -> None:
    """With 4404, and the same words."""
    async with serving_users(ScriptedUpstream(["Because."])) as server:
        hers = await session_of(server, "ann")
        told: list[Json] = []
        for session in (hers, UNKNOWN):
            async with client(server, stranger, f"session={session}") as (one, error):
                told.append(error)
                await one.socket.wait_closed()
                told[-1]["closed"] = (one.socket.close_code, one.socket.close_reason)

    assert told[0] == told[1]
    assert told[0]["closed"][0] == 4404


async def test_a_session_of_nobody_is_everybodys_and_a_users_fork_of_it_is_the_users() -> None:
    """Whoever knows its id may use it; after signing in one takes it along."""
    async with serving_users(ScriptedUpstream(["Because."], ["So."])) as server:
        nobodys = await session_of(server, None)
        async with client(server, "ann", f"session={nobodys}") as (ann, ready):
            assert (ready["user"], ready["expires"]) == ("ann", "2030-03-17T17:46:40.000Z")
            await ann.ask("And?")
            await ann.send(type="title", text="Sky")
            await ann.until("title")
            await ann.send(type="fork", id="f", turn="t1")
            fork = await ann.until("ready")
            assert (fork["title"], fork["resumed"]) == ("Sky", False)
            await ann.send(type="sessions", id="l")
            listed = (await ann.until("sessions"))["sessions"]
            assert [(one["session"], one["title"], one["turns"]) for one in listed] == [(fork["session"], "Sky", 1)]
        for stranger in ("bob", None):
            async with client(server, stranger, f"session={nobodys}") as (one, ready):
                assert ready["title"] == "Sky"
                assert (await one.refused("attach", session=fork["session"]))["code"] == "session_not_found"


async def test_a_stranger_keeps_nothing_in_memory() -> None:
    """Each knock would cost as much as a conversation."""
    async with serving_users(ScriptedUpstream(*[["Because."]] * 5), Policy(memory=0)) as server:
        sessions = [await session_of(server, "ann") for _ in range(5)]
        async with client(server, "bob") as (bob, _):
            for session in sessions:
                await bob.refused("attach", session=session)
                await bob.refused("fork", session=session)
            assert server.hub.session_count == 1


async def test_a_credential_for_reading_changes_nothing() -> None:
    """It reads, and lists; each frame that would change something is forbidden, as is a new session."""
    async with serving_users(ScriptedUpstream(["Because."])) as server:
        hers = await session_of(server, "ann")
        async with client(server, "ann-ro", f"session={hers}") as (one, ready):
            assert ready["seq"] == 10
            for kind in ("ask", "cancel", "retry", "edit", "title", "fork", "forget"):
                for session in (hers, UNKNOWN):
                    assert (await one.refused(kind, session=session))["code"] == "forbidden"
            assert (await one.refused("attach"))["code"] == "forbidden"
            for kind, answer in (("history", "history"), ("sessions", "sessions"), ("ping", "pong")):
                await one.send(type=kind, id=kind)
                assert (await one.until(answer, "error"))["id"] == kind
            await one.send(type="attach", session=hers)
            await one.until("ready")
        async with client(server, "ann-ro") as (one, error):
            await one.socket.wait_closed()
            assert (error["code"], one.socket.close_code) == ("forbidden", 4403)
        assert (await server.hub.store.load(hers)).head == 10


async def test_a_credential_for_one_session_is_for_no_other() -> None:
    """It need not be named; others are forbidden whether they exist or not, and so are new ones and the list."""
    async with serving_users(ScriptedUpstream(["Because."], ["So."], ["Yes."])) as server:
        hers, another = await session_of(server, "ann"), await session_of(server, "ann")
        async with client(server, f"ann:{hers}") as (one, ready):
            assert (ready["session"], ready["resumed"]) == (hers, True)
            for kind in ABOUT_A_SESSION:
                for session in (another, UNKNOWN):
                    assert (await one.refused(kind, session=session))["code"] == "forbidden"
            for kind in ("attach", "fork", "sessions"):
                assert (await one.refused(kind))["code"] == "forbidden"
            assert (await one.ask("And?"))["reason"] == "stop"
        async with client(server, f"ann:{hers}", f"session={another}") as (one, error):
            await one.socket.wait_closed()
            assert (error["code"], one.socket.close_code) == ("forbidden", 4403)
        async with client(server, f"bob:{hers}") as (_, error):
            assert error["code"] == "session_not_found"
