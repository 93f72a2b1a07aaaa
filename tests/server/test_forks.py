"""Forks over real connections, and the models that `ready` lists."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from askbot_ws.core.commands import Forget
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.dialects.askbot import connection as dialect
from askbot_ws.errors import ConfigError, StoreError
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import ThinkingText

from ..process import Json, ProviderProcess, Reader, Story, address, askbot, reading


async def fork(reader: Reader, **fields: object) -> Json:
    """Fork a session, and read what is in the new one; its `ready`."""
    await reader.send(type="fork", **fields)
    ready = await reader.until("ready")
    story = Story()
    story.take(ready)
    place = len(reader.frames)
    while story.head < ready["seq"]:
        await reader.next()
        for frame in reader.frames[place:]:
            story.take(frame)
        place = len(reader.frames)
    return ready | {"story": story}


async def refusal(reader: Reader, **fields: object) -> str:
    await reader.send(**fields)
    error = await reader.until("error")
    assert error.get("id") == fields.get("id")
    return str(error["code"])


async def questions(reader: Reader, session: str) -> list[str]:
    await reader.send(type="history", session=session)
    return [turn["text"] for turn in (await reader.until("history"))["turns"]]


async def test_the_new_session_is_attached_and_goes_on_on_the_same_connection() -> None:
    """Frames say which session they are about from then on; each has its own answers."""
    script = [ThinkingText("hm"), "One."]
    async with serving(ScriptedUpstream(script, ["Two."])) as server, reading(address(server.port)) as reader:
        first = await reader.answer("1?", id="q1")
        await reader.answer("2?")
        ready = await fork(reader, id="f1", turn=first.turn)
        new, old = ready["session"], reader.story.session
        copy: Any = ready["story"].last
        assert (ready["id"], ready["from"], ready["resumed"]) == ("f1", 0, False)
        assert (copy.id, copy.text, copy.steps) == (None, "1?", first.steps)
        done = {name: value for name, value in (first.done or {}).items() if name not in {"session", "seq", "turn"}}
        assert copy.done | done == copy.done
        assert await refusal(reader, type="ask", id="q3", text="Which?") == "invalid_frame"
        await reader.send(type="ask", session=new, text="New?")
        await reader.until(lambda frame: frame["type"] == "done" and frame["session"] == new)
        await reader.send(type="ask", session=old, text="Old?")
        await reader.until(lambda frame: frame["type"] == "done" and frame["session"] == old)
        assert await questions(reader, str(old)) == ["1?", "2?", "Old?"]
        assert await questions(reader, new) == ["1?", "New?"]
        await reader.send(type="detach", session=new)
        await reader.answer("Only one is attached?")


async def test_a_fork_may_be_the_first_frame_of_a_connection() -> None:
    """The session that is forked need not be attached."""
    async with serving() as server:
        async with reading(address(server.port)) as reader:
            turn = (await reader.answer("1?")).turn
            session = reader.story.session
        async with reading(address(server.port)) as other:
            ready = await fork(other, session=session, turn=turn)
            assert "id" not in ready
            assert [told.text for told in ready["story"].turns.values()] == ["1?"]
            assert ready["session"] not in {session, other.story.session}
        async with reading(address(server.port), Story(session=ready["session"])) as back:
            assert back.frames[0]["seq"] == ready["seq"]


async def test_frames_behind_a_fork_find_two_sessions() -> None:
    """They are executed in the order in which they were sent, also where they do not wait for its answer."""
    async with serving() as server, reading(address(server.port)) as reader:
        turn = (await reader.answer("1?")).turn
        await reader.send(type="fork", id="f", turn=turn)
        await reader.send(type="ask", id="q", text="Which?")
        await reader.send(type="fork", id="g", turn=turn)
        assert (await reader.until("ready"))["id"] == "f"
        assert [(await reader.until("error"))["id"] for _ in range(2)] == ["q", "g"]


async def test_a_session_is_forked_before_the_frames_behind_it_change_it() -> None:
    """Also where the next one deletes it."""
    async with serving() as server, reading(address(server.port)) as reader:
        turn, session = (await reader.answer("1?")).turn, reader.story.session
        await reader.send(type="fork", id="f", session=session, turn=turn)
        await reader.send(type="forget", id="d", session=session)
        ready = await reader.until("ready")
        await reader.until(lambda frame: frame["type"] == "error" and frame.get("id") == "d")
        assert await questions(reader, ready["session"]) == ["1?"]


async def test_what_cannot_be_forked_is_refused_with_its_code() -> None:
    """The frame's id is in the error, and nothing has changed."""
    held = asyncio.Event()
    async with serving(ScriptedUpstream(["One."], [held])) as server, reading(address(server.port)) as reader:
        ended = (await reader.answer("1?")).turn
        await reader.send(type="ask", text="2?")
        running = (await reader.until("question"))["turn"]
        fork: Json = {"type": "fork", "id": "f"}
        assert await refusal(reader, **fork, turn=running) == "busy"
        assert await refusal(reader, **fork, turn="t999") == "turn_not_found"
        assert await refusal(reader, **fork, turn="nothing") == "turn_not_found"
        assert await refusal(reader, **fork, turn=ended, session="nobody") == "session_not_found"
        assert await refusal(reader, **fork) == "invalid_frame"
        assert await refusal(reader, **fork, turn=ended, session="") == "invalid_frame"
        assert await refusal(reader, **fork, turn="") == "invalid_frame"
        await reader.send(**fork, turn=ended)
        assert not (await reader.until("ready"))["resumed"]
        held.set()


