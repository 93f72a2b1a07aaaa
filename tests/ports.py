"""Ports for servers that tests start."""

from __future__ import annotations

import secrets
import socket

_PORTS = range(10_000, 32_768)  # below those that clients are given: one would take the port of a server that restarts


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, and that nobody else is given as long as this process runs.

    A socket that does not listen keeps it. A server can listen on it all the same, as servers ask to reuse addresses.
    """
    while True:
        port = secrets.choice(_PORTS)  # whatever seeds: workers with the same one would take the same ports
        kept = socket.socket()
        try:
            kept.bind(("127.0.0.1", port))  # without reuse: it fails where another has kept it
        except OSError:
            kept.close()
            continue
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.detach()  # it stays open until the process ends
        return port
