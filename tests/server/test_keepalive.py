"""The wheel: each at its own time, with one timer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.server.keepalive import TimerWheel


class Thing:
    pass


@given(
    begun=st.floats(0, 1e6),
    step=st.floats(0.01, 10),
    waits=st.lists(st.floats(-5, 100), max_size=20),
    pauses=st.lists(st.floats(0, 30), max_size=20),
)
def test_each_is_due_once_and_at_most_a_step_late(
    begun: float, step: float, waits: list[float], pauses: list[float]
) -> None:
    """However the looks are spread; never before its time."""
    wheel = TimerWheel[Thing](step, now=begun)
    left = {Thing(): begun + wait for wait in waits}
    for thing, at in left.items():
        wheel.schedule(thing, at)
    now = begun
    for pause in [*pauses, 200.0]:
        now += pause
        for thing in wheel.pop_due(now):
            assert left.pop(thing) <= now
        late = [at for at in left.values() if max(at, begun) + 2 * step < now]
        assert not late

    assert not left


def test_a_wheel_keeps_nobody_alive() -> None:
    """Ten thousand that came and went a moment ago are gone."""
    wheel = TimerWheel[Thing](1.0, now=0.0)
    stays, goes = Thing(), Thing()
    wheel.schedule(stays, 5.0)
    wheel.schedule(goes, 5.0)
    del goes

    assert wheel.pop_due(10.0) == [stays]
    assert wheel.pop_due(20.0) == []


def test_nobody_looks_before_it_can_be_time() -> None:
    """So that a server with nothing to do sleeps."""
    wheel = TimerWheel[Thing](0.5, now=10.0)
    assert wheel.seconds_until_due(10.0, max_seconds=20.0) == 20.0
    near, far = Thing(), Thing()
    wheel.schedule(far, 17.0)
    assert wheel.seconds_until_due(10.0, max_seconds=3.0) == 3.0
    wheel.schedule(near, 12.0)

    wait = wheel.seconds_until_due(10.0, max_seconds=20.0)
    assert 2.0 <= wait <= 2.5
    assert wheel.pop_due(10.0 + wait) == [near]
    assert wheel.seconds_until_due(100.0, max_seconds=20.0) == 0.0
    assert wheel.pop_due(100.0) == [far]