async def test_no_fork_is_made_where_no_further_session_can_be_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one stay behind that nobody knows."""
    monkeypatch.setattr(dialect, "MAX_SESSIONS", 2)
    async with serving() as server, reading(address(server.port)) as reader:
        turn, session = (await reader.answer("1?")).turn, reader.story.session
        await reader.send(type="attach")
        other = (await reader.until("ready"))["session"]
        count = server.hub.session_count
        assert await refusal(reader, type="fork", id="f", session=session, turn=turn) == "invalid_frame"
        assert server.hub.session_count == count
        await reader.send(type="detach", session=other)
        assert not (await fork(reader, id="f", turn=turn))["resumed"]


async def test_a_fork_whose_answer_was_lost_is_made_once() -> None:
    """The same id names it, on another connection and on the same one."""
    async with serving() as server:
        async with reading(address(server.port)) as reader:
            turn, session = (await reader.answer("1?")).turn, reader.story.session
            await reader.send(type="fork", id="f", turn=turn)
            await reader.send(type="ping", id="p")
            await reader.until("pong")
            reader.cut()
        story = Story(session=session, head=reader.story.head)
        async with reading(address(server.port), story) as back:
            ready = await fork(back, id="f", turn=turn)
            again = await fork(back, id="f", session=session, turn=turn)
            assert again["resumed"]
            assert again["session"] == ready["session"]
            assert [told.text for told in again["story"].turns.values()] == ["1?"]


async def test_a_fork_that_could_not_be_attached_is_named_by_the_next_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stored, and then the store could not be read."""
    async with serving() as server, reading(address(server.port)) as reader:
        turn, session = (await reader.answer("1?")).turn, reader.story.session

        async def fails(session: str, *, turns: int) -> int:
            raise StoreError

        with monkeypatch.context() as broken:
            broken.setattr(server.hub.store, "replay_start", fails)
            assert await refusal(reader, type="fork", id="f", turn=turn) == "internal"
        ready = await fork(reader, id="f", session=session, turn=turn)
        assert ready["resumed"]


async def test_a_fork_that_is_deleted_before_it_is_attached_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that is forked is there, so nothing says that a session is not found."""
    async with serving() as server, reading(address(server.port)) as reader:
        turn, session = (await reader.answer("1?")).turn, reader.story.session
        ready = await fork(reader, id="f", turn=turn)
        await reader.send(type="detach", session=ready["session"])
        replay_start = server.hub.store.replay_start
        deleted: list[str] = []

        async def deleted_first(session: str, *, turns: int) -> int:
            if not deleted:
                deleted.append(session)
                await server.hub.command(ANONYMOUS, session, Forget())
            return await replay_start(session, turns=turns)

        monkeypatch.setattr(server.hub.store, "replay_start", deleted_first)
        again = await fork(reader, id="f", session=session, turn=turn)

    assert deleted == [ready["session"]]
    assert (again["session"], again["resumed"]) == (ready["session"], False)


async def test_a_killed_server_names_the_same_fork_after_its_start(tmp_path: Path, provider: ProviderProcess) -> None:
    """Its answer may be lost with the server."""
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as reader:
            turn, session = (await reader.answer("say:What is it that stays?")).turn, reader.story.session
            first = await fork(reader, id="f", turn=turn)
        server.process.kill()
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as reader:
            again = await fork(reader, id="f", session=session, turn=turn)

    assert (again["session"], again["resumed"]) == (first["session"], True)
    assert [told.text for told in again["story"].turns.values()] == ["say:What is it that stays?"]


async def test_a_session_is_forked_at_a_drain() -> None:
    """While another answer is let to its end."""
    held = asyncio.Event()
    upstream = ScriptedUpstream(["One."], ["Two, ", held, "and more."])
    async with serving(upstream, drain=10) as server, reading(address(server.port)) as reader:
        turn, session = (await reader.answer("1?")).turn, reader.story.session
        await reader.send(type="ask", text="2?")
        await reader.until("token")
        draining = asyncio.create_task(server.drain())
        await reader.until("going_away")
        assert (await fork(reader, session=session, turn=turn))["seq"] == 6
        held.set()
        await reader.rest()
        await draining
        assert reader.story.last.answer == "Two, and more."


async def test_ready_lists_the_models_that_a_question_may_name() -> None:
    """The default first, then the others as they are configured; each of them is accepted, and no other one."""
    async with (
        serving(models="zeta, alpha, scripted, zeta") as server,
        reading(address(server.port)) as reader,
    ):
        ready = reader.frames[0]
        assert (ready["model"], ready["models"]) == ("scripted", ["scripted", "zeta", "alpha"])
        for model in ready["models"]:
            assert (await reader.answer("Well?", model=model)).reason == "stop"
        assert await refusal(reader, type="ask", id="q", text="Well?", model="other") == "forbidden"
        await reader.send(type="attach")
        assert (await reader.until("ready"))["models"] == ready["models"]


@pytest.mark.parametrize("name", ["\udcff", "x" * 201])
async def test_a_model_that_no_frame_can_name_is_refused_at_the_start(name: str) -> None:
    """Every `ready` would fail on it."""
    with pytest.raises(ConfigError, match=r"ASKBOT_MODELS|models: "):
        async with serving(models=f"fine, {name}"):
            pass
