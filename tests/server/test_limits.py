"""Limits over the wire: one real server with roles, its users by key and its anonymous clients by address."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from askbot_ws.auth.key_file import add_key, make_key
from askbot_ws.dialects import connection
from askbot_ws.dialects.connection import MAX_RESUMES_PER_MINUTE, ResumeLimit

from ..process import Askbot, Json, ProviderProcess, Reader, askbot, reading

Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Reader]]

ROLES: Json = {
    "default": {"questions_per_minute": 4, "user_frames_per_minute": 30},
    "slow": {"max_turns_per_user": 1, "max_queued_per_user": 2},
    "guest": {"models": ["scripted-2"], "max_tokens": 64, "temperature": False},
    "poor": {"tokens_per_day": 600, "max_tokens": 100},
    "few": {"max_connections_per_user": 2, "max_sessions_per_user": 2},
    "short": {"max_session_size": 2000},
}
USERS = {name: name for name in ROLES if name != "default"} | {"ann": "slow", "bob": "slow"}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess, keys: dict[str, str]
) -> Iterator[Askbot]:
    """Two turns run; the guard of the API flags what has `flagged:` in it."""
    folder = tmp_path_factory.mktemp("limits")
    for user, role in USERS.items():
        made = make_key(user, now=0.0, role=role)
        add_key(folder / "keys", made.key)
        keys[user] = made.text
    settings = {
        "ROLES": json.dumps(ROLES),
        "KEYS": "keys",
        "ALLOW_ANONYMOUS": "on",
        "MAX_TURNS": "2",
        "MAX_QUEUED": "5",
    }
    settings |= {"MAX_CONNECTIONS_PER_ADDRESS": "50", "MODERATION": "on", "OVERLOAD_LAG": "never"}
    environ = {f"ASKBOT_{name}": value for name, value in settings.items()}
    with askbot(folder, upstream=provider.url, **environ) as server:
        yield server
        troubles = [line for line in server.lines() if line["level"] not in ("info", "warning")]
        assert troubles == []


@pytest.fixture
def connect(server: Askbot, keys: dict[str, str]) -> Connect:
    """A connection of a user; without one, of an anonymous client at an address of this machine."""

    def connect(user: str = "", *, address: str = "127.0.0.1") -> AbstractAsyncContextManager[Reader]:
        headers = {"Authorization": f"Bearer {keys[user]}"} if user else {}
        return reading(server.url, additional_headers=headers, local_addr=(address, 0))

    return connect


async def refused(reader: Reader, **more: object) -> Json:
    await reader.ask("say:Hm.", id="refused", **more)
    error = await reader.until("error")
    assert (error["id"], error["session"]) == ("refused", reader.story.session)
    return error


async def test_questions_are_limited_by_address_and_the_connection_stays(connect: Connect) -> None:
    """Told with when to come again; another address is another client, and HTTP counts with the rest."""
    async with connect(address="127.0.0.2") as reader, connect(address="127.0.0.2") as second:
        for asker in (reader, second, reader, second):
            await asker.answer("say:Yes.")
        for asker in (reader, second):
            error = await refused(asker)
            assert (error["code"], error["retryable"], 5_000 < error["retry_after"] <= 15_000) == (
                "rate_limited",
                True,
                True,
            )
        async with connect(address="127.0.0.3") as other:
            assert (await other.answer("say:Yes.")).reason == "stop"
        await second.send(type="ping", id="p")
        assert (await second.until("pong"))["id"] == "p"


async def test_http_says_when_to_come_again(server: Askbot, keys: dict[str, str]) -> None:
    """429 with `Retry-After` in seconds."""

    def post(text: str) -> tuple[int, str | None]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {keys['poor']}"}
        request = urllib.request.Request(
            f"{server.http}/aiCompletion", json.dumps({"userPrompt": text}).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                response.read()  # else the answer is stopped
                return response.status, None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Retry-After"]

    assert await asyncio.to_thread(post, "tokens:450") == (200, None)
    status, retry_after = await asyncio.to_thread(post, "tokens:10")
    assert status == 429
    assert 0 < int(retry_after or 0) <= 86400


async def test_a_budget_outlives_no_midnight_but_its_connection(connect: Connect) -> None:
    """`ready` says what there is; the same user has used it up elsewhere already."""
    async with connect("poor") as reader:
        assert reader.frames[0]["limits"]["tokens_per_day"] == 600
        error = await refused(reader)
        assert (error["code"], 0 < error["retry_after"] <= 86_400_000) == ("quota_exceeded", True)


async def test_frames_of_one_client_are_limited_over_its_connections(connect: Connect) -> None:
    """By an error each, also to a ping; nothing is closed."""
    async with connect(address="127.0.0.4") as reader, connect(address="127.0.0.4") as second:
        for number in range(30):
            await reader.send(type="ping", id=str(number))
            await reader.until("pong")
        for frame in ({"type": "ping"}, {"type": "history"}, {"type": "ask", "text": "say:No."}):
            await second.send(**frame, id="late")
            error = await second.until("error")
            assert (error["code"], error["id"], error["retry_after"] > 1000) == ("rate_limited", "late", True)
        assert len(second.frames) == 4


async def test_turns_wait_for_their_users_turn(connect: Connect) -> None:
    """Acknowledged at once. One user's wait for each other, another's starts; what waits may be stopped."""
    async with connect("ann") as one, connect("ann") as two, connect("bob") as other:
        await one.ask("rate:20 tokens:400")
        await one.until("token")
        await two.ask("say:Later.")
        await two.until("question")
        await two.ask("say:Stopped.", id="stopped")
        stopped = await two.until("question")
        error = await refused(two)
        assert (error["code"], error["retry_after"] > 0) == ("queue_full", True)
        assert (await other.answer("say:Now.")).reason == "stop"
        assert [frame["type"] for frame in two.frames].count("token") == 0
        await two.send(type="cancel", turn=stopped["turn"])
        await two.until(lambda frame: frame["type"] == "done" and frame["reason"] == "cancelled")
        await one.send(type="cancel")
        await two.until(lambda frame: frame["type"] == "done" and frame["reason"] == "stop")
        assert two.story.turns["t1"].answer == "Later."


async def test_more_than_may_wait_is_overloaded(connect: Connect) -> None:
    """In all; and there is room again."""
    async with connect("ann") as one, connect("bob") as two, connect("short") as third, connect("guest") as fourth:
        for reader in (one, two, third, fourth):
            await reader.ask("rate:20 tokens:400")
            await reader.until("question")
        await third.ask("say:1")
        for reader in (one, two):
            await reader.ask("say:1")
        await asyncio.sleep(0.2)
        error = await refused(fourth)
        assert (error["code"], error["retry_after"]) == ("overloaded", 5000)
        for reader in (one, two, third, fourth):
            await reader.send(type="cancel")
        for reader in (one, two, third):
            await reader.until(lambda frame: frame["type"] == "done" and frame["reason"] == "stop")


async def test_a_role_has_its_models_and_options(connect: Connect, provider: ProviderProcess) -> None:
    """`ready` says them, the model is asked with them, and what they forbid is told."""
    async with connect("guest") as reader:
        ready = reader.frames[0]
        assert (ready["model"], ready["models"]) == ("scripted-2", ["scripted-2"])
        assert (ready["limits"]["max_tokens"], ready["limits"]["temperature"]) == (64, False)
        for wrong in ({"model": "scripted-1"}, {"temperature": 1}, {"max_tokens": 65}):
            assert (await refused(reader, **wrong))["code"] == "forbidden"
        turn = await reader.answer("say:Guest.")
        assert turn.done is not None
    body = next(
        each["body"]
        for each in provider.requests()
        if each["body"].get("messages", [{}])[-1].get("content") == "say:Guest."
    )
    assert (body["model"], body.get("max_tokens") or body["max_completion_tokens"]) == ("scripted-2", 64)


async def test_connections_and_sessions_of_a_user_are_counted(server: Askbot, connect: Connect) -> None:
    """4429 for a third connection; a third session asks nothing until another one is deleted."""
    async with connect("few") as one, connect("few") as two:
        for reader in (one, two):
            await reader.answer("say:Yes.")
        with pytest.raises(Exception, match="4429"):
            async with connect("few"):
                pass
        await one.send(type="attach", id="new")
        third = (await one.until(lambda frame: frame.get("id") == "new"))["session"]
        await one.send(type="ask", text="say:No.", session=third, id="third")
        error = await one.until("error")
        assert (error["id"], error["code"]) == ("third", "quota_exceeded")
        await one.send(type="forget", session=two.story.session)
        await one.until("error")
        await one.send(type="ask", text="say:Yes.", session=third, id="third")
        await one.until(lambda frame: frame["type"] == "done" and frame["session"] == third)
    refusals = [line for line in server.lines() if line["event"] == "connection_refused"]
    assert [line["reason"] for line in refusals] == ["user_connection_limit"]


async def test_a_session_that_is_too_long_takes_no_question(connect: Connect) -> None:
    """It can still be read."""
    async with connect("short") as reader:
        await reader.answer("tokens:300")
        assert (await refused(reader))["code"] == "quota_exceeded"
        await reader.send(type="history")
        assert len((await reader.until("history"))["turns"]) == 1


async def test_what_the_moderation_flags_ends_as_refused(connect: Connect, provider: ProviderProcess) -> None:
    """With a sentence; without a verdict it ends as an error; the model sees neither."""
    async with connect("bob") as reader:
        flagged = await reader.answer("flagged:harassment say:Never.")
        assert (flagged.reason, flagged.answer != "", flagged.answer != "Never.") == ("refused", True, True)
        failed = await reader.answer("moderation-status:500 say:Never.")
        assert failed.done is not None
        assert (failed.reason, failed.done["error"]["code"]) == ("error", "upstream_unavailable")
    assert [text for text in provider.questions() if "Never" in text] == []


def test_resumes_that_count_no_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is that of the last minute's; and of no more than are tracked, though they come faster."""
    limit = ResumeLimit()
    for second in range(1000):
        for place in range(10):
            assert limit.allow("::1", f"s{second}", place, now=float(second))
    assert len(limit._buckets) < 10 * 60  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(connection, "MAX_TRACKED_RESUMES", 100)
    for place in range(1000):
        limit.allow("::1", "s", place, now=1000.0)
    assert len(limit._buckets) == 100  # pyright: ignore[reportPrivateUsage]
    allowed = [limit.allow("::1", "s", 999, now=1001.0) for _ in range(MAX_RESUMES_PER_MINUTE)]
    assert allowed == [True] * (MAX_RESUMES_PER_MINUTE - 1) + [False]
