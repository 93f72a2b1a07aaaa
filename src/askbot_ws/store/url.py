"""Store URLs: from the setting ASKBOT_STORE to a store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from . import Store
from .memory import MemoryStore
from .sqlite.store import SQLiteStore

VALID_FORMS = (
    "memory:, sqlite:///relative/file.db, sqlite:////absolute/file.db, redis://host:port, rediss://host:port (TLS) "
    "or unix:///path (the socket of Redis)"
)
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def make_store(url: str, *, fsync: bool, replicas: int = 0, wall_clock: Callable[[], float] = time.time) -> Store:
    """Create the store that a URL names; it is not opened yet.

    Args:
        url: The URL, as in ASKBOT_STORE.
        fsync: Whether what is acknowledged survives a power cut; Redis has a setting of its own for that.
        replicas: How many replicas of Redis must have what is appended before anybody is shown it.
        wall_clock: Seconds since 1970.

    Raises:
        ConfigError: The URL is invalid, or what it needs is not installed.
    """
    if url == "memory:":
        return MemoryStore(wall_clock=wall_clock)
    if is_shared(url):
        from .redis import require_redis  # noqa: PLC0415 - the extra may not be installed

        require_redis()
        from .redis.store import RedisStore  # noqa: PLC0415 - as above; and it takes a quarter of a second

        return RedisStore(url, replicas=replicas, wall_clock=wall_clock)
    return SQLiteStore(_make_folder(path_of(url)), fsync=fsync, wall_clock=wall_clock)


def is_shared(url: str) -> bool:
    """Whether a URL names a store that several nodes can use at the same time."""
    return url.startswith(_REDIS_SCHEMES)


def without_password(url: str) -> str:
    """A URL as it may be shown: without the user and the password."""
    return re.sub(r"//.*@", "//", url)


def path_of(url: str) -> Path:
    """The path of the file that a URL names. Raises `ConfigError` where it names none."""
    if is_shared(url):
        raise ConfigError(
            "ASKBOT_STORE: the store in Redis keeps no file here; back it up with Redis' own means, or copy it to a "
            "file with `askbot store copy`."
        )
    path = url.removeprefix("sqlite:///")
    if path in {url, "", ":memory:"}:
        raise ConfigError(f"ASKBOT_STORE: {_explain(url)}; the valid forms are {VALID_FORMS}.")
    return Path(path)


def _explain(url: str) -> str:
    scheme = url.partition(":")[0]  # never more of it: a URL may hold a password
    if scheme == "memory":
        return "memory: keeps no file"
    if scheme == "sqlite":
        return "a sqlite URL has three slashes and then a file's path"
    return "there is no such store"


def _make_folder(path: Path) -> Path:
    """Make the path's folder, readable only for its owner, where there is none; returns the path."""
    try:
        for folder in reversed(path.absolute().parents):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"ASKBOT_STORE: the folder {path.parent} cannot be made ({error.strerror}); "
            "make it, or choose another file."
        ) from error
    return path
