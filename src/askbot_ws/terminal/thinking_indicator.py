"""Thinking indicator: for how long a model thinks, on one line before its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from .output import Screen

HINT = "/thinking shows it"


class ThinkingIndicator:
    """A line that counts the seconds from the first piece of thinking on. Nothing is shown before that."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._loop = asyncio.get_running_loop()
        self._started: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def show_during(self, pieces: AsyncIterable[str]) -> None:
        """Show the line until there are no more pieces, or the wait for them is cancelled."""
        try:
            async for _ in pieces:
                if self._started is None:
                    self._started = self._loop.time()
                    self._count()
        finally:
            self._end()

    def _seconds(self) -> float:
        return self._loop.time() - self._started if self._started is not None else 0.0

    def _count(self) -> None:
        seconds = int(self._seconds())
        self._screen.show_progress(f"thinking… {seconds} s" if seconds else "thinking…")
        self._timer = self._loop.call_later(1, self._count)

    def _end(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._screen.end_progress(f"thought for {max(1, round(self._seconds()))} s ({HINT})")
