"""Strangers: the real server with keys, tokens and tickets, and what somebody without the right one gets of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from askbot_ws import make_ticket
from askbot_ws.auth.key_file import add_key, make_key

from ..attack.frame_attacks import PROTOCOL_FAULTS
from ..attack.handshake_attacks import encode_part
from ..attack.http_attacks import FILES, METHODS, NOT_THERE, PATHS, STEPS
from ..attack.raw_connection import HANDSHAKE_HEADERS, RawConnection, dial, handshake, head
from ..auth.clients import SECRET, bearer, close_code, open_chat, outcome, token
from ..http.raw_requests import Response, request
from ..process import Askbot, Json, ProviderProcess, Reader, Story, askbot, reading

PAGE = "https://chat.example.org"
TICKET_SECRET = "a secret of tickets, of 32 characters and more"
FRAMES = ("ask", "attach", "cancel", "detach", "edit", "fork", "forget", "history", "retry", "title")
FRAME_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and a session of alice's."""

    server: Askbot
    admin_key: str
    session: str
    turn: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.http.rpartition(":")[2])

    def ticket(self, user: str = "bob", session: str | None = None) -> str:
        """The query of a fresh ticket."""
        return f"?ticket={make_ticket(user, secret=TICKET_SECRET, session=session).text}"

    async def get(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Response:
        """A request by HTTP."""
        return await request(self.port, path, method=method, body=body, **headers)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Iterator[Place]:
    """One server for all, which logs everything."""
    folder = tmp_path_factory.mktemp("strangers")
    made = make_key("root", now=time.time(), rights=["admin", "metrics", "tickets"])
    add_key(folder / "keys", made.key)
    settings = {
        "KEYS": "keys",
        "JWT_SECRET": SECRET,
        "TICKET_SECRET": TICKET_SECRET,
        "AUTH_COOKIE": "session",
        "ORIGINS": PAGE,
        "MAX_FRAME": str(FRAME_LIMIT),
        "LOG_LEVEL": "debug",
    }
    environ = {f"ASKBOT_{name}": value for name, value in settings.items()}
    with askbot(folder, upstream=provider.url, **environ) as server:
        session, turn = asyncio.run(_ask(server))
        yield Place(server, made.text, session, turn)
        lines = server.log.read_text().splitlines()
        assert [line for line in lines if json.loads(line)["level"] in ("error", "critical")] == []


async def _ask(server: Askbot) -> tuple[str, str]:
    async with reading(server.url, additional_headers=bearer(token("alice"))) as reader:
        told = await reader.answer("say:Only Alice may read of the tourmaline.")
        return reader.story.session or "", told.turn


# --- credentials -----------------------------------------------------------------------------------------------------


def forged(header: Json) -> str:
    """A token with this head, signed by the secret whatever the head says."""
    signed = token("alice").split(".")
    return f"{encode_part(header)}.{signed[1]}.{signed[2]}"


BAD: dict[str, str] = {
    "alg=none": f"{encode_part({'alg': 'none'})}.{encode_part({'sub': 'alice', 'exp': 2e9})}.",
    "alg=None": f"{encode_part({'alg': 'None'})}.{encode_part({'sub': 'alice', 'exp': 2e9})}.x",
    "expired": token(exp=time.time() - 1),
    "no expiry": token(exp=None),
    "another algorithm": token(algorithm="HS512"),
    "another secret": token(secret="y" * 64),
    "another audience": token(aud="somebody else"),
    "a key pair of the attacker": forged({"alg": "RS256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}),
    "the secret by a public key's name": forged({"alg": "RS256"}),
    "a session": "K3yT0a_Session-0123456",
    "a key that there is not": make_key("alice", now=0.0).text,
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_credential_opens_nothing_by_any_carrier(place: Place, name: str) -> None:
    """`alg=none`, key confusion, expired, invented: no `ready`, and a page is told by 4401."""
    text, url = BAD[name], place.server.url

    assert await outcome(url, text) == 401
    assert await outcome(url, subprotocols=[f"askbot.bearer.{text}"]) == 4401
    assert await outcome(url, headers={"Cookie": f"session={text}"}, origin=PAGE) == 4401
    assert await outcome(f"{url}?ticket={text}") == 401
    for path in ("/v1/tickets", "/aiCompletion"):
        assert (await place.get(path, "POST", "{}", **bearer(text))).status == 401
    assert (await place.get("/metrics", **bearer(text))).status == 401
    async with reading(url, additional_headers=bearer(token("bob"))) as reader:
        await reader.send(type="auth", id="a", token=text)
        answer = await reader.until(lambda frame: frame.get("id") == "a")
        assert (answer["type"], answer["code"]) == ("error", "unauthorized")


async def test_a_ticket_is_used_once_even_by_many_at_once(place: Place) -> None:
    """Replayed at the same moment on ten connections, and afterwards."""
    url = place.server.url + place.ticket()

    assert sorted(await asyncio.gather(*(outcome(url) for _ in range(10)))) == [200] + [401] * 9
    assert await outcome(url) == 401


async def test_a_token_that_has_expired_is_not_replayed(place: Place) -> None:
    """Nor one that closed its connection a moment ago."""
    short = token(exp=time.time() + 0.5)
    assert await outcome(place.server.url, short) == 200
    await asyncio.sleep(0.6)
    assert await outcome(place.server.url, short) == 401


async def test_what_a_token_names_is_never_fetched(place: Place) -> None:
    """`jku`, `x5u`, `jwk`; an `Origin`, a `Host`, an absolute address, a proxy's headers, images: nobody calls."""
    calls = list[str]()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(repr(await reader.read(100)))
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as canary:
        url = f"http://127.0.0.1:{canary.sockets[0].getsockname()[1]}/canary"
        own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        for name in ("jku", "x5u", "kid", "iss"):
            payload = {"sub": "alice", "exp": time.time() + 60, "iss": url}
            signed = jwt.encode(payload, own, algorithm="RS256", headers={name: url})
            assert await outcome(place.server.url, signed) == 401
        assert await outcome(place.server.url, token("bob"), origin=url) == 403
        forwarded = {"X_Forwarded_Host": url, "Forwarded": f"host={url}", "Referer": url, "X_Original_URL": url}
        assert (await place.get("/v1/identity", **forwarded)).status == 200
        connection = await dial(place.port, "127.0.0.1")
        await connection.send(head("GET", url) + head("GET", "/", host=url.split("/")[2]))
        await connection.read(seconds=0.1)
        connection.close(reset=False)
        async with reading(place.server.url, additional_headers=bearer(token("bob"))) as reader:
            told = await reader.answer(f"say:![pixel]({url}) {url}", images=[url], url=url, callback=url)
            assert told.reason == "stop"
        await asyncio.sleep(0.2)
    assert calls == []


# --- sessions of others ----------------------------------------------------------------------------------------------


async def test_another_users_session_is_not_there_by_any_frame_or_route(place: Place) -> None:
    """Even to who knows its id: the answer is that of an id that never was, and the session stays as it is."""
    unknown = "a" * 22
    async with reading(place.server.url, additional_headers=bearer(token("bob"))) as reader:
        for kind in FRAMES:
            answers = [await _refused(reader, kind, session, place.turn) for session in (place.session, unknown)]
            assert answers[0] == answers[1], kind
            assert answers[0]["code"] == "session_not_found", kind
        await reader.send(type="sessions", id="s")
        listed = await reader.until("sessions")
        assert place.session not in [each["session"] for each in listed["sessions"]]
        assert "tourmaline" not in json.dumps(reader.frames)
    for query in (f"?session={place.session}", f"?session={place.session}&after=0"):
        assert await _refusal(place.server.url + query, token("bob")) == 4404
    assert await _refusal(place.server.url + place.ticket(session=place.session)) == 4404
    for session in (place.session, unknown):
        headers = bearer(token("bob")) | {"Askbot_Session": session}
        response = await place.get("/aiCompletion", "POST", '{"userPrompt": "What did she say?"}', **headers)
        assert (response.status, response.json["code"]) == (404, "session_not_found")

    story = Story(session=place.session)
    async with reading(place.server.url, story, additional_headers=bearer(token("alice"))) as reader:
        await reader.until("done")
        assert [turn.answer for turn in story.turns.values()] == ["Only Alice may read of the tourmaline."]


async def _refusal(url: str, credential: str | None = None) -> int:
    """With which code a connection is closed."""
    return await close_code(await open_chat(url, credential))


async def _refused(reader: Reader, kind: str, session: str, turn: str) -> Json:
    more: Json = {"text": "Mine"} if kind in ("ask", "edit", "title") else {}
    more |= {"turn": turn} if kind in ("edit", "fork", "retry", "cancel") else {}
    await reader.send(type=kind, id=kind, session=session, **more)
    answer = await reader.until(lambda frame: frame.get("id") == kind)
    assert answer["type"] == "error", answer
    return {name: value for name, value in answer.items() if name != "session"}


# --- paths, headers, log lines ---------------------------------------------------------------------------------------


async def test_no_path_leads_out_of_what_is_served(place: Place) -> None:
    """From every route, with every spelling of `..`, by every method, on raw connections."""
    for base in PATHS:
        connection = await dial(place.port, "127.0.0.1")
        sent = [
            head(method, f"{base.rstrip('/')}/{step * 6}{file}", f"Authorization: Bearer {place.admin_key}")
            for number, step in enumerate(STEPS)
            for method, file in [(METHODS[number % len(METHODS)], FILES[number % len(FILES)])]
        ]
        for each in sent:
            await connection.send(each)
            await connection.read_until(b"\r\n\r\n")
        await connection.read(seconds=0.1)
        connection.close(reset=False)
        assert connection.statuses
        assert {*connection.statuses} <= NOT_THERE, base
        for leak in (b"root:", b'"hash"', b"SQLite", b"import "):
            assert leak not in connection.received


@pytest.mark.parametrize(
    "field", ["Host", "Origin", "Accept-Language", "Sec-WebSocket-Protocol", "Access-Control-Request-Headers", "X"]
)
async def test_no_header_is_split_by_what_a_client_sends(place: Place, field: str) -> None:
    """Ends of lines, in whatever way, end the request (400), or stand in no response."""
    for end in ("\r\n", "\n", "\r", "\0", "%0d%0a", "\x85", "\u2028".encode().decode("latin-1")):
        for upgrade in ((), HANDSHAKE_HEADERS):
            connection = await dial(place.port, "127.0.0.1")
            value = f"{PAGE if field == 'Origin' else '127.0.0.1'}{end}Set-Cookie: injected=1{end}{end}<script>"
            host = value if field == "Host" else "127.0.0.1"
            path = "/v1/chat" if upgrade else "/v1/identity?x=%0d%0aSet-Cookie:%20injected=1"
            headers = [] if field == "Host" else [f"{field}: {value}"]
            await connection.send(head("GET", path, *headers, *upgrade, host=host))
            await connection.read_until(b"\r\n\r\n", seconds=1)
            await connection.read(seconds=0.02)
            connection.close(reset=False)
            assert b"injected" not in connection.received


async def test_no_log_line_is_forged_by_what_a_client_sends(place: Place) -> None:
    """In a path, a header, a credential, a frame, a question, a user's name: each line is one of ours, in JSON."""
    forgery = '\n{"event": "forged", "level": "info"}\r\n\x1b[2Jforged \u2028forged'
    raw = forgery.encode().decode("latin-1")
    before = len(place.server.log.read_text().splitlines())
    for sent in (
        head("GET", f"/{raw}", *HANDSHAKE_HEADERS),
        head("GET", "/forged%0aforged%1b[2J", *HANDSHAKE_HEADERS),
        head("GET", "/v1/chat", *HANDSHAKE_HEADERS, f"Origin: https://x{raw}"),
        head("GET", "/", host="forged\x85\x9bforged"),
        handshake("?ticket=" + "forged%0aforged", "Origin: https://forged\x9b.example"),
    ):
        connection = await dial(place.port, "127.0.0.1")
        await connection.send(sent)
        await connection.read(seconds=0.05)
        connection.close(reset=False)
    with_name = token(f"al{forgery[1:6]}ice")
    async with reading(place.server.url, additional_headers=bearer(with_name)) as reader:
        await reader.answer(f"say:{forgery}")
        for frame_ in (
            {"type": forgery},
            {"type": "ask", "text": 1, forgery: 1},
            {"type": "history", "session": forgery},
        ):
            await reader.send(**frame_)
            await reader.until("error")
    lines = place.server.log.read_text().splitlines()
    entries = [json.loads(line) for line in lines]

    assert len(entries) > before
    assert "forged" not in {entry["event"] for entry in entries}
    assert "\x1b" not in "".join(lines)
    assert "\x9b" not in "".join(lines)


# --- too much of anything --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame_", "code"),
    [
        ({"type": "ask", "text": "x" * 8_001}, "question_too_long"),
        ({"type": "title", "text": "x" * 201}, "invalid_frame"),
        ({"type": "ping", "id": "x" * 65}, "invalid_frame"),
        ({"type": "attach", "session": "x" * 1_000}, "invalid_frame"),
        ({"type": "attach", "session": "s", "after": 2**64}, "invalid_frame"),
        ({"type": "attach", "log": "x" * 60_000, "session": "s"}, "session_not_found"),
        ({"type": "history", "limit": 10**9}, "invalid_frame"),
        ({"type": "sessions", "limit": 101}, "invalid_frame"),
        ({"type": "sessions", "before": "x" * 60_000}, "invalid_frame"),
        ({"type": "cancel", "turn": "x" * 1_000}, "invalid_frame"),
        ({"type": "auth", "token": "x" * 60_000}, "unauthorized"),
        ({"type": "auth", "token": f"{'A' * 20_000}.{'A' * 20_000}.A"}, "unauthorized"),
        ({"type": "ask", "text": "Hi", "model": "x" * 201}, "invalid_frame"),
        ({"type": "ask", "text": "Hi", "max_tokens": 10**12}, "invalid_frame"),
        ({"type": "ask", "text": "Hi", "temperature": 1e300}, "invalid_frame"),
    ],
    ids=str,
)
async def test_a_field_that_is_too_large_is_refused(place: Place, frame_: Json, code: str) -> None:
    """With its code, and the connection goes on."""
    async with reading(place.server.url, additional_headers=bearer(token("bob"))) as reader:
        await reader.send(**frame_)
        answer = await reader.until("error")
        assert answer["code"] == code
        assert len(json.dumps(answer)) < 1_000
        await reader.send(type="ping", id="p")
        assert (await reader.until("pong"))["id"] == "p"


BOBS_CHUNKS = head(  # who is refused anyway may be told so before the chunk has come
    "POST", "/aiCompletion", f"Authorization: Bearer {token('bob')}", "Transfer-Encoding: chunked"
)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("GET", "/" + "x" * 70_000), 431),
        (head("GET", "/", "X: " + "x" * 70_000), 431),
        (head("GET", "/", *(f"X-{number}: y" for number in range(9_000))), 431),
        (handshake("", "Authorization: Bearer " + "x" * 70_000), 431),
        (handshake("?ticket=" + "x" * 20_000), 414),
        (handshake("?ticket=" + "x" * 7_000), 401),
        (handshake("", "Sec-WebSocket-Protocol: " + ", ".join(["askbot.bearer.x"] * 2_000)), 431),
        (handshake("", "Sec-WebSocket-Protocol: " + ", ".join(["askbot.bearer.x"] * 400)), 101),
        (head("POST", "/aiCompletion", f"Content-Length: {FRAME_LIMIT + 1}"), 413),
        (BOBS_CHUNKS + b"11170\r\n" + b"x" * 70_000, 413),
        (head("POST", "/aiCompletion", "Content-Length: 99999999999999999999999999"), 400),
    ],
    ids=[
        "address",
        "header",
        "headers",
        "token",
        "ticket",
        "long ticket",
        "subprotocols",
        "many subprotocols",
        "body",
        "chunks",
        "number",
    ],
)
async def test_a_request_that_is_too_large_is_refused(place: Place, sent: bytes, status: int) -> None:
    """With its status, once; a handshake with a subprotocol is accepted, to be closed before `ready`."""
    connection = await _sent(place, sent)

    assert connection.statuses == [status]
    assert b'"ready"' not in connection.received


