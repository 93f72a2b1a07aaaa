"""The log in memory: whatever is read from wherever, it is what was added."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.log_tail import (
    MAX_MERGED_CHARS,
    LogTail,
    join_slices,
    merge,
    suffix_after,
    truncate,
    utf8_size,
    wire_size,
)
from askbot_ws.events import Check, Done, Event, Question, TextSlice, Thinking, Timing, Title, Token

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(["🙂", "é", "ab"])


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Any log: turns that wait, run and end, their events between each other's."""
    events: list[Event] = []
    seq = 0
    kinds = st.sampled_from([Token, Thinking])
    others = st.sampled_from(["question", "done", "title"])
    for step in draw(st.lists(st.tuples(st.integers(0, 2), texts | others, kinds), max_size=30)):
        number, what, kind = step
        turn = f"t{number}"
        seq += 1 if what in {"question", "done", "title"} else len(what)
        match what:
            case "question":
                events.append(Question(session="s", seq=seq, turn=turn, text="why?", created=0.0))
            case "title":
                events.append(Title(session="s", seq=seq, text="Colours"))
            case "done":
                events.append(_done(turn, seq))
            case _:
                events.append(kind(session="s", seq=seq, turn=turn, text=what))
    return events


def _done(turn: str, seq: int) -> Done:
    timing = Timing(queued=0.0, first_token=None, total=1.0)
    check = Check(chars=0, sha256="0" * 64)
    return Done(session="s", seq=seq, turn=turn, reason="stop", model="m", usage=None, timing=timing, check=check)


def _log(events: list[Event]) -> LogTail:
    log = LogTail("s")
    for event in events:
        log.append(event)
    return log


def _flat(events: list[Event]) -> list[object]:
    """Each code point of a slice by itself, with its place, turn and type; the other events whole."""
    flat: list[object] = []
    for event in events:
        if isinstance(event, TextSlice):
            flat += [(event.start + n, event.turn, event.type, point) for n, point in enumerate(event.text)]
        else:
            flat.append(event)
    return flat


@given(events=logs(), data=st.data())
def test_reading_from_anywhere_gives_what_follows(events: list[Event], data: st.DataObject) -> None:
    """Promise 1: for every place to stop, and every size of frame."""
    log = _log(events)
    after = data.draw(st.integers(0, log.head))
    limit = data.draw(st.integers(1, 600))

    seen: list[Event] = []
    place = after
    while more := log.read(after=place, limit=limit):
        assert more[0].start == place
        place = more[-1].seq
        seen += more

    assert place == log.head
    assert _flat(seen) == _flat(events)[after:]


@given(events=logs(), data=st.data())
def test_merging_leaves_no_gap_and_keeps_to_the_limit(events: list[Event], data: st.DataObject) -> None:
    """Neighbours are joined, so there is no more than one frame a run; only the last may exceed, and only a little."""
    head = events[-1].seq if events else 0
    after = data.draw(st.integers(0, head))
    limit = data.draw(st.integers(1, 600))

    merged = merge(events, after=after, limit=limit)

    assert all(one.seq == other.start for one, other in pairwise(merged))
    for one, other in pairwise(merged):
        if isinstance(one, TextSlice) and isinstance(other, TextSlice):
            assert (type(one), one.turn) != (type(other), other.turn)
    assert sum(wire_size(event) for event in merged[:-1]) < limit
    assert all(utf8_size(event.text) <= max(limit, 4) for event in merged if isinstance(event, TextSlice))
    assert bool(merged) == (after < head)


@given(events=logs(), data=st.data())
def test_slices_are_the_whole_rest(events: list[Event], data: st.DataObject) -> None:
    """What a store settles is all that follows, however much that is."""
    log = _log(events)
    after = data.draw(st.integers(0, log.head))

    assert _flat(log.read_merged(after=after)) == _flat(events)[after:]


@given(events=logs(), keep=st.integers(0, 1500), data=st.data())
def test_dropping_never_loses_what_is_not_settled(events: list[Event], keep: int, data: st.DataObject) -> None:
    """Whatever is after `until` stays, and reading from the new start on is as before."""
    log = _log(events)
    until = data.draw(st.integers(0, log.head))

    log.trim(keep=keep, until=until)

    assert log.start <= until
    assert log.head == (events[-1].seq if events else 0)
    assert _flat(log.read_merged(after=log.start)) == _flat(events)[log.start :]
    settled = [event for event in log.events if event.seq <= until]
    assert sum(wire_size(event) for event in settled) <= keep


def test_what_was_dropped_is_not_silently_missing() -> None:
    """A reader that is further back has to ask the store."""
    log = _log([Token(session="s", seq=2000, turn="t", text="x" * 2000), _done("t", 2001)])
    log.trim(keep=500, until=2001)

    assert (log.start, log.head) == (2000, 2001)
    with pytest.raises(ValueError, match="begins at 2000"):
        log.read(after=1999)


def test_a_log_takes_only_what_follows() -> None:
    """Anything else means two writers."""
    log = _log([Token(session="s", seq=2, turn="t", text="ab")])

    for wrong in (_done("t", 2), _done("t", 4), Token(session="s", seq=3, turn="t", text="bc")):
        with pytest.raises(ValueError, match="the log is at 2"):
            log.append(wrong)
    assert log.head == 2


@pytest.mark.parametrize("kind", [Token, Thinking])
def test_small_neighbours_are_kept_as_one(kind: type[Token | Thinking]) -> None:
    """A token costs its text, up to a size at which joining on would cost more."""
    log = LogTail("s")
    for number in range(3 * MAX_MERGED_CHARS):
        log.append(kind(session="s", seq=number + 1, turn="t", text="x"))

    assert [utf8_size(event.text) for event in log.events if isinstance(event, kind)] == [MAX_MERGED_CHARS] * 3
    assert len(log.events) == 3


def test_reasoning_and_text_stay_apart() -> None:
    """In their order, however short they are."""
    log = _log(
        [
            Thinking(session="s", seq=1, turn="t", text="a"),
            Thinking(session="s", seq=2, turn="t", text="b"),
            Token(session="s", seq=3, turn="t", text="c"),
            Thinking(session="s", seq=4, turn="t", text="d"),
        ]
    )

    assert log.read(after=0) == [
        Thinking(session="s", seq=2, turn="t", text="ab"),
        Token(session="s", seq=3, turn="t", text="c"),
        Thinking(session="s", seq=4, turn="t", text="d"),
    ]
    assert log.read(after=1)[0] == Thinking(session="s", seq=2, turn="t", text="b")


@pytest.mark.parametrize("kind", [Token, Thinking])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=40), data=st.data())
def test_a_slice_cut_anywhere_and_joined_is_the_slice(
    kind: type[Token | Thinking], text: str, data: st.DataObject
) -> None:
    """No renumbering: the place after the frame is all that a reader needs."""
    start = data.draw(st.integers(0, 1000))
    whole = kind(session="s", seq=start + len(text), turn="t", text=text)
    first = truncate(whole, limit=data.draw(st.integers(1, 200)))

    assert first.start == whole.start
    if first.seq < whole.seq:
        assert join_slices(first, suffix_after(whole, after=first.seq)) == whole
