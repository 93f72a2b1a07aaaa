"""Behind proxies: who the client is, and what anybody could write into the headers that say so."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from askbot_ws.server.app import Server
from askbot_ws.server.proxies import TrustedProxies, client_address, find_sender
from askbot_ws.testing import serving

from ..http.raw_requests import closed, lines, request, response_of
from ..http.test_access import UPGRADE
from ..process import eventually

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
TRUSTED = TrustedProxies.parse(["10.0.0.0/8", "2001:db8:1::/48", "unix"])


def forwarded_for(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"forwarded", value.encode("latin-1")) for value in values]


# --- one header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}:51234", CLIENT),
        (f" {CLIENT} , 10.2.3.4", CLIENT),
        (f"198.51.100.1, {CLIENT}, 10.2.3.4, 2001:db8:1::5", CLIENT),
        ("2001:DB8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443, 10.1.1.1", "2001:db8::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("10.9.9.9, 10.2.3.4", "10.9.9.9"),  # a client among the proxies
        ("not an address", PROXY),
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT},", PROXY),
        ("203.0.113.300", PROXY),
        ("203.0.113.7.5", PROXY),
        ("[203.0.113.7", PROXY),
        ("203.0.113.0/24", PROXY),
        ("", PROXY),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxys(value: str, address: str) -> None:
    """Each proxy appends whom it saw; what is malformed tells nothing, and the proxy itself counts."""
    assert client_address(PROXY, forwarded_for(value), TRUSTED) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (f"for={CLIENT}", CLIENT),
        (f'For="{CLIENT}:47011";proto=https, for=10.1.1.1', CLIENT),
        ('for="[2001:db8::7]"', "2001:db8::7"),
        ('for="[2001:db8::7]:47011";by=10.0.0.1', "2001:db8::7"),
        (f"proto=http;for={CLIENT};host=chat.example", CLIENT),
        (f'for=198.51.100.1, for="{CLIENT}"', CLIENT),
        (f'for="_a, for=", for={CLIENT}', CLIENT),
        ("for=unknown", PROXY),
        ("for=_hidden, for=10.1.1.1", PROXY),
        ("proto=https", PROXY),
        (f"for={CLIENT};", PROXY),
        (f"for= {CLIENT}", PROXY),
        (f'for="{CLIENT}', PROXY),
        (CLIENT, PROXY),
        ("", PROXY),
    ],
)
def test_the_standards_header_is_read_too(value: str, address: str) -> None:
    """RFC 7239, with quotes, ports and IPv6."""
    assert client_address(PROXY, forwarded(value), TRUSTED) == address


def test_a_header_in_parts_is_one_list() -> None:
    """HAProxy adds a line of its own, below the client's."""
    assert client_address(PROXY, forwarded_for("198.51.100.1", f"{CLIENT}, 10.3.3.3", "10.2.2.2"), TRUSTED) == CLIENT
    assert client_address(PROXY, forwarded("for=198.51.100.1", f"for={CLIENT}", "for=10.2.2.2"), TRUSTED) == CLIENT


def test_the_usual_header_counts_before_the_standards() -> None:
    """nginx, Caddy and balancers write it, and pass on a `Forwarded` that the client has made up."""
    assert client_address(PROXY, [*forwarded("for=198.51.100.1"), *forwarded_for(CLIENT)], TRUSTED) == CLIENT


def test_a_proxy_in_the_form_of_ipv6_is_the_same_proxy() -> None:
    """A socket that listens on `::` sees it so."""
    assert client_address(f"::ffff:{PROXY}", forwarded_for(CLIENT), TRUSTED) == CLIENT


