"""Fair queue: which of the things that wait starts next, in turn over those whom they belong to.

Every operation takes the same time, however much waits.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Line(Generic[T]):
    """The items of one key."""

    limit: int  # of those that run
    running: int = 0
    waiting: OrderedDict[T, None] = field(default_factory=OrderedDict[T, None])  # oldest first

    @property
    def ready(self) -> bool:
        """Whether an item waits and may run."""
        return bool(self.waiting) and self.running < self.limit


class FairQueue(Generic[T]):
    """Items that wait, by keys; a limited number run, in all and of each key. Keys take turns, in each the oldest."""

    def __init__(self, *, max_running: int = sys.maxsize) -> None:
        self.max_running = max_running
        self.running = 0
        self._lines: dict[str, _Line[T]] = {}  # of keys that have an item
        self._ready: OrderedDict[str, None] = OrderedDict()  # keys whose line is ready, the next one first

    def would_start(self, key: str, *, limit: int | None) -> bool:
        """Return whether an item of this key would start at once."""
        line = self._lines.get(key)
        free = line is None or (not line.waiting and line.running < _limit(limit))
        return free and self.running < self.max_running

    def add(self, key: str, item: T, *, limit: int | None = None) -> None:
        """Let an item wait, at most once; `limit`: how many of this key run at the same time, from now on."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(_limit(limit))
        line.limit = _limit(limit)
        line.waiting.setdefault(item)
        self._update(key, line)

    def set_limit(self, key: str, limit: int | None) -> None:
        """Change how many items of this key run at the same time, where it has one."""
        line = self._lines.get(key)
        if line is not None:
            line.limit = _limit(limit)
            self._update(key, line)

    def remove(self, key: str, item: T) -> None:
        """Let an item wait no more; does nothing where it does not."""
        line = self._lines.get(key)
        if line is not None:
            line.waiting.pop(item, None)
            self._update(key, line)

    def start_next(self) -> tuple[str, T] | None:
        """Start the next item: it does not wait any more, and counts as running. None where none may start."""
        if self.running >= self.max_running or not self._ready:
            return None
        key, _ = self._ready.popitem(last=False)
        line = self._lines[key]
        item, _ = line.waiting.popitem(last=False)
        line.running += 1
        self.running += 1
        self._update(key, line)
        return key, item

    def end(self, key: str) -> None:
        """Count a running item of this key as ended."""
        line = self._lines[key]
        line.running -= 1
        self.running -= 1
        self._update(key, line)

    def _update(self, key: str, line: _Line[T]) -> None:
        """Let a key take its turn after the others where its line is ready, and forget it where it has no item."""
        if line.ready:
            self._ready.setdefault(key)
        else:
            self._ready.pop(key, None)
            if not line.waiting and not line.running:
                self._lines.pop(key, None)


def _limit(limit: int | None) -> int:
    return sys.maxsize if limit is None else limit
