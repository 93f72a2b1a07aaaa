"""Where a server listens: a Unix socket of its own, and sockets that systemd has opened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect

import askbot_ws
from askbot_ws.config import load
from askbot_ws.errors import ConfigError
from askbot_ws.server import web_socket_connections
from askbot_ws.server.listening import adopt, bind
from askbot_ws.server.systemd import take_sockets
from askbot_ws.testing import serving

from ..http.raw_requests import closed, lines, response_of
from ..process import ROOT, command, environment

SETTINGS = load({"store": "memory:"}, environ={})


async def first_frame(path: Path) -> str:
    """What a WebSocket through a Unix socket begins with."""
    async with unix_connect(str(path), "ws://localhost/v1/chat") as client:
        return str(await client.recv())


def permissions_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_there(path: Path) -> bool:
    return path.is_socket()


# --- a TCP socket ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_client_is_known_by_its_address(host: str) -> None:
    """Also one of IPv6, of which limits count the network: it is local, and may read the metrics."""
    with socket.socket(socket.AF_INET6) as trial:
        try:
            trial.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    async with serving(host=host) as server:
        reader, writer = await asyncio.open_connection(host, server.port)
        writer.write(lines("GET", "/metrics", "Host: localhost"))
        assert (await response_of(reader)).status == 200
        await closed(writer)
        async with connect(server.url):
            assert [each.socket.client_address for each in server.web_sockets] == [host]


async def test_a_refused_client_that_does_not_go_is_soon_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been told why; whoever has no credential must not take the places of others."""
    monkeypatch.setattr(web_socket_connections, "CLOSE_TIMEOUT_SECONDS", 0.1)
    async with serving(ticket_secret="x" * 40) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        key, offered = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: askbot.bearer.no"
        writer.write(lines("GET", "/v1/chat", "Host: localhost", *upgrade, key, offered))
        async with asyncio.timeout(5):
            assert (4401).to_bytes(2, "big") in await reader.read()
        assert server.open_count == 0
        await closed(writer)


# --- a Unix socket ---------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a socket."""
    return tmp_path / "askbot.sock"


@pytest.mark.parametrize(("mode", "permissions"), [(None, 0o660), ("0600", 0o600), ("666", 0o666)])
async def test_a_unix_socket_has_its_permissions_and_is_removed_at_the_end(
    path: Path, mode: str | None, permissions: int
) -> None:
    """Whoever may write to it can connect, whatever the umask is."""
    before = os.umask(0o077)
    try:
        async with serving(unix=str(path), unix_mode=mode) as server:
            assert permissions_of(path) == permissions
            assert (server.url, server.port) == (f"ws+unix:{path}:/v1/chat", 0)
            assert '"ready"' in await first_frame(path)
    finally:
        os.umask(before)
    assert not is_there(path)


async def test_host_and_origin_are_checked_on_a_unix_socket_too(path: Path) -> None:
    """What connects there is a proxy, with browsers behind it."""
    async with serving(unix=str(path), hosts="chat.example") as server:
        for fields, status in (
            (["Host: chat.example", "Origin: https://chat.example"], 200),
            (["Host: localhost"], 200),
            (["Host: evil.example"], 403),
            (["Host: chat.example", "Origin: https://evil.example"], 403),
        ):
            reader, writer = await asyncio.open_unix_connection(server.unix)
            writer.write(lines("GET", "/", *fields))
            assert (await response_of(reader)).status == status, fields
            await closed(writer)


async def test_the_socket_of_a_dead_process_is_replaced_and_that_of_a_live_one_is_not(path: Path) -> None:
    """After a crash the file is still there."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert is_there(path)
    async with serving(unix=str(path)):
        with pytest.raises(ConfigError, match="another process does"):
            bind(SETTINGS.model_copy(update={"unix": path}))
        assert '"ready"' in await first_frame(path)


@pytest.mark.parametrize("kind", ["a file", "a folder", "no folder"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    """It may be somebody's; the error names the setting."""
    if kind == "a file":
        path.write_text("mine")
    elif kind == "a folder":
        path.mkdir()
    else:
        path = path / "askbot.sock"
    with pytest.raises(ConfigError, match="ASKBOT_UNIX"):
        bind(SETTINGS.model_copy(update={"unix": path}))
    assert kind != "a file" or path.read_text() == "mine"


