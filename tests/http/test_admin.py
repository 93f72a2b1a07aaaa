"""The admin API of a real server: what administrators see and delete, who is refused, and what the log says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from askbot_ws.errors import StoreError
from askbot_ws.logs import hash_session
from askbot_ws.store import SessionPage
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import Askbot, Json, Story, askbot, provider_process, reading
from ..users import make_key
from .raw_requests import BrokenOffError, Response, request

SESSIONS, EXPORT, VACUUM = "/v1/admin/sessions", "/v1/admin/export", "/v1/admin/store/vacuum"


@dataclass
class Managed:
    """A server with a file of keys, and a key of each kind."""

    server: Askbot
    folder: Path
    admin: str
    alice: str

    @property
    def port(self) -> int:
        return int(self.server.http.rpartition(":")[2])

    async def asks(self, path: str, method: str = "GET", *, key: str | None = None, **headers: str) -> Response:
        """The response to a request with a key, by default the administrator's."""
        key = self.admin if key is None else key
        given = {"Authorization": f"Bearer {key}"} if key else {}
        return await request(self.port, path, method=method, **given, **headers)

    async def held(self, question: str, key: str = "") -> Story:
        """A session with one answer, of the user of a key or of nobody."""
        headers = {"Authorization": f"Bearer {key}"} if key else None
        async with reading(self.server.url, additional_headers=headers) as reader:
            await reader.answer(question)
            return reader.story

    def acts(self) -> list[Json]:
        """What the log has of administrators."""
        return [line for line in self.server.lines() if line["event"] == "admin_acted"]


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """One server for all tests of this module."""
    folder = tmp_path_factory.mktemp("admin")
    admin = make_key(folder / "keys.toml", "root", "--may", "admin")
    alice = make_key(folder / "keys.toml", "alice", "--may", "metrics,tickets")
    with (
        provider_process() as provider,
        askbot(
            folder, "--keys", "keys.toml", "--allow-anonymous", "--tokens-per-day", "9999999", upstream=provider.url
        ) as server,
    ):
        yield Managed(server, folder, admin, alice)


@pytest.fixture
async def sessions(managed: Managed) -> AsyncIterator[tuple[str, str]]:
    """A session of alice and one of nobody."""
    hers = await managed.held("the question that alice has asked", managed.alice)
    nobodys = await managed.held("the question that nobody has asked")
    yield hers.session or "", nobodys.session or ""
    for session in (hers.session, nobodys.session):
        await managed.asks(f"{SESSIONS}/{session}", "DELETE")


def ids(response: Response) -> list[str]:
    assert response.status == 200, response.body
    return [each["session"] for each in response.json["sessions"]]


async def test_sessions_are_listed_by_user_and_age_in_pages(managed: Managed, sessions: tuple[str, str]) -> None:
    """Everybody's, the newest first; the next page by `more`."""
    hers, nobodys = sessions

    assert ids(await managed.asks(SESSIONS)) == [nobodys, hers]
    assert ids(await managed.asks(f"{SESSIONS}?user=alice")) == [hers]
    assert ids(await managed.asks(f"{SESSIONS}?user={quote('älice & co')}")) == []
    assert ids(await managed.asks(f"{SESSIONS}?anonymous=true")) == [nobodys]
    assert ids(await managed.asks(f"{SESSIONS}?idle=3600")) == []
    first = await managed.asks(f"{SESSIONS}?limit=1")
    assert ids(first) == [nobodys]
    second = await managed.asks(f"{SESSIONS}?limit=1&before={first.json['more']}")
    assert ids(second) == [hers]
    assert second.json["more"] is None
    entry = second.json["sessions"][0]
    assert (entry["user"], entry["question"]) == ("alice", "the question that alice has asked")
    assert (entry["turns"], entry["running"]) == (1, False)


async def test_a_session_is_read_in_pages_as_history_has_it(managed: Managed) -> None:
    """Another user's, with all its turns."""
    async with reading(managed.server.url, additional_headers={"Authorization": f"Bearer {managed.alice}"}) as reader:
        turns = [await reader.answer(f"question number {number} of a longer one") for number in range(3)]
        await reader.send(type="history", session=reader.story.session)
        history = (await reader.until("history"))["turns"]
        path = f"{SESSIONS}/{reader.story.session}"

    newest = (await managed.asks(f"{path}?limit=2")).json
    oldest = (await managed.asks(f"{path}?limit=2&before={newest['more']}")).json

    assert oldest["turns"] + newest["turns"] == history
    assert [turn["answer"] for turn in history] == [turn.answer for turn in turns]
    assert oldest["more"] is None
    assert (await managed.asks(path, "DELETE")).status == 204
    assert newest["session"]["user"] == "alice"


