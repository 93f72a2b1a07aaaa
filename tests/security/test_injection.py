"""Nothing that a client writes gets where it does not belong: the log, headers, metrics, files, other hosts."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from askbot_ws.auth.key_file import add_key, make_key

from ..process import Askbot, ProviderProcess, askbot, reading

FORGED = '\r\nX-Injected: yes\r\n\r\n{"event":"forged","level":"error"}\x1b[2J\u2028'
ROUTES = (
    "/", "/askbot.js", "/healthz", "/readyz", "/metrics", "/v1/chat", "/v1/tickets", "/v1/identity",
    "/v1/ai/completion",
)  # fmt: skip
ESCAPES = (
    "../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%5c..%5cetc%5cpasswd", "....//....//etc/passwd", "%252e%252e/etc/passwd", "%c0%ae%c0%ae/etc/passwd",
    "%00", "/etc/passwd", "../keys", "..%2fkeys", "../askbot.db",
)  # fmt: skip


class Client:
    """Sends raw requests, with a key."""

    def __init__(self, server: Askbot, key: str) -> None:
        self.server = server
        self.port = int(server.http.rpartition(":")[2])
        self.headers = {"Authorization": f"Bearer {key}"}

    async def send(self, target: str, *lines: str, method: str = "GET", host: str = "127.0.0.1") -> str:
        """What is answered to exactly this, until the connection is closed."""
        given = [f"{name}: {value}" for name, value in self.headers.items()]
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *given, "Connection: close", *lines]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join([*head, "", ""]).encode("utf-8"))
        try:
            async with asyncio.timeout(5):
                return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()

    async def close_with(self, code: int) -> None:
        """Open a connection, and close it with a code of our own."""
        async with connect(self.server.url, additional_headers=self.headers, proxy=None) as socket:
            await socket.recv()
            await socket.close(code)

    async def series(self) -> set[str]:
        """The names and labels of all metrics."""
        lines = (await self.send("/metrics")).splitlines()
        return {line.rpartition(" ")[0] for line in lines if line.startswith("askbot_")}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Iterator[Client]:
    """One server for all, which has keys."""
    folder: Path = tmp_path_factory.mktemp("injection")
    made = make_key("alice", now=time.time(), rights=["metrics", "tickets"])
    add_key(folder / "keys", made.key)
    with askbot(folder, upstream=provider.url, ASKBOT_KEYS="keys", ASKBOT_LOG_LEVEL="debug") as server:
        yield Client(server, made.text)


async def test_what_a_client_writes_begins_no_line_and_no_header(client: Client) -> None:
    """Line breaks in paths, names, headers, credentials, subprotocols and frames, plain and encoded."""
    said = [
        await client.send(target, *lines, host=host)
        for target, lines, host in (
            (f"/{quote(FORGED)}", (), "127.0.0.1"),
            (f"/v1/chat?session={quote(FORGED)}&ticket={quote(FORGED)}", (), "127.0.0.1"),
            ("/", (), quote(FORGED)),
            ("/", (f"Origin: http://{quote(FORGED)}",), "127.0.0.1"),
            ("/", ("User-Agent: a\x0b\x1b[2J", "Accept-Language: \x1b[2J"), "127.0.0.1"),
            ("/v1/identity", (f"X-Forwarded-For: {quote(FORGED)}", "X-Request-ID: \u2028"), "127.0.0.1"),
        )
    ]
    for query in (f"session={quote(FORGED)}", f"after={quote(FORGED)}", f"log={quote(FORGED)}"):
        try:
            async with connect(f"{client.server.url}?{query}", additional_headers=client.headers, proxy=None) as socket:
                await socket.recv()
        except (ConnectionClosed, InvalidStatus):
            pass
    async with reading(client.server.url, additional_headers=client.headers) as reader:
        for kind in ("ask", "title", "history", "auth", "attach", FORGED):
            fields = dict.fromkeys(("id", "model", "token", "session", "turn", "log", "before"), FORGED)
            await reader.send(type=kind, text=FORGED, **fields)
            await reader.until("error")

    assert not [each for each in said if re.search(r"^X-Injected", each, flags=re.MULTILINE)]
    log = client.server.log.read_text()
    assert "\x1b" not in log
    assert "\u2028" not in log
    assert all(line.startswith("{") for line in log.split("\n") if line)
    assert "forged" not in {json.loads(line)["event"] for line in log.split("\n") if line}


async def test_no_client_adds_a_series_to_the_metrics(client: Client) -> None:
    """By paths, methods, origins, models, types of frames, close codes and users that it makes up."""
    await client.send("/")
    before = await client.series()
    for n in range(5):
        await client.send(f"/made-up-{n}", f"Origin: http://made-up-{n}.example", method=f"MADE{n}")
        await client.close_with(4700 + n)
        async with reading(client.server.url, additional_headers=client.headers) as reader:
            await reader.send(type=f"made-up-{n}")
            await reader.until("error")
            await reader.ask("Why?", model=f"made-up-{n}")
            await reader.until("error")
    after = await client.series()

    assert len(before) > 50
    assert not [each for each in after if "made-up" in each or "47" in each]
    assert len(after - before) <= 2, after - before  # `other` close codes


@pytest.mark.parametrize("route", ROUTES)
async def test_no_route_leaves_the_folder_of_the_page(client: Client, route: str) -> None:
    """By no spelling of the folder above it."""
    for escape in ESCAPES:
        said = await client.send(f"{route.rstrip('/')}/{escape}")
        status = int(said.split(" ", 2)[1])
        assert status in (400, 404, 405), (escape, said[:200])
        assert "root:" not in said
        assert '"hash"' not in said


async def test_nothing_that_a_client_names_is_fetched(client: Client) -> None:
    """No image, no link in a question, no URL of keys in a token."""
    asked = asyncio.Event()
    async with await asyncio.start_server(lambda _, writer: (asked.set(), writer.close())[1], "127.0.0.1", 0) as place:
        url = f"http://127.0.0.1:{place.sockets[0].getsockname()[1]}/"
        async with reading(client.server.url, additional_headers=client.headers) as reader:
            image = {"type": "image_url", "image_url": {"url": url}, "url": url}
            await reader.ask(f"![]({url}) {url}", images=[image], image=url, tools=[{"url": url}])
            await reader.until(lambda frame: frame["type"] in ("done", "error"))
            await reader.send(type="auth", token=url)
            await reader.until("error")
        await client.send("/v1/identity", f"Referer: {url}", f"Origin: {url}", f"Forwarded: for={url}")

    assert not asked.is_set()


async def test_another_version_of_http_is_a_bad_request(client: Client) -> None:
    """And no fault of the server's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
