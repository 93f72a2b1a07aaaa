"""From ASKBOT_STORE to a store."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from . import Store
from .memory import MemoryStore
from .sqlite.store import SQLiteStore

FORMS = "memory:, sqlite:///relative/file.db or sqlite:////absolute/file.db"


def open_store(url: str, *, fsync: bool) -> Store:
    """The store that a URL names, not yet opened. Raises `ConfigError`."""
    if url == "memory:":
        return MemoryStore()
    return SQLiteStore(_prepared(path_of(url)), fsync=fsync)


def path_of(url: str) -> Path:
    """The file that a URL names. Raises `ConfigError` where it names none."""
    path = url.removeprefix("sqlite:///")
    if path in {url, "", ":memory:"}:
        raise ConfigError(f"ASKBOT_STORE: {_fault(url)}; the valid forms are {FORMS}.")
    return Path(path)


def _fault(url: str) -> str:
    scheme = url.partition(":")[0]  # never more of it: a URL may hold a password
    if scheme == "memory":
        return "memory: keeps no file"
    if scheme in {"redis", "rediss"}:
        return f"the {scheme}:// store is not built yet"
    if scheme == "sqlite":
        return "a sqlite URL has three slashes and then a file's path"
    return "there is no such store"


def _prepared(path: Path) -> Path:
    """The path, in a folder that exists and that only we may read if we made it."""
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