async def test_a_server_that_drains_leaves_its_place_to_the_next(path: Path) -> None:
    """As in a restart; at its end the old one must not remove the new one's file."""
    release = asyncio.Event()

    async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
        yield "One "
        await release.wait()
        yield "two."

    async with AsyncExitStack() as old:
        server = await old.enter_async_context(askbot_ws.serve(answer, unix=str(path), store="memory:"))
        client = await old.enter_async_context(unix_connect(str(path), "ws://localhost/v1/chat"))
        await client.send(json.dumps({"type": "ask", "text": "Well?"}))
        draining = asyncio.create_task(server.drain())
        async with asyncio.timeout(10):
            while is_there(path):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            async with serving(unix=str(path)):
                release.set()
                await draining
                await old.aclose()
                assert '"ready"' in await first_frame(path)
    assert not is_there(path)


# --- systemd's sockets -----------------------------------------------------------------------------------------------


def test_sockets_for_another_process_are_not_taken() -> None:
    """A parent has left its environment."""
    environ = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1"}
    assert take_sockets(environ) == []
    assert take_sockets({}) == []
    with pytest.raises(ConfigError, match="LISTEN_FDS"):
        take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"})


def test_a_socket_that_others_reach_needs_what_such_an_address_needs() -> None:
    """Else a unit's ListenStream= would open an anonymous server to everybody."""
    with socket.create_server(("0.0.0.0", 0)) as listening:
        with pytest.raises(ConfigError, match=r"ASKBOT_HOST=0\.0\.0\.0"):
            adopt([listening], SETTINGS)
        allowed = load({"host": "0.0.0.0", "allow_anonymous": True}, environ={})
        assert adopt([listening], allowed).port == listening.getsockname()[1]


STARTER = """
import os, sys
for place, descriptor in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(descriptor, place, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sys.argv[1].split(",")))}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a program as systemd does: with sockets from descriptor 3 on, and its own process id."""


@contextmanager
def activated(folder: Path, sockets: Sequence[socket.socket], **environ: str) -> Generator[subprocess.Popen[str]]:
    """A server that systemd has started for these sockets."""
    high = [os.dup(each.fileno()) for each in sockets]
    given = [sys.executable, "-c", STARTER, ",".join(map(str, high)), *command("--store", "memory:")]
    variables = environment(PYTHONPATH=f"{ROOT / 'src'}", OPENAI_API_KEY="sk-1", ASKBOT_MODEL="a", **environ)
    with subprocess.Popen(
        given, cwd=folder, env=variables, pass_fds=high, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for each in high:
            os.close(each)
        try:
            yield process
        finally:
            process.kill()


async def test_sockets_of_systemd_are_served_and_it_is_told(path: Path, tmp_path: Path) -> None:
    """Two of them; it is told of the start, of SIGHUP and of the drain; the file is systemd's and stays."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        unix.bind(str(path))
        unix.listen()
        with activated(tmp_path, [tcp, unix], NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert await asyncio.to_thread(told.recv, 1024) == b"READY=1"
            url = f"ws://127.0.0.1:{tcp.getsockname()[1]}/v1/chat"
            async with connect(url, proxy=None) as client:
                assert '"ready"' in str(await client.recv())
            assert '"ready"' in await first_frame(path)
            process.send_signal(signal.SIGHUP)
            assert (await asyncio.to_thread(told.recv, 1024)).startswith(b"RELOADING=1\n")
            assert await asyncio.to_thread(told.recv, 1024) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(told.recv, 1024) == b"STOPPING=1"
            printed, log = await asyncio.to_thread(process.communicate, timeout=20)
        assert url in printed
        assert process.returncode == 0
        assert is_there(path)
        logged = {line["event"]: line for line in map(json.loads, log.splitlines())}
        assert logged["server_started"]["port"] == tcp.getsockname()[1]
        assert logged["settings_reloaded"]["need_restart"] == []


def test_a_socket_of_another_kind_is_told(tmp_path: Path) -> None:
    """`Accept=yes` gives a connection for each process, and a datagram socket listens to nothing."""
    left, right = socket.socketpair()
    with left, right, activated(tmp_path, [left]) as process:
        _, log = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "Accept=no" in log


async def test_a_server_that_cannot_tell_systemd_serves_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket may be gone; nothing is told where there is none."""
    from askbot_ws.server import systemd

    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    systemd.notify_ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(5)
        told.bind("\0askbot-test-" + str(os.getpid()))
        monkeypatch.setenv("NOTIFY_SOCKET", f"@askbot-test-{os.getpid()}")
        systemd.notify_reloading()
        first, second = told.recv(1024).decode().split("\n")
        assert first == "RELOADING=1"
        assert second.removeprefix("MONOTONIC_USEC=").isdecimal()
