"""Workers: `askbot serve --workers N`, as processes. Their stores are not shared here: what is asked of any, is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosedError

from askbot_ws.server.workers.group import FIRST_ANSWER_SECONDS

from ..certificates import trusting
from ..process import ROOT, environment, eventually

AUTHORITY = trustme.CA()
UPSTREAM = """
import asyncio

async def answer(messages, options):
    yield "Just "
    await asyncio.sleep(float(messages[-1]["content"].rstrip("?")))
    yield "so."
"""


class Served:
    """A supervisor that runs, with its workers."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, url: str) -> None:
        self.process = process
        self.folder = folder
        self.url = url

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log with this event."""
        lines = (self.folder / "log").read_text().splitlines()
        return [
            line for line in map(json.loads, filter(lambda text: text.startswith("{"), lines)) if line["event"] == event
        ]

    async def get(self, path: str) -> tuple[int, str]:
        """The status and the body of a page, on a connection of its own."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        page = self.url.replace("wss://", "https://").replace("/v1/chat", path)
        try:
            with urllib.request.urlopen(page, timeout=20, context=trusting(AUTHORITY)) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    async def metric(self, name: str) -> float:
        """The value of a metric with these labels."""
        status, page = await self.get("/metrics")
        assert status == 200
        return float(page.partition(f"\n{name} ")[2].partition("\n")[0])


