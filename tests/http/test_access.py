"""Whose requests are answered: the names in `Host` and `Origin`, for every route and for the socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.config import Settings
from askbot_ws.http.access import AccessPolicy, Authority
from askbot_ws.server.app import Server, own_names
from askbot_ws.testing import serving

from .raw_requests import Response, lines, request, response_of

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ROUTES = ("/", "/askbot.js", "/schema.json", "/asyncapi.json", "/v1/chat", "/aiCompletion", "/nothing")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Bound to loopback."""
    async with serving() as server:
        yield server


@pytest.fixture
async def container() -> AsyncIterator[Server]:
    """Bound to all addresses, as in a container."""
    async with serving(host="0.0.0.0", allow_anonymous=True, hosts="chat.example, other.example:8443") as server:
        yield server


async def status_of(server: Server, **headers: str) -> int:
    """Of a handshake."""
    return (await request(server.port, "/v1/chat", **UPGRADE, **headers)).status


async def exactly(port: int, *fields: str, path: str = "/") -> Response:
    """The answer to a request with these header lines and no others."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(lines("GET", path, *fields))
    async with asyncio.timeout(5):
        response = await response_of(reader)
    writer.close()
    return response


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_foreign_pages_are_refused(server: Server) -> None:
    """A page of another site, a file, a sandbox: none may talk with what listens on this machine."""
    own = f"127.0.0.1:{server.port}"
    for origin in (
        "https://evil.example", "null", "", "file://", f"http://{own}.evil.example", "http://127.0.0.1",
        "http://127.0.0.1:1", f"http://user@{own}", f"ftp://{own}", "http://", f"http://{own}/", f"http://{own}, http://{own}",
        "http://[", "*", f"http://{own}#", f"http:// {own}", "http://127.0.0.1:99999",
    ):  # fmt: skip
        assert await status_of(server, Origin=origin) == 403, origin


async def test_a_foreign_page_gets_nothing_at_all(server: Server, container: Server) -> None:
    """No route answers it, and it may not even read why."""
    for each in (server, container):
        for path in ROUTES:
            response = await request(each.port, path, Origin="https://evil.example")
            assert response.status == 403, path
            assert "ASKBOT_ORIGINS" in response.json["error"]
            assert "access-control-allow-origin" not in response.headers


async def test_the_own_page_may_connect(server: Server) -> None:
    """By any of the names of this machine, also from one to another; however it is written."""
    port = server.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"a.localhost:{port}", f"[::1]:{port}"):
        assert await status_of(server, host=host, Origin=f"http://{host}") == 101, host
    assert await status_of(server, Origin=f"http://localhost:{port}") == 101
    assert await status_of(server, host=f"localhost.:{port}", Origin=f"http://localhost.:{port}") == 101


async def test_a_program_sends_no_origin_and_may_connect(server: Server) -> None:
    """Only browsers speak for somebody else."""
    assert await status_of(server) == 101


async def test_origins_that_the_operator_lists_may_connect() -> None:
    """As they are written in a browser's address line; others still may not."""
    async with serving(origins="https://chat.example, http://localhost:5173, https://plain.example:443") as server:
        for origin in (
            "https://chat.example",
            "HTTPS://Chat.Example",
            "http://localhost:5173",
            "https://plain.example",
        ):
            assert await status_of(server, Origin=origin) == 101, origin
        for origin in ("https://chat.example.evil.example", "http://chat.example", "https://chat.example:8443", "null"):
            assert await status_of(server, Origin=origin) == 403, origin
    async with serving(origins="*") as server:
        assert await status_of(server, Origin="https://any.example") == 101
        assert await status_of(server, Origin="null") == 101


async def test_scripts_of_listed_origins_may_read_what_they_import() -> None:
    """The client's modules; caches keep such answers apart, by language too."""
    async with serving(origins="https://chat.example") as server:
        script = await request(server.port, "/askbot.js", Origin="https://chat.example")
        page = await request(server.port, "/", Origin="https://chat.example")
        plain = await request(server.port, "/askbot.js")

    assert script.headers["access-control-allow-origin"] == "https://chat.example"
    assert script.headers["vary"] == "Origin"
    assert page.headers["vary"] == "Accept-Language, Origin"
    assert "access-control-allow-origin" not in plain.headers


