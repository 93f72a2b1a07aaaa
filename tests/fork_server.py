"""Fork server: `python -m …` from a process that has imported what `askbot serve` needs; it takes 0.05 s, not 0.4 s.

A process of this module is asked over a socket, and forks one for each request. The module runs there as in a new
interpreter, with arguments, environment, folder, path of modules and output of its own. What was imported before is
there, and those of one fork server have the same hash seed, locale, limits and `PYTHON…` options: it is for tests of
what a server does, not of how one is started.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple, Self

IMPORTED = (
    "askbot_ws.serve_commands",
    "askbot_ws.server.process",
    "askbot_ws.server.running",
    "askbot_ws.store.sqlite.store",
    "askbot_ws.upstream.openai",
)
"""What imports the rest; not `askbot_ws.cli`, as that is run."""
NUMBER = struct.Struct("<i")


class ForkedProcess:
    """A process of the fork server, with the part of `subprocess.Popen` that tests use.

    Attributes:
        pid: Its id.
        stdout: What it prints.
        returncode: Its exit code, or the negative number of the signal that ended it; None: it has not been seen ended.
    """

    def __init__(self, stdout: IO[str], status: int) -> None:
        """From the file descriptor `status`, its id can be read, and its exit code when it has ended."""
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self.pid = self._read_number()

    def _read_number(self) -> int:
        data = os.read(self._status, NUMBER.size)
        if not data:
            raise RuntimeError("the fork server has ended; its error is in the stderr of the first test that used it")
        return int(NUMBER.unpack(data)[0])

    def poll(self) -> int | None:
        """Return its exit code; None where it runs."""
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises `subprocess.TimeoutExpired`."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._has_ended(timeout):
            self.returncode = self._read_number()
            os.close(self._status)
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        poll = select.poll()  # `select` takes no descriptor from 1024 on
        poll.register(self._status, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.wait()


def start(module: str, *arguments: str, stderr: IO[str], cwd: Path, env: Mapping[str, str]) -> ForkedProcess:
    """Start `python -m module …`. A test has it in a `with`, and kills it before the end of that.

    Raises `RuntimeError` or `BrokenPipeError` where there is no fork server any more.
    """
    stdout, stdout_writer = os.pipe()
    status, status_writer = os.pipe()
    request = json.dumps([module, arguments, str(cwd), {**env}]).encode()
    try:
        socket.send_fds(_requests(), [NUMBER.pack(len(request))], [stdout_writer, stderr.fileno(), status_writer])
        _requests().sendall(request)
    finally:
        os.close(stdout_writer)
        os.close(status_writer)
    return ForkedProcess(os.fdopen(stdout, encoding="utf-8"), status)


@cache
def _requests() -> socket.socket:
    """Start the fork server, and return the socket for requests. It ends when that is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ASKBOT_", "COVERAGE_"))}
        command = [sys.executable, "-m", __name__, str(number)]
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[1], env=environ, pass_fds=[number]
        )

    @atexit.register
    def _() -> None:
        ours.close()
        server.wait()

    return ours


# --- in the process of the fork server -------------------------------------------------------------------------------


class Request(NamedTuple):
    """What is to be run, and how."""

    module: str
    arguments: list[str]
    cwd: str
    env: dict[str, str]


def serve(requests: socket.socket) -> None:
    """Fork for each request. Returns when nobody is left to ask; in a forked process, when its module has run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the processes between this one and the modules'
    while True:
        size, descriptors, _, _ = socket.recv_fds(requests, NUMBER.size, 3)
        if not size:
            return
        (length,) = NUMBER.unpack(size)
        request = requests.recv(length, socket.MSG_WAITALL)
        if not os.fork():
            requests.close()
            _run_and_report(Request(*json.loads(request)), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _run_and_report(request: Request, stdout: int, stderr: int, status: int) -> None:
    """Run the module in one more process; write the id of that, and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        os.close(status)
        _run(request, stdout, stderr)
        return
    os.close(stdout)
    os.close(stderr)
    with suppress(BrokenPipeError):
        os.write(status, NUMBER.pack(child))
        _, ended = os.waitpid(child, 0)
        os.write(status, NUMBER.pack(os.waitstatus_to_exitcode(ended)))
    os._exit(0)


def _run(request: Request, stdout: int, stderr: int) -> None:
    for number, descriptor in ((1, stdout), (2, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8", write_through=True)
        for number in (1, 2)
    )
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    sys.argv = [request.module, *request.arguments]
    sys.path[:1] = [request.cwd, *filter(None, request.env.get("PYTHONPATH", "").split(os.pathsep))]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup lets programs ignore
    importlib.reload(sys.modules["askbot_ws.early"])  # which takes effect when it is imported
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end what they have started
    for name in IMPORTED:
        importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
