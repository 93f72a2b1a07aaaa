"""View: what a client shows, folded from frames."""

from __future__ import annotations

import hashlib
import json
import re
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.client.view import Gap, TextBuffer, Turn, View
from askbot_ws.core.log_tail import LogTail
from askbot_ws.core.turn_records import turn_records
from askbot_ws.dialects.askbot.frames import Alive, History, Limits, Ready, ServerFrame, UnknownEvent, decode_server
from askbot_ws.events import Check, Done, KnownEvent, LaterEvent, Options, Question, Thinking, Timing, Token

WIRE = sorted((Path(__file__).parents[1] / "wire").glob("*.jsonl"))
LIMITS = Limits(frame_bytes=1_048_576, question_chars=1, waiting_turns=1)


def ready(*, after: int, session: str = "s", log: str = "") -> Ready:
    return Ready(
        session=session,
        seq=99,
        from_=after,
        resumed=True,
        protocol="askbot.v1",
        server="x",
        model="m",
        limits=LIMITS,
        log=log,
    )


def turn(*slices: str, at: int = 0, replaces: str | None = None, check: str | None = None) -> list[KnownEvent]:
    """The events of one turn, whose question follows the place `at`."""
    name, seq = f"t{at + 1}", at + 1
    events: list[KnownEvent] = [
        Question(session="s", seq=seq, turn=name, id=f"id{at + 1}", text="Why?", created=0.0, replaces=replaces)
    ]
    for text in slices:
        seq += len(text)
        events.append(Token(session="s", seq=seq, turn=name, text=text))
    answer = check if check is not None else "".join(slices)
    proof = Check(chars=len(answer), sha256=hashlib.sha256(answer.encode()).hexdigest())
    timing = Timing(queued=0.0, first_token=0.0, total=0.0)
    done = Done(session="s", seq=seq + 1, turn=name, reason="stop", model="m", usage=None, timing=timing, check=proof)
    return [*events, done]


def thinking_turn(*parts: str, first_token: float | None = 12.25) -> list[KnownEvent]:
    """The events of one turn; parts in brackets are thinking."""
    question, *_, done = turn("".join(part for part in parts if part[0] != "["))
    assert isinstance(question, Question)
    events, seq = list[KnownEvent]([question]), question.seq
    for part in parts:
        kind, text = (Thinking, part[1:-1]) if part[0] == "[" else (Token, part)
        seq += len(text)
        events.append(kind(session="s", seq=seq, turn=question.turn, text=text))
    assert isinstance(done, Done)
    timing = Timing(queued=0.25, first_token=first_token, total=20.25)
    return [*events, replace(done, seq=seq + 1, timing=timing)]


def folded(frames: Sequence[ServerFrame | UnknownEvent], view: View | None = None) -> View:
    view = view or View()
    for frame in frames:
        view.fold(frame)
    return view


def answers(view: View) -> list[tuple[str, str]]:
    return [(turn.turn, turn.answer) for turn in view.turns]


SLICES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)


@given(slices=SLICES, data=st.data())
def test_a_client_that_comes_back_anywhere_shows_each_code_point_once(slices: list[str], data: st.DataObject) -> None:
    """docs/protocol.md, promise 1: for every place to stop and, however the server cuts, for whatever comes twice."""
    events = turn(*slices)
    log = LogTail("s")
    for event in events:
        log.append(event)
    stop = data.draw(st.integers(0, len(events)))
    back = data.draw(st.integers(0, events[stop - 1].seq if stop else 0))

    view = folded([ready(after=0), *events[:stop]])
    folded([event for event in log.read(after=back) if not isinstance(event, LaterEvent)], view)

    assert answers(view) == [("t1", "".join(slices))]
    assert view.turns[0].proven
    assert view.seq == events[-1].seq