async def test_pages_of_this_machine_are_strangers_to_a_server_for_others(container: Server) -> None:
    """To whoever visits it, `localhost` is somebody else; but what it published there may use it."""
    assert await status_of(container, Origin="http://localhost:3000") == 403
    assert (await request(container.port, "/aiCompletion", Origin="http://localhost:3000")).status == 403
    mine = f"localhost:{container.port}"
    assert await status_of(container, host=mine, Origin=f"http://{mine}") == 101
    assert await status_of(container, Origin=f"http://{mine}") == 403


# --- names -----------------------------------------------------------------------------------------------------------


async def test_a_page_that_got_our_address_by_rebinding_is_refused(server: Server, container: Server) -> None:
    """Its Host and its Origin agree, but name somebody else's site; whatever we are bound to."""
    for each in (server, container):
        for host in (
            f"evil.example:{each.port}", f"127.evil.example:{each.port}", "[", "localhost.evil.example",
            "evil.example.", f"127.0.0.1@evil.example:{each.port}", "127.0.0.1.evil.example", "[::1].evil.example",
            "127.1", "0x7f.1",
        ):  # fmt: skip
            assert await status_of(each, host=host, Origin=f"http://{host}") == 403, host
            assert await status_of(each, host=host) == 403, host


async def test_a_foreign_name_gets_no_route(container: Server) -> None:
    """With what to set; programs too, as a page can leave its Origin out of a GET."""
    for path in ROUTES:
        response = await request(container.port, path, host="evil.example")
        assert response.status == 403, path
        assert "ASKBOT_HOSTS" in response.json["error"]


async def test_addresses_and_our_own_names_are_answered(container: Server) -> None:
    """An address can't be made to lead elsewhere; no Host is no name."""
    for host in (
        "127.0.0.1", f"192.168.7.9:{container.port}", "[::2]", f"[fe80::1]:{container.port}", "8.8.8.8", "localhost:1",
        "chat.example", "CHAT.example.:443", "chat.example:9", "other.example:8443",
    ):  # fmt: skip
        assert (await request(container.port, "/", host=host)).status == 200, host
    for host in ("other.example", "other.example:8444", "a.chat.example", "xchat.example"):
        assert (await request(container.port, "/", host=host)).status == 403, host
    assert (await exactly(container.port)).status == 200
    assert (await exactly(container.port, "Host:")).status == 200


async def test_the_names_that_the_banner_tells_are_allowed(container: Server) -> None:
    """The host that is listened on, and the machine's where others can connect; a page of another port is foreign."""
    name = socket.gethostname()
    own = f"{name}:{container.port}"
    assert (await request(container.port, "/", host=own)).status == 200
    assert await status_of(container, host=own, Origin=f"http://{own}") == 101
    assert await status_of(container, host=own, Origin=f"http://{name}:1") == 403
    assert await status_of(container, host="127.0.0.1:1", Origin=f"http://{own}") == 403
    assert own_names(Settings(host="Chat.internal", allow_anonymous=True)) == ("Chat.internal", name)
    assert own_names(Settings(host="localhost")) == ("localhost",)


async def test_the_page_of_a_named_host_may_connect(container: Server) -> None:
    """Behind a proxy that ends TLS, and passes Host on or does not."""
    for host, origin, status in (
        ("chat.example", "https://chat.example", 101),
        ("chat.example", "http://chat.example", 101),
        ("127.0.0.1:8765", "https://chat.example", 101),
        ("chat.example", "https://other.example:8443", 101),
        ("chat.example", "https://other.example", 403),
        ("chat.example", "https://chat.example.evil.example", 403),
        ("8.8.8.8", "https://8.8.8.8", 101),
        ("8.8.8.8", "https://8.8.4.4", 403),
    ):
        assert await status_of(container, host=host, Origin=origin) == status, (host, origin)


