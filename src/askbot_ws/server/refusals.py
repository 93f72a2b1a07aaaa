"""RefusalLog: counts connections, handshakes and requests that are refused, and logs them at a limited rate."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import structlog

from ..core.limits import TokenBucket
from ..metrics import Metrics, RefusalReason
from .connection_limits import Excess

__all__ = ["RefusalLog", "RefusalReason"]

LINES_AT_ONCE = 5  # for each reason, so that a flood of one does not hide another
LINES_PER_SECOND = 0.1
LIMIT_REASONS: dict[Excess, RefusalReason] = {
    "server": "server_connection_limit",
    "address": "address_connection_limit",
}

log = structlog.get_logger(__name__)


class RefusalLog:
    """What a server refused before anybody could use it."""

    def __init__(self, metrics: Metrics, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a monotonic clock, in seconds."""
        self._counts = metrics.refusals
        self._now = now
        self._buckets: defaultdict[RefusalReason, TokenBucket] = defaultdict(
            lambda: TokenBucket(rate=LINES_PER_SECOND, burst=LINES_AT_ONCE)
        )
        self._unlogged: defaultdict[RefusalReason, int] = defaultdict(int)

    def record(self, reason: RefusalReason, *, address: str, **details: str | float | None) -> None:
        """Count a refusal, and log it unless too many were logged for the same reason.

        Args:
            reason: Why it was refused.
            address: The client's IP address; empty where there is none.
            **details: Further keys of the line, none of them a credential.
        """
        self._counts[reason] += 1
        if self._buckets[reason].acquire(now=self._now()):
            self._unlogged[reason] += 1
            return
        log.warning(
            "connection_refused", reason=reason, address=address, unlogged=self._unlogged.pop(reason, 0), **details
        )
