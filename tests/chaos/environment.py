"""Environment: the server and its provider as processes that are restarted, a disk, and proxies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from ..ports import free_port
from ..process import KEY, ROOT, environment
from .clocked import set_clock
from .proxy import Kind, Proxy, proxied

DISK = "192m"  # much more than is ever written
STARTING = 10.0  # seconds that a process may take until it hears signals
# Logged while the disk is full.
EXPECTED_ERRORS = {"store_write_failed", "shutdown_write_failed", "store_read_failed", "session_expiry_failed"}


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How a process ended, and how long it had lived."""

    code: int
    age: float
    starting: float = STARTING

    @property
    def fine(self) -> bool:
        """Told to end; could not start, and said why (1: no store); killed; told to end before it had begun."""
        return self.code in {0, 2, -signal.SIGKILL} or (self.code in {1, -signal.SIGTERM} and self.age < self.starting)


class SupervisedProcess:
    """A process that is started again whenever it ends."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path, starting: float = STARTING
    ) -> None:
        """`starting`: seconds that it may take until it hears signals."""
        self.starts = 0
        self.exits: list[ProcessExit] = []
        self._command = command
        self._cwd = cwd
        self._environ = dict(environ)
        self._log = log
        self._starting = starting
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Until it is cancelled; then it is killed."""
        try:
            while True:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdout=PIPE, stderr=STDOUT, cwd=self._cwd, env=self._environ
                )
                self.starts += 1
                begun = time.monotonic()
                await self._write_down(self._process.stdout)
                self.exits.append(ProcessExit(await self._process.wait(), time.monotonic() - begun, self._starting))
                await asyncio.sleep(0.05)
        finally:
            self.signal(signal.SIGKILL)
            if self._process is not None:
                await self._process.wait()

    async def _write_down(self, lines: asyncio.StreamReader | None) -> None:
        """Its log is no file of its own: it goes on where the process may write nothing."""
        assert lines
        with self._log.open("ab") as log:
            while data := await lines.read(65536):
                log.write(data)

    @property
    def pid(self) -> int | None:
        """Of the one that runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def signal(self, number: int) -> bool:
        """Send it a signal; False where it does not run just now."""
        if self._process is None or self.pid is None:
            return False
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return True

    async def ended(self, limit: float) -> int | None:
        """Wait for the end of the one that runs now; None where that takes too long."""
        process = self._process
        assert process is not None
        try:
            return await asyncio.wait_for(process.wait(), limit)
        except TimeoutError:
            return None


@dataclass
class Environment:
    """Everything but the clients."""

    folder: Path
    disk: Path
    small: bool  # the disk is one of its own, which can be filled
    port: int
    server: SupervisedProcess
    provider: SupervisedProcess | None
    front: Proxy  # between clients and server
    back: Proxy | None  # between server and provider

    @property
    def store(self) -> Path:
        """The server's file."""
        return self.disk / "askbot.db"

    @property
    def record(self) -> Path:
        """What the provider was asked."""
        return self.folder / "record.jsonl"

    @property
    def clock(self) -> Path:
        """How wrong the server's wall clock is."""
        return self.folder / "clock"

    @property
    def direct(self) -> str:
        """The server without anything in between."""
        return f"ws://127.0.0.1:{self.port}/v1/chat"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.front.port}/v1/chat"

    def model_process(self) -> int | None:
        """The embedded model's."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.server.pid).children():
                if any("model_process" in word for word in child.cmdline()):
                    return int(child.pid)
        return None

    async def up(self, limit: float = 60) -> None:
        """Wait until it takes connections."""
        await listens(self.port, limit)

    def faults_of_ours(self) -> list[str]:
        """What the server's log must not have."""
        return faults_in(self.folder / "askbot.log", EXPECTED_ERRORS)


def faults_in(log: Path, expected: Collection[str]) -> list[str]:
    """Tracebacks in a log that nobody caught, and errors that no fault explains."""
    found: list[str] = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            if entry["level"] in ("error", "critical") and entry["event"] not in expected:
                found.append(line[:2000])
        elif line.startswith("Traceback"):
            found.append(line)
    return found


async def listens(port: int, limit: float = 60) -> None:
    """Wait until a port of this machine takes connections."""
    async with asyncio.timeout(limit):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@contextmanager
def small_disk(folder: Path) -> Generator[tuple[Path, bool]]:
    """A file system of its own where we may mount one; else a folder."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)]
    able = shutil.which("mount") is not None
    mounted = able and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield disk, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=False)


@asynccontextmanager
async def start_environment(
    *,
    on_front: Callable[[Kind], None] = lambda _: None,
    on_back: Callable[[Kind], None] = lambda _: None,
    model: bool = False,
    flags: Sequence[str] = (),
) -> AsyncGenerator[Environment]:
    """All of it, running; nothing is left of it afterwards. `model`: the embedded one answers."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="askbot-chaos-")))
        disk, small = stack.enter_context(small_disk(folder))
        port, upstream = free_port(), free_port()
        set_clock(folder / "clock", 0.0)
        front = await stack.enter_async_context(proxied(port, on_fault=on_front))
        back = None if model else await stack.enter_async_context(proxied(upstream, on_fault=on_back))
        provider = None if model else make_provider(folder, upstream)
        server = _server(folder, disk, port, back, flags)
        tasks = [asyncio.create_task(kept.keep()) for kept in (provider, server) if kept is not None]
        try:
            made = Environment(folder, disk, small, port, server, provider, front, back)
            await made.up()
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def make_provider(folder: Path, port: int) -> SupervisedProcess:
    """The provider, which writes `record.jsonl` in a folder."""
    command = [sys.executable, "-m", "tests.chaos.provider", "--port", str(port)]
    command += ["--record", str(folder / "record.jsonl")]
    return SupervisedProcess(command, cwd=ROOT, environ=environment(), log=folder / "provider.log")


def _server(folder: Path, disk: Path, port: int, back: Proxy | None, flags: Sequence[str]) -> SupervisedProcess:
    command = [sys.executable, "-m", "tests.chaos.clocked", str(folder / "clock"), "serve"]
    command += ["--port", str(port), "--store", f"sqlite:///{disk}/askbot.db", "--log-format", "json", "--no-limits"]
    if back is None:
        command += ["--upstream", "embedded", "--max-tokens", "40"]
        environ = environment()
    else:
        command += ["--model", "scripted-1", "--connect-timeout", "2s", "--stall-timeout", "3s"]
        environ = environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=f"http://127.0.0.1:{back.port}/v1")
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return SupervisedProcess([*command, *flags], cwd=folder, environ=environ, log=folder / "askbot.log")
