"""Turn: every state with every input, and text however it is cut."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.turn import TurnMachine, TurnState, answer_check, seq_of, turn_id_of
from askbot_ws.errors import TurnNotFound
from askbot_ws.upstream import ThinkingText

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text("🙂é\ufeffa", max_size=8)


def turn_in(state: TurnState) -> TurnMachine:
    turn = TurnMachine(1, "why?", asked_at=10.0)
    if state is not TurnState.WAITING:
        turn.start(now=11.0)
        turn.add_text("so", now=12.0)
        turn.add_thinking("hm")
    if state is TurnState.ENDED:
        turn.end()
    return turn


def halves(text: str) -> list[str]:
    """A text as UTF-16 units, each a piece of its own."""
    data = text.encode("utf-16-le")
    return [data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2)]


def feed(pieces: list[str]) -> tuple[TurnMachine, str]:
    turn = TurnMachine(1, "why?", asked_at=0.0)
    turn.start(now=0.0)
    logged = "".join([turn.add_text(piece, now=1.0) for piece in pieces]) + turn.flush_surrogate(now=1.0)
    return turn, logged


@pytest.mark.parametrize(
    ("state", "act", "result", "then"),
    [
        (TurnState.WAITING, "start", None, TurnState.ANSWERING),
        (TurnState.WAITING, "text", "", TurnState.WAITING),
        (TurnState.WAITING, "think", "", TurnState.WAITING),
        (TurnState.WAITING, "flush", "", TurnState.WAITING),
        (TurnState.WAITING, "end", True, TurnState.ENDED),
        (TurnState.WAITING, "rewind", None, TurnState.WAITING),
        (TurnState.WAITING, "wait again", None, TurnState.WAITING),
        (TurnState.ANSWERING, "start", ValueError, TurnState.ANSWERING),
        (TurnState.ANSWERING, "text", "more", TurnState.ANSWERING),
        (TurnState.ANSWERING, "think", "more thought", TurnState.ANSWERING),
        (TurnState.ANSWERING, "flush", "", TurnState.ANSWERING),
        (TurnState.ANSWERING, "end", True, TurnState.ENDED),
        (TurnState.ANSWERING, "rewind", None, TurnState.ANSWERING),
        (TurnState.ANSWERING, "wait again", ValueError, TurnState.ANSWERING),
        (TurnState.ENDED, "start", ValueError, TurnState.ENDED),
        (TurnState.ENDED, "text", "", TurnState.ENDED),
        (TurnState.ENDED, "think", "", TurnState.ENDED),
        (TurnState.ENDED, "flush", "", TurnState.ENDED),
        (TurnState.ENDED, "end", False, TurnState.ENDED),
        (TurnState.ENDED, "rewind", None, TurnState.ENDED),
        (TurnState.ENDED, "wait again", ValueError, TurnState.ENDED),
    ],
)
def test_every_state_knows_every_input(state: TurnState, act: str, result: object, then: TurnState) -> None:
    """Illegal input raises or does nothing; the first end wins."""
    turn = turn_in(state)
    before, thinking_chars = bytes(turn.answer), turn.thinking_chars
    acts: dict[str, Callable[[], object]] = {
        "start": lambda: turn.start(now=20.0),
        "text": lambda: turn.add_text("more", now=20.0),
        "think": lambda: turn.add_thinking("more thought"),
        "flush": lambda: turn.flush_surrogate(now=20.0) + turn.flush_thinking_surrogate(),
        "end": turn.end,
        "rewind": lambda: turn.roll_back(chars=0),
        "wait again": turn.undo_end,
    }

    if result is ValueError:
        with pytest.raises(ValueError, match=r"can't (start|wait)"):
            acts[act]()
    else:
        assert acts[act]() == result

    assert turn.state is then
    assert turn.answer == before + (b"more" if result == "more" else b"")
    assert turn.thinking_chars == thinking_chars + (len("more thought") if result == "more thought" else 0)


@given(text=texts, data=st.data())
def test_text_cut_anywhere_is_the_text(text: str, data: st.DataObject) -> None:
    """Also inside a character: some providers cut UTF-16 in the middle of a pair."""
    units = halves(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units)), max_size=6)))
    pieces = ["".join(units[a:b]) for a, b in zip([0, *cuts], [*cuts, len(units)], strict=True)]

    turn, logged = feed(pieces)

    assert logged == turn.answer.decode() == text
    assert (turn.check().chars, turn.check().sha256) == (len(text), sha256(text.encode()).hexdigest())


@given(pieces=st.lists(st.text(st.sampled_from("a\ud83d\ude42é\udc00"), max_size=4), max_size=8))
def test_what_has_no_other_half_is_replaced(pieces: list[str]) -> None:
    """Whatever the provider sends, what is logged is text, and the whole of it, one sign for each half."""
    whole = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    turn, logged = feed(pieces)

    assert logged == whole
    assert (turn.answer.decode(), turn.chars) == (whole, len(whole))


@given(pieces=st.lists(st.text(st.sampled_from("a\ud83d\ude42é\udc00"), max_size=4), max_size=8))
def test_reasoning_is_made_whole_in_the_same_way(pieces: list[str]) -> None:
    """And changes nothing of the answer, its proof, or the time of its first text."""
    turn = TurnMachine(1, "why?", asked_at=0.0)
    turn.start(now=0.0)
    before = turn.check(), turn.timing(now=1.0)

    logged = "".join([turn.add_thinking(piece) for piece in pieces]) + turn.flush_thinking_surrogate()

    assert logged == "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert turn.thinking_chars == len(logged)
    assert (turn.check(), turn.timing(now=1.0)) == before


def test_reasoning_is_logged_as_plain_text() -> None:
    """Whatever class of string an upstream has for it."""
    turn = turn_in(TurnState.ANSWERING)

    assert [type(turn.add_thinking(ThinkingText(text))) for text in ("hm", "é", "")] == [str] * 3


def test_a_half_waits_for_the_other() -> None:
    """Nothing is logged for it until then."""
    turn = turn_in(TurnState.ANSWERING)

    assert [turn.add_text(piece, now=13.0) for piece in ("\ud83d", "", "\ude42")] == ["", "", "🙂"]


@pytest.mark.parametrize("piece", [b"bytes", b"\xff", bytearray(b"bytes"), 7, ["text"]])
def test_what_is_no_text_changes_nothing(piece: Any) -> None:
    """An upstream of somebody's own may give anything: the proof stays that of the text."""
    turn = TurnMachine(1, "why?", asked_at=0.0)
    turn.start(now=1.0)
    turn.add_text("so far", 2.0)
    with pytest.raises((AttributeError, TypeError)):
        turn.add_text(piece, 3.0)

    assert turn.check() == answer_check(b"so far", chars=6)


