"""LoopThrottle: the loop pauses by need only."""

from __future__ import annotations

from pathlib import Path

import pytest

from askbot_ws.server.throttle import MAX_PAUSE_SECONDS, LoopThrottle, usable_cpus


class Machine:
    """Clocks that are moved by hand."""

    def __init__(self) -> None:
        self.now = self.thread = self.process = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def work(self, seconds: float, *, idle: float = 0.0, others: float = 0.0) -> None:
        """The loop's thread works, waits for events, and other threads work beside it."""
        self.thread += seconds
        self.process += seconds + others
        self.now += seconds + idle

    def throttle(self, *, cpus: float) -> LoopThrottle:
        return LoopThrottle(
            cpus=cpus,
            clock=lambda: self.now,
            thread_cpu=lambda: self.thread,
            process_cpu=lambda: self.process,
            sleep=self.sleep,
        )


def test_a_loop_with_time_to_spare_never_sleeps() -> None:
    """A third of a core busy, many commits a second: each is shown at once."""
    machine = Machine()
    throttle = machine.throttle(cpus=2)
    for _ in range(1000):
        machine.work(0.001, idle=0.002)
        throttle.after_commit()

    assert (machine.slept, throttle.pause) == ([], 0.0)


def test_a_loop_that_is_out_of_cpu_sleeps_up_to_the_limit() -> None:
    """From one wake-up to the next no more than 20 ms pass by it."""
    machine = Machine()
    throttle = machine.throttle(cpus=2)
    for _ in range(2000):
        machine.work(0.001)
        throttle.after_commit()

    assert machine.slept
    assert 0.001 < max(machine.slept) <= MAX_PAUSE_SECONDS


def test_once_there_is_time_again_it_stops() -> None:
    """Within a few looks."""
    machine = Machine()
    throttle = machine.throttle(cpus=2)
    for _ in range(500):
        machine.work(0.001)
        throttle.after_commit()
    for _ in range(200):
        machine.work(0.0005, idle=0.01)
        throttle.after_commit()

    assert throttle.pause == 0.0


@pytest.mark.parametrize(("cpus", "others", "pauses"), [(2.0, 0.001, False), (1.0, 0.001, True), (0.5, 0.0, True)])
def test_what_it_may_have_is_less_under_a_quota_and_beside_its_own_threads(
    cpus: float,
    others: float,
    pauses: bool,  # noqa: FBT001
) -> None:
    """Half a core busy: nearly all there is of half a core, or of one core of which other threads take the rest."""
    machine = Machine()
    throttle = machine.throttle(cpus=cpus)
    for _ in range(1000):
        machine.work(0.001, idle=0.001, others=others)
        throttle.after_commit()

    assert bool(machine.slept) is pauses


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "nonsense\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_counts(files: dict[str, str], cpus: float | None, tmp_path: Path) -> None:
    """As cgroup v2 and v1 say it; without one it is the affinity."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert usable_cpus(tmp_path) == (cpus if cpus is not None else usable_cpus(tmp_path / "nothing"))
    assert usable_cpus(tmp_path) > 0
