"""The real server with keys, JSON Web Tokens, tickets and a cookie: who comes in, and for how long."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from askbot_ws.auth.key_file import NewKey, add_key, make_key, remove_key

from ..http.raw_requests import request
from ..process import Askbot, Json, ProviderProcess, askbot, command, environment, eventually
from .clients import SECRET, bearer, close_code, open_chat, outcome, token

PAGE = "https://chat.example.org"


class Keys:
    """The file of keys of a server."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.jsonl"
        self.alice = self.add("alice")
        self.backend = self.add("backend", "tickets")

    def add(self, user: str, *rights: str) -> NewKey:
        """A new key of a user."""
        made = make_key(user, now=time.time(), rights=rights)  # type: ignore[arg-type]
        add_key(self.path, made.key)
        return made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def server(keys: Keys, provider: ProviderProcess) -> Iterator[Askbot]:
    """One server for all."""
    folder = keys.path.parent
    (folder / "askbot.toml").write_text(settings())
    with askbot(folder, upstream=provider.url, ASKBOT_JWT_SECRET=SECRET, ASKBOT_KEYS="keys.jsonl") as server:
        yield server


def settings(*, origins: str = PAGE, persona: str = "first", more: str = "") -> str:
    return f'auth_cookie = "session"\norigins = ["{origins}"]\npersona = "{persona}"\n{more}\n'


async def asks(server: Askbot, path: str, credential: str | None = None, **body: object) -> tuple[int, Json]:
    """A request by HTTP; its status and its JSON."""
    port = int(server.http.rpartition(":")[2])
    headers = bearer(credential) if credential else {}
    response = await request(
        port, path, method="POST" if body else "GET", body=json.dumps(body) if body else "", **headers
    )
    return response.status, response.json


# --- handshakes ------------------------------------------------------------------------------------------------------


async def test_whoever_has_a_credential_comes_in(server: Askbot, keys: Keys) -> None:
    """By each carrier; the subprotocol with the token is not echoed."""
    socket = await open_chat(server.url, subprotocols=["askbot.v1", f"askbot.bearer.{token()}"])
    assert socket.subprotocol == "askbot.v1"
    await socket.close()

    assert await outcome(server.url, keys.alice.text) == 200
    assert await outcome(server.url, token()) == 200
    assert await outcome(server.url, subprotocols=[f"askbot.bearer.{keys.alice.text}"], origin=PAGE) == 200
    assert await outcome(server.url, headers={"Cookie": f"a=b; session={token()}"}, origin=PAGE) == 200


async def test_others_are_refused_so_that_they_can_tell(server: Askbot, keys: Keys) -> None:
    """Programs by status 401, pages by code 4401 before `ready`, as scripts see no status."""
    wrong = keys.alice.text[:-2] + "__"

    for credential in (None, wrong, "", token(exp=time.time() - 1), token(secret="x" * 40)):
        assert await outcome(server.url, credential) == 401
        assert await outcome(server.url, credential, origin=PAGE) == 4401
    assert await outcome(server.url, subprotocols=["askbot.v1", f"askbot.bearer.{wrong}"]) == 4401
    assert await outcome(server.url, subprotocols=["askbot.bearer."]) == 4401
    assert await outcome(server.url, headers={"Cookie": f"session={wrong}"}, origin=PAGE) == 4401


async def test_a_cookie_needs_an_origin(server: Askbot) -> None:
    """A browser sends it with whatever page connects; a foreign page gets 403 before anybody looks at it."""
    cookie = {"Cookie": f"session={token()}"}

    assert await outcome(server.url, headers=cookie) == 401
    assert await outcome(server.url, headers=cookie, origin="https://evil.example") == 403


