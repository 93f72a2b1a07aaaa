"""Reload: a server that starts again when its files change. For development."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

SUFFIXES = frozenset({".py", ".toml", ".js", ".html", ".css", ".env"})
SKIPPED = frozenset({"node_modules", "__pycache__"})
POLL = 0.5
PATIENCE = 3.0  # for the old server to end

Stamps = dict[str, int]


def serve_again(arguments: Sequence[str], folders: Sequence[Path], *, poll: float = POLL) -> int:
    """Run the command line `askbot …` over and over, at each change of a file, until Ctrl-C. Returns the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    stamps = look(folders)
    server = _start(arguments)
    try:
        while True:
            time.sleep(poll)
            if (now := look(folders)) != stamps:
                typer.secho(f"{', '.join(changed(stamps, now))} changed: starting again", dim=True, err=True)
                stamps = now
                _stop(server)
                server = _start(arguments)
    except KeyboardInterrupt:
        return _wait(server)  # the terminal has told the server too
    finally:
        _stop(server)


def look(folders: Sequence[Path]) -> Stamps:
    """When each file was last written."""
    return {name: stamp for folder in folders for name, stamp in _walk(str(folder))}


def changed(before: Stamps, after: Stamps) -> list[str]:
    """The names of the files that are new, gone or written."""
    return sorted({os.path.basename(name) for name, _ in before.items() ^ after.items()})  # noqa: PTH119 - they are strings


def _walk(folder: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    yield from _walk(entry.path)
            elif os.path.splitext(entry.name)[1] in SUFFIXES or entry.name == ".env":  # noqa: PTH122 - each half second
                try:
                    yield entry.path, entry.stat().st_mtime_ns
                except FileNotFoundError:
                    continue  # an editor's temporary file


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "askbot_ws.cli", *arguments])  # noqa: S603 - our own command line


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        _wait(server)


def _wait(server: subprocess.Popen[bytes]) -> int:
    try:
        return server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()