async def test_deleting_ends_the_answer_and_tells_who_reads(managed: Managed) -> None:
    """Through the hub: a running turn ends, its reader gets `session_not_found`, and it is gone for everybody."""
    headers = {"Authorization": f"Bearer {managed.alice}"}
    async with reading(managed.server.url, additional_headers=headers) as reader:
        await reader.ask("tokens:5000 rate:20")
        await reader.until("token")
        path = f"{SESSIONS}/{reader.story.session}"

        assert (await managed.asks(path, "DELETE")).status == 204
        told = await reader.until(lambda frame: frame["type"] in ("error", "forgotten"))
        assert told.get("code", "session_not_found") == "session_not_found"
        assert reader.story.last.reason == "cancelled"
    for method in ("GET", "DELETE"):
        again = await managed.asks(path, method)
        assert (again.status, again.json["code"]) == (404, "session_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SESSIONS),
        ("GET", f"{SESSIONS}/any"),
        ("DELETE", f"{SESSIONS}/any"),
        ("DELETE", f"{SESSIONS}?idle=0"),
        ("GET", EXPORT),
        ("POST", VACUUM),
    ],
)
async def test_every_route_wants_the_right(managed: Managed, method: str, path: str) -> None:
    """401 without a credential or with a wrong one, 403 with another right; nothing is done, nothing is audited."""
    acts = len(managed.acts())

    assert (await managed.asks(path, method, key="")).status == 401
    assert (await managed.asks(path, method, key="ask_wrong_key")).status == 401
    refused = await managed.asks(path, method, key=managed.alice)
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert len(managed.acts()) == acts


async def test_the_right_counts_in_the_admin_api_only(managed: Managed, sessions: tuple[str, str]) -> None:
    """An administrator's connection doesn't find another user's session."""
    headers = {"Authorization": f"Bearer {managed.admin}"}
    async with reading(managed.server.url, additional_headers=headers) as reader:
        for frame in ("attach", "forget"):
            await reader.send(type=frame, session=sessions[0], id=frame)
            assert (await reader.until("error"))["code"] == "session_not_found"
        await reader.send(type="sessions", id="mine")
        assert (await reader.until("sessions"))["sessions"] == []


@pytest.mark.parametrize(
    "query",
    [
        "usr=alice",
        "limit=0",
        "limit=101",
        "idle=-1",
        "idle=nan",
        "before=none",
        "user=",
        "user=a&anonymous=1",
        "limit=1&limit=2",
    ],
)
async def test_a_wrong_query_is_refused(managed: Managed, query: str) -> None:
    """A misspelt filter doesn't list everybody's; the message repeats nothing."""
    response = await managed.asks(f"{SESSIONS}?{query}")

    assert (response.status, response.json["code"]) == (400, "invalid_frame")
    assert "alice" not in response.json["error"]


@pytest.mark.parametrize(
    "query",
    ["", "usr=alice", "user=", "user=a&anonymous=1", "user=a&user=b", "usage=true", "idle=0&usage=true", "idle=-1"],
)
async def test_a_wrong_query_deletes_nothing(managed: Managed, sessions: tuple[str, str], query: str) -> None:
    """Nobody deletes everything by leaving a filter out, or by misspelling it."""
    response = await managed.asks(f"{SESSIONS}?{query}", "DELETE")

    assert (response.status, response.json["code"]) == (400, "invalid_frame")
    assert {*sessions} <= {*ids(await managed.asks(SESSIONS))}