async def test_the_first_carrier_counts(server: Askbot, keys: Keys) -> None:
    """Where a good and a bad one are sent; other schemes of `Authorization` are none of ours."""
    good, bad = token(), token(secret="x" * 40)

    assert await outcome(server.url, bad, headers={"Cookie": f"session={good}"}, origin=PAGE) == 4401
    assert await outcome(server.url, good, subprotocols=[f"askbot.bearer.{bad}"]) == 200
    assert await outcome(server.url + "?ticket=x", good) == 200
    assert await outcome(server.url + "?ticket=x", headers={"Cookie": f"session={good}"}, origin=PAGE) == 4401
    basic = {"Authorization": "Basic YTpi", "Cookie": f"session={good}"}
    assert await outcome(server.url, headers=basic, origin=PAGE) == 200
    two = [f"askbot.bearer.{bad}", f"askbot.bearer.{good}"]
    assert await outcome(server.url, subprotocols=two) == 4401


async def test_http_says_401_in_json(server: Askbot, keys: Keys) -> None:
    """With the scheme that it wants; what is public needs nothing."""
    port = int(server.http.rpartition(":")[2])
    response = await request(port, "/aiCompletion", method="POST", body='{"userPrompt": "Hi"}')

    assert (response.status, response.json["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    for path in ("/", "/healthz", "/schema.json", "/askbot.js"):
        assert (await request(port, path)).status == 200
    assert (await asks(server, "/aiCompletion", token(), userPrompt=""))[1]["code"] == "question_empty"


async def test_identity_says_who_asks(server: Askbot, keys: Keys) -> None:
    """To whom is signed in, and to whom is not: there it says that one has to."""
    status, nobody = await asks(server, "/v1/identity")
    assert (status, nobody["user"], nobody["authentication"], nobody["anonymous"]) == (200, None, True, False)
    assert (await asks(server, "/v1/identity", "wrong"))[1]["user"] is None
    _, alice = await asks(server, "/v1/identity", token("alice", exp=2e9))
    assert (alice["user"], alice["expires"]) == ("alice", "2033-05-18T03:33:20.000Z")


# --- tickets ---------------------------------------------------------------------------------------------------------


async def test_a_backend_makes_tickets_for_its_users(server: Askbot, keys: Keys) -> None:
    """Each opens one connection; a handshake that is refused for another reason does not use it up."""
    status, made = await asks(server, "/v1/tickets", keys.backend.text, user="carol", expires=60)
    assert status == 201
    (line,) = [line for line in server.lines() if line["event"] == "ticket_issued"]
    assert (line["by"], line["address"]) == (f"key:{keys.backend.key.id}", "127.0.0.1")
    assert made["ticket"] not in server.log.read_text()
    url = f"{server.url}?ticket={made['ticket']}"

    assert await outcome(url, origin="https://evil.example") == 403
    assert await outcome(url.replace("/v1/chat", "/v1/nothing")) == 404
    port = int(server.http.rpartition(":")[2])
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    assert (await request(port, f"/v1/chat?ticket={made['ticket']}", **upgrade)).status == 400
    assert (await request(port, f"/?ticket={made['ticket']}")).status == 200
    assert await outcome(url) == 200
    assert await outcome(url) == 401
    assert await outcome(url, origin=PAGE) == 4401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user": 7}, "user"),
        ({"session": "s"}, "user"),
        ({"user": ""}, "user"),
        ({"user": "a", "session": "a b"}, "session"),
        ({"user": "a", "expires": 90_000}, "expires"),
        ({"user": "a", "expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"user": "a", "expires": "tomorrow"}, "expires"),
        ({"user": "a", "read_only": "yes"}, "read_only"),
        ({"user": "a", "rights": ["admin"]}, "rights"),
    ],
    ids=str,
)
async def test_a_wrong_request_for_a_ticket_is_told(server: Askbot, keys: Keys, body: Json, field: str) -> None:
    """The field, and nothing of what it has."""
    status, answer = await asks(server, "/v1/tickets", keys.backend.text, **body)

    assert status == 400
    assert answer["error"].startswith(f"{field}: ")


async def test_tickets_need_the_right(server: Askbot, keys: Keys) -> None:
    """A user's key makes none, and no key neither."""
    assert (await asks(server, "/v1/tickets", keys.alice.text, user="root"))[0] == 403
    assert (await asks(server, "/v1/tickets", token(may="tickets"), user="root"))[0] == 403
    assert (await asks(server, "/v1/tickets", user="root"))[0] == 401


# --- expiry and renewal ----------------------------------------------------------------------------------------------


async def test_a_connection_ends_with_its_credential(server: Askbot) -> None:
    """At the moment, with 4401; its turn goes on."""
    begin = time.time()
    ends = begin + 0.6
    socket = await open_chat(server.url, token(exp=ends))
    ready = json.loads(await socket.recv())
    await socket.send(json.dumps({"type": "ask", "text": "tokens:40 rate:20"}))

    assert await close_code(socket) == 4401
    assert 0 <= time.time() - ends < 2
    again = await open_chat(f"{server.url}?session={ready['session']}&after=0", token())
    kinds = [json.loads(await again.recv())["type"] for _ in range(2)]
    assert kinds == ["ready", "question"]
    await again.close()


async def test_a_fresh_token_of_the_same_user_prolongs(server: Askbot) -> None:
    """Or shortens. Others are refused, and change nothing."""
    socket = await open_chat(server.url, token(exp=time.time() + 0.8))
    await socket.recv()

    async def auth(credential: str) -> Json:
        await socket.send(json.dumps({"type": "auth", "id": "1", "token": credential}))
        answer: Json = json.loads(await socket.recv())
        return answer

    assert (await auth(token("bob")))["code"] == "forbidden"
    assert (await auth("wrong"))["code"] == "unauthorized"
    answer = await auth(token(exp=2e9))
    assert answer == {"type": "authorized", "id": "1", "user": "alice", "expires": "2033-05-18T03:33:20.000Z"}
    await asyncio.sleep(1)
    await socket.send('{"type": "ping"}')
    assert json.loads(await socket.recv())["type"] == "pong"
    await auth(token(exp=time.time() + 0.2))
    assert await close_code(socket) == 4401


# --- revoked keys and new settings -----------------------------------------------------------------------------------


async def test_a_revoked_key_ends_its_connections_and_its_turns(
    server: Askbot, keys: Keys, provider: ProviderProcess
) -> None:
    """At SIGHUP. What its user asked by another credential, and everybody else, goes on."""
    eve = keys.add("eve")
    server.signal(signal.SIGHUP)
    await eventually(lambda: any(line["event"] == "settings_reloaded" for line in server.lines()))
    by_key, by_token, other = [
        await open_chat(server.url, credential) for credential in (eve.text, token("eve"), keys.alice.text)
    ]
    sessions = [json.loads(await socket.recv())["session"] for socket in (by_key, by_token, other)]
    for socket in (by_key, by_token):
        for _ in range(2):
            await socket.send(json.dumps({"type": "ask", "text": "tokens:30 rate:20"}))
        await socket.recv()

    remove_key(keys.path, eve.key.id)
    server.signal(signal.SIGHUP)

    assert await close_code(by_key) == 4401
    assert await outcome(server.url, eve.text) == 401
    again = await open_chat(f"{server.url}?session={sessions[0]}&after=0", token("eve"))
    ends = [frame for frame in [json.loads(await again.recv()) for _ in range(5)] if frame["type"] == "done"]
    assert {end["reason"] for end in ends} == {"cancelled"}
    for socket in (by_token, other):
        await socket.send('{"type": "ping"}')
        while json.loads(await socket.recv())["type"] != "pong":
            pass
    async with asyncio.timeout(10):
        while (frame := json.loads(await by_token.recv()))["type"] != "done":
            pass
    assert frame["reason"] == "stop"
    for socket in (again, by_token, other):
        await socket.close()


async def test_sighup_applies_what_has_changed_and_closes_what_it_concerns(
    server: Askbot, keys: Keys, provider: ProviderProcess
) -> None:
    """The persona from the next question on; pages of an origin that is not allowed any more are closed with 4403."""
    path = keys.path.parent / "askbot.toml"
    page, program = await open_chat(server.url, token(), origin=PAGE), await open_chat(server.url, token())
    for socket in (page, program):
        await socket.recv()
    path.write_text(settings(origins="https://other.example.org", persona="second", more="drain = 5"))
    count = len(server.lines())
    server.signal(signal.SIGHUP)

    assert await close_code(page) == 4403
    assert await outcome(server.url, token(), origin=PAGE) == 403
    assert await outcome(server.url, token(), origin="https://other.example.org") == 200
    (line,) = [line for line in server.lines()[count:] if line["event"] == "settings_reloaded"]
    assert (line["changed"], line["need_restart"]) == (["origins", "persona"], ["drain"])
    await program.send(json.dumps({"type": "ask", "text": "which persona?"}))
    while json.loads(await program.recv())["type"] != "done":
        pass
    asked = next(each for each in provider.chats() if each["body"]["messages"][-1]["content"] == "which persona?")
    assert asked["body"]["messages"][0]["content"] == "second"

    path.write_text("max_frame = 'x'\nno_such = 1\n")
    server.signal(signal.SIGHUP)
    await eventually(lambda: any(line["event"] == "reload_failed" for line in server.lines()))
    (failed,) = [line for line in server.lines() if line["event"] == "reload_failed"]
    assert [fault.partition(":")[0].partition(",")[0] for fault in failed["faults"]] == ["no_such", "max_frame"]
    assert await outcome(server.url, token(), origin="https://other.example.org") == 200
    await program.send('{"type": "ping"}')
    assert json.loads(await program.recv())["type"] == "pong"
    await program.close()
    path.write_text(settings())
    server.signal(signal.SIGHUP)
    await eventually(lambda: server.lines()[-1]["event"] == "settings_reloaded")


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
async def test_a_hangup_does_not_end_a_server_that_starts(tmp_path: Path) -> None:
    """From its imports on; then it listens, and ends as it should."""
    with starting(tmp_path) as process:
        assert process.stdout
        await eventually(lambda: ignores_hangup(process.pid) or process.poll() is not None)
        said = asyncio.create_task(asyncio.to_thread(process.stdout.readline))
        while not said.done():
            process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)
        assert (await said).startswith("askbot-ws")
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0


def starting(folder: Path) -> subprocess.Popen[str]:
    """A server, from its first moment on."""
    given = environment(OPENAI_BASE_URL="http://127.0.0.1:9/v1", ASKBOT_MODEL="none", ASKBOT_STORE="memory:")
    return subprocess.Popen(
        command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=given, text=True
    )


def ignores_hangup(pid: int) -> bool:
    """Whether a process ignores SIGHUP, or handles it (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigIgn", "SigCgt"))]
    return any(mask & 1 for mask in masks)


async def test_a_restart_revives_no_ticket(keys: Keys, provider: ProviderProcess, server: Askbot) -> None:
    """And no credential is in the log."""
    folder = keys.path.parent / "restarted"
    folder.mkdir()
    given = {"ASKBOT_KEYS": str(keys.path), "upstream": provider.url}
    with askbot(folder, **given) as first:
        _, made = await asks(first, "/v1/tickets", keys.backend.text, user="carol")
        assert await outcome(f"{first.url}?ticket={made['ticket']}") == 200
    with askbot(folder, **given) as second:
        assert await outcome(f"{second.url}?ticket={made['ticket']}") == 401
        second.signal(signal.SIGTERM)
        second.signal(signal.SIGHUP)
        assert await second.ended() == 0

    log = (folder / "askbot.log").read_text() + server.log.read_text()
    assert "connection_refused" in log
    assert keys.alice.text not in log
    assert made["ticket"] not in log
    assert SECRET not in log
    assert token()[:20] not in log