async def test_two_hosts_or_two_origins_are_none(server: Server) -> None:
    """Whoever is behind or before us may have believed the other one."""
    good, bad = f"127.0.0.1:{server.port}", "evil.example"
    for one, other in ((good, bad), (bad, good), (good, good), ("", bad)):
        assert (await exactly(server.port, f"Host: {one}", f"host: {other}")).status == 403
        origins = (f"Origin: http://{one}", f"ORIGIN: http://{other}")
        assert (await exactly(server.port, f"Host: {good}", *origins)).status == 403
        upgrade = tuple(f"{name}: {value}" for name, value in UPGRADE.items())
        assert (await exactly(server.port, f"Host: {one}", f"host: {other}", *upgrade, path="/v1/chat")).status == 403


async def test_a_whole_address_counts_for_more_than_host(server: Server) -> None:
    """RFC 9112, 3.2.2."""
    for path, status in (("http://evil.example/", 403), (f"http://localhost:{server.port}/", 200)):
        assert (await request(server.port, path)).status == status
    for path in ("http://[::1]:80/", "http://localhost", "http://localhost?x=y", f"http://127.0.0.1:{server.port}/"):
        assert (await request(server.port, path, host="evil.example")).status == 200, path
    assert (await request(server.port, "http://evil.example@localhost/")).status == 403


async def test_a_whole_address_counts_for_a_handshake_too(server: Server) -> None:
    """As some proxies send it."""
    for authority, host, status in (("localhost", "evil.example", 101), ("evil.example", "localhost", 403)):
        for scheme in ("http", "ws"):
            path = f"{scheme}://{authority}/v1/chat?session="
            assert (await request(server.port, path, host=host, **UPGRADE)).status == status, path


async def test_whoever_looks_after_us_calls_us_as_it_likes(container: Server) -> None:
    """An orchestrator has names of its own."""
    for path in ("/healthz", "/readyz"):
        assert (await request(container.port, path, host="askbot.svc", Origin="https://evil.example")).status == 200


# --- the log ---------------------------------------------------------------------------------------------------------


async def test_a_refusal_is_logged_with_the_setting_but_a_flood_is_not() -> None:
    """One line each at first, then one now and then that tells how many there were."""
    now = 0.0
    policy = AccessPolicy(hosts=(), origins=(), loopback=True, now=lambda: now)
    with structlog.testing.capture_logs() as logged:
        for _ in range(1000):
            assert policy.check([(b"host", b"evil.example\xff")])
        now = 60.0
        assert policy.check([(b"host", b"127.0.0.1"), (b"origin", b"https://evil.example")])

    assert len(logged) == 6
    assert (logged[0]["event"], logged[0]["header"], logged[0]["setting"]) == (
        "request_refused",
        "Host",
        "ASKBOT_HOSTS",
    )
    assert logged[0]["value"] == r"evil.example\xff"
    assert (logged[-1]["header"], logged[-1]["setting"], logged[-1]["unlogged"]) == ("Origin", "ASKBOT_ORIGINS", 995)


# --- for every text --------------------------------------------------------------------------------------------------

HOSTILE = st.text(alphabet="abl.:@/[]127 \t-_%\\?#,0hostc", max_size=30)


def judged(hosts: Sequence[str], origins: Sequence[str]) -> bool:
    policy = AccessPolicy(hosts=["chat.example"], origins=["https://page.example"], loopback=False, now=lambda: 0.0)
    named = [(b"host", host.encode()) for host in hosts] + [(b"origin", origin.encode()) for origin in origins]
    return policy.check(named) is None


@given(text=HOSTILE)
def test_a_name_is_ours_or_an_address_or_refused(text: str) -> None:
    """However it is spelled."""
    if judged([text], []) and text.strip():
        host = Authority.parse(text.strip())
        assert host is not None
        assert host.is_address or host.is_loopback or host.name == "chat.example"


@given(text=HOSTILE)
def test_what_stands_around_a_good_origin_makes_it_a_bad_one(text: str) -> None:
    """Before it or after it; but for the blanks that a header's value may have around it."""
    good = "https://page.example"
    assert judged(["127.0.0.1"], [good])
    if text.strip():
        assert not judged(["127.0.0.1"], [good + text])
        assert not judged(["127.0.0.1"], [text + good])
