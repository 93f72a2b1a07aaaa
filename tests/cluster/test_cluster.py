"""`make cluster`, as it is typed; and that nothing of it stays, however it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from .. import programs
from ..ports import free_port
from ..process import KEY, ROOT, ProviderProcess, Story, environment, eventually, reading
from .child import ClusterError
from .cluster import balancer_configuration, port_of


@dataclass
class Running:
    """A cluster, and all that it has started."""

    process: subprocess.Popen[str]
    folder: Path
    log: Path
    url: str
    nodes: list[str]
    started: list[psutil.Process]

    def pid(self, name: str) -> int:
        """Of the first process whose command has this word in it."""
        return int(next(each.pid for each in self.started if any(name in word for word in each.cmdline())))

    def end(self, number: int) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def left(self) -> list[str]:
        """What is still there of it: processes and files."""
        running = [each.pid for each in self.started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        return [*map(str, running), *(path.name for path in self.folder.iterdir())]


def call(folder: Path, *flags: str, provider: str = "http://127.0.0.1:9/v1", **environ: str) -> subprocess.Popen[str]:
    """Start it with its files in a folder, and its log beside that."""
    known = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider, "ASKBOT_MODEL": "scripted-1"}
    variables = environment(**known, TMPDIR=str(folder), **environ)
    with Path(f"{folder}.log").open("w") as log:
        command = [sys.executable, "-m", "tests.cluster", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=variables, text=True)


@contextmanager
def in_a_folder() -> Generator[Path]:
    """A folder with a short name: a socket's path has at most 104 bytes."""
    with tempfile.TemporaryDirectory(prefix="askbot-") as parent:
        folder = Path(parent, "files")
        folder.mkdir()
        yield folder


@contextmanager
def cluster(provider: ProviderProcess, *, nodes: int) -> Generator[Running]:
    """A cluster that has said where it is."""
    port = free_port()
    with in_a_folder() as folder, call(folder, f"--nodes={nodes}", f"--port={port}", provider=provider.url) as process:
        log = Path(f"{folder}.log")
        try:
            assert process.stdout
            lines = list[str]()
            for line in iter(process.stdout.readline, ""):
                lines.append(line.rstrip())
                if line.startswith("Conversations"):
                    break
            else:
                raise AssertionError(f"it did not start: {log.read_text()}")
            addresses = re.findall(r"^  node \d  http(://127\.0\.0\.1:\d+)/", "\n".join(lines), flags=re.MULTILINE)
            started = psutil.Process(process.pid).children(recursive=True)
            urls = [f"ws{address}/v1/chat" for address in addresses]
            yield Running(process, folder, log, f"ws://127.0.0.1:{port}/v1/chat", urls, started)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def running(provider: ProviderProcess) -> Iterator[Running]:
    """Three nodes; the last test ends them."""
    with cluster(provider, nodes=3) as running:
        yield running


async def test_a_session_is_served_by_any_node(running: Running) -> None:
    """It is begun through nginx, and read on at each node."""
    story = Story()
    async with reading(running.url, story) as reader:
        assert (await reader.answer("tokens:6 rate:60 note:cluster")).reason == "stop"
    assert len(running.nodes) == 3
    for url in running.nodes:
        seen = Story(session=story.session)
        async with reading(url, seen) as reader:
            await reader.until("done")
        assert seen.turns == story.turns


async def test_tokens_come_one_by_one_through_the_balancer(running: Running) -> None:
    """Upgraded, and not buffered."""
    async with reading(running.url) as reader:
        await reader.ask("tokens:12 rate:24 note:balanced")
        times = list[float]()
        while (await reader.next())["type"] != "done":
            times.append(time.monotonic())
    assert times[-1] - times[0] > 0.25


