"""Reload: `askbot serve --reload`, a server that restarts when its files change. For development."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import typer
from watchfiles import PythonFilter, watch

WATCHED = PythonFilter(extra_extensions=(".toml", ".js", ".html", ".css", ".env"))  # not in .venv, node_modules, …
TERMINATE_SECONDS = 3.0  # for the old server to end, before it is killed


def run_with_reload(arguments: Sequence[str], folders: Sequence[Path]) -> int:
    """Run `askbot` with these arguments, and again at each change of a file in the folders, until Ctrl-C or SIGTERM.

    Returns the exit code of the last server; 143 after SIGTERM.
    """
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: terminated.set())
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, _frame: server.send_signal(number))
    server = _start(arguments)
    try:
        for changes in watch(*folders, watch_filter=WATCHED, stop_event=terminated):
            names = sorted({Path(path).name for _, path in changes})
            typer.secho(f"{', '.join(names)} changed: starting again", dim=True, err=True)
            _stop(server)
            server = _start(arguments)
    except KeyboardInterrupt:
        return _wait(server)  # the terminal has sent SIGINT to the server too
    finally:
        _stop(server)
    return 128 + signal.SIGTERM


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "askbot_ws.cli", *arguments])  # noqa: S603 - our own command line


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        _wait(server)


def _wait(server: subprocess.Popen[bytes]) -> int:
    """Wait for the server to end, and kill it after `TERMINATE_SECONDS`. Returns its exit code."""
    try:
        return server.wait(TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()
