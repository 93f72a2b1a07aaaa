"""Token budget: how many tokens a client has used today, and how many are reserved for turns that run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from .excess import budget_used_up_error

_FIRST_DAY = date(1970, 1, 1).toordinal()


def day_of(moment: float) -> str:
    """Return the day of a moment in seconds since 1970, in UTC: `2026-11-28`."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def day_of_number(number: int) -> str:
    """Return the day that is so many days after 1 January 1970."""
    return date.fromordinal(_FIRST_DAY + number).isoformat()


def number_of_day(day: str) -> int:
    """Return how many days a day is after 1 January 1970."""
    return date.fromisoformat(day).toordinal() - _FIRST_DAY


def seconds_to_midnight(moment: float) -> float:
    """Return how long it is to the next midnight, UTC, from a moment in seconds since 1970."""
    now = datetime.fromtimestamp(moment, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()


@dataclass(slots=True)
class TokenBudget:
    """The tokens of one client. Moments are in seconds since 1970."""

    day: str
    used: int = 0  # on that day
    reserved: int = 0

    def check(self, tokens: int, *, limit: int, now: float) -> None:
        """Raise `QuotaExceeded` where so many more do not fit into today's limit."""
        self._begin_day(now)
        if self.used + self.reserved + tokens > limit:
            raise budget_used_up_error(seconds=seconds_to_midnight(now))

    def reserve(self, tokens: int, *, limit: int, now: float) -> None:
        """Reserve tokens. Raises `QuotaExceeded` where they do not fit into today's limit."""
        self.check(tokens, limit=limit, now=now)
        self.reserved += tokens

    def settle(self, *, reserved: int, used: int, now: float) -> None:
        """Replace what was reserved by what was used; it counts for the day on which the turn ends."""
        self._begin_day(now)
        self.reserved -= reserved
        self.used += used

    def _begin_day(self, now: float) -> None:
        day = day_of(now)
        if day > self.day:
            self.day, self.used = day, 0
