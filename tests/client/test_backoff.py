"""When the next attempt to connect may be made."""

from __future__ import annotations

import pytest

from askbot_ws.client.backoff import Backoff, reconnect_delay

from .virtual import run


@pytest.mark.parametrize(
    ("attempt", "longest"), [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (1000, 30.0), (1024, 30.0), (1_000_000, 30.0)]
)
def test_pauses_are_random_from_the_first_on_and_never_longer_than_30_seconds(attempt: int, longest: float) -> None:
    """Full jitter, up to 0.5 s · 2^n, however many attempts there were."""
    assert reconnect_delay(attempt, lambda: 1.0) == longest
    assert reconnect_delay(attempt, lambda: 0.5) == longest / 2
    assert len({reconnect_delay(attempt) for _ in range(20)}) > 1


def test_attempts_are_counted_until_something_new_has_come() -> None:
    """Each one is told how many there were before it."""
    told = list[int]()

    def count(attempt: int) -> float:
        told.append(attempt)
        return 0.0

    async def main() -> None:
        backoff = Backoff(count)
        for _ in range(3):
            backoff.next_delay()
        backoff.reset()
        backoff.next_delay()

    run(main())
    assert told == [0, 1, 2, 0]


def test_the_server_can_ask_for_a_longer_pause() -> None:
    """The longest of what it asks for, and the random pause on top; something new ends that too."""

    async def main() -> list[float]:
        backoff = Backoff(lambda _: 0.25)
        backoff.hold(100.0)
        backoff.hold(3.0)
        held = backoff.next_delay()
        backoff.reset()
        return [held, backoff.next_delay()]

    assert run(main()) == [100.25, 0.25]
