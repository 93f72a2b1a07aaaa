"""What Linux knows about a process: how much of a core it has used, what memory it has."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Used:
    """What a process and its children have used so far, in nanoseconds, by thread."""

    threads: dict[tuple[int, int], int]
    at: float

    def since(self, before: Used) -> float:
        """Seconds of a core."""
        return sum(used - before.threads.get(thread, 0) for thread, used in self.threads.items()) / 1e9

    def share(self, before: Used) -> float:
        """The share of a core in the time between."""
        return self.since(before) / max(1e-9, self.at - before.at)


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += [int(child) for child in _read(task / "children").split()]
    return found


def used(pid: int) -> Used:
    """The scheduler's own count: exact to the nanosecond, where `stat` counts in hundredths of a second."""
    threads: dict[tuple[int, int], int] = {}
    for member in family(pid):
        for task in _tasks(member):
            if count := _read(task / "schedstat").split():
                threads[member, int(task.name)] = int(count[0])
    return Used(threads, time.monotonic())


def memory(pid: int) -> float:
    """Megabytes that are its own, with its share of what it shares; the kernel's socket buffers are not counted."""
    total = 0
    for member in family(pid):
        for line in _read(Path(f"/proc/{member}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def python() -> str:
    """Which Python this is, and whose: how it was built is worth a fifth of a token."""
    system = sys.base_prefix == "/usr"
    return platform.python_version() + (f" of {platform.freedesktop_os_release()['PRETTY_NAME']}" if system else "")


def name() -> str:
    """The machine, for the reader of a table."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = os.cpu_count() or 1
    return f"{models[0] if models else platform.machine()}, {cores} cores, Linux {platform.release()}"


def load() -> float:
    """How many programs wanted to run in the last minute: what else runs is in every figure."""
    return os.getloadavg()[0]


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