@given(text=texts, data=st.data())
def test_what_was_lost_was_never_there(text: str, data: st.DataObject) -> None:
    """The proof is of what is left; a half that waited is lost as well."""
    turn, _ = feed([text])
    turn.add_text("\ud83d", now=1.0)
    turn.add_thinking("thought\ud83d")
    lost = data.draw(st.integers(0, len(text)))

    turn.roll_back(chars=lost, thinking_chars=3)

    left = text[: len(text) - lost]
    assert turn.flush_surrogate(now=1.0) + turn.flush_thinking_surrogate() == ""
    assert turn.thinking_chars == len("thou")
    assert (turn.answer.decode(), turn.chars) == (left, len(left))


@given(stored=st.lists(texts), text=texts, data=st.data())
def test_what_is_not_kept_is_proven_all_the_same(stored: list[str], text: str, data: st.DataObject) -> None:
    """However often, and whatever is lost after it."""
    turn = turn_in(TurnState.ANSWERING)
    said = turn.answer.decode()
    for part in stored:
        turn.add_text(part, now=1.0)
        turn.release_stored_text()
    turn.add_text(text, now=1.0)
    lost = data.draw(st.integers(0, len(text)))
    turn.roll_back(chars=lost)

    left = said + "".join(stored) + text[: len(text) - lost]
    assert turn.check() == answer_check(left.encode(), chars=len(left))
    assert len(turn.answer) <= len((text if stored else said + text).encode())


def test_times_count_from_the_question() -> None:
    """How long it waited, until its first text, and in all."""
    turn = turn_in(TurnState.ENDED)
    timing = turn.timing(now=15.0)

    assert (timing.queued, timing.first_token, timing.total) == (1.0, 2.0, 5.0)


def test_a_turn_that_never_began_was_waiting_all_the_time() -> None:
    """And has no first token."""
    timing = turn_in(TurnState.WAITING).timing(now=15.0)

    assert (timing.queued, timing.first_token, timing.total) == (5.0, None, 5.0)


@given(seq=st.integers(1, 2**53 - 1))
def test_a_name_tells_the_place(seq: int) -> None:
    """A place in the log is never given twice."""
    assert seq_of(turn_id_of(seq)) == seq == seq_of(TurnMachine(seq, "", asked_at=0.0).id)


@pytest.mark.parametrize("name", ["", "t", "t0", "t01", "1", "t-1", "t1 ", "t1\n", "t٣", "t" + "9" * 17])
def test_what_is_no_name_is_not_found(name: str) -> None:
    """Clients may send anything."""
    with pytest.raises(TurnNotFound):
        seq_of(name)
