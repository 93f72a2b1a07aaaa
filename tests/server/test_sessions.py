"""Several sessions on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from askbot_ws.errors import StoreError
from askbot_ws.events import TurnRecord
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import Reader, Story, address, reading


async def attach(reader: Reader, **fields: object) -> dict[str, Any]:
    """Attach a session; the `ready` that answers."""
    await reader.send(type="attach", **fields)
    return await reader.until("ready")


async def test_attach_without_a_session_makes_one() -> None:
    """`ready` names it, with the frame's id; both sessions are read from then on."""
    async with serving() as server, reading(address(server.port)) as reader:
        ready = await attach(reader, id="a1")
        assert (ready["id"], ready["resumed"], ready["seq"], ready["from"]) == ("a1", False, 0, 0)
        assert ready["session"] != reader.story.session
        await reader.send(type="ask", session=ready["session"], text="Here?", id="q")
        done = await reader.until(lambda frame: frame["type"] == "done")

    assert done["session"] == ready["session"]


async def test_an_attach_that_fails_leaves_the_session_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It let go of the session before it could fail, and nothing of it came any more."""
    async with serving() as server, reading(address(server.port)) as reader:
        await reader.answer("One?")

        async def fails(session: str, *, turns: int) -> int:
            raise StoreError

        monkeypatch.setattr(server.hub.store, "replay_start", fails)
        await reader.send(type="attach", session=reader.story.session, id="again")
        error = await reader.until("error")
        assert (error["id"], error["code"]) == ("again", "internal")
        assert (await reader.answer("Two?")).reason == "stop"


async def test_a_session_that_is_attached_already_is_read_anew() -> None:
    """From where the frame says; each event comes once from there."""
    async with serving() as server, reading(address(server.port)) as reader:
        await reader.answer("One?")
        head = reader.story.head
        reader.story = Story(session=reader.story.session)
        ready = await attach(reader, session=reader.story.session, after=0)
        assert ready["from"] == 0
        await reader.until(lambda frame: frame.get("seq") == head)
        assert (await reader.answer("Two?")).reason == "stop"


async def test_another_log_than_the_one_that_the_client_knows_is_replayed() -> None:
    """docs/protocol.md: `log` names the history; where it differs, `after` means nothing."""
    async with serving() as server:
        async with reading(address(server.port)) as reader:
            await reader.answer("One?")
            (first, head) = reader.frames[0], reader.story.head
        url = f"{address(server.port)}?session={first['session']}&after={head}"
        async with reading(f"{url}&log={first['log']}", Story(head=head)) as same:
            assert same.frames[0]["from"] == head
        async with reading(f"{url}&log=another") as other:
            assert (other.frames[0]["from"], other.frames[0]["log"]) == (0, first["log"])
            await other.until("done")
            other.story = Story(session=first["session"])
            ready = await attach(other, session=first["session"], after=head, log="another", id="a")
            assert ready["from"] == 0
            await other.until(lambda frame: frame.get("seq") == head)
            other.story = Story(session=first["session"], head=head)
            ready = await attach(other, session=first["session"], after=head, log=first["log"])
            assert ready["from"] == head

    assert first["log"]


async def test_frames_of_one_session_keep_their_order_and_do_not_wait_for_another_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that takes its time for one session holds up neither another one nor a ping."""
    async with serving() as server, reading(address(server.port)) as reader:
        slow = reader.story.session
        await reader.answer("Warm?")
        fast = (await attach(reader))["session"]
        gate, find = asyncio.Event(), server.hub.store.turns

        async def turns(session: str, *, before: int | None = None, limit: int) -> object:
            if session == slow:
                await gate.wait()
            return await find(session, before=before, limit=limit)

        monkeypatch.setattr(server.hub.store, "turns", turns)
        await reader.send(type="history", session=slow, id="h")
        await reader.send(type="ask", session=slow, text="after the history?", id="later")
        await reader.send(type="ask", session=fast, text="at once?", id="fast")
        await reader.send(type="ping", id="p")
        got: list[str] = []
        while len(got) < 2:
            frame = await reader.next()
            if frame["type"] in {"pong", "done"}:
                got.append(frame["type"])
                assert frame.get("session") in {fast, None}
        gate.set()
        order: list[str] = []
        while len(order) < 2:
            frame = await reader.next()
            if frame["type"] in {"history", "question"}:
                assert frame["session"] == slow
                order.append(frame["type"])

    assert order == ["history", "question"]


async def test_what_was_asked_before_the_connection_was_lost_is_answered() -> None:
    """The client can't know how far its frames came; those that came are followed."""
    async with serving() as server:
        async with reading(address(server.port)) as reader:
            for number in range(40):
                await reader.send(type="ask", text=f"{number}?", id=f"q{number}", when_busy="replace")
            await reader.send(type="ping", id="last")
            await reader.until("pong")
            story = reader.story
            reader.cut()
        story = Story(session=story.session)
        async with reading(address(server.port), story) as back:
            await back.until(lambda _: story.asked("q39") is not None and story.last.done is not None)


async def test_a_page_of_history_is_read_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty answers of 4 MB would be 200 MB in memory, to send a quarter of one."""
    async with serving(ScriptedUpstream(*[["x" * 100_000]] * 12)) as server, reading(address(server.port)) as reader:
        for number in range(12):
            await reader.answer(f"{number}?")
        asked: list[int] = []
        find = server.hub.store.turns

        async def turns(session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
            asked.append(limit)
            return await find(session, before=before, limit=limit)

        monkeypatch.setattr(server.hub.store, "turns", turns)
        await reader.send(type="history", id="h")
        history = await reader.until("history")
        told = [turn["text"] for turn in history["turns"]]
        oldest = history["turns"][0]["from"] + 1
        await reader.send(type="history", before=oldest, limit=50)
        rest = await reader.until("history")

    assert sum(asked[:1]) <= 5
    assert (told, history["more"]) == (["9?", "10?", "11?"], True)
    assert [turn["text"] for turn in rest["turns"]] == ["6?", "7?", "8?"]


async def test_the_options_of_a_question_are_in_the_log_and_a_retry_keeps_them() -> None:
    """Unless it says otherwise; what was allowed then and is not now is refused."""
    upstream = ScriptedUpstream()
    async with (
        serving(upstream, models="other,third", max_tokens=100) as server,
        reading(address(server.port)) as reader,
    ):
        await reader.ask("Well?", model="other", temperature=0.5)
        assert (await reader.until("question"))["options"] == {"model": "other", "temperature": 0.5}
        turn = (await reader.until("done"))["turn"]
        await reader.send(type="retry", turn=turn)
        assert (await reader.until("question"))["options"] == {"model": "other", "temperature": 0.5}
        turn = (await reader.until("done"))["turn"]
        await reader.send(type="edit", turn=turn, text="Better?", model="third", max_tokens=7)
        given = {"model": "third", "temperature": 0.5, "max_tokens": 7}
        assert (await reader.until("question"))["options"] == given
        await reader.until("done")
        await reader.ask("Plain?")
        assert "options" not in await reader.until("question")
        await reader.until("done")
        await reader.send(type="history", limit=2)
        told = [turn["options"] for turn in (await reader.until("history"))["turns"]]
        await reader.send(type="retry", model="fourth", id="r")
        assert (await reader.until("error"))["code"] == "forbidden"

    assert told == [given, None]
    assert [(each.options.model, each.options.temperature) for each in upstream.prompts] == [
        ("other", 0.5),
        ("other", 0.5),
        ("third", 0.5),
        (None, None),
    ]
