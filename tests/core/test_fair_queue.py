"""Fair queue: whose turn it is."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.fair_queue import FairQueue


def drain(queue: FairQueue[str]) -> list[str]:
    """Start and end one after the other; what was started."""
    order: list[str] = []
    while (found := queue.start_next()) is not None:
        order.append(found[1])
        queue.end(found[0])
    return order


def test_keys_take_turns_and_in_each_the_oldest_comes_first() -> None:
    """A thousand of one do not delay the first of another."""
    queue = FairQueue[str](max_running=1)
    for number in range(1000):
        queue.add("many", f"m{number}")
    queue.add("two", "t0")
    queue.add("two", "t1")
    queue.add("one", "o0")

    assert drain(queue)[:8] == ["m0", "t0", "o0", "m1", "t1", "m2", "m3", "m4"]
    assert queue.running == 0


def test_only_so_many_run_in_all_and_of_each_key() -> None:
    """A key at its limit is passed over, and takes its turn once one of its own has ended."""
    queue = FairQueue[str](max_running=3)
    for number in range(4):
        queue.add("a", f"a{number}", limit=2)
    queue.add("b", "b0", limit=2)
    queue.add("b", "b1", limit=2)

    assert [queue.start_next() for _ in range(4)] == [("a", "a0"), ("b", "b0"), ("a", "a1"), None]
    queue.end("b")
    assert [queue.start_next(), queue.start_next()] == [("b", "b1"), None]
    queue.end("b")
    assert queue.start_next() is None
    assert (queue.would_start("c", limit=1), queue.would_start("a", limit=2)) == (True, False)
    queue.end("a")
    assert [queue.start_next(), queue.running] == [("a", "a2"), 2]


def test_what_is_removed_does_not_start() -> None:
    """Removing what is not there does nothing, and what waits already does not wait twice."""
    queue = FairQueue[str](max_running=1)
    queue.add("a", "a0")
    queue.add("a", "a0")
    queue.add("b", "b0")
    queue.remove("a", "a0")
    queue.remove("a", "a0")
    queue.remove("nobody", "x")

    assert drain(queue) == ["b0"]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 5)),
        st.tuples(st.just("remove"), st.sampled_from("abc"), st.integers(0, 5)),
        st.tuples(st.just("start"), st.just(""), st.just(0)),
        st.tuples(st.just("end"), st.sampled_from("abc"), st.just(0)),
    ),
    max_size=100,
)


@given(steps=steps, max_running=st.integers(1, 3), limit=st.integers(1, 3))
def test_nothing_is_lost_started_twice_or_held_back(
    steps: list[tuple[str, str, int]], max_running: int, limit: int
) -> None:
    """After any steps: what may start starts, within both limits."""
    queue = FairQueue[str](max_running=max_running)
    waiting: set[str] = set()
    running: Counter[str] = Counter()
    for kind, key, number in steps:
        item = f"{key}{number}"
        if kind == "add":
            queue.add(key, item, limit=limit)
            waiting.add(item)
        elif kind == "remove":
            queue.remove(key, item)
            waiting.discard(item)
        elif kind == "end" and running[key]:
            queue.end(key)
            running[key] -= 1
        elif kind == "start":
            may_start: set[str | None] = {
                item for item in waiting if running[item[0]] < limit and running.total() < max_running
            }
            found = queue.start_next()
            assert (found[1] if found else None) in (may_start or {None})
            if found:
                waiting.remove(found[1])
                running[found[0]] += 1
        assert queue.running == running.total()


def test_a_start_takes_as_long_with_many_keys_as_with_few() -> None:
    """Also after very many starts."""

    def seconds_with(keys: int) -> float:
        queue = FairQueue[int](max_running=1)
        for number in range(20_000):
            queue.add(str(number % keys), number)
        begun = time.process_time()
        while (found := queue.start_next()) is not None:
            queue.end(found[0])
        return time.process_time() - begun

    assert min(seconds_with(20_000) for _ in range(3)) < 20 * min(seconds_with(10) for _ in range(3))