@given(slices=SLICES, data=st.data())
def test_history_and_events_tell_the_same(slices: list[str], data: st.DataObject) -> None:
    """History may know more of a running turn than the events read so far; the rest comes on top, once."""
    events = turn(*slices)
    read = data.draw(st.integers(1, len(events)))
    known = data.draw(st.integers(1, len(events)))
    history = History(session="s", id="h", turns=turn_records(events[:known]), more=False)

    view = folded([ready(after=0), *events[:read], history])
    longest = max(read, known)
    assert [answer for _, answer in answers(view)] == ["".join(slices[: longest - 1])]

    folded(events[read:], view)
    assert answers(view) == [("t1", "".join(slices))]
    assert view.turns[0].end


# --- thinking --------------------------------------------------------------------------------------------------------

PARTS = st.lists(st.from_regex(r"\[[^\[\]]+\]|[^\[\]]+", fullmatch=True), min_size=1)


def texts(view: View) -> list[tuple[str, str]]:
    return [(turn.thinking, turn.answer) for turn in view.turns]


@given(parts=PARTS, data=st.data())
def test_thinking_and_answer_are_told_apart_wherever_a_client_comes_back(parts: list[str], data: st.DataObject) -> None:
    """docs/protocol.md, promise 1: for thinking as for text, in whatever order they come."""
    events = thinking_turn(*parts)
    log = LogTail("s")
    for event in events:
        log.append(event)
    stop = data.draw(st.integers(0, len(events)))
    back = data.draw(st.integers(0, events[stop - 1].seq if stop else 0))

    view = folded([ready(after=0), *events[:stop]])
    folded([event for event in log.read(after=back) if not isinstance(event, LaterEvent)], view)

    thinking = "".join(part[1:-1] for part in parts if part[0] == "[")
    assert texts(view) == [(thinking, "".join(part for part in parts if part[0] != "["))]
    assert view.turns[0].proven


@given(parts=PARTS, data=st.data())
def test_history_and_events_tell_the_same_of_thinking(parts: list[str], data: st.DataObject) -> None:
    """The page has it in `steps`; what comes on top of a running turn is added once."""
    events = thinking_turn(*parts)
    known = data.draw(st.integers(1, len(events)))
    history = History(session="s", id="h", turns=turn_records(events[:known]), more=False)

    view = folded([ready(after=0), events[0], history, *events[1:]])

    assert texts(view) == texts(folded([ready(after=0), *events]))
    assert view.turns[0].thinking_time == folded([ready(after=0), *events]).turns[0].thinking_time


def test_thinking_is_measured_up_to_the_answer_and_then_by_the_servers_clock() -> None:
    """Thinking in the middle of the answer doesn't count."""
    head = replace(ready(after=0), seq=0)
    *events, done = thinking_turn("[Hm. ]", "[So]", "One", "[!]", ".")
    begun = time.time()
    view = folded([head, *events[:3]])
    (turn,) = view.turns
    assert turn.thinking_since is not None
    assert (begun <= turn.thinking_since <= time.time(), turn.thinking_time) == (True, None)

    folded(events[3:], view)
    assert turn.thinking_time is not None
    assert 0 <= turn.thinking_time <= time.time() - begun

    view.fold(done)
    assert turn.thinking_time == 12.0


@pytest.mark.parametrize(
    ("parts", "first_token", "expected"),
    [(["[Hm]", "One"], 12.25, 12.0), (["[Hm]"], None, 20.0), (["One", "[Hm]"], 12.25, None), (["One"], 12.25, None)],
)
def test_how_long_a_turn_thought_is_known_once_it_has_ended(
    parts: list[str], first_token: float | None, expected: float | None
) -> None:
    """Read again, by events or by history, it can't be measured here. Without an answer, it thought up to its end."""
    events = thinking_turn(*parts, first_token=first_token)
    history = History(session="s", id="h", turns=turn_records(events), more=False)

    assert folded([ready(after=0), *events[:-1]]).turns[0].thinking_time is None
    for frames in (events, [history]):
        (turn,) = folded([ready(after=0), *frames]).turns
        assert (turn.thinking_since, turn.thinking_time) == (None, expected)


