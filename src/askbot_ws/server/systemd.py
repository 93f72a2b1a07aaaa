"""systemd: sockets that it has opened for the server (sd_listen_fds), and what the server tells it (sd_notify)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

import structlog

from ..errors import ConfigError

FIRST_DESCRIPTOR = 3  # after stdin, stdout and stderr
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
NOTIFY_SOCKET = "NOTIFY_SOCKET"
AF_UNIX = getattr(socket, "AF_UNIX", None)  # not there on Windows

log = structlog.get_logger(__name__)


def take_sockets(environ: MutableMapping[str, str] | None = None) -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for this process; none where there are none.

    The variables that say so are removed: child processes, and a second call, get nothing.

    Raises:
        ConfigError: A descriptor is no listening TCP or Unix socket, as where the unit has `Accept=yes`.
    """
    environ = os.environ if environ is None else environ
    pid, count = (environ.get(name, "") for name in VARIABLES[:2])
    if pid != str(os.getpid()):  # they are for another process, which has handed its environment down
        return []
    for name in VARIABLES:
        environ.pop(name, None)
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS is {ascii(count)[:20]}; systemd sets it to the number of sockets.")
    return [_adopt(descriptor) for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))]


def _adopt(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
        adopted = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"What systemd has passed as descriptor {descriptor} is no socket.") from error
    kinds = {socket.AF_INET, socket.AF_INET6, AF_UNIX}
    listens = adopted.family in kinds and adopted.type == socket.SOCK_STREAM
    if not listens or not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        adopted.close()
        raise ConfigError(
            f"What systemd has passed as descriptor {descriptor} is no listening TCP or Unix socket: "
            "the socket unit should have ListenStream=, and Accept=no."
        )
    adopted.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return adopted


def notify_ready() -> None:
    """Tell systemd that the server listens, or that it has read its settings again."""
    _notify("READY=1")


def notify_reloading() -> None:
    """Tell systemd that the server reads its settings again; `notify_ready` is to follow."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """Tell systemd that the server drains."""
    _notify("STOPPING=1")


def _notify(message: str) -> None:
    """Send a message to systemd, where that has started the process; a failure is only logged."""
    address = os.environ.get(NOTIFY_SOCKET, "")
    if AF_UNIX is None or not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            sender.sendall(message.encode())
    except OSError as error:
        log.warning("systemd_not_notified", reason=error.strerror or str(error))
