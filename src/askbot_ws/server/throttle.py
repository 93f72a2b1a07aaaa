"""Loop throttle: pauses the event loop while its thread uses nearly all of its CPU (docs/decisions/0006)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..core.limits import LoopPauseController

MAX_PAUSE_SECONDS = 0.02
UPDATE_INTERVAL_SECONDS = 0.1  # between two readings of the CPU clocks
CGROUP_ROOT = Path("/sys/fs/cgroup")


class LoopThrottle:
    """Blocks the thread for some milliseconds after a commit; only for an event loop that runs nothing else."""

    def __init__(
        self,
        *,
        cpus: float,
        clock: Callable[[], float] = time.monotonic,
        thread_cpu: Callable[[], float] = time.thread_time,
        process_cpu: Callable[[], float] = time.process_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`cpus` is how many cores this process may use; less than 1 under a quota."""
        self.pause = 0.0
        self._controller = LoopPauseController(max_seconds=MAX_PAUSE_SECONDS)
        self._cpus = cpus
        self._clock = clock
        self._thread_cpu = thread_cpu
        self._process_cpu = process_cpu
        self._sleep = sleep
        self._resumed_at = self._updated_at = clock()
        self._thread_used, self._process_used = thread_cpu(), process_cpu()

    def after_commit(self) -> None:
        """Sleep until `pause` seconds after the end of the last sleep; from time to time, update `pause`."""
        now = self._clock()
        remaining = self._resumed_at + self.pause - now
        if remaining > 0:
            self._sleep(remaining)
            now = self._clock()
        self._resumed_at = now
        if now - self._updated_at >= UPDATE_INTERVAL_SECONDS:
            self._update(now)

    def _update(self, now: float) -> None:
        thread, process = self._thread_cpu(), self._process_cpu()
        passed, used = now - self._updated_at, thread - self._thread_used
        others = max(0.0, process - self._process_used - used)  # by other threads, which may need the same cores
        available = min(passed, max(0.1 * passed, self._cpus * passed - others))
        self.pause = self._controller.update(used_seconds=used, available_seconds=available)
        self._updated_at, self._thread_used, self._process_used = now, thread, process


def usable_cpus(cgroup: Path = CGROUP_ROOT) -> float:
    """Return how many cores this process may use, by its affinity and the quota of its control group."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(float(cores), _cpu_quota(cgroup))


def _cpu_quota(cgroup: Path) -> float:
    """Return the quota of a control group in cores, from `cpu.max` of cgroup v2 or the two files of v1."""
    try:
        v2 = cgroup / "cpu.max"
        if v2.exists():
            quota, period = v2.read_text().split()[:2]
        else:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = float(quota) / float(period)
    except (OSError, ValueError):
        return float("inf")  # there is no quota: "max", or no such file
    return cores if cores > 0 else float("inf")
