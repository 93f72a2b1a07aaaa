"""Wheel: things that are to be looked at now and then, each at its own time, with one timer for all of them."""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

T = TypeVar("T")


class Wheel(Generic[T]):
    """Slots of time, each with those whose time comes in it. It keeps nobody alive."""

    def __init__(self, step: float, *, now: float) -> None:
        """A slot is `step` seconds long: by so much a look may be late."""
        self.step = step
        self._slots: dict[int, list[ref[T]]] = {}
        self._turned = int(now / step)  # the slot that was emptied last

    def put(self, thing: T, at: float) -> None:
        """Look at it at this time; what is past is as good as now."""
        slot = max(int(at / self.step), self._turned) + 1
        self._slots.setdefault(slot, []).append(ref(thing))

    def wait(self, now: float, *, most: float) -> float:
        """For how many seconds nobody's time can come."""
        first = min(self._slots, default=None)
        return most if first is None else min(most, max(0.0, first * self.step - now))

    def due(self, now: float) -> list[T]:
        """Those whose time has come, and who are still there. They are not on the wheel any more."""
        found: list[T] = []
        last, self._turned = self._turned, max(self._turned, int(now / self.step))
        for slot in range(last + 1, self._turned + 1):
            found += [thing for each in self._slots.pop(slot, ()) if (thing := each()) is not None]
        return found