async def _sent(place: Place, data: bytes) -> RawConnection:
    connection = await dial(place.port, "127.0.0.1")
    reading_ = asyncio.create_task(connection.read_until(b"\r\n\r\n", seconds=2))
    with suppress(OSError):
        await connection.send(data)
    await reading_
    await connection.read(seconds=0.05)
    connection.close(reset=False)
    return connection


@pytest.mark.parametrize("number", range(len(PROTOCOL_FAULTS)))
async def test_frames_against_the_standard_harm_nobody(place: Place, number: int) -> None:
    """Unmasked, with reserved bits, without an end, with lengths that lie: at most that connection ends."""
    connection = await _sent(place, handshake("", f"Authorization: Bearer {token('bob')}") + PROTOCOL_FAULTS[number])

    assert connection.statuses == [101]
    assert await outcome(place.server.url, token("bob")) == 200


async def test_no_client_adds_a_label_to_a_metric(place: Place) -> None:
    """Names of users, models, paths, close codes, types of frames, origins: the series are the same afterwards."""
    key = bearer(place.admin_key)

    async def series() -> set[str]:
        lines = (await place.get("/metrics", **key)).body.decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if line[0] != "#"}

    before = await series()
    for number in range(5):
        await outcome(f"{place.server.url.removesuffix('/v1/chat')}/made-up-{number}", token("bob"))
        await outcome(place.server.url, token(f"made-up-{number}", role=f"made-up-{number}"))
        await outcome(place.server.url, token("bob"), origin=f"https://made-up-{number}.example")
        await place.get(f"/made-up-{number}", f"MADE{number}" if number > 3 else "GET", Host=f"made-up-{number}")
        async with reading(place.server.url, additional_headers=bearer(token("bob"))) as reader:
            for frame_ in ({"type": f"made-up-{number}"}, {"type": "ask", "text": "Hi", "model": f"made-up-{number}"}):
                await reader.send(**frame_)
                await reader.until("error")
            await reader.socket.close(4900 + number, f"made-up-{number}")
    after = await series()

    assert len(before) > 50
    assert after == before
