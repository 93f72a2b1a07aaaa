"""CredentialRenewal: has the credential of one connection renewed before it expires."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

RENEW_BEFORE_SECONDS = 60.0  # it expires
MIN_PAUSE_SECONDS = 0.5  # between two attempts to renew it; what expires sooner does so


def renewal_pause(left: float) -> float | None:
    """Return the seconds to wait before a credential is renewed that is good for `left` more seconds.

    They end a minute before it expires, or after half of what is left, where that is less than two minutes. So an
    attempt that has failed is followed by another one after half of the rest, up to the last seconds: None.
    """
    pause = left - RENEW_BEFORE_SECONDS if left >= 2 * RENEW_BEFORE_SECONDS else left / 2
    return pause if MIN_PAUSE_SECONDS <= pause < math.inf else None


class CredentialRenewal:
    """Calls a function each time that the credential is to be renewed, until `stop`."""

    def __init__(self, renew: Callable[[], Awaitable[None]]) -> None:
        self._renew = renew
        self._deadline = math.inf  # the loop's time at which the credential expires
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set_deadline(self, deadline: float) -> None:
        """Set the event loop's time at which the credential expires; infinite: never."""
        if deadline == self._deadline:
            return
        self._deadline = deadline
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Renew it no more. A function that is being asked is cancelled."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            pause = renewal_pause(self._deadline - asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                await self._renew()