@contextmanager
def served(folder: Path, count: int, **flags: str) -> Generator[Served]:
    """A server with so many workers; it is killed at the end, and they end by that."""
    (folder / "slow.py").write_text(UPSTREAM)
    given = {"store": "memory:", "upstream": "slow:answer", "log_format": "json", "drain": "5s", **flags}
    program = [sys.executable, "-m", "tests.server.supervised", str(count), "null", json.dumps(given)]
    variables = environment(PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(program, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            told = [process.stdout.readline() for _ in range(5)]
            assert told[4] == "  store   memory:\n", (folder / "log").read_text()
            yield Served(process, folder, told[2].split()[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """Two workers on a port that was free, with TLS."""
    folder = tmp_path_factory.mktemp("workers")
    made = AUTHORITY.issue_cert("127.0.0.1")
    (folder / "key.pem").write_bytes(made.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    with served(folder, 2, port="0", certfile="chain.pem", keyfile="key.pem") as started:
        yield started


async def reader_of_each(server: Served) -> list[ClientConnection]:
    """As many connections as it takes until each worker has one."""
    readers = list[ClientConnection]()
    workers = [psutil.Process(pid) for pid in server.workers]
    port = int(re.findall(r":(\d+)/", server.url)[0])

    def has_one(worker: Any) -> bool:
        return any(each.laddr.port == port and each.status == "ESTABLISHED" for each in worker.net_connections())

    while not all(map(has_one, workers)):
        assert len(readers) < 200
        readers.append(await connect(server.url, ssl=trusting(AUTHORITY)))
    return readers


# --- asked of any, answered for all ----------------------------------------------------------------------------------


async def test_metrics_of_any_worker_are_those_of_all(both: Served) -> None:
    """Connections are spread over the workers, and whoever is asked knows them all."""
    readers = await reader_of_each(both)
    try:
        for _ in range(5):
            assert await both.metric('askbot_connections{protocol="askbot.v1"}') == len(readers)
        assert await both.metric('askbot_workers{state="answering"}') == 2
        assert (await both.get("/readyz"))[0] == 200
    finally:
        await asyncio.gather(*(reader.close() for reader in readers))


async def test_a_killed_worker_is_started_again_and_its_counters_stay(both: Served) -> None:
    """A counter that falls would be counted once more, from 0, by whoever reads it."""
    await asyncio.gather(*(reader.close() for reader in await reader_of_each(both)))
    opened = 'askbot_connections_opened_total{protocol="askbot.v1"}'
    before, restarts = await both.metric(opened), await both.metric("askbot_worker_restarts_total")
    killed, left = both.workers

    os.kill(killed, signal.SIGKILL)

    await eventually(lambda: killed not in both.workers and len(both.workers) == 2)
    assert await both.metric(opened) == before
    async with asyncio.timeout(20):
        while await both.metric('askbot_workers{state="answering"}') < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert left in both.workers
    assert await both.metric("askbot_worker_restarts_total") == restarts + 1
    assert await both.metric(opened) == before
    assert both.lines("worker_exited")[-1]["code"] == -9


async def test_a_stopped_worker_does_not_hold_up_the_others_answers(both: Served) -> None:
    """It is left out after a second, and counted as silent."""
    readers = await reader_of_each(both)
    stopped = both.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        for path in ("/readyz", "/metrics"):
            began = time.monotonic()
            status, page = await both.get(path)
            assert status == 200, page
            assert time.monotonic() - began < FIRST_ANSWER_SECONDS + 2
        assert '\naskbot_workers{state="silent"} 1.0\n' in page
    finally:
        os.kill(stopped, signal.SIGCONT)
        await asyncio.gather(*(reader.close() for reader in readers))
    assert await both.metric('askbot_workers{state="silent"}') == 0


async def test_sighup_reloads_all_workers_or_none(both: Served) -> None:
    """What is wrong is found before any is told."""
    (both.folder / "askbot.toml").write_text("max_question = 77\n")
    both.process.send_signal(signal.SIGHUP)
    await eventually(lambda: len(both.lines("settings_reloaded")) == 2)
    assert {line["worker"] for line in both.lines("settings_reloaded")} == {1, 2}
    assert all("max_question" in line["changed"] for line in both.lines("settings_reloaded"))
    assert len(both.lines("certificate_reloaded")) == 2

    (both.folder / "askbot.toml").write_text("max_question = 0\n")
    both.process.send_signal(signal.SIGHUP)
    await eventually(lambda: bool(both.lines("reload_failed")))
    (both.folder / "askbot.toml").unlink()
    assert len(both.lines("reload_failed")) == 1
    assert "max_question" in str(both.lines("reload_failed")[0]["faults"])
    assert len(both.lines("settings_reloaded")) == 2


# --- a rolling restart -----------------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET /v1/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def handshakes(port: int, thinking: float, over: asyncio.Event) -> list[str]:
    """Open WebSockets one after the other until it is over; returns how each was answered.

    `thinking` is the time between the connection and the request, in seconds, as a slow network has it.
    """
    answers = list[str]()
    while not over.is_set():
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(AUTHORITY))
                await asyncio.sleep(thinking)
                writer.write(HANDSHAKE)
                answers.append((await reader.readuntil(b"\r\n\r\n"))[9:12].decode())
                writer.transport.abort()
        except (OSError, EOFError, TimeoutError) as error:
            answers.append(repr(error))
    return answers


async def test_a_rolling_restart_fails_no_handshake(both: Served) -> None:
    """Each worker is replaced before it drains, and answers what it has accepted: also those who have not asked yet."""
    before, port = set(both.workers), int(re.findall(r":(\d+)/", both.url)[0])
    over = asyncio.Event()
    clients = [asyncio.create_task(handshakes(port, 0.02 * place, over)) for place in range(16)]

    both.process.send_signal(signal.SIGUSR2)
    await eventually(lambda: bool(both.lines("rolling_restart_finished")), limit=60)

    over.set()
    answers = [answer for answered in await asyncio.gather(*clients) for answer in answered]
    assert len(answers) > len(clients)
    assert set(answers) == {"101"}
    assert len(both.workers) == 2
    assert not before & set(both.workers)


# --- the end ---------------------------------------------------------------------------------------------------------


async def ask(reader: ClientConnection, question: str) -> None:
    """Ask, and wait until the answer has begun."""
    await reader.send(json.dumps({"type": "ask", "text": question}))
    async with asyncio.timeout(10):
        while json.loads(await reader.recv())["type"] != "token":
            pass


async def frames(reader: ClientConnection) -> list[dict[str, Any]]:
    """What is sent until the connection is closed."""
    told = list[dict[str, Any]]()
    try:
        while True:
            told.append(json.loads(await asyncio.wait_for(reader.recv(), 10)))
    except ConnectionClosedError:
        assert reader.close_code == 1012
    return told


async def test_sigterm_drains_the_workers_of_a_unix_socket(tmp_path: Path) -> None:
    """The running answer ends, the file is gone, and the exit code says that all went well."""
    path = tmp_path / "socket"
    with served(tmp_path, 1, unix=str(path)) as server:
        (worker,) = server.workers
        async with unix_connect(str(path), "ws://localhost/v1/chat") as reader:
            await ask(reader, "1?")
            server.process.send_signal(signal.SIGTERM)
            told = await frames(reader)
        await eventually(lambda: server.process.poll() is not None)

        assert "".join(frame["text"] for frame in told if frame["type"] == "token") == "so."
        assert [frame["reason"] for frame in told if frame["type"] == "done"] == ["stop"]
        assert server.process.returncode == 0
        assert not path.exists()
        assert not psutil.pid_exists(worker)


async def test_workers_drain_and_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """No process is left that nobody knows of, and no answer is cut off."""
    with served(tmp_path, 1, unix=str(tmp_path / "socket")) as server:
        (worker,) = server.workers
        async with unix_connect(str(tmp_path / "socket"), "ws://localhost/v1/chat") as reader:
            await ask(reader, "1?")
            server.process.kill()
            told = await frames(reader)
        await eventually(lambda: not psutil.pid_exists(worker))

        assert "going_away" in [frame["type"] for frame in told]
        assert [frame["reason"] for frame in told if frame["type"] == "done"] == ["stop"]
        assert server.lines("supervisor_disconnected")
