"""ASKBOT_STORE."""

from __future__ import annotations

from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.store.sqlite.store import SQLiteStore
from askbot_ws.store.url import make_store


def test_memory_is_memory() -> None:
    """Nothing kept, for those who want that."""
    assert isinstance(make_store("memory:", fsync=False), MemoryStore)


async def test_a_file_is_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes and four, as everywhere; folders are made, for nobody else to read."""
    monkeypatch.chdir(tmp_path)

    for url, path in (
        ("sqlite:///data/one.db", tmp_path / "data/one.db"),
        (f"sqlite:///{tmp_path}/very/deep/two.db", tmp_path / "very/deep/two.db"),
    ):
        store = make_store(url, fsync=False)
        assert isinstance(store, SQLiteStore)
        await store.open()
        await store.close()
        assert path.exists()
        assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis:/:secret@localhost", "there is no such store"),
        ("sqlite://a.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:///:memory:", "three slashes"),
        ("postgres://:secret@host/db", "there is no such store"),
        ("", "there is no such store"),
    ],
)
def test_anything_else_is_refused_with_the_valid_forms(url: str, fault: str) -> None:
    """The setting is named, the fix too, and no password."""
    with pytest.raises(ConfigError, match=fault) as caught:
        make_store(url, fsync=False)

    assert "ASKBOT_STORE" in str(caught.value)
    assert "sqlite:////absolute/file.db" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://:secret@localhost", "rediss://localhost", "unix:///run/redis.sock"])
def test_redis_is_a_store_where_the_extra_is_installed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported or connected before it is asked for; without the extra, the fix is named."""
    assert isinstance(make_store(url, fsync=False), RedisStore)

    def find_nothing(name: str) -> None:
        """The packages are not installed."""

    monkeypatch.setattr("askbot_ws.store.redis.find_spec", find_nothing)
    with pytest.raises(ConfigError, match=r"pip install 'askbot-ws\[redis\]'") as caught:
        make_store(url, fsync=False)
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"ASKBOT_STORE: the folder .*file/sub cannot be made"):
        make_store(f"sqlite:///{tmp_path}/file/sub/a.db", fsync=False)
