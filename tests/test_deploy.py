"""The files of deploy/: nginx's, as it is shipped, before a real server; others as far as their programs check them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest
import trustme
from playwright.async_api import async_playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from askbot_ws.config import load

from . import programs
from .certificates import trusting
from .http.raw_requests import Response, chunk_of, head_of, lines, response_of
from .ports import free_port
from .process import ROOT, Askbot, ProviderProcess, Story, askbot, reading

DEPLOY = ROOT / "deploy"
NAME = "chat.example.com"
MAIN = """
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    include {folder}/askbot.conf;
}}
"""
"""What surrounds the file where Debian's package has it in conf.d."""


def path_of(program: programs.Program) -> str:
    """Where a program is; `make setup` installs it."""
    path = program.path()
    assert path, program.how_to_get()
    return path


def wait_for(port: int) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


@dataclass
class Proxied:
    """nginx, and the server behind it."""

    server: Askbot
    port: int
    plain_port: int
    folder: Path
    trusting: ssl.SSLContext

    def url(self, prefix: str = "") -> str:
        """Where clients connect."""
        return f"wss://{NAME}:{self.port}{prefix}/v1/chat"

    async def request(self, method: str, path: str, *fields: str, body: bytes = b"") -> Response:
        """The answer to a request by HTTPS."""
        async with self.requesting(method, path, *fields, body=body) as reader, asyncio.timeout(10):
            return await response_of(reader)

    @asynccontextmanager
    async def requesting(
        self, method: str, path: str, *fields: str, host: str = NAME, body: bytes = b"", plain: bool = False
    ) -> AsyncGenerator[asyncio.StreamReader]:
        """A connection, by HTTPS unless `plain`, on which a request was sent."""
        port = self.plain_port if plain else self.port
        tls = {} if plain else {"ssl": self.trusting, "server_hostname": NAME}
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)  # type: ignore[arg-type]
        writer.write(lines(method, path, f"Host: {host}", "Connection: close", *fields) + body)
        try:
            yield reader
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that nginx's user can enter: those of pytest are in one that each start of it closes for others."""
    with tempfile.TemporaryDirectory(prefix="askbot-nginx-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def proxied(provider: ProviderProcess, folder: Path) -> Iterator[Proxied]:
    """The shipped file in nginx; only ports and paths are others."""
    authority = trustme.CA()
    made = authority.issue_cert(NAME)
    made.private_key_pem.write_to_path(folder / "privkey.pem")
    for part in made.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)
    port, plain_port, unix = free_port(), free_port(), folder / "askbot.sock"
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
        ("listen [::]:80;", ""),
        (f"/etc/letsencrypt/live/{NAME}", str(folder)),
        ("/var/log/nginx", str(folder)),
        ("/run/askbot.sock", str(unix)),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (folder / "askbot.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    nginx = [path_of(programs.NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    # nginx's workers have another user, where the tests are root's: that is what the mode is for.
    trusted = ["--unix", str(unix), "--unix-mode", "0666", "--trusted-proxies", "unix", "--heartbeat", "1"]
    limits = ["--hosts", NAME, "--max-connections-per-address", "12"]
    folder.chmod(0o711)
    with (
        askbot(folder, *trusted, *limits, upstream=provider.url) as server,
        subprocess.Popen([*nginx, "-g", "daemon off;"], cwd=folder) as process,
    ):
        try:
            wait_for(port)
            yield Proxied(server, port, plain_port, folder, trusting(authority))
        finally:
            process.terminate()


def arrived_one_by_one(times: list[float], *, rate: float) -> bool:
    """Whether pieces that were said at this rate were received so, not all at once."""
    return len(times) >= 8 and times[-1] - times[0] > 0.5 * (len(times) - 1) / rate


@pytest.mark.parametrize("prefix", ["", "/askbot"])
async def test_tokens_come_one_by_one_through_nginx_over_wss(proxied: Proxied, prefix: str) -> None:
    """Upgraded, encrypted, at a path of its own, and not buffered."""
    async with reading(proxied.url(prefix), Story(), ssl=proxied.trusting, host="127.0.0.1") as reader:
        await reader.ask(f"tokens:12 rate:24 note:wss{prefix}")
        times = list[float]()
        while (frame := await reader.next())["type"] != "done":
            times += [time.monotonic()] if frame["type"] == "token" else []
        assert frame["reason"] == "stop"
        assert arrived_one_by_one(times, rate=24)


async def test_an_answer_over_http_comes_one_by_one_through_nginx(proxied: Proxied) -> None:
    """By default nginx keeps an answer until it has some kilobytes."""
    body = json.dumps({"userPrompt": "tokens:12 rate:24 note:http"}).encode()
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    times = list[float]()
    async with proxied.requesting("POST", "/aiCompletion", *fields, body=body) as reader, asyncio.timeout(20):
        assert (await head_of(reader)).status == 200
        while await chunk_of(reader):
            times.append(time.monotonic())
    assert arrived_one_by_one(times, rate=24)


async def test_limits_are_each_clients_behind_nginx_whatever_it_claims(proxied: Proxied) -> None:
    """It counts from where it connects; a second address has connections of its own."""

    async def code(address: str, claimed: int) -> int | None:
        """Of the close of a connection from this address; None: it is served."""
        headers = {"X-Forwarded-For": f"203.0.113.{claimed}", "Forwarded": f"for=203.0.113.{claimed}"}
        client = await connect(
            proxied.url(), ssl=proxied.trusting, host="127.0.0.1", local_addr=(address, 0), proxy=None,
            additional_headers=headers,
        )  # fmt: skip
        opened.append(client)
        try:
            assert '"ready"' in str(await client.recv())
        except ConnectionClosed:
            return client.close_code
        return None

    opened = list[ClientConnection]()
    try:
        assert [await code("127.0.0.1", claimed) for claimed in range(13)] == [None] * 12 + [4429]
        if sys.platform == "linux":  # elsewhere this machine has one loopback address
            assert await code("127.0.0.2", 0) is None
    finally:
        for client in opened:
            await client.close()


async def test_foreign_pages_and_names_are_refused_behind_nginx(proxied: Proxied) -> None:
    """By the name that the browser has asked for, over HTTPS; what a client says that it asked for does not count."""
    for origin, status in ((f"https://{NAME}", 200), (f"http://{NAME}", 403), ("https://evil.example", 403)):
        assert (await proxied.request("GET", "/", f"Origin: {origin}")).status == status, origin
    claims = (f"X-Forwarded-Host: {NAME}", f"Forwarded: for=203.0.113.1;host={NAME}")
    async with proxied.requesting("GET", "/", *claims, host="evil.example") as reader:
        assert (await response_of(reader)).status == 403


async def test_the_page_and_its_files_are_found_under_a_path(proxied: Proxied) -> None:
    """Nothing in them is an absolute address; without the last slash, the page is found too."""
    response = await proxied.request("GET", "/askbot")
    assert (response.status, response.headers["location"]) == (301, "/askbot/")
    left, seen = ["/askbot/", "/askbot/page/page.js"], set[str]()  # the modules too, of which the page's bundle is made
    while left:
        path = left.pop()
        seen.add(path)
        response = await proxied.request("GET", path)
        assert response.status == 200, path
        is_text = response.headers["content-type"].startswith(("text/html", "text/javascript"))
        found = re.findall(r'(?:href|src)="([^"#:]+)"|from ?"(\.[^"]+)"', response.body.decode() if is_text else "")
        left += {urljoin(path, next(filter(None, names))) for names in found} - seen - set(left)
    assert len(seen) > 30
    assert all(path.startswith("/askbot/") for path in seen)


async def test_a_browser_holds_a_conversation_under_a_path(proxied: Proxied) -> None:
    """Page, script, style and socket: all that the content security policy has to allow."""
    address = f"https://{NAME}:{proxied.port}/askbot/"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=programs.CHROMIUM.path(),
            args=["--no-sandbox", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        page = await browser.new_page(ignore_https_errors=True)
        problems = list[str]()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        await page.goto(address)
        await page.fill("#question", "say:Through nginx.")
        await page.press("#question", "Enter")
        await page.get_by_text("Through nginx.", exact=True).wait_for()
        assert page.url.startswith(f"{address}?session=")
        await page.reload()
        await page.get_by_text("Through nginx.", exact=True).wait_for()
        await browser.close()
        assert problems == []


async def test_nginx_keeps_metrics_inside_and_queries_out_of_its_log(proxied: Proxied) -> None:
    """A query has the session's id, and may have a ticket."""
    for path in ("/metrics", "/askbot/metrics"):
        assert (await proxied.request("GET", path)).status == 404
    assert (await proxied.request("GET", "/readyz?ticket=secret-1")).status == 200
    async with proxied.requesting("GET", "/a?b=c", plain=True) as reader:
        response = await head_of(reader)
    assert (response.status, response.headers["location"]) == (301, f"https://{NAME}/a?b=c")
    too_large = await proxied.request("POST", "/aiCompletion?ticket=secret-1", "Content-Length: 9999999")
    assert too_large.status == 413  # nginx' own answer, an error in its log
    logged = [(proxied.folder / name).read_text() for name in ("askbot.log", "askbot-error.log", "nginx.log")]
    assert '"GET /readyz" 200' in logged[0]
    assert not any("secret-1" in text for text in logged)


@pytest.mark.parametrize("name", ["nginx.conf", "nginx-cluster.conf"])
def test_nginx_waits_longer_than_a_quiet_connection_is_silent(name: str) -> None:
    """Three heartbeats may be lost; and a frame may be as large as the server allows."""
    text, settings = (DEPLOY / name).read_text(), load(environ={})
    for limit in ("proxy_read_timeout", "proxy_send_timeout"):
        assert float(re.findall(rf"{limit} (\d+)s;", text)[0]) > 3 * settings.heartbeat
    assert re.findall(r"client_max_body_size (\w+);", text) == [f"{settings.max_frame >> 20}m"]


def test_nginx_takes_several_nodes(tmp_path: Path) -> None:
    """The lines for them, which are comments in the file, in place of that for one server."""
    text = (DEPLOY / "nginx.conf").read_text()
    _, _, lines = re.findall(r"upstream askbot \{(.*?)\}", text, flags=re.DOTALL)[0].partition("    #\n")
    upstream = f"upstream askbot {{\n{lines.replace('# ', '')}}}"
    assert len(re.findall(r"^ *server 10\.", upstream, flags=re.MULTILINE)) == 2
    assert not re.search(r"hash|sticky|cookie", upstream)
    folder = str(tmp_path)
    (tmp_path / "askbot.conf").write_text(
        upstream + "\nserver { listen 127.0.0.1:1; location / { proxy_pass http://askbot; } }"
    )
    (tmp_path / "nginx.conf").write_text(MAIN.format(folder=folder))
    test = [path_of(programs.NGINX), "-t", "-e", "stderr", "-p", folder, "-c", f"{folder}/nginx.conf"]
    checked = subprocess.run(test, capture_output=True, text=True, check=False, timeout=30)
    assert checked.returncode == 0, checked.stderr


# --- the other files -------------------------------------------------------------------------------------------------


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    """It is read and checked as at the start."""
    environ = os.environ | {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [path_of(programs.CADDY), "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environ)
    assert checked.returncode == 0, checked.stderr
    adapted = subprocess.run(
        [command[0], "adapt", "--config", command[-1]], capture_output=True, text=True, check=True, timeout=30
    )
    assert "not formatted" not in checked.stderr + adapted.stderr
    assert adapted.stdout.count('"dial":"unix//run/askbot.sock"') == 2
    assert adapted.stdout.count('"flush_interval":-1') == 2
    assert adapted.stdout.count('"delete":["Forwarded"]') == 2


def test_caddy_takes_several_nodes(tmp_path: Path) -> None:
    """The lines for them, which are comments in the file, with two addresses in place of the socket."""
    text = (DEPLOY / "Caddyfile").read_text().replace("unix//run/askbot.sock {", "10.0.0.11:8765 10.0.0.12:8765 {")
    (tmp_path / "Caddyfile").write_text(re.sub(r"# ((?:lb|health)_)", r"\1", text))
    command = [path_of(programs.CADDY), "adapt", "--config", str(tmp_path / "Caddyfile")]
    adapted = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert adapted.returncode == 0, adapted.stderr
    assert adapted.stdout.count('"dial":"10.0.0.11:8765"') == adapted.stdout.count('"dial":"10.0.0.12:8765"') == 2
    assert adapted.stdout.count('"selection_policy":{"policy":"least_conn"}') == 2
    assert adapted.stdout.count('"uri":"/readyz"') == 2


@pytest.mark.skipif(not programs.HAS_SYSTEMD, reason="there is no systemd on this system")
def test_the_unit_is_hardened_and_valid(tmp_path: Path) -> None:
    """Exposure under 3 of 10, as systemd reckons, and no line that it does not know."""
    analyze = path_of(programs.SYSTEMD_ANALYZE)
    program = tmp_path / "askbot"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("askbot.service", "askbot.socket"):
        text = (DEPLOY / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/askbot/bin/askbot", str(program)))
    unit = str(tmp_path / "askbot.service")
    security = [analyze, "security", "--offline=true", "--threshold=30", "--no-pager", unit]
    rated = subprocess.run(security, capture_output=True, text=True, check=False, timeout=30)
    assert rated.returncode == 0, rated.stdout[-500:]
    verify = [analyze, "verify", "--man=no", "--recursive-errors=no", unit, str(tmp_path / "askbot.socket")]
    checked = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=30)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_unit_gives_answers_time_to_end() -> None:
    """Else they are cut that would have been let run; and a start with wrong settings is not tried again."""
    text = (DEPLOY / "askbot.service").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert float(values["TimeoutStopSec"]) > load(environ={}).drain
    assert values["RestartPreventExitStatus"] == "2"
    environ = dict(value.split("=", 1) for value in re.findall(r"^Environment=(ASKBOT_.*)$", text, re.MULTILINE))
    assert load(environ=environ).store == "sqlite:////var/lib/askbot/askbot.db"
