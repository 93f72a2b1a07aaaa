"""Plain HTTP on the same port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from askbot_ws import __version__
from askbot_ws.dialects.askbot.frames import schema
from askbot_ws.errors import StoreError, UpstreamUnavailable
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import ROOT, address
from .raw_requests import request

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


# --- health ----------------------------------------------------------------------------------------------------------


async def test_healthz_says_that_the_process_lives(server: Server) -> None:
    """Whatever else is wrong: an orchestrator restarts what does not say so."""
    response = await request(server.port, "/healthz")

    assert (response.status, json.loads(response.body)) == (200, {"status": "ok", "version": __version__})
    assert response.headers["cache-control"] == "no-store"


async def test_readyz_says_whether_a_question_would_be_answered() -> None:
    """With the reason where it would not, in words that are safe to show."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        assert (await request(server.port, "/readyz")).status == 200
    upstream.ping_error = UpstreamUnavailable()
    async with serving(upstream) as server:
        response = await request(server.port, "/readyz")

    assert response.status == 503
    assert response.json["reason"] == "upstream: The model cannot be reached."
    assert response.json["checks"] == {"server": "ok", "store": "ok", "upstream": "The model cannot be reached."}


async def test_a_store_that_fails_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told before anybody loses a question to it."""

    async def ping() -> None:
        raise StoreError

    monkeypatch.setattr(server.hub.store, "ping", ping)
    response = await request(server.port, "/readyz")

    assert response.status == 503
    assert json.loads(response.body)["reason"].startswith("store: ")


async def test_a_server_that_drains_is_alive_but_not_ready(server: Server) -> None:
    """The load balancer sends nobody, the orchestrator does not kill it."""
    server.hub.refuse_turns()

    assert (await request(server.port, "/readyz")).status == 503
    assert (await request(server.port, "/healthz")).status == 200
    refused = await request(server.port, "/v1/chat", **UPGRADE)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_the_page_and_its_scripts_are_served(server: Server) -> None:
    """Each with its type, never guessed at, and only what the page itself brings may run in it."""
    for path, kind in (("/", "text/html"), ("/askbot.js", "text/javascript"), ("/view.js", "text/javascript")):
        response = await request(server.port, path)
        assert response.status == 200
        assert response.headers["content-type"] == f"{kind}; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert int(response.headers["content-length"]) == len(response.body) > 0


async def test_the_schema_is_served(server: Server) -> None:
    """The same that `askbot schema` prints."""
    assert json.loads((await request(server.port, "/schema.json")).body) == schema()


async def test_the_asyncapi_document_is_served(server: Server) -> None:
    """The one in docs/, which is made from the frames."""
    served = (await request(server.port, "/asyncapi.json")).body
    assert served == (ROOT / "docs/asyncapi.json").read_bytes()


async def test_a_query_does_not_hide_a_page(server: Server) -> None:
    """`/?session=…` is how a page is reloaded into a conversation."""
    assert (await request(server.port, "/?session=abc")).status == 200


async def test_what_has_not_changed_is_not_sent_again(server: Server) -> None:
    """By its ETag; also one that proxies made weak, or one of several."""
    tag = (await request(server.port, "/")).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = await request(server.port, "/", If_None_Match=known)
        assert (response.status, response.body) == (304, b""), known
        assert response.headers["etag"] == tag
    assert (await request(server.port, "/", If_None_Match='"other"')).status == 200


async def test_nothing_else_is_there(server: Server) -> None:
    """Nor beside or above the folder of the pages, however it is written."""
    for path in (
        "/nothing", "/index.html", "/v1", "/v1/chat/", "/..", "/../pyproject.toml", "/%2e%2e/pyproject.toml",
        "/..%2fpyproject.toml", "//etc/passwd", "/./", "/.", "/client/view.js", "/view.js/", "/view.js%00.html",
        "/askbot_ws/cli.py", "http://127.0.0.1/etc/passwd", "//[", "/[?[",
    ):  # fmt: skip
        response = await request(server.port, path)
        assert response.status == 404, path
        assert response.body == b'{"error": "there is nothing at this address"}\n'


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_pages_are_only_read(server: Server, method: str) -> None:
    """Any other method is told so."""
    for path in ("/", "/v1/chat"):
        response = await request(server.port, path, method=method, Content_Length="0")
        assert response.status == 405
        assert response.headers["allow"] == "GET, HEAD"


async def test_head_is_get_without_the_body(server: Server) -> None:
    """Monitors ask so."""
    for path in ("/", "/healthz"):
        response, got = await request(server.port, path, method="HEAD"), await request(server.port, path)
        assert (response.status, response.body) == (200, b"")
        assert response.headers["content-length"] == got.headers["content-length"]


async def test_the_socket_without_an_upgrade_says_what_is_spoken(server: Server) -> None:
    """Somebody opens the address in a browser."""
    response = await request(server.port, "/v1/chat")

    assert response.status == 426
    assert response.headers["upgrade"] == "websocket"


async def test_what_is_not_http_harms_nobody(server: Server) -> None:
    """Scanners say all kinds of things."""
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"\r\n" * 100,
        b"GET / HTTP/1.1\r\n" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(noise)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert (await request(server.port, "/healthz")).status == 200


# --- subprotocols ----------------------------------------------------------------------------------------------------


async def test_the_subprotocol_is_selected_where_it_is_offered(server: Server) -> None:
    """A credential beside it is never echoed: logs and proxies see it."""
    for offered, chosen in (
        (["askbot.v1"], "askbot.v1"),
        (["askbot.bearer.secret", "askbot.v1"], "askbot.v1"),
        (["askbot.v1", "askbot.bearer.secret"], "askbot.v1"),
        (None, None),
    ):
        protocols = [Subprotocol(name) for name in offered] if offered else None
        async with connect(address(server.port), subprotocols=protocols, proxy=None) as socket:
            assert socket.subprotocol == chosen
            assert json.loads(await socket.recv())["type"] == "ready"
            assert socket.response
            assert "secret" not in str(socket.response.headers)


async def test_what_is_not_known_is_not_selected(server: Server) -> None:
    """The client then decides whether it goes on."""
    response = await request(server.port, "/v1/chat", **UPGRADE, Sec_WebSocket_Protocol="chat.v9")

    assert response.status == 101
    assert "sec-websocket-protocol" not in response.headers


async def test_a_malformed_handshake_is_told_in_our_words(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """What it offers is neither in the response nor in the log: a credential may be."""
    offer = "askbot.bearer.secret;, askbot.v1"
    for headers, status in (
        ({"Sec_WebSocket_Protocol": offer}, 400), ({"Sec-WebSocket-Key": "secret"}, 400),
        ({"Sec-WebSocket-Version": "secret"}, 400), ({"Upgrade": "websocket, secret"}, 426),
    ):  # fmt: skip
        response = await request(server.port, "/v1/chat", **(UPGRADE | headers))
        assert (response.status, response.headers.get("upgrade")) == (status, "websocket" if status == 426 else None)
        assert response.json == {"error": "this is no handshake for a WebSocket"}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "secret" not in str(response.headers)
    assert "secret" not in caplog.text


async def test_a_refused_handshake_is_told_by_its_status(server: Server) -> None:
    """Client libraries show it."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(address(server.port), origin=Origin("https://evil.example"), proxy=None)

    assert refused.value.response.status_code == 403
