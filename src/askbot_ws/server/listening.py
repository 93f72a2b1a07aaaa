"""Listening: the sockets on which a server accepts connections: its own TCP or Unix socket, or those of systemd."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path

from ..config import Settings
from ..errors import ConfigError
from ..setting_types import is_loopback
from .keepalive import STALL_CHECKS_PER_TIMEOUT
from .websocket import STALLED_CLOSE_SECONDS

SEND_BUFFER_BYTES = 64 * 1024  # in the kernel, of each connection: a stalled reader is noticed before 4 MB
LISTEN_BACKLOG = 1024  # connections that wait to be accepted: beyond it, each of a burst waits a second
ACCEPT_TICKS = 5  # of the event loop, in which a connection that was accepted begins
PROBE_SECONDS = 1.0  # in which a process that listens on a Unix socket accepts a connection
HAS_TCP_USER_TIMEOUT = hasattr(socket, "TCP_USER_TIMEOUT")  # the kernel ends dead connections; else pings find them
AF_UNIX = getattr(socket, "AF_UNIX", None)  # not there on Windows


class UnixSocket(socket.socket):
    """A listening Unix socket that this process has made."""

    def __init__(self, path: Path, *, mode: int) -> None:
        """Bind a file, which whoever has these permissions can connect to. Raises OSError."""
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path = path
        try:
            with suppress(OSError):  # Linux: nobody else can connect until the permissions are set
                os.fchmod(self.fileno(), 0o600)
            self.bind(str(path))
            path.chmod(mode)
            self._identity = _identity(path)
            self.listen(LISTEN_BACKLOG)
        except BaseException:
            self.close()
            raise

    def unlink(self) -> None:
        """Remove the file, unless another process has replaced it. To be called before the socket is closed."""
        with suppress(OSError):
            if self.fileno() >= 0 and _identity(self.path) == self._identity:
                self.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


async def stop_accepting(descriptors: Iterable[int]) -> None:
    """Accept no further connection on these sockets, and let those begin that were: before their server is closed.

    asyncio accepts a connection and makes its transport one tick later. It drops those whose server is closed by then:
    their clients are connected, and wait until the garbage collector finds the sockets.
    """
    loop = asyncio.get_running_loop()
    for descriptor in descriptors:
        with suppress(NotImplementedError):  # on Windows
            loop.remove_reader(descriptor)
    for _ in range(ACCEPT_TICKS):
        await asyncio.sleep(0)


def bind(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say. Raises `ConfigError` where it can't."""
    bound = _bind_tcp(settings) if settings.unix is None else _bind_unix(settings.unix, int(settings.unix_mode, 8))
    bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return bound


def adopt(sockets: Sequence[socket.socket], settings: Settings) -> Settings:
    """Set the options of sockets that systemd has opened, and return the settings with the place where they listen.

    Raises:
        ConfigError: Other machines can reach one, and the setting `host` says that they can't: what is checked for an
            address that they reach has not been checked.
    """
    for each in sockets:
        if each.family == AF_UNIX:
            settings = settings.model_copy(update={"unix": Path(each.getsockname())})
            continue
        host, port = each.getsockname()[:2]
        if is_loopback(settings.host) and not is_loopback(host):
            raise ConfigError(
                f"systemd listens on {host} for askbot, which other machines can reach, and ASKBOT_HOST is "
                f"{settings.host}. Set ASKBOT_HOST={host} too, or change ListenStream= of the socket unit."
            )
        _set_options(each, settings)
        settings = settings.model_copy(update={"host": host, "port": port})
    if any(each.family != AF_UNIX for each in sockets):
        settings = settings.model_copy(update={"unix": None})
    return settings


def openable_host(bound: socket.socket) -> str | None:
    """Return the address to open for a socket that listens on all addresses; None for one that listens on one."""
    host = ip_address(bound.getsockname()[0].partition("%")[0])
    if not host.is_unspecified:
        return None
    takes_ipv4 = host.version == 4 or not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return "127.0.0.1" if takes_ipv4 else "::1"


# --- TCP -------------------------------------------------------------------------------------------------------------


def _bind_tcp(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _set_options(bound, settings)
            bound.bind(address)
            bound.listen(LISTEN_BACKLOG)
            undo.pop_all()
    except (OSError, UnicodeError) as error:  # UnicodeError: no host has such a name
        raise ConfigError(
            f"askbot can't listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}. "
            "Choose others with ASKBOT_HOST and ASKBOT_PORT (--host, --port), or end what listens there."
        ) from error
    return bound


def _set_options(bound: socket.socket, settings: Settings) -> None:
    """Set what the connections of a listening TCP socket inherit."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if HAS_TCP_USER_TIMEOUT:  # longer than it takes to close a stalled reader
        seconds = (
            settings.heartbeat + settings.reader_timeout * (1 + 2 / STALL_CHECKS_PER_TIMEOUT) + STALLED_CLOSE_SECONDS
        )
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(int(seconds * 1000), 2**31 - 1))


# --- Unix sockets ----------------------------------------------------------------------------------------------------


def _bind_unix(path: Path, mode: int) -> UnixSocket:
    if AF_UNIX is None:
        raise ConfigError("ASKBOT_UNIX: there are no Unix sockets on this system; use ASKBOT_HOST and ASKBOT_PORT.")
    try:
        _remove_stale(path)
        return UnixSocket(path, mode=mode)
    except OSError as error:
        raise ConfigError(
            f"askbot can't listen on {path}: {error.strerror or error}. Choose another path with ASKBOT_UNIX (--unix), "
            "in a folder in which the server may create files."
        ) from error


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a process that has ended without doing so. Raises OSError or `ConfigError`."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(f"ASKBOT_UNIX: {path} is there already, and is no socket; remove it, or choose another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except TimeoutError:  # its backlog is full
            pass
    raise ConfigError(f"askbot can't listen on {path}: another process does. End it, or choose another path (--unix).")
