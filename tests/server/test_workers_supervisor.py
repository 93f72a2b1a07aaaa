"""The supervisor of worker processes, with workers that only pretend to serve; and how metrics are added up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from typer.testing import CliRunner

from askbot_ws import logs
from askbot_ws.cli import app
from askbot_ws.config import Settings, load
from askbot_ws.embedding import serve
from askbot_ws.errors import ConfigError
from askbot_ws.server import process
from askbot_ws.server.workers import supervisor as module
from askbot_ws.server.workers.group import merge_faults
from askbot_ws.server.workers.supervisor import Plan, StartError, Supervisor
from askbot_ws.server.workers.totals import Snapshot, Totals, add_up, lasting, snapshot
from askbot_ws.server.workers.worker import Worker
from askbot_ws.server.workers.worker_process import WorkerProcess

from ..process import ROOT, environment, eventually
from .test_listening import STARTER

STUB = """
import json, os, signal, socket, sys, time
behaviour, number, end, *sockets = sys.argv[1:]
channel = socket.socket(fileno=int(end)).makefile("rw")
told = json.loads(channel.readline())["facts"]

def tell(**message):
    print(json.dumps(message), file=channel, flush=True)

def born():  # how many of these there have been
    with open("starts", "a") as starts:
        starts.write(number)
    return os.path.getsize("starts")

place = born()
if behaviour == "wrong" or (behaviour == "wrong later" and place > 1):
    tell(tell="settings are wrong", facts={"message": "ASKBOT_MODELS: it is wrong."})
    sys.exit(2)
if behaviour == "dying" or (behaviour == "dying first" and place < 3):
    sys.exit(3)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(f"worker-{number}", "w") as note:
    json.dump({"told": told, "sockets": sockets, "notify": os.environ.get("NOTIFY_SOCKET")}, note)
if behaviour == "away" and place > 2:
    tell(tell="can not serve", facts={"message": "ASKBOT_STORE: it is away."})
    sys.exit(1)
tell(tell="serving", facts={"model": "stub", "note": "", "end_seconds": 5 if behaviour == "slow" else 0})
seen = {"name": "seen", "type": "counter", "help": "", "samples": [["seen_total", {}, 1]]}
for line in channel:
    message = json.loads(line)
    if message.get("tell") == "drain" and behaviour != "stubborn":
        time.sleep(1 if behaviour == "slow" else 0)
        tell(tell="ended", facts={"metrics": [seen]})
        sys.exit(0)
    if "ask" in message and behaviour != "silent":
        answers = {"metrics": [seen], "faults": {"server": None, "store": None}, "reload": "done"}
        tell(id=message["id"], answer=answers[message["ask"]])
"""
"""A worker: what it does, then the arguments of a real one."""


def stub(behaviour: str) -> list[str]:
    return [sys.executable, "-S", "-c", STUB, behaviour]


@asynccontextmanager
async def supervising(behaviour: str, count: int = 1, *, drain: float = 0.0) -> AsyncGenerator[Supervisor]:
    """A supervisor in this process, which is not started."""
    supervisor = Supervisor(Plan(count, (), {"model": "m", "port": None}, drain, command=stub(behaviour)))
    try:
        yield supervisor
    finally:
        await supervisor.close()
        assert not supervisor.workers


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "MIN_BACKOFF_SECONDS", 0.01)


def note_of(number: int) -> Any:
    """What a worker has noted."""
    return json.loads(Path(f"worker-{number}").read_text())


def starts() -> int:
    """How many workers have been started."""
    return len(Path("starts").read_text())


def open_descriptors() -> list[str]:
    """The descriptors of this process, by their numbers."""
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


# --- starting --------------------------------------------------------------------------------------------------------


async def test_workers_are_told_the_flags_and_one_secret_of_tickets() -> None:
    """A ticket that one has made is accepted by the others."""
    async with supervising("serving", 2) as supervisor:
        await supervisor.start()
        one, other = map(note_of, (1, 2))

    assert one["told"] == other["told"]
    assert one["told"]["flags"] == {"model": "m"}
    assert len(one["told"]["ticket_secret"]) >= 32


async def test_a_worker_signs_tickets_with_the_secret_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless there is one of the settings, or beside the key file, or nobody has tickets."""
    for name in [name for name in os.environ if name.startswith("ASKBOT_")]:
        monkeypatch.delenv(name)
    given = {"ticket_secret": "s" * 43, "adopted": False}

    def secret_with(**flags: str) -> str | None:
        worker = Worker(())
        worker._on_told("start", {**given, "flags": flags})  # pyright: ignore[reportPrivateUsage]
        secret = worker._read_settings().ticket_secret  # pyright: ignore[reportPrivateUsage]
        return None if secret is None else secret.get_secret_value()

    assert secret_with(auth="module:function") == "s" * 43
    assert secret_with(ticket_secret="t" * 32) == "t" * 32
    assert secret_with() is None


