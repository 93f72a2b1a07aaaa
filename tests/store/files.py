"""Files: functions that read and damage what a store has on the disk."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

SECRET = "a very particular sentence"


def mount(disk: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def segments(path: Path) -> list[Path]:
    return sorted(path.with_name(path.name + ".journal").glob("*.log"))


def files_containing(path: Path, text: bytes) -> list[str]:
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    return [file.name for file in files if text in file.read_bytes()]


def overwrite(path: Path, data: bytes, *, at: int = 0) -> None:
    kept = path.read_bytes()[:at] if at else b""
    path.write_bytes(kept + data)


def head_in_tables(path: Path, session: str = "s") -> int | None:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT head FROM sessions WHERE id = ?", (session,)).fetchone()
    return row[0] if row else None


def fill_disk(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler
