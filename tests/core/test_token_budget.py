"""Token budget: arithmetic on days."""

from __future__ import annotations

import pytest

from askbot_ws.core.token_budget import TokenBudget, day_of, seconds_to_midnight
from askbot_ws.errors import QuotaExceeded

NOON = 1_795_867_200.0  # 2026-11-28T12:00:00Z
HOUR = 3600.0


def test_days_are_those_of_utc() -> None:
    """Whatever the machine's time zone is."""
    assert (day_of(NOON), day_of(NOON + 12 * HOUR - 1), day_of(NOON + 12 * HOUR)) == (
        "2026-11-28",
        "2026-11-28",
        "2026-11-29",
    )
    assert (seconds_to_midnight(NOON), seconds_to_midnight(NOON + 12 * HOUR)) == (12 * HOUR, 24 * HOUR)


def test_what_is_reserved_counts_until_it_is_settled() -> None:
    """By what was used; the refusal says when there is more."""
    budget = TokenBudget(day_of(NOON), used=100)
    budget.reserve(500, limit=1000, now=NOON)
    with pytest.raises(QuotaExceeded) as caught:
        budget.reserve(401, limit=1000, now=NOON)
    assert caught.value.retry_after == 12 * HOUR
    budget.settle(reserved=500, used=20, now=NOON)
    budget.reserve(880, limit=1000, now=NOON)

    assert (budget.used, budget.reserved) == (120, 880)


def test_a_new_day_begins_with_what_runs() -> None:
    """Its reservations stay, and what a turn has used counts where it ends. A clock that goes back changes nothing."""
    budget = TokenBudget(day_of(NOON), used=1000)
    with pytest.raises(QuotaExceeded):
        budget.check(1, limit=1000, now=NOON)
    budget.reserved = 600
    budget.check(400, limit=1000, now=NOON + 12 * HOUR)
    budget.settle(reserved=600, used=50, now=NOON + 12 * HOUR)
    budget.check(950, limit=1000, now=NOON)

    assert (budget.day, budget.used, budget.reserved) == ("2026-11-29", 50, 0)
