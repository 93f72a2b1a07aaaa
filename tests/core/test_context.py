"""Context: built forward as turns happen, or backward from the store, the model is shown the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askbot_ws.core.context import ContextWindow, TokenEstimate, encode_exchange
from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.core.session import NewQuestion, SessionMachine
from askbot_ws.core.turn import seq_of
from askbot_ws.core.turn_records import turn_records
from askbot_ws.events import Event, Options, Question, Reason, TurnRecord

PLENTY = 10**9
QUESTION = Message("user", "and now?")


def record(
    place: int, *, answer: str = "so", reason: Reason | None = "stop", replaces: str | None = None
) -> TurnRecord:
    return TurnRecord(
        turn=f"t{place}",
        text=f"{place}?",
        created=0.0,
        answer=answer,
        reason=reason,
        replaces=replaces,
        from_=place - 1,
        seq=place + len(answer) + 1,
    )


def messages(context: ContextWindow, *, room: int = PLENTY, system: str | None = None) -> list[Message]:
    persona = Message("system", system).encoded + b"," if system else b""
    return Prompt((persona, context.newest(room), QUESTION.encoded), Options()).messages


def texts(context: ContextWindow, *, room: int = PLENTY, system: str | None = None) -> list[str]:
    return [message.text for message in messages(context, room=room, system=system)]


def loaded(turns: list[TurnRecord], *, budget: int = PLENTY, page: int = 50, cut: int | None = None) -> ContextWindow:
    """As the hub loads it: newest page first, until it is enough."""
    context = ContextWindow(replaced_from=cut)
    while turns and context.add_older(turns[-page:], budget=budget):
        turns = turns[:-page]
    return context


class Talk:
    """A session that is told what happens, and keeps the log."""

    def __init__(self, *, window: int = PLENTY) -> None:
        self.session = SessionMachine("s", max_waiting=99, context_bytes=window, context=ContextWindow())
        self.events: list[Event] = []

    def ask(self, *, replaces: str | None = None, model: str = "m") -> None:
        asking = NewQuestion(text=f"{self.session.head + 1}?", asked_at=0.0, created_at=0.0)
        if replaces is None:
            self.events += self.session.ask(asking, when_busy="queue", model=model)
        else:
            self.events += self.session.replace(replaces, asking, model=model)

    def answer(self, text: str, reason: Reason | None) -> None:
        turn = self.session.running or self.session.start_next(now=0.0)
        if turn is not None:
            self.events += self.session.add_text(turn, text, now=0.0)
            if reason is not None:
                self.events += self.session.end(turn, reason, now=0.0, model="m")

    @property
    def turns(self) -> list[str]:
        return [event.turn for event in self.events if isinstance(event, Question)]


reasons: st.SearchStrategy[Reason | None] = st.sampled_from(["stop", "cancelled", "refused", "error", "length", None])


@settings(deadline=None)
@given(data=st.data(), page=st.integers(1, 5), budget=st.just(PLENTY) | st.integers(0, 300))
def test_forward_and_backward_are_the_same(data: st.DataObject, page: int, budget: int) -> None:
    """Whatever happened, however it is paged: a restart changes nothing of what the model is shown."""
    talk = Talk(window=budget)
    for _ in range(data.draw(st.integers(0, 15))):
        talk.ask(replaces=data.draw(st.none() | st.sampled_from(talk.turns)) if talk.turns else None)
        for _ in range(data.draw(st.integers(0, 2))):
            talk.answer(data.draw(st.text("ab🙂 \n", max_size=3)), data.draw(reasons))
    while not talk.session.idle:
        talk.answer("end", "stop")
    forward = talk.session.context
    if forward is None:  # older turns may fit again: the hub reads it from the store
        return

    backward = loaded(turn_records(talk.events), page=page, budget=budget)

    assert texts(forward) == texts(backward)
    assert forward.turns == backward.turns
    assert forward.size == backward.size == sum(size for _, size in forward.turns)


def test_it_is_the_persona_then_the_turns_then_the_question() -> None:
    """Oldest first."""
    context = loaded([record(1), record(5)])

    assert texts(context, system="be kind") == ["be kind", "1?", "so", "5?", "so", "and now?"]
    roles = [message.role for message in messages(context)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


def test_the_newest_turns_that_fit_are_shown() -> None:
    """Whole turns only; the persona and the question always, even where they alone are too much."""
    context = loaded([record(1), record(5), record(9)])
    one = len(encode_exchange("9?", "so"))

    assert texts(context, room=2 * one) == ["5?", "so", "9?", "so", "and now?"]
    assert texts(context, room=2 * one - 1) == ["9?", "so", "and now?"]
    assert texts(context, room=-1, system="kind") == ["kind", "and now?"]


def test_an_old_turn_too_large_hides_what_is_before_it() -> None:
    """A conversation with a hole in it would be another conversation."""
    context = loaded([record(1), record(5, answer="x" * 1000), record(1009)], budget=500)

    assert texts(context) == ["1009?", "so", "and now?"]
    assert not context.complete


@pytest.mark.parametrize(
    ("turn", "shown"),
    [
        (record(1, reason="cancelled", answer="as far as"), ["1?", "as far as"]),
        (record(1, reason="interrupted", answer="as far as"), ["1?", "as far as"]),
        (record(1, reason="error", answer="as far as"), ["1?", "as far as"]),
        (record(1, reason="cancelled", answer=""), []),
        (record(1, reason="cancelled", answer="\n\n"), []),
        (record(1, reason="stop", answer=" \u200b\t"), []),
        (record(1, reason="refused", answer="no"), []),
        (record(1, reason=None, answer="still"), []),
    ],
)
def test_a_turn_is_shown_as_far_as_the_user_saw_it(turn: TurnRecord, shown: list[str]) -> None:
    """Without an answer, or refused, it would only confuse the model."""
    assert texts(loaded([turn])) == [*shown, "and now?"]


def test_what_is_replaced_leaves_with_all_that_followed() -> None:
    """Also replacements of replacements, and the one that is about to be asked."""
    turns = [record(1), record(5), record(9), record(13, replaces="t9"), record(17, replaces="t5")]

    assert texts(loaded(turns)) == ["1?", "so", "17?", "so", "and now?"]
    assert texts(loaded(turns, cut=seq_of("t17"))) == ["1?", "so", "and now?"]
    assert texts(loaded(turns, cut=seq_of("t1"))) == ["and now?"]


def test_when_a_turn_leaves_older_ones_may_fit_again() -> None:
    """Then the session reads its context anew."""
    talk = Talk(window=150)
    for _ in range(3):
        talk.ask()
        talk.answer("x" * 50, "stop")
    context = talk.session.context
    assert context is not None
    assert not context.complete

    talk.ask(replaces=talk.turns[-1])

    assert talk.session.context is None


def test_messages_are_encoded_as_the_provider_wants_them() -> None:
    """And come back as they were."""
    said = [Message("user", 'a"é'), Message("assistant", "🙂\n")]
    prompt = Prompt.of(said, Options())

    assert (
        b"".join(prompt.pieces) == '{"role":"user","content":"a\\"é"},{"role":"assistant","content":"🙂\\n"}'.encode()
    )
    assert prompt.messages == said
    assert prompt.size == len(encode_exchange('a"é', "🙂\n")) - 1


@given(sent=st.integers(0, 10**6), counted=st.integers(-1, 10**6))
def test_an_estimate_stays_within_reason(sent: int, counted: int) -> None:
    """Whatever a provider reports, from anywhere it moves by a quarter at most, and small prompts teach nothing."""
    estimate = TokenEstimate()
    before = estimate.bytes_per_token
    for _ in range(50):
        estimate.update(prompt_bytes=sent, prompt_tokens=counted)
        assert 0.5 <= estimate.bytes_per_token <= 8.0
    if sent <= 1000 or counted <= 0:
        assert estimate.bytes_per_token == before


def test_an_estimate_comes_to_what_is_counted() -> None:
    """With a tenth to be on the safe side."""
    estimate = TokenEstimate()
    for _ in range(50):
        estimate.update(prompt_bytes=4400, prompt_tokens=1000)

    assert estimate.bytes_per_token == pytest.approx(4.0)
    assert estimate.bytes_for(100) == pytest.approx(400, abs=1)
