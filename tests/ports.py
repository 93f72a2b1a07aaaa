"""Ports for servers that tests start."""

from __future__ import annotations

import secrets
import socket

_PORTS = range(10_000, 32_768)  # below those that clients are given: one would take the port of a server that restarts


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    while True:
        port = secrets.choice(_PORTS)  # whatever seeds: workers with the same one would take the same ports
        with socket.socket() as bound:
            try:
                bound.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
