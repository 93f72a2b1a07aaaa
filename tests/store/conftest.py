"""What the tests of SQLiteStore begin with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from askbot_ws.store.sqlite.store import SQLiteStore

from .files import mount


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SQLiteStore, None]:
    store = SQLiteStore(path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path, None, None]:
    """A file system of its own, of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or mount(disk, "size=512k") != 0:
        pytest.skip("a file system can't be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
