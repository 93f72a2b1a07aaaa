"""A redis-server of its own, with an append-only file in a temporary folder."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .targets import cores, free_port, started_process

BUFFERS = ("mem_clients_normal", "mem_aof_buffer")


@dataclass(frozen=True, slots=True)
class RedisProcess:
    """A server that runs."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Its address, as for `ASKBOT_STORE`."""
        return f"redis://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Return the bytes that it uses, without the buffers of its clients and of its append-only file."""
        told = self.info("memory")
        return int(told["used_memory"]) - sum(int(told[name]) for name in BUFFERS)

    def info(self, section: str) -> dict[str, str]:
        """Return what it says of itself."""
        lines = self._asked(f"INFO {section}").splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines) if value}

    def key_memory(self, key: str) -> int:
        """Return the bytes that a key takes; 0 where there is none."""
        told = self._asked(f"MEMORY USAGE {key} SAMPLES 0")
        return int(told) if told.isdigit() else 0

    def _asked(self, command: str) -> str:
        """Send a command; returns its reply, which is a number or text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command.encode() + b"\r\n")
            with connection.makefile("rb") as stream:
                first = stream.readline()
                return stream.read(int(first[1:])).decode() if first[:1] == b"$" else first[1:].decode().strip()


@contextmanager
def redis_server() -> Generator[RedisProcess]:
    """Start a redis-server on the core of provider and load generator; it ends with the block."""
    port = free_port()
    command = ("redis-server", "--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--save", "")
    with (
        tempfile.TemporaryDirectory(prefix="askbot-bench-") as folder,
        started_process(cores()[1], command, Path(folder), os.environ, subprocess.DEVNULL) as process,
    ):
        server = RedisProcess(process.pid, port)
        _await_ready(server)
        yield server


def _await_ready(server: RedisProcess) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            server.info("server")
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
