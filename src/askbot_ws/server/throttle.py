"""LoopThrottle: pauses the event loop where its thread is nearly out of CPU (docs/decisions/0006)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..core.limits import PauseController

MAX_PAUSE_SECONDS = 0.02  # seconds that a pause may have
UPDATE_INTERVAL_SECONDS = 0.1  # seconds between two looks at the clocks of the CPU
CGROUP_ROOT = Path("/sys/fs/cgroup")


class LoopThrottle:
    """Stops the whole thread for a moment after a commit. Only where the loop is all ours."""

    def __init__(
        self,
        *,
        cpus: float,
        clock: Callable[[], float] = time.monotonic,
        thread_cpu: Callable[[], float] = time.thread_time,
        process_cpu: Callable[[], float] = time.process_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`cpus`: how many cores this process may use, at most; less than 1 under a quota."""
        self.pause = 0.0
        self._controller = PauseController(max_seconds=MAX_PAUSE_SECONDS)
        self._cpus = cpus
        self._clock = clock
        self._thread_cpu = thread_cpu
        self._process_cpu = process_cpu
        self._sleep = sleep
        self._resumed_at = self._updated_at = clock()
        self._thread_used, self._process_used = thread_cpu(), process_cpu()

    def after_commit(self) -> None:
        """A commit is done: pause, where the last pause is not that long ago, and look at the clocks now and then."""
        now = self._clock()
        rest = self._resumed_at + self.pause - now
        if rest > 0:
            self._sleep(rest)
            now = self._clock()
        self._resumed_at = now
        if now - self._updated_at >= UPDATE_INTERVAL_SECONDS:
            self._update(now)

    def _update(self, now: float) -> None:
        thread, process = self._thread_cpu(), self._process_cpu()
        passed, used = now - self._updated_at, thread - self._thread_used
        others = max(0.0, process - self._process_used - used)  # our other threads, which may need the same cores
        available = min(passed, max(0.1 * passed, self._cpus * passed - others))
        self.pause = self._controller.update(used_seconds=used, available_seconds=available)
        self._updated_at, self._thread_used, self._process_used = now, thread, process


def usable_cpus(cgroup: Path = CGROUP_ROOT) -> float:
    """How many cores this process may use: its affinity, and the quota of its control group where it has one."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(float(cores), _cpu_quota(cgroup))


def _cpu_quota(cgroup: Path) -> float:
    """In cores; cgroup v2's `cpu.max`, or v1's two files."""
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