def test_a_turn_knows_which_thinking_came_before_its_answer() -> None:
    """Read by events or by history, and also where the answer is not kept."""
    events = thinking_turn("[Hm. ]", "[So]", "One", "[!]", ".")
    history = History(session="s", id="h", turns=turn_records(events), more=False)
    for frames in (events, [history]):
        (turn,) = folded([ready(after=0), *frames]).turns
        assert (turn.thinking, turn.thinking_before_answer) == ("Hm. So!", 6)

    assert folded([ready(after=0), *events[:3]]).turns[0].thinking_before_answer is None
    (cut,) = folded([ready(after=0), *events[:4]], View(keep=510)).turns
    assert (cut.whole, cut.thinking_before_answer) == (False, 6)


def test_a_view_keeps_thinking_within_its_bound() -> None:
    """It counts as text does; what doesn't fit is not here, and the turn says so."""
    events = thinking_turn("[" + "x" * 1000 + "]", "One")
    view = folded([ready(after=0), *events], View(keep=1506))
    assert (view.turns[0].whole, view.size, texts(view)) == (False, 1504, [("x" * 1000, "")])


# --- gaps, other histories, what is replaced -------------------------------------------------------------------------


def test_events_beyond_a_gap_are_not_shown() -> None:
    """Whoever misses events connects again; what comes after them is not taken."""
    question, first, second, _ = turn("ab", "cd")
    view = folded([ready(after=0), question])

    with pytest.raises(Gap):
        view.fold(second)

    assert view.seq == question.seq
    folded([first, second], view)
    assert answers(view) == [("t1", "abcd")]


def test_a_log_that_begins_elsewhere_is_shown_anew() -> None:
    """docs/protocol.md, promise 5: where `ready.from` is not the `after` that was sent, what was shown is dropped."""
    view = folded([ready(after=0), *turn("lost")])

    folded([ready(after=40), *turn("new", at=40)], view)

    assert answers(view) == [("t41", "new")]
    assert view.earlier


def test_a_resumed_log_keeps_what_is_shown() -> None:
    """Coming back to where one was changes nothing."""
    view = folded([ready(after=0), *turn("kept")])

    view.fold(ready(after=view.seq or 0))

    assert answers(view) == [("t1", "kept")]


def test_other_sessions_and_other_frames_change_nothing() -> None:
    """One connection may read several sessions."""
    view = folded([ready(after=0, session="other"), *turn("not ours"), Alive()])

    assert (view.turns, view.seq) == ([], 0)


def test_an_event_of_an_unknown_type_shows_nothing_and_moves_on() -> None:
    """docs/protocol.md, promise 8: a reader stands where the event says; one at or before its place is passed over."""
    question, first, *rest = turn("ab", "cd")
    shifted = [replace(event, seq=event.seq + 7) for event in rest]
    view = folded([ready(after=0), question, first])

    folded([UnknownEvent(session="s", seq=10), UnknownEvent(session="s", seq=8)], view)
    folded([UnknownEvent(session="other", seq=99)], view)
    assert (answers(view), view.seq) == ([("t1", "ab")], 10)

    folded(shifted, view)
    assert answers(view) == [("t1", "abcd")]
    assert view.turns[0].proven
    with pytest.raises(Gap):
        folded([ready(after=3), *shifted], folded([ready(after=0), question, first]))


def test_another_log_is_another_history() -> None:
    """docs/protocol.md, promise 5: even where the replay begins at our place. Without a `log`, the place tells."""
    events = turn("kept")
    place = events[-1].seq

    def resumed(known: str, sent: str) -> View:
        return folded([ready(after=0, log=known), *events, ready(after=place, log=sent)])

    assert [answers(resumed(*logs)) for logs in (("a", "a"), ("", "a"), ("a", ""))] == [[("t1", "kept")]] * 3
    assert [resumed(*logs).log for logs in (("a", "a"), ("", "a"), ("a", ""))] == ["a"] * 3
    assert (resumed("a", "b").turns, resumed("a", "b").seq, resumed("a", "b").log) == ([], place, "b")
    assert folded([ready(after=0, session="other")], resumed("a", "a")).log is None


