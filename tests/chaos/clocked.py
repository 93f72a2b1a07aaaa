"""`askbot` with a wall clock that others can move: `python -m tests.chaos.clocked FILE serve …`.

The file holds how many seconds the clock is wrong by. The steady clock is not touched, as it isn't when somebody, or
NTP, sets a machine's clock.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

OFFSET = struct.Struct("<d")


def set_clock(file: Path, offset: float) -> None:
    """Let the clock be wrong by so many seconds, at once."""
    if not file.exists():
        file.write_bytes(OFFSET.pack(offset))
    with file.open("r+b", buffering=0) as stored:
        stored.write(OFFSET.pack(offset))


def move_clock(file: Path) -> None:
    """Let this process's wall clock follow the file. Before anything else is imported that looks at it."""
    with file.open("rb") as stored:
        view = mmap.mmap(stored.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    real = time.time

    def moved() -> float:
        return real() + float(OFFSET.unpack(view)[0])

    time.time = moved


if __name__ == "__main__":
    move_clock(Path(sys.argv.pop(1)))
    from askbot_ws.cli import main

    main()
