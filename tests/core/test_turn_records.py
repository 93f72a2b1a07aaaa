"""Turns as history tells them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.turn_records import turn_records
from askbot_ws.events import Check, Done, Event, Failure, Options, Question, Step, Thinking, Timing, Token, Usage

OPTIONS = Options(model="m2", max_tokens=5)


def _question(turn: str, seq: int) -> Question:
    return Question(
        session="s",
        seq=seq,
        turn=turn,
        id=f"ask {turn}",
        text=f"text {turn}",
        created=1.5,
        replaces="t0",
        options=OPTIONS,
    )


def _done(turn: str, seq: int) -> Done:
    return Done(
        session="s",
        seq=seq,
        turn=turn,
        reason="error",
        model="m",
        usage=Usage(input_tokens=1, output_tokens=2),
        timing=Timing(queued=0.0, first_token=0.5, total=1.0),
        check=Check(chars=2, sha256="0" * 64),
        error=Failure(code="internal", message="m", retryable=True),
    )


def test_a_turn_tells_all_of_its_question_and_its_end() -> None:
    """Whoever reads the history needs no other frame."""
    done = _done("t1", 4)

    (turn,) = turn_records([_question("t1", 1), Token(session="s", seq=3, turn="t1", text="hi"), done])

    assert (turn.turn, turn.id, turn.text, turn.created, turn.replaces) == ("t1", "ask t1", "text t1", 1.5, "t0")
    assert (turn.options, turn.answer, turn.from_, turn.seq) == (OPTIONS, "hi", 0, 4)
    assert (turn.reason, turn.model, turn.usage, turn.timing) == (done.reason, done.model, done.usage, done.timing)
    assert (turn.check, turn.error) == (done.check, done.error)


def test_what_has_not_ended_has_no_end() -> None:
    """Null while it runs; its place is that of its last event."""
    running, waiting = turn_records(
        [_question("t1", 5), Token(session="s", seq=7, turn="t1", text="hi"), _question("t2", 8)]
    )

    assert (running.reason, running.check, running.answer, running.seq) == (None, None, "hi", 7)
    assert (waiting.reason, waiting.answer, waiting.from_, waiting.seq) == (None, "", 7, 8)


def test_a_turn_with_reasoning_has_steps() -> None:
    """All its text in order, neighbours as one; the answer is the text alone. A turn without has none."""
    slices = [(Thinking, "h"), (Thinking, "m"), (Token, "so"), (Token, " it"), (Thinking, "?"), (Token, " is")]
    events: list[Event] = [_question("t1", 1)]
    for kind, text in slices:
        events.append(kind(session="s", seq=events[-1].seq + len(text), turn="t1", text=text))
    events.append(_question("t2", events[-1].seq + 1))

    first, second = turn_records(events)

    assert first.steps == (
        Step(type="thinking", text="hm"),
        Step(type="text", text="so it"),
        Step(type="thinking", text="?"),
        Step(type="text", text=" is"),
    )
    assert (first.answer, first.seq, second.steps) == ("so it is", 12, None)


def test_what_began_before_is_left_out() -> None:
    """The rest of a turn is no turn."""
    events: list[Event] = [Token(session="s", seq=7, turn="t1", text="hi"), _done("t1", 8), _question("t2", 9)]

    assert [turn.turn for turn in turn_records(events)] == ["t2"]


@given(order=st.lists(st.sampled_from("abc"), max_size=20))
def test_answers_do_not_mix_however_the_turns_interleave(order: list[str]) -> None:
    """Slices of several turns may stand between each other."""
    events: list[Event] = [_question(turn, number) for number, turn in enumerate("abc", 1)]
    for number, turn in enumerate(order):
        events.append(Token(session="s", seq=4 + number, turn=turn, text=turn))

    turns = turn_records(events)

    assert [turn.turn for turn in turns] == ["a", "b", "c"]
    assert [turn.answer for turn in turns] == [turn * order.count(turn) for turn in "abc"]
