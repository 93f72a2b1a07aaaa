"""Store URLs: from the setting ASKBOT_STORE to a store."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from . import Store
from .memory import MemoryStore
from .sqlite.store import SQLiteStore

VALID_FORMS = "memory:, sqlite:///relative/file.db or sqlite:////absolute/file.db"


def open_store(url: str, *, fsync: bool) -> Store:
    """Create the store that a URL names; it is not opened yet. Raises `ConfigError` where the URL is invalid."""
    if url == "memory:":
        return MemoryStore()
    if url.startswith(("redis:", "rediss:", "valkey:", "valkeys:", "unix:")):
        from .redis.store import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(url)
    return SQLiteStore(_make_folder(path_of(url)), fsync=fsync)


def path_of(url: str) -> Path:
    """The path of the file that a URL names. Raises `ConfigError` where it names none."""
    path = url.removeprefix("sqlite:///")
    if path in {url, "", ":memory:"}:
        raise ConfigError(f"ASKBOT_STORE: {_explain(url)}; the valid forms are {VALID_FORMS}.")
    return Path(path)


def _explain(url: str) -> str:
    scheme = url.partition(":")[0]  # never more of it: a URL may hold a password
    if scheme == "memory":
        return "memory: keeps no file"
    if scheme in {"redis", "rediss"}:
        return f"the {scheme}:// store is not built yet"
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