def test_the_unix_socket_is_trusted_by_its_name_only() -> None:
    """It has no address."""
    assert client_address("", forwarded_for(CLIENT), TRUSTED) == CLIENT
    assert client_address("", forwarded_for(CLIENT), TrustedProxies.parse([PROXY])) == ""


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ([(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"chat.example")], "https", "chat.example"),
        ([(b"x-forwarded-proto", b"http, WSS"), (b"x-forwarded-host", b"evil.test, b.example")], "https", "b.example"),
        ([(b"x-forwarded-proto", b"gopher"), (b"x-forwarded-host", b"")], None, None),
        ([*forwarded_for(CLIENT), (b"x-forwarded-proto", b"https")], "https", None),
        (forwarded(f'for=1.1.1.1;proto=ws, for={CLIENT};proto=https;host="b.example:8443"'), "https", "b.example:8443"),
    ],
)  # fmt: skip
def test_scheme_and_host_are_told_too(headers: list[tuple[bytes, bytes]], scheme: str | None, host: str | None) -> None:
    """What the client has asked the proxy for."""
    client = find_sender(PROXY, headers, TRUSTED)
    assert (client.scheme, client.host) == (scheme, host)
    assert find_sender(CLIENT, headers, TRUSTED).scheme is None


# --- any header ------------------------------------------------------------------------------------------------------

ADDRESSES = st.ip_addresses().map(str)
JUNK = st.text(alphabet=st.sampled_from('for=;,"\\ []:.17_aF\t'), max_size=60)
OUTSIDE = ADDRESSES.filter(lambda address: address not in TRUSTED).map(
    lambda address: client_address(PROXY, forwarded_for(address), TRUSTED)  # in its usual form
)
HOPS = st.lists(st.sampled_from(["10.0.0.9", "10.255.1.1", "2001:db8:1::9"]), max_size=4)


@given(junk=st.one_of(JUNK, st.text(alphabet=st.characters(max_codepoint=255))), client=OUTSIDE, hops=HOPS)
def test_nothing_that_a_client_writes_changes_who_it_is(junk: str, client: str, hops: list[str]) -> None:
    """It can send any header; the proxies append to it."""
    assert client_address(PROXY, forwarded_for(", ".join([junk, client, *hops])), TRUSTED) == client
    assert client_address(PROXY, forwarded_for(junk, ", ".join([client, *hops])), TRUSTED) == client


@given(junk=JUNK, client=OUTSIDE, hops=HOPS)
def test_no_quote_of_a_client_swallows_what_proxies_append(junk: str, client: str, hops: list[str]) -> None:
    """The same for `Forwarded`, whose values may be quoted and have commas."""
    appended = ", ".join(f'for="[{hop}]"' if ":" in hop else f"for={hop}" for hop in [client, *hops])
    assert client_address(PROXY, forwarded(junk, appended), TRUSTED) == client
    assert client_address(PROXY, forwarded(f"{junk}, {appended}"), TRUSTED) == client


@given(peer=ADDRESSES, values=st.lists(st.one_of(JUNK, ADDRESSES), max_size=3))
def test_the_outcome_is_an_address_whatever_comes(peer: str, values: list[str]) -> None:
    """Who is no proxy is the client; a proxy's word is an address or nothing."""
    for headers in (forwarded_for(*values), forwarded(*values), forwarded(*(f"for={value}" for value in values))):
        found = client_address(peer, headers, TRUSTED)
        assert found == peer or (peer in TRUSTED and ip_address(found))
        assert ip_address(client_address(PROXY, headers, TRUSTED))


# --- a server --------------------------------------------------------------------------------------------------------


async def opened(server: Server, stack: AsyncExitStack, address: str) -> ClientConnection:
    """A connection of this client, through a proxy on this machine."""
    headers = {"X-Forwarded-For": f"198.51.100.9, {address}"}
    return await stack.enter_async_context(connect(server.url, additional_headers=headers, proxy=None))


async def test_limits_are_the_clients_behind_a_trusted_proxy() -> None:
    """Two connections each: a third is refused, another client isn't, and one that has left makes room."""
    limited = serving(trusted_proxies="127.0.0.1", limits=True, max_connections_per_address=2)
    async with limited as server, AsyncExitStack() as stack:
        first = await opened(server, stack, CLIENT)
        await opened(server, stack, CLIENT)
        third = await opened(server, stack, CLIENT)
        with pytest.raises(ConnectionClosed) as ended:
            await third.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4429
        other = await opened(server, stack, "203.0.113.8")
        assert '"ready"' in str(await other.recv())
        assert (await request(server.port, "/", X_Forwarded_For=CLIENT)).status == 429
        assert (await request(server.port, "/", X_Forwarded_For="203.0.113.9")).status == 200
        await first.close()
        await eventually(lambda: server.acceptor.connection_limits.count == 2)
        assert '"ready"' in str(await (await opened(server, stack, CLIENT)).recv())
    await eventually(lambda: server.acceptor.connection_limits.count == 0)