def test_a_turn_has_the_options_of_its_question() -> None:
    """Told by the event and by history."""
    question, *rest = turn("ab")
    assert isinstance(question, Question)
    events = [replace(question, options=Options(max_tokens=5)), *rest]
    history = History(session="s", id="h", turns=turn_records(events), more=False)

    for frames in (events, [history]):
        (shown,) = folded([ready(after=0), *frames]).turns
        assert shown.options == Options(max_tokens=5)


def test_what_is_replaced_is_hidden_with_all_that_followed() -> None:
    """docs/protocol.md, "Ask again": it stays in the log. One that replaces a turn older than all we hold hides all."""
    first, second = turn("one"), turn("two", at=5)
    third = turn("three", at=10, replaces="t6")
    fourth = turn("four", at=17, replaces="t1")

    view = folded([ready(after=0), *first, *second, *third])
    assert answers(view) == [("t1", "one"), ("t11", "three")]

    folded(fourth, view)
    assert answers(view) == [("t18", "four")]
    assert answers(folded([ready(after=5), *second, *turn("new", at=10, replaces="t1")])) == [("t11", "new")]


def test_older_turns_stand_before_newer_ones() -> None:
    """And `earlier` says whether the log has still older ones."""
    old, new = turn("old"), turn("new", at=5)
    view = folded([ready(after=5), *new])
    assert view.earlier

    view.fold(History(session="s", id="h", turns=turn_records(old), more=False))

    assert answers(view) == [("t1", "old"), ("t6", "new")]
    assert not view.earlier


def test_history_repairs_an_answer_that_fails_its_proof() -> None:
    """What a reader holds and what was answered differ: the check tells."""
    view = folded([ready(after=0), *turn("wrong", check="right")])
    assert not view.turns[0].proven

    view.fold(History(session="s", id="h", turns=turn_records(turn("right")), more=False))

    assert answers(view) == [("t1", "right")]
    assert view.turns[0].proven


def test_slices_of_a_turn_that_began_before_the_replay_say_nothing() -> None:
    """They move the position, and show no answer without a question."""
    view = folded([ready(after=1), *turn("abc")[1:]])

    assert (view.turns, view.seq) == ([], 5)


# --- tests/wire ------------------------------------------------------------------------------------------------------


def literal(template: Any) -> Any:
    """Variables of the dialogues as plain values: `$session` is the session called session."""
    return json.loads(re.sub(r'"\$(\w+)"', r'"\1"', json.dumps(template)))


VALID = {
    "created": "2026-01-01T00:00:00.000Z",
    "timing": {"queued": 0, "first_token": 0, "total": 0},
    "check": {"chars": 0, "sha256": "0" * 64},
    "limits": {"frame_bytes": 1_048_576, "question_chars": 1, "waiting_turns": 1},
    "usage": None,
    "model": "m",
    "resumed": True,
    "protocol": "askbot.v1",
    "server": "x",
    "retryable": False,
    "message": "m",
    "reconnect_after": 0,
    "seq": 0,
    "from": 0,
    "more": False,
}


def frame_of(template: dict[str, Any]) -> ServerFrame | UnknownEvent | None:
    """A server's frame of a dialogue; `$any` becomes whatever is valid there."""
    known: dict[str, Any] = {name: VALID.get(name) if each == "$any" else each for name, each in template.items()}
    for name, fields in VALID.items():
        if isinstance(fields, dict) and isinstance(known.get(name), dict):
            known[name] = fields | {part: each for part, each in known[name].items() if each != "$any"}
    needed = {
        "ready": ("resumed", "protocol", "server", "model", "limits"),
        "question": ("created",),
        "done": ("model", "usage", "timing", "check"),
        "error": ("message", "retryable"),
    }
    known = {name: VALID[name] for name in needed.get(str(template.get("type")), ())} | known
    return decode_server(json.dumps(literal(known)))