async def test_an_export_has_all_that_there_is_of_a_user(managed: Managed, sessions: tuple[str, str]) -> None:
    """Turns as they are in `history`, one that runs with its text so far, tokens by day, and the end; nobody else's."""
    headers = {"Authorization": f"Bearer {managed.alice}"}
    async with reading(f"{managed.server.url}?session={sessions[0]}", additional_headers=headers) as titling:
        await titling.send(type="title", text="Numbers")
        while json.loads(await titling.socket.recv())["type"] != "title":
            pass
    async with reading(managed.server.url, additional_headers=headers) as reader:
        first = await reader.answer("say:One", temperature=0.5)
        await reader.ask("tokens:5000 rate:20")
        await reader.until("token")
        await reader.send(type="history", session=reader.story.session)
        history = (await reader.until("history"))["turns"]
        exported = await managed.asks(f"{EXPORT}?user=alice")
        session = reader.story.session
        await managed.asks(f"{SESSIONS}/{session}", "DELETE")

    records = [json.loads(line) for line in exported.body.splitlines()]
    kinds = [record["type"] for record in records]
    assert exported.headers["content-type"] == "application/x-ndjson"
    assert kinds == ["session", "turn", "turn", "session", "turn", "usage", "end"]
    assert (records[0]["session"]["session"], records[0]["session"]["user"]) == (session, "alice")
    assert (records[1]["session"], records[1]["turn"]) == (session, history[0])
    assert (records[1]["turn"]["answer"], records[1]["turn"]["options"]["temperature"]) == (first.answer, 0.5)
    assert records[2]["turn"]["reason"] is None
    assert records[2]["turn"]["answer"].startswith(history[1]["answer"])
    assert (records[3]["session"]["session"], records[3]["session"]["title"]) == (sessions[0], "Numbers")
    assert records[5]["tokens"] > 0
    assert (records[6]["sessions"], records[6]["turns"]) == (2, 3)
    assert b"nobody has asked" not in exported.body


async def test_an_export_that_fails_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first record by 503; later by the end of the connection, within the body; both are logged."""
    async with serving(ScriptedUpstream()) as server:
        async with reading(server.url) as reader:
            await reader.answer("Well?")

        async def fail(*_: object, **__: object) -> NoReturn:
            raise StoreError

        with capture_logs() as logs:
            monkeypatch.setattr(server.hub.store, "read", fail)
            with pytest.raises(BrokenOffError) as broken:
                await request(server.port, EXPORT)
            monkeypatch.setattr(server.hub.store, "list_sessions", fail)
            refused = await request(server.port, EXPORT)

    assert broken.value.body == b""
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    acts = [line for line in logs if line["event"] == "admin_acted"]
    assert [(line["outcome"], line["count"]) for line in acts] == [("internal", 1), ("internal", 0)]


async def test_what_is_used_between_the_list_and_its_deletion_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sessions are deleted by age, the age counts in that moment."""
    async with serving(ScriptedUpstream()) as server:
        store = server.hub.store
        list_sessions = store.list_sessions
        async with reading(server.url) as used, reading(server.url) as unused:
            for reader in (used, unused):
                await reader.answer("Well?")
            await asyncio.sleep(0.2)

            async def list_then_use(*arguments: Any, **more: Any) -> SessionPage:
                page = await list_sessions(*arguments, **more)
                if len(page.sessions) == 2:
                    await used.answer("Are you there?")
                return page

            monkeypatch.setattr(store, "list_sessions", list_then_use)
            deleted = (await request(server.port, f"{SESSIONS}?idle=0.1", method="DELETE")).json

            assert deleted["sessions"] == 1
            assert ids(await request(server.port, SESSIONS)) == [used.story.session]