async def test_wrong_settings_are_told_and_not_tried_again() -> None:
    """They would be as wrong the next time."""
    async with supervising("wrong") as supervisor:
        with pytest.raises(ConfigError, match="ASKBOT_MODELS"):
            await supervisor.start()
        assert starts() == 1


async def test_a_worker_that_never_serves_ends_the_start() -> None:
    """After some attempts: something else than the settings is wrong, and trying on would hide it."""
    async with supervising("dying") as supervisor:
        with pytest.raises(StartError, match="exit code 3"):
            await supervisor.start()
        assert starts() == module.MAX_FIRST_STARTS


async def test_a_start_is_tried_again() -> None:
    """A passing lack of memory, for instance."""
    async with supervising("dying first") as supervisor:
        await supervisor.start()
        assert starts() == 3


async def test_a_start_that_makes_no_process_leaves_no_socket() -> None:
    """Each attempt would take two descriptors of a machine that may lack them already."""
    before = open_descriptors()

    with pytest.raises(FileNotFoundError):
        await WorkerProcess.start(1, (), {}, on_asked=AsyncMock(), command=["there-is-no-such-program"])

    assert open_descriptors() == before


@pytest.mark.parametrize("turns", range(6))
async def test_a_start_that_is_cancelled_leaves_neither_a_process_nor_a_socket(turns: int) -> None:
    """At whichever of its steps the server ends."""
    before, children = open_descriptors(), psutil.Process().children()

    start = asyncio.create_task(WorkerProcess.start(1, (), {}, on_asked=AsyncMock(), command=stub("serving")))
    for _ in range(turns):
        await asyncio.sleep(0)
    if start.cancel():
        with pytest.raises(asyncio.CancelledError):
            await start
    else:
        await start.result().wait_or_kill(max_seconds=0)

    assert psutil.Process().children() == children
    await eventually(lambda: open_descriptors() == before)


# --- while it runs ---------------------------------------------------------------------------------------------------


async def test_a_worker_that_dies_is_started_again_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that ends each of them must not take all of the machine."""
    pauses = list[float]()
    backoff = Supervisor._backoff  # pyright: ignore[reportPrivateUsage]

    def noted(failures: int) -> float:
        pauses.append(backoff(failures))
        return pauses[-1]

    monkeypatch.setattr(Supervisor, "_backoff", staticmethod(noted))
    async with supervising("serving") as supervisor:
        await supervisor.start()
        for count in (1, 2, 3):
            before = supervisor.workers[0].pid
            supervisor.workers[0].kill()
            await eventually(
                lambda pid=before: [each.is_serving for each in supervisor.workers if each.pid != pid] == [True]  # type: ignore[misc]
            )
            assert starts() == 1 + count

    assert pauses == [0.01, 0.02, 0.04]
    assert backoff(100) == module.MAX_BACKOFF_SECONDS


async def test_it_gives_up_where_no_worker_is_left_and_the_settings_are_wrong_now() -> None:
    """The message is what an operator needs, and nobody is served any more."""
    async with supervising("wrong later") as supervisor:
        await supervisor.start()
        supervisor.workers[0].kill()
        assert "ASKBOT_MODELS" in await asyncio.wait_for(supervisor.gave_up, 10)


async def test_a_rolling_restart_ends_where_the_new_worker_cannot_serve() -> None:
    """The old ones go on: a mistake in a file must not end a server that runs."""
    async with supervising("wrong later") as supervisor:
        await supervisor.start()
        (before,) = supervisor.workers
        await supervisor.replace_all()
        await eventually(lambda: supervisor.workers == (before,))
        assert before.is_serving
        assert not before.draining


async def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the server doesn't wait for it for longer than is stated."""
    monkeypatch.setattr(module, "END_SECONDS", 0.2)
    async with supervising("stubborn") as supervisor:
        await supervisor.start()
        began = time.monotonic()
        assert not await supervisor.drain()
        assert 0.2 <= time.monotonic() - began < 5


