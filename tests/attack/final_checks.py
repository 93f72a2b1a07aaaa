"""Final checks: what the log of an attacked server says, and how large the server is."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from ..process import Json, resident
from .honest_user import Measured

MB = 1024 * 1024
MOST_GROWTH = 20 * MB
MORE_FDS = 3  # that the store may have open besides
LATEST = 1.0  # seconds, of the 99th percentile
MOST_BUSY = 0.1  # of what honest users want may be refused because the server is busy


@dataclass(frozen=True, slots=True)
class Size:
    """A server's process.

    Attributes:
        memory: Its resident size, in bytes.
        fds: Its file descriptors, but for connections to the model's API, which are kept for a while.
        clients: Its connections from clients.
    """

    memory: int
    fds: int
    clients: int


def measure(pid: int) -> Size:
    """Look at a process."""
    process = psutil.Process(pid)
    connections = process.net_connections("tcp")
    ports = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    clients = [each for each in connections if each.laddr.port in ports and each.status != psutil.CONN_LISTEN]
    to_model = [each for each in connections if each.laddr.port not in ports]
    return Size(resident(pid), int(process.num_fds()) - len(to_model), len(clients))


def check_sizes(before: Size, after: Size) -> list[str]:
    """Return what has grown between two moments at which there was no client."""
    found = list[str]()
    if after.memory - before.memory > MOST_GROWTH:
        found.append(f"memory has grown from {before.memory / MB:.1f} MB to {after.memory / MB:.1f} MB")
    if after.fds > before.fds + MORE_FDS or after.clients:
        found.append(f"not given back: {before}, then {after}")
    return found


def check_log(log: Path, secrets: Sequence[str]) -> list[str]:
    """Return the lines of errors, what is no line of the log, and which secrets are in it.

    An hour's log has hundreds of megabytes, in which tens of thousands of secrets are looked for, by grep in one pass.
    """
    found = list[str]()
    has_traceback = False
    with log.open(errors="replace") as lines:
        for line in lines:
            has_traceback |= "Traceback" in line
            if not line.startswith("{"):
                found.append(f"no line of a log: {line[:300]}")
                continue
            entry: Json = json.loads(line)
            if entry["level"] in ("error", "critical") or "exception" in entry or "exc_info" in entry:
                found.append(line[:2_000])
    if has_traceback:
        found.append("the log has a traceback")
    search = ["grep", "--text", "--only-matching", "--fixed-strings", "--file=-", str(log)]
    environ = os.environ | {"LC_ALL": "C"}
    asked = "\n".join(secrets)
    searched = subprocess.run(search, input=asked, env=environ, capture_output=True, text=True, check=False)
    assert searched.returncode in (0, 1), searched.stderr
    return found + [f"the log has the secret {secret!r}" for secret in sorted({*searched.stdout.splitlines()})]


def check_measured(measured: Measured) -> list[str]:
    """Return what honest users had to complain of."""
    found = list(measured.broken)
    for what, seconds in zip(("first token", "round trip"), measured.at(0.99), strict=True):
        if seconds > LATEST:
            found.append(f"honest users' {what}: {seconds:.2f} s at the 99th percentile")
    if not measured.first_tokens or not measured.round_trips:
        found.append("honest users were not answered at all")
    refused = measured.busy.total()
    if refused > 5 + MOST_BUSY * len(measured.first_tokens):
        found.append(
            f"honest users were refused: {dict(measured.busy)}, and answered {len(measured.first_tokens)} times"
        )
    return found


def settle(pid: int, *, fds: int, seconds: float) -> Size:
    """Return the size of a process once it has no clients, and at most so many descriptors; or after so long."""
    until = time.monotonic() + seconds
    while ((size := measure(pid)).clients or size.fds > fds) and time.monotonic() < until:
        time.sleep(0.1)
    return size