async def test_a_connection_that_a_proxy_keeps_counts_for_the_client_of_each_request() -> None:
    """Proxies may send the requests of several clients through one connection."""
    async with serving(trusted_proxies="127.0.0.1", limits=True, max_connections_per_address=1) as server:
        limits = server.acceptor.connection_limits
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(10), AsyncExitStack() as stack:
            for address in (CLIENT, "203.0.113.8", CLIENT):
                writer.write(lines("GET", "/healthz", "Host: localhost", f"X-Forwarded-For: {address}"))
                assert (await response_of(reader)).status == 200
                assert limits.count == 1
            for address in ("203.0.113.8", CLIENT):
                other = await opened(server, stack, address)
                assert '"ready"' in str(await other.recv())  # the kept one counts for nobody
            writer.write(lines("GET", "/", "Host: localhost", "X-Forwarded-For: 203.0.113.8"))
            assert (await response_of(reader)).status == 429
        await closed(writer)
        await eventually(lambda: limits.count == 0)


async def test_who_is_no_trusted_proxy_says_nothing() -> None:
    """The headers are ignored, as anybody can send them."""
    async with (
        serving(trusted_proxies="10.0.0.1", limits=True, max_connections_per_address=1) as server,
        AsyncExitStack() as stack,
    ):
        await opened(server, stack, CLIENT)
        assert (await request(server.port, "/", X_Forwarded_For="203.0.113.8")).status == 429


async def test_a_page_over_https_is_ours_and_one_over_http_is_not() -> None:
    """Whoever is between a browser and the proxy can write a page over HTTP, in our name."""
    told = {"X_Forwarded_For": CLIENT, "X_Forwarded_Proto": "https", "X_Forwarded_Host": "chat.example"}
    async with serving(trusted_proxies="127.0.0.1", hosts="chat.example") as server:
        for host in ("internal.example", "chat.example"):  # whatever the proxy calls us
            for origin, status in (
                ("https://chat.example", 101),
                ("http://chat.example", 403),
                ("https://chat.example:8443", 101),  # ASKBOT_HOSTS names it with any port
                ("https://internal.example", 403),
            ):
                response = await request(server.port, "/v1/chat", host=host, Origin=origin, **UPGRADE, **told)
                assert response.status == status, (host, origin)
            page = await request(server.port, "/", host=host, Origin="http://chat.example", **told)
            assert page.status == 403
        told["X_Forwarded_Host"] = "evil.example"
        assert (await request(server.port, "/", host="chat.example", **told)).status == 403


async def test_pages_of_a_visitors_machine_are_foreign_behind_a_proxy() -> None:
    """What is loopback to the visitor is not ours."""
    told = {"X_Forwarded_For": CLIENT, "Origin": "http://localhost:3000", "Content_Type": "application/json"}
    ask = {"method": "POST", "body": '{"userPrompt": "Hi?"}'}
    async with serving(trusted_proxies="127.0.0.1", hosts="chat.example") as server:
        response = await request(server.port, "/aiCompletion", host="chat.example", **ask, **told)
        assert response.status == 403


async def test_a_proxy_on_the_unix_socket_is_trusted_where_it_is_listed(tmp_path: Path) -> None:
    """There a client has no address unless the proxy says it."""
    for trusted, refused in (("unix", True), ("10.0.0.1", False)):
        path = tmp_path / "askbot.sock"
        listening = serving(unix=str(path), trusted_proxies=trusted, limits=True, max_connections_per_address=1)
        headers = {"X-Forwarded-For": CLIENT}
        async with (
            listening,
            unix_connect(str(path), "ws://localhost/v1/chat", additional_headers=headers),
            unix_connect(str(path), "ws://localhost/v1/chat", additional_headers=headers) as second,
        ):
            if refused:
                with pytest.raises(ConnectionClosed):
                    await second.recv()
            else:
                assert '"ready"' in str(await second.recv())
