"""Excess: the errors of clients that want more than their allowance has."""

from __future__ import annotations

from math import ceil

from ..errors import QuotaExceeded, RateLimited


def too_fast_error(what: str, *, seconds: float) -> RateLimited:
    """Too many of something per minute; the next is taken in so many seconds."""
    return RateLimited(f"Too many {what} in a short time.", retry_after=ceil(1000 * seconds) / 1000)  # ms on the wire


def too_many_sessions_error(limit: int) -> QuotaExceeded:
    """A user has as many sessions as it may have."""
    return QuotaExceeded(f"{limit} conversations are the most; delete one to begin another.")


def budget_used_up_error(*, seconds: float) -> QuotaExceeded:
    """The tokens of today do not suffice; the next day begins in so many seconds."""
    return QuotaExceeded("The tokens of this day are used up.", retry_after=seconds, retryable=True)