async def test_a_worker_has_the_time_that_it_says_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have more connections to close, and after SIGUSR2 a longer drain than the supervisor was started with."""
    monkeypatch.setattr(module, "END_SECONDS", 0.2)
    async with supervising("slow") as supervisor:
        await supervisor.start()
        assert await supervisor.drain()


async def test_workers_are_started_until_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is away is no fault of the settings, even where no worker is left."""
    monkeypatch.setattr(module, "MIN_BACKOFF_SECONDS", 0.01)
    async with supervising("away", 2) as supervisor:
        await supervisor.start()
        for worker in supervisor.workers:
            os.kill(worker.pid, signal.SIGKILL)
        await eventually(lambda: Path("starts").stat().st_size >= 8)
        assert not supervisor.gave_up.done()


async def test_a_silent_worker_is_left_out_and_what_it_had_counted_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer takes longer than is stated."""
    monkeypatch.setattr(module, "FIRST_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(module, "LAST_ANSWER_SECONDS", 0.2)
    async with supervising("silent") as supervisor:
        await supervisor.start()
        assert await supervisor.faults() == {"server": "no worker process answers"}
        assert value(await supervisor.metrics(), "askbot_workers", state="silent") == 1

    async with supervising("serving", 2) as supervisor:
        await supervisor.start()
        assert await supervisor.faults() == {"server": None, "store": None}
        assert value(await supervisor.metrics(), "seen_total") == 2
        stopped = supervisor.workers[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        assert value(await supervisor.metrics(), "seen_total") == 2
        assert await supervisor.faults() == {"server": None, "store": None}
        os.kill(stopped.pid, signal.SIGCONT)
        await supervisor.replace_all()
        assert value(await supervisor.metrics(), "seen_total") == 4, "those that have ended count too"


# --- adding up -------------------------------------------------------------------------------------------------------


def value(metrics: Snapshot, sample: str, **labels: str) -> float:
    """The value of one sample."""
    (found,) = [
        number for each in metrics for name, given, number in each["samples"] if name == sample and given == labels
    ]
    return found


def counted(answers: int, lag: float) -> Snapshot:
    """The metrics of a process."""
    registry = CollectorRegistry()
    Counter("askbot_turns", "Turns.", ["reason"], registry=registry).labels("stop").inc(answers)
    Gauge("askbot_sessions", "Sessions.", registry=registry).set(answers)
    Gauge("askbot_cursor_lag_max", "Lag.", registry=registry).set(lag)
    histogram = Histogram("askbot_commit_seconds", "Commits.", buckets=(0.1, 1), registry=registry)
    for _ in range(answers):
        histogram.observe(0.05)
    return snapshot(registry)


def test_counters_histograms_and_gauges_are_added_by_their_sense() -> None:
    """The slowest reader of two processes is the slower of both; a process that has ended has no gauges."""
    metrics: Any = json.loads(json.dumps(add_up([counted(2, 7.0), counted(3, 5.0), lasting(counted(4, 99.0))])))

    assert value(metrics, "askbot_turns_total", reason="stop") == 9
    assert value(metrics, "askbot_commit_seconds_bucket", le="0.1") == 9
    assert value(metrics, "askbot_commit_seconds_count") == 9
    assert value(metrics, "askbot_commit_seconds_sum") == pytest.approx(0.45)
    assert value(metrics, "askbot_sessions") == 5
    assert value(metrics, "askbot_cursor_lag_max") == 7.0
    registry = CollectorRegistry()
    registry.register(Totals(metrics))
    assert json.loads(json.dumps(snapshot(registry))) == metrics, "which a reader gets in Prometheus' format"


def test_a_fault_of_one_is_a_fault_of_all_unless_it_drains() -> None:
    """A request may come to the one that has it; to one that drains, none comes."""
    well: dict[str, str | None] = {"server": None, "store": None}
    ill: dict[str, str | None] = {"server": None, "store": "It fails."}
    draining: dict[str, str | None] = {"server": "the server is about to restart"}

    assert merge_faults([well, ill]) == ill
    assert merge_faults([draining, well]) == well
    assert merge_faults([draining, draining]) == draining


# --- the process -----------------------------------------------------------------------------------------------------


async def test_systemd_is_told_by_the_supervisor_alone(tmp_path: Path) -> None:
    """Its sockets are passed on, and each message comes once: for all workers."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        high = os.dup(listening.fileno())
        flags = json.dumps({"store": "memory:", "log_format": "json"})
        program = [sys.executable, "-m", "tests.server.supervised", "2", json.dumps(stub("serving")), flags]
        variables = environment(
            PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", OPENAI_API_KEY="sk-1", NOTIFY_SOCKET=str(tmp_path / "notify")
        )
        with subprocess.Popen(  # noqa: ASYNC220 - it is started once
            [sys.executable, "-c", STARTER, str(high), *program],
            cwd=tmp_path,
            env=variables,
            pass_fds=[high],
            stdout=subprocess.PIPE,
            text=True,
        ) as started:
            os.close(high)
            try:
                assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
                notes = [note_of(number) for number in (1, 2)]
                assert [note["notify"] for note in notes] == [None, None]
                assert [note["told"]["adopted"] for note in notes] == [True, True]
                assert [len(note["sockets"]) for note in notes] == [1, 1]
                started.send_signal(signal.SIGHUP)
                assert (await asyncio.to_thread(told.recv, 100)).startswith(b"RELOADING=1")
                assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
                started.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(told.recv, 100) == b"STOPPING=1"
                assert await asyncio.to_thread(started.wait, 20) == 0
            finally:
                started.kill()
            assert started.stdout
            assert f":{listening.getsockname()[1]}/" in started.stdout.read()


