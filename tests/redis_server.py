"""Real servers of Redis, as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import hiredis

from askbot_ws.store.redis.server_connection import pack_command

from .programs import REDIS

START_SECONDS = 20.0


class RedisServer:
    """A server of Redis or Valkey, with a folder of its own for its files, on a Unix socket or a port of 127.0.0.1.

    Further arguments are those of redis-server, as `--appendonly yes`. It is started by `start`, or by `redis_server`.
    """

    def __init__(self, folder: Path, *arguments: str, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> str:
        """The path of its Unix socket."""
        return str(self.folder / "redis.sock")

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.path}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = REDIS.path()
        assert program is not None, REDIS.how_to_get()
        self.process = subprocess.Popen([program, *self.flags()], cwd=self.folder, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    def flags(self) -> list[str]:
        """With which arguments it is started."""
        given = ["--save", "", "--port", str(self.port), "--logfile", "redis.log"]
        place = ["--bind", "127.0.0.1"] if self.port else ["--unixsocket", self.path]
        return [*given, *place, *self.arguments]

    def answers(self) -> bool:
        """Whether it answers, and has loaded its data."""
        try:
            return self.command("PING") in {b"PONG", "NOAUTH"}
        except OSError:
            return False

    def command(self, *words: bytes | str | int, limit: float = 10) -> object:
        """Run a command without logging in; an error's first word is returned as text."""
        with self.connect() as connection:
            connection.settimeout(limit)
            connection.sendall(pack_command(words))
            reader = hiredis.Reader(notEnoughData=self)
            while (reply := reader.gets()) is self:
                data = connection.recv(65_536)
                if not data:
                    raise ConnectionError
                reader.feed(data)
        return str(reply).split(" ", 1)[0] if isinstance(reply, hiredis.ReplyError) else reply

    def connect(self) -> socket.socket:
        """A connection to it."""
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        return connection

    def flush(self) -> None:
        """Delete all data, scripts too."""
        self.command("FLUSHALL")
        self.command("SCRIPT", "FLUSH")

    def pause(self) -> None:
        """Stop its process; connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its process go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it. What was not in its append-only file is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Kill it, and start it again with the same files."""
        self.kill()
        self.start()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


@contextmanager
def redis_server(*arguments: str, port: int = 0) -> Generator[RedisServer]:
    """A server; `port` 0: on a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="askbot-redis-") as folder:
        server = RedisServer(Path(folder), *arguments, port=port)
        try:
            server.start()
            yield server
        finally:
            server.kill()
