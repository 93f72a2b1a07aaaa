"""Rates of clients: what is taken, what is kept of whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.allowance import Allowance, Client, Rates
from askbot_ws.core.rate_limiter import Amounts, RateLimiter


def client_of(key: str, **rates: int) -> Client:
    return Client(key, allowance=Allowance(rates=Rates(**rates)))


def test_what_is_refused_for_one_rate_costs_nothing_of_the_others() -> None:
    """All are checked before any is taken, and the longest wait is told."""
    limiter = RateLimiter()
    ann = client_of("ann", questions=2, characters=100, tokens=1000)

    assert limiter.acquire(ann, Amounts(questions=1, characters=90), now=0) == 0
    assert limiter.acquire(ann, Amounts(questions=1, characters=90), now=0) == pytest.approx(48)
    assert limiter.acquire(ann, Amounts(questions=1, characters=10, tokens=1000), now=0) == 0
    assert limiter.acquire(ann, Amounts(questions=1, characters=50), now=0) == pytest.approx(30)
    assert limiter.acquire(client_of("bob", questions=2), Amounts(questions=1), now=0) == 0


def test_more_than_fits_at_once_waits_until_nothing_is_in_the_bucket() -> None:
    """Else a long question would never be taken."""
    limiter, ann = RateLimiter(), client_of("ann", characters=60)

    assert limiter.acquire(ann, Amounts(characters=600), now=0) == 0
    assert limiter.acquire(ann, Amounts(characters=1), now=0) == pytest.approx(541)
    assert limiter.acquire(ann, Amounts(characters=600), now=590) == pytest.approx(10)


def test_tokens_are_settled_when_they_are_known() -> None:
    """In both directions; never is more there than at the start."""
    limiter, ann = RateLimiter(), client_of("ann", tokens=600)
    assert limiter.acquire(ann, Amounts(tokens=600), now=0) == 0
    assert limiter.acquire(ann, Amounts(tokens=1), now=0) > 0

    limiter.charge_tokens(ann, -600, now=0)
    assert limiter.acquire(ann, Amounts(tokens=600), now=0) == 0
    limiter.charge_tokens(ann, 600, now=0)
    assert limiter.acquire(ann, Amounts(tokens=1), now=0) == pytest.approx(60.1)
    limiter.charge_tokens(ann, -5000, now=0)
    assert limiter.acquire(ann, Amounts(tokens=600), now=0) == 0
    assert limiter.acquire(ann, Amounts(tokens=1), now=0) > 0


def test_other_limits_hold_at_once_and_what_was_used_still_counts() -> None:
    """After a reload of the settings, or with a credential of another role."""
    limiter = RateLimiter()
    for _ in range(4):
        limiter.acquire(client_of("ann", questions=10), Amounts(questions=1), now=1000)

    assert limiter.acquire(client_of("ann", questions=5), Amounts(questions=1), now=1000) == 0
    assert limiter.acquire(client_of("ann", questions=5), Amounts(questions=1), now=1000) == pytest.approx(12)
    assert limiter.acquire(client_of("ann"), Amounts(questions=99), now=1000) == 0


@given(
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.floats(0, 40)), max_size=200),
    max_clients=st.integers(1, 10),
)
def test_memory_is_bounded_and_nobody_gains_by_being_forgotten(
    steps: list[tuple[int, int, float]], max_clients: int
) -> None:
    """Any clients in any order: each takes no more than its own bucket, kept for ever, would give."""
    limiter, forever, now = RateLimiter(max_clients=max_clients), RateLimiter(), 0.0
    for number, amount, pause in steps:
        now += pause
        client = client_of(str(number), questions=5)
        wait = limiter.acquire(client, Amounts(questions=amount), now=now)
        if wait == 0:
            assert forever.acquire(client, Amounts(questions=amount), now=now) <= 1e-9
        assert len(limiter) <= max_clients


def test_buckets_that_nobody_needs_make_room() -> None:
    """Those of clients that came once are gone a minute later."""
    limiter = RateLimiter(max_clients=10)
    for number in range(1000):
        assert limiter.acquire(client_of(str(number), questions=5), Amounts(questions=1), now=number * 15) == 0
        assert len(limiter) <= 4

    for number in range(1000):
        limiter.acquire(client_of(f"flood {number}", questions=5), Amounts(questions=1), now=20_000)
    assert limiter.acquire(client_of("late", questions=5), Amounts(questions=1), now=20_000) > 0
    assert limiter.acquire(client_of("flood 0", questions=5), Amounts(questions=1), now=20_000) == 0
    assert limiter.acquire(client_of("late", questions=5), Amounts(questions=1), now=20_100) == 0
