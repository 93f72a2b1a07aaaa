"""Titles, and the pages of a user's sessions; tests/clients/cases/titles.py has what comes between."""

from __future__ import annotations

import asyncio

import pytest

from askbot_ws import connect, connect_sync
from askbot_ws.client import View
from askbot_ws.client.view import Gap
from askbot_ws.errors import Forbidden
from askbot_ws.events import Title
from askbot_ws.testing import Receive, Script, ScriptedLog, ScriptedServer

from .virtual import question, ready


def title(text: str, *, at: int) -> Title:
    return Title(session="s", seq=at + 1, text=text)


@pytest.mark.parametrize(
    ("begun", "events", "expected"),
    [
        (None, [], None),
        ("", [], None),
        ("Sky", [], "Sky"),
        ("Sky", [(1, "Sea"), (2, "Sand")], "Sky"),  # `ready` was after these
        ("Sky", [(3, "Sea"), (4, "Sand")], "Sand"),
        ("Sky", [(3, "")], None),
    ],
)
def test_a_view_has_the_newest_title(begun: str | None, events: list[tuple[int, str]], expected: str | None) -> None:
    """That of `ready` is as of its `seq`; an event after that has another one."""
    view = View()
    view.fold(ready(seq=3, title=begun, user="alice"))
    view.fold(question("q"))
    for at, text in [(1, "Sea"), (2, "Sand"), *events]:
        view.fold(title(text, at=at))
    assert (view.title, view.user) == (expected, "alice")
    assert view.snapshot().title == expected


def test_a_title_has_a_place_in_the_log_like_any_event() -> None:
    """It moves the view's position, once, and a gap before it is one."""
    view = View()
    view.fold(ready())
    view.fold(title("Sky", at=0))
    assert (view.seq, view.turns) == (1, [])
    view.fold(title("Old", at=0))
    assert view.title == "Sky"
    with pytest.raises(Gap):
        view.fold(title("Sea", at=5))
    assert (view.seq, view.title) == (1, "Sky")


def pages() -> tuple[Script, list[str]]:
    """The script of a server with three pages of sessions, and what they have; the last one repeats itself."""
    logs = [ScriptedLog(f"s{number}") for number in range(5)]
    first = logs[0]
    script: Script = [
        first.ready(user="alice"),
        Receive("sessions"), first.sessions(*logs[:2], more="two"),
        Receive("sessions"), first.sessions(*logs[2:4], more="three"),
        Receive("sessions"), first.sessions(logs[4], more="three"),
    ]  # fmt: skip
    return script, [log.session for log in logs]


async def test_all_sessions_are_those_of_all_pages() -> None:
    """Each page is fetched once its turn has come; a server that repeats itself is asked no more."""
    script, expected = pages()
    async with ScriptedServer(script) as server, connect(server.url) as chat:
        found = list[str]()
        async for each in chat.all_sessions():
            found.append(each.session)
            if len(found) == 2:
                assert len(server.frames("sessions")) == 1
    assert found == expected
    assert [frame.get("before") for frame in server.frames("sessions")] == [None, "two", "three"]


async def test_the_form_without_asyncio_has_the_same() -> None:
    """An iterator, a page, a title and a user."""
    script, expected = pages()
    log = ScriptedLog()
    log.answer("Yes.", text="Why?", id="q")
    named: Script = [log.ready(user="alice"), Receive("sessions"), log.sessions(), Receive("title"), log.title()]

    def use(url: str) -> tuple[list[str], list[str], str | None]:
        with connect_sync(url) as chat:
            sessions = [each.session for each in chat.all_sessions()]
        with connect_sync(url) as chat:
            titles = [each.title for each in chat.sessions(limit=1).sessions]
            chat.set_title("Sky")
            assert chat.title == chat.view.title
            return sessions, titles, f"{chat.user}: {chat.title}"

    async with ScriptedServer(script, named) as server:
        assert await asyncio.to_thread(use, server.url) == (expected, ["Why?"], "alice: Sky")


async def test_several_sessions_are_named_each_by_its_own_title() -> None:
    """The frame says which one is meant."""
    one, two = ScriptedLog("one"), ScriptedLog("two")
    script: Script = [one.ready(), Receive("attach"), two.ready(id="$attach.id"), Receive("title"), two.title()]
    async with ScriptedServer(script) as server, connect(server.url) as chat, chat.session("two") as other:
        await other.set_title("Second")
        assert (chat.title, other.title) == (None, "Second")
    assert server.frames("title")[0]["session"] == "two"


async def test_an_anonymous_iteration_raises() -> None:
    """Where it begins."""
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("sessions"), log.error("forbidden", id="$sessions.id")]
    async with ScriptedServer(script) as server, connect(server.url) as chat:
        with pytest.raises(Forbidden):
            await anext(aiter(chat.all_sessions()))
