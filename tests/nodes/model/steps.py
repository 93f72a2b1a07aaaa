"""Steps: what may happen next in the model, and all orders of it that can make a difference.

Two steps commute where they happen to different things and Redis' data is none of both; orders that differ only in
such steps have the same end, and one of them is enough. (Dynamic partial order reduction, with sleep sets.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that may happen.

    Attributes:
        place: To what: a node, or its connection.
        queue: What waits there for its turn: of each queue, one step may be the next.
        choice: Which of several that exclude each other.
        reads: What it may read in Redis.
        writes: What it may write there.
        cause: The number of the step that made it possible; None: it was from the beginning.
    """

    place: str
    queue: str
    choice: str = ""
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    cause: int | None = field(default=None, compare=False)

    def commutes(self, other: Step) -> bool:
        """Whether it makes no difference which of the two happens first."""
        ours, theirs = self.reads | self.writes, other.reads | other.writes
        return self.place != other.place and not self.writes & theirs and not other.writes & ours

    def __str__(self) -> str:
        return " ".join(filter(None, (self.place, self.queue, self.choice)))


class World(Protocol):
    """What steps are taken in."""

    def steps(self) -> list[Step]:
        """What may happen now; a step that may and is not taken may still happen after any that commutes with it."""
        ...

    def take(self, step: Step) -> None:
        """Let it happen. Raises AssertionError where a promise is broken."""

    def end(self) -> None:
        """Nothing more can happen. Raises AssertionError where a promise is broken."""

    def close(self) -> None:
        """Be gone."""


class BrokenOrder(AssertionError):
    """A promise was broken; the message says by what, and in which order of steps."""


@dataclass(slots=True)
class _State:
    """A state, and the step that is taken there."""

    steps: Sequence[Step]  # that are possible
    asleep: set[Step]  # would lead where another order has led already
    wanted: set[Step]  # are to be tried
    tried: set[Step] = field(default_factory=set[Step])
    taken: Step = field(init=False)
    before: int = 0  # a bit for each earlier step that cannot be exchanged with the one that is taken

    def choose(self) -> bool:
        """Choose the next step to be tried; returns whether there is one."""
        for step in self.steps:
            if step in self.wanted and step not in self.tried and step not in self.asleep:
                self.taken = step
                return True
        return False


def explore(make: Callable[[], World], *, at_most: int) -> int:
    """Try all orders of steps that can make a difference; returns how many.

    Raises `BrokenOrder`, and AssertionError where there are more than `at_most`.
    """
    path: list[_State] = []
    count = 0
    while True:
        _play(make(), path)
        count += 1
        assert count <= at_most, f"there are more than {at_most} orders"
        while path:
            path[-1].tried.add(path[-1].taken)
            if path[-1].choose():
                break
            path.pop()
        if not path:
            return count


def _play(world: World, path: list[_State]) -> None:
    """Take the steps that were chosen, and further ones to the end, or to where all are asleep."""
    taken: list[Step] = []
    try:
        for index, state in enumerate(path):
            taken.append(state.taken)
            if index == len(path) - 1:
                state.before = _before(path[:-1], state.taken)
            world.take(state.taken)
        while steps := world.steps():
            for step in steps:
                _want_before(path, step)
            asleep = set[Step]()
            if path:
                asleep = {each for each in path[-1].asleep | path[-1].tried if each.commutes(path[-1].taken)}
            awake = [step for step in steps if step not in asleep]
            if not awake:
                return
            first = awake[0]
            wanted = {step for step in steps if (step.place, step.queue) == (first.place, first.queue)}
            state = _State(steps, asleep, wanted)
            state.taken = first
            state.before = _before(path, first)
            path.append(state)
            taken.append(first)
            world.take(first)
        world.end()
    except Exception as error:
        order = "".join(f"\n  {step}" for step in taken)
        raise BrokenOrder(f"{type(error).__name__}: {error}, after{order}") from error
    finally:
        world.close()


def _before(path: Sequence[_State], step: Step) -> int:
    """The earlier steps that cannot be exchanged with a step that is possible now."""
    found = 0
    for index, state in enumerate(path):
        if step.cause == index or not state.taken.commutes(step):
            found |= state.before | 1 << index
    return found


def _want_before(path: Sequence[_State], step: Step) -> None:
    """Have a step tried in place of the last one that it does not commute with, where it may come first."""
    caused = 0 if step.cause is None else path[step.cause].before | 1 << step.cause
    for index, state in enumerate(path):
        if (state.taken.place, state.taken.queue) == (step.place, step.queue):
            caused |= state.before | 1 << index
    for index in reversed(range(len(path))):
        state = path[index]
        if caused >> index & 1 or state.taken.commutes(step):
            continue
        if (state.taken.place, state.taken.queue) == (step.place, step.queue):
            return
        first = {
            other
            for other in state.steps
            if (other.place, other.queue) == (step.place, step.queue)
            or any(
                caused >> later & 1 and (path[later].taken.place, path[later].taken.queue) == (other.place, other.queue)
                for later in range(index + 1, len(path))
            )
        }
        state.wanted |= first or set(state.steps)
        return
