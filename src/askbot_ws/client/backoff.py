"""Backoff: when the next attempt to connect may be made."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

MAX_DELAY_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.5
_MAX_DOUBLINGS = math.ceil(math.log2(MAX_DELAY_SECONDS / FIRST_DELAY_SECONDS))  # more of them change nothing


def reconnect_delay(attempt: int, random: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before an attempt to reconnect: random ones, up to 0.5, 1, 2, … 30.

    Full jitter from the first attempt on, so that not all clients of a restarted server connect in the same instant.

    Args:
        attempt: The number of attempts before it that brought nothing new.
        random: Returns a number from 0 to 1.
    """
    longest = FIRST_DELAY_SECONDS * float(2 ** min(attempt, _MAX_DOUBLINGS))
    return random() * min(MAX_DELAY_SECONDS, longest)


class Backoff:
    """Counts the attempts to connect since a connection has brought something new, and knows when there may be one."""

    __slots__ = ("_attempts", "_delay", "_not_before")

    def __init__(self, delay: Callable[[int], float]) -> None:
        self._delay = delay
        self._attempts = 0
        self._not_before = -math.inf  # the loop's time

    def reset(self) -> None:
        """Count from zero again, as a connection has brought something new."""
        self._attempts, self._not_before = 0, -math.inf

    def hold(self, seconds: float) -> None:
        """Allow no attempt for so long, as the server asks. Of several such times the one that ends last counts."""
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)

    @property
    def hold_seconds(self) -> float:
        """For how long the server wants no connection, from now on."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    def next_delay(self) -> float:
        """Count an attempt, and return the seconds to wait before it."""
        self._attempts += 1
        return self.hold_seconds + self._delay(self._attempts - 1)