async def test_a_user_is_deleted_from_every_file(managed: Managed, sessions: tuple[str, str]) -> None:
    """Every session, one with a running answer whose reader is told; the counts of tokens only where that is asked."""
    headers = {"Authorization": f"Bearer {managed.alice}"}
    async with reading(managed.server.url, additional_headers=headers) as reader:
        await reader.ask("tokens:5000 rate:20")
        await reader.until("token")
        deleted = (await managed.asks(f"{SESSIONS}?user=alice", "DELETE")).json
        await reader.until(lambda frame: frame.get("code") == "session_not_found")
        assert reader.story.last.reason == "cancelled"
    assert deleted == {"sessions": 2, "usage_days": 0}
    assert ids(await managed.asks(SESSIONS)) == [sessions[1]]
    again = (await managed.asks(f"{SESSIONS}?user=alice&usage=true", "DELETE")).json
    assert again == {"sessions": 0, "usage_days": 1}
    assert (await managed.asks(VACUUM, "POST")).status == 200

    files = [file for file in managed.folder.rglob("askbot.db*") if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    assert (b"alice" in content, b"nobody has asked" in content) == (False, True)


async def test_old_sessions_are_deleted_by_the_hundred_and_those_in_use_stay() -> None:
    """Those that somebody reads, too, unless something is added in that moment."""
    async with serving(ScriptedUpstream()) as server:
        for number in range(120):
            async with reading(server.url) as reader:
                await reader.answer(f"Number {number}?")
        await asyncio.sleep(0.3)
        async with reading(server.url) as reader:
            await reader.answer("Mine?")
            response = await request(server.port, f"{SESSIONS}?idle=0.25", method="DELETE")
            assert response.json["sessions"] == 120
            assert ids(await request(server.port, SESSIONS)) == [reader.story.session]
            assert (await reader.answer("Still mine?")).reason == "stop"


async def test_each_act_leaves_one_line(managed: Managed, sessions: tuple[str, str]) -> None:
    """Who, what, how many, from where; sessions and users as hashes, and no key."""
    before = len(managed.acts())
    path = f"{SESSIONS}/{sessions[0]}"
    await managed.asks(f"{SESSIONS}?user=alice")
    await managed.asks(path)
    await managed.asks(VACUUM, "POST")
    await managed.asks(f"{EXPORT}?user=alice")
    await managed.asks(path, "DELETE")
    await managed.asks(path, "DELETE")
    await managed.asks(f"{SESSIONS}?user=alice", "DELETE")
    await managed.asks(EXPORT + "?usr=alice")

    lines = managed.acts()[before:]
    assert [(line["act"], line["outcome"], line["count"]) for line in lines] == [
        ("list", "done", 1),
        ("read", "done", 1),
        ("vacuum", "done", 0),
        ("export", "done", 1),
        ("delete", "done", 1),
        ("delete", "session_not_found", 0),
        ("delete", "done", 0),
        ("export", "invalid_frame", 0),
    ]
    assert {line["credential"].partition(":")[0] for line in lines} == {"key"}
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert lines[0]["user"] == hash_session("alice")
    assert lines[1]["session"] == hash_session(sessions[0])
    text = json.dumps(lines)
    assert not any(secret in text for secret in (sessions[0], managed.admin, managed.admin[-20:], "alice"))


async def test_what_was_deleted_is_in_no_file_after_a_vacuum(managed: Managed) -> None:
    """Not in the tables, the write-ahead log or the journal; the others' is still there."""
    kept = await managed.held("a question that stays in the store for good")
    question = f"note:{'x' * 7_000} say:this has to leave all the files"
    for gone in [await managed.held(question) for _ in range(4)]:
        assert (await managed.asks(f"{SESSIONS}/{gone.session}", "DELETE")).status == 204

    done = (await managed.asks(VACUUM, "POST")).json

    files = [file for file in managed.folder.rglob("*") if file.is_file() and file.name != "askbot.log"]
    content = b"".join(file.read_bytes() for file in files)
    assert b"leave all the files" not in content
    assert b"stays in the store" in content
    assert 0 < done["after"] < done["before"] - 20_000
    assert (await managed.asks(f"{SESSIONS}/{kept.session}")).json["turns"][0]["text"] == kept.last.text


async def test_no_page_can_act_through_its_visitor() -> None:
    """Where no credential is wanted: a program on this machine may, a browser may not, whatever origins are allowed."""
    async with serving(ScriptedUpstream(), origins=["*"]) as server:
        assert (await request(server.port, SESSIONS)).status == 200
        for headers in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Mode": "no-cors"},
            {"Accept-Language": "en", "Cookie": "session=admin"},
            {"Origin": f"http://127.0.0.1:{server.port}"},
        ):
            for method, path in (
                ("GET", SESSIONS),
                ("GET", EXPORT),
                ("DELETE", f"{SESSIONS}?idle=0"),
                ("POST", VACUUM),
            ):
                assert (await request(server.port, path, method=method, **headers)).status == 403, headers
        proxied = {"X-Forwarded-For": "203.0.113.7"}
        assert (await request(server.port, SESSIONS, **proxied)).status == 401
        assert (await request(server.port, SESSIONS, host="198.51.100.1")).status == 403
        preflight = await request(server.port, VACUUM, method="OPTIONS", Origin="https://evil.example")
        assert preflight.status == 405
        assert "access-control-allow-methods" not in preflight.headers


async def test_a_wrong_method_names_the_right_ones() -> None:
    """Both of a session."""
    async with serving(ScriptedUpstream()) as server:
        response = await request(server.port, f"{SESSIONS}/any", method="PUT")

    assert response.status == 405
    assert {"GET", "DELETE"} <= set(response.headers["allow"].split(", "))
