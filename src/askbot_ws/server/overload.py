"""Overload: measures how much the server has to do, and lets it refuse work before all of it becomes slow.

Two things follow from the lag of the event loop. A long one that lasts is an overload: no questions are taken. Before
that, a short one tells how many turns can run at the same time: those that are more are refused, one by one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from ..core.load import MIN_LIMIT, AdaptiveLimit, LoadGauge, LoadLevel
from ..hub.admission import Admission
from .throttle import CGROUP_ROOT

STARTS_SHARE = 0.05  # of the turns that may run, that may begin between two samples: what begins together ends together
MIN_STARTS = 20.0
INTERVAL_SECONDS = 0.05  # between two samples
CALM_INTERVAL_SECONDS = 0.25  # the same where there is little to do: each wakes the process
MEMORY_SECONDS = 1.0  # between two samples of the memory
TARGET_SHARE = 0.15  # of the lag that is an overload: above it, further turns are too many
OWN_TARGET_SHARE = 0.06  # the same where the lag is of our own making: fewer turns make it shorter
BUSY_SHARE = 0.8  # of the time between two samples, in which the loop runs: then the lag is of our own making
CONTAINER_SHARE = 0.9  # of a container's memory, from which on questions are refused
MEMORY_HARD = 1.05  # times the threshold of the memory, from which on connections are refused too
MEMORY_RECOVERY = 0.95  # times the threshold, below which questions are taken again
STATM = Path("/proc/self/statm")

log = structlog.get_logger(__name__)


class OverloadMonitor:
    """Sets `Admission.load` by the lag of the event loop, the latency of the store and the memory of the process."""

    def __init__(
        self,
        admission: Admission,
        *,
        append_started_at: Callable[[], float | None],
        turns_running: Callable[[], int],
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Make a monitor, which is used in the thread of the event loop.

        Args:
            admission: Where questions are refused.
            append_started_at: Returns when the store was given what it has not accepted yet, by the loop's clock.
            turns_running: Returns how many turns run.
            cpu_clock: Returns the processor time of the event loop's thread, in seconds.
        """
        self._admission = admission
        self._turns_running = turns_running
        self._append_started_at = append_started_at
        self._lag = LoadGauge(None)
        self._commit = LoadGauge(None)
        self._memory = LoadGauge(None, hard=MEMORY_HARD, recovery=MEMORY_RECOVERY)
        self._memory_due = 0.0
        self._turns = AdaptiveLimit(None)
        self._cpu_clock = cpu_clock
        self._sampled_at, self._cpu_then = 0.0, 0.0

    def apply(self, *, lag: float | None, commit: float | None, memory: int | None) -> None:
        """Change the thresholds, in seconds and bytes; None: it does not matter."""
        self._lag.threshold, self._commit.threshold, self._memory.threshold = lag, commit, memory

    def sample(self, now: float, lag: float) -> float:
        """Take samples, and return in how many seconds to take the next ones.

        Args:
            now: The time of the loop's clock.
            lag: By how much its timers are late, in seconds.
        """
        started = self._append_started_at()
        self._lag.update(lag)
        self._turns.target = self._lag_target(now)
        running = self._turns_running()
        limit = self._turns.update(lag, running=running)
        self._admission.load_limit = limit
        self._admission.starts_left = max(MIN_STARTS, STARTS_SHARE * limit, MIN_LIMIT - running)
        self._commit.update(0.0 if started is None else now - started)
        if now >= self._memory_due:
            self._memory_due = now + MEMORY_SECONDS
            self._memory.update(resident_bytes() if self._memory.threshold is not None else 0)
        level = max(self._lag.level, self._commit.level, self._memory.level)
        if level is not self._admission.load:
            self._change(level)
        is_low = all(gauge.is_low for gauge in (self._lag, self._commit, self._memory))
        is_calm = level is LoadLevel.NORMAL and is_low and limit == math.inf and running < MIN_LIMIT
        return CALM_INTERVAL_SECONDS if is_calm else INTERVAL_SECONDS

    def _lag_target(self, now: float) -> float | None:
        """Return the lag above which there are too many turns: shorter where this process alone makes it."""
        passed, cpu = now - self._sampled_at, self._cpu_clock()
        is_busy = cpu - self._cpu_then >= BUSY_SHARE * passed
        self._sampled_at, self._cpu_then = now, cpu
        if self._lag.threshold is None:
            return None
        return (OWN_TARGET_SHARE if is_busy else TARGET_SHARE) * self._lag.threshold

    def _change(self, level: LoadLevel) -> None:
        before, self._admission.load = self._admission.load, level
        if level is LoadLevel.NORMAL:
            log.info("overload_ended")
        elif level > before:
            causes = {"lag": self._lag, "store": self._commit, "memory": self._memory}
            reasons = [name for name, gauge in causes.items() if gauge.level is level]
            log.warning("overload_started", load=level.name.lower(), causes=reasons)


def resident_bytes(statm: Path = STATM) -> int:
    """Return how many bytes of memory this process takes; 0 where the system does not say it so."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_threshold(setting: int | None, *, processes: int = 1, cgroup: Path = CGROUP_ROOT) -> int | None:
    """Return the memory from which on questions are refused, by the setting or the container; None: there is none.

    The container's is shared by this many processes.
    """
    if setting is not None:
        return setting or None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroup v2, v1
        try:
            limit = int((cgroup / name).read_text())
        except (OSError, ValueError):  # there is no limit: "max", or no such file
            continue
        if limit < 1 << 60:  # v1 writes the largest number that there is
            return int(limit * CONTAINER_SHARE / processes)
    return None