def test_what_a_worker_finds_wrong_is_said_once(tmp_path: Path) -> None:
    """By the supervisor, which ends with exit code 1: what it finds itself is 2, as with one process."""
    flags = json.dumps({"store": "memory:", "port": "0"})
    program = [sys.executable, "-m", "tests.server.supervised", "2"]
    variables = environment(PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", OPENAI_API_KEY="sk-1")
    ended = subprocess.run(
        [*program, json.dumps(stub("wrong")), flags],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "ASKBOT_MODELS: it is wrong.\n")


# --- the setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["memory:", "sqlite:///askbot.db"])
def test_a_store_that_cannot_be_shared_is_refused_with_what_to_set(store: str) -> None:
    """Two processes would each know half of the sessions, or damage the file."""
    with pytest.raises(ConfigError, match=r"ASKBOT_STORE=redis://.*ASKBOT_WORKERS at 1"):
        load({"workers": "2", "store": store}, environ={})
    assert load({"store": store}, environ={}).workers == 1


async def test_a_program_that_embeds_the_server_has_one_process() -> None:
    """It is that program's own."""
    with pytest.raises(ConfigError, match="workers: there is no such keyword"):
        async with serve(workers=2):
            pass


def test_one_worker_is_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no supervisor."""
    ran = list[Settings]()

    def run(settings: Settings, read_settings: Callable[[], Settings]) -> int:
        assert settings == read_settings()
        ran.append(settings)
        return 7

    def configure(settings: Settings) -> None:
        del settings

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(logs, "configure", configure)
    for flags in ([], ["--workers", "1"]):
        result = CliRunner().invoke(app, ["serve", "--store", "memory:", *flags])
        assert result.exit_code == 7
    assert len(ran) == 2