async def test_without_one_node_the_others_serve_on(running: Running) -> None:
    """Nginx asks the next one where a node does not take a connection; the terminal is told."""
    os.kill(running.pid("askbot_ws.cli"), signal.SIGKILL)
    await eventually(lambda: "node 1 has ended, with exit code -9." in running.log.read_text())
    story = Story()
    for number in range(6):
        async with reading(running.url, story) as reader:
            assert (await reader.answer(f"say:{number}")).answer == f"{number}"
    assert story.session
    assert story.session not in running.log.read_text()  # nginx would log the request for which a node failed


async def test_a_signal_ends_all_and_nothing_stays(running: Running) -> None:
    """Readers are told that it ends, as by any server; no process and no file is left."""
    async with reading(running.url) as reader:
        closed = asyncio.create_task(reader.rest())
        assert await asyncio.to_thread(running.end, signal.SIGTERM) == 0
        assert await closed == 1012
    assert running.left() == []


async def test_a_second_signal_waits_for_no_answer(provider: ProviderProcess) -> None:
    """The first one lets them end, for up to `ASKBOT_DRAIN`."""
    with cluster(provider, nodes=1) as running:
        async with reading(running.url) as reader:
            await reader.ask("tokens:400 rate:20 note:long")
            await reader.until("token")
            running.process.send_signal(signal.SIGINT)
            await reader.until("going_away")
            assert running.process.poll() is None
            assert await asyncio.to_thread(running.end, signal.SIGINT) == 0
            reader.cut()
        assert running.left() == []


async def test_without_redis_it_ends(provider: ProviderProcess) -> None:
    """With a fault, as nobody would notice that nothing is kept."""
    with cluster(provider, nodes=1) as running:
        os.kill(running.pid(Path(programs.REDIS.path() or "").name), signal.SIGKILL)
        assert await asyncio.to_thread(running.process.wait, 30) == 1
        assert "The cluster ends: it can't do without redis.\n" in running.log.read_text()
        assert running.left() == []


# --- what does not start ---------------------------------------------------------------------------------------------


def test_a_node_that_does_not_start_ends_all_with_its_reason() -> None:
    """A setting that is wrong; what runs by then is ended."""
    with in_a_folder() as folder:
        with call(folder, f"--port={free_port()}", ASKBOT_MAX_TURNS="many") as process:
            assert process.wait(60) == 1
        log = Path(f"{folder}.log").read_text()
        assert re.search(r"^node 1 \| .*ASKBOT_MAX_TURNS", log, flags=re.MULTILINE)
        assert log.endswith("node 1 has not started.\n")
        assert list(folder.iterdir()) == []
        assert not [each for each in psutil.process_iter(["cmdline"]) if str(folder) in str(each.info["cmdline"])]


def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    """With what to type."""
    with in_a_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with call(folder, f"--port={port}") as process:
            assert process.wait(30) == 1
        expected = f"Port {port}: Address already in use. Choose another: make cluster PORT=…\n"
        assert Path(f"{folder}.log").read_text() == expected


def test_a_node_that_listens_elsewhere_is_a_fault() -> None:
    """`.env` may have a certificate: nginx would speak to it without TLS."""
    assert port_of({"socket": "ws://127.0.0.1:4711/v1/chat"}) == 4711
    with pytest.raises(ClusterError, match=r"wss://127\.0\.0\.1:4711.*ASKBOT_CERTFILE"):
        port_of({"socket": "wss://127.0.0.1:4711/v1/chat"})


def test_nginx_has_the_shipped_file_with_ports_and_folder_of_its_own(tmp_path: Path) -> None:
    """What is the engine's is gone: its resolver, and the nodes' name."""
    text = balancer_configuration(tmp_path, port=8765, nodes=[4711, 4712])
    assert "listen 127.0.0.1:8765;" in text
    assert re.findall(r"server (127\S+);", text) == ["127.0.0.1:4711", "127.0.0.1:4712"]
    assert "resolve" not in text
    assert set(re.findall(r"(/\S+)/\w+(?:\.pid)?;", text)) == {str(tmp_path)}