@pytest.mark.parametrize("dialogue", WIRE, ids=[path.stem for path in WIRE])
def test_the_dialogues_end_in_the_view_that_they_tell(dialogue: Path) -> None:
    """The server, this client and the JS client play the same ones."""
    views = dict[str, View]()  # by session, the first one first
    for line in dialogue.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line or "{}")
        if "<" in entry and (frame := frame_of(entry["<"])):
            views.setdefault(literal(entry["<"]).get("session", ""), View()).fold(frame)
        if "view" in entry:
            view = next(iter(views.values()))
            shown = [
                {
                    "turn": turn.turn,
                    "text": turn.question,
                    "answer": turn.answer,
                    "reason": turn.end.reason if turn.end else None,
                }
                for turn in view.turns
            ]
            assert shown == literal(entry["view"]["turns"])


# --- TextBuffer ------------------------------------------------------------------------------------------------------


@given(pieces=st.lists(st.text(), max_size=200), data=st.data())
def test_a_buffer_is_read_from_any_place_on(pieces: list[str], data: st.DataObject) -> None:
    """While it grows, so that a reader of what is new copies nothing else."""
    text = TextBuffer()
    for piece in pieces:
        text.append(piece)
    whole = "".join(pieces)
    place = data.draw(st.integers(0, len(whole)))
    assert text.read_after(place) == whole[place:]
    assert str(text) == whole


@given(start=st.text(), steps=st.lists(st.one_of(st.text(), st.sampled_from([str, TextBuffer.pop_all])), max_size=200))
def test_a_text_buffer_holds_what_was_added(start: str, steps: list[object]) -> None:
    """However small the pieces are, and whenever it is read or emptied."""
    text, wanted = TextBuffer(start), start
    for step in steps:
        if isinstance(step, str):
            text.append(step)
            wanted += step
        else:
            assert (str(text) if step is str else text.pop_all()) == wanted
            wanted = wanted if step is str else ""
        assert text.size == len(wanted)

    assert str(text) == wanted


def test_a_text_buffer_of_small_pieces_costs_little_more_than_their_text() -> None:
    """Each would be an object of 50 bytes and more."""
    text = TextBuffer()
    tracemalloc.start()
    for number in range(50_000):
        text.append(f"{number % 100:02}")
    cost, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert text.size == 100_000
    assert cost < 200_000


def test_the_turns_to_show_are_found_in_one_pass() -> None:
    """Of a conversation whose second half retries one turn again and again, too."""
    looked_at = 0

    class CountingTurn(Turn):
        @property
        def from_(self) -> int:
            nonlocal looked_at
            looked_at += 1
            return self._from

        @from_.setter
        def from_(self, value: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - it counts
            self._from = value

    turns = 400
    view = View()
    for at in range(turns):
        replaces = f"t{turns // 2}" if at > turns // 2 else None
        view.all_turns[f"t{at}"] = CountingTurn(f"t{at}", None, "Why?", replaces, 0.0, None, from_=at, seq=at + 1)

    assert len(view.turns) == turns // 2 + 1
    assert looked_at < 5 * turns


def test_a_snapshot_does_not_change() -> None:
    """Whatever comes later; nor does the view by what is done with the snapshot."""
    events = turn("Be", "cause")
    view = folded([ready(after=0), *events[:2]])
    copied = view.snapshot()
    (begun,) = copied.turns
    folded(events[2:], view)

    assert (begun.answer, begun.status, copied.seq) == ("Be", "answering", 3)
    assert (view.turns[0].answer, view.turns[0].status, view.seq) == ("Because", "ended", 9)


def test_former_names_are_the_same() -> None:
    """Type checkers tell what they are called now."""
    view = folded([ready(after=0), *turn("Yes.")])
    assert view.turns[0].text == view.turns[0].question  # pyright: ignore[reportDeprecated]
    assert view.has_earlier is view.earlier is False  # pyright: ignore[reportDeprecated]
