"""ShieldedTasks: tasks that no caller cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ShieldedTasks:
    """Owns tasks that run to their end: cancelling a caller does not cancel what is being written."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def start(self, job: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Start a task. Returns a future of its result; cancelling the future does not cancel the task."""
        task = asyncio.get_running_loop().create_task(job)
        self.include(task)
        return asyncio.shield(task)

    def include(self, future: asyncio.Future[Any]) -> None:
        """Let `wait_all` wait for this too."""
        self._tasks.add(future)
        future.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that waits gets it; without one, the loop would log it

    async def wait_all(self) -> None:
        """Wait until all tasks have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)
