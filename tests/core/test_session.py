"""Session: what may be appended to a log, in which order, and what is left when the store does not take it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from askbot_ws.core.context import ContextWindow
from askbot_ws.core.log_tail import MAX_TOKEN_CHARS, LogTail
from askbot_ws.core.session import MAX_KNOWN_QUESTIONS, KnownQuestion, NewQuestion, SessionMachine
from askbot_ws.core.turn import TurnMachine, TurnState
from askbot_ws.errors import AskbotError, Busy, QueueFull, TurnNotFound
from askbot_ws.events import (
    Done,
    Event,
    Failure,
    LaterEvent,
    Options,
    Question,
    Reason,
    Thinking,
    Title,
    Token,
    WhenBusy,
)

FAILURE = Failure(code="internal", message="the store is away", retryable=True)


def asking(text: str = "why?", *, id: str | None = None, model: str | None = None, now: float = 1.0) -> NewQuestion:
    return NewQuestion(text=text, asked_at=now, created_at=1000.0 + now, id=id, options=Options(model=model))


def session_of(questions: int = 0, *, max_waiting: int = 8) -> SessionMachine:
    """A session with so many questions, the first of them running."""
    session = SessionMachine("s", max_waiting=max_waiting, context=ContextWindow())
    for _ in range(questions):
        session.ask(asking(), when_busy="queue", model="m")
        session.start_next(now=2.0)
    return session


def running(session: SessionMachine) -> TurnMachine:
    assert session.running is not None
    return session.running


def summary(events: Sequence[Event]) -> list[tuple[object, ...]]:
    told: list[tuple[object, ...]] = []
    for event in events:
        match event:
            case Question():
                told.append(("question", event.seq, event.turn))
            case Token() | Thinking():
                told.append((event.type, event.seq, event.turn, event.text))
            case Done():
                told.append(("done", event.seq, event.turn, event.reason))
            case Title():
                told.append(("title", event.seq, event.text))
            case LaterEvent():
                raise AssertionError(f"this version makes no {event.type}")
    return told


def assert_proves(done: Event, answer: str) -> None:
    assert isinstance(done, Done)
    assert (done.check.chars, done.check.sha256) == (len(answer), sha256(answer.encode()).hexdigest())


def rewind(session: SessionMachine, lost: list[Event]) -> Sequence[Event]:
    return session.roll_back(lost, now=9.0, model="m", error=FAILURE)


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_question_is_one_event_and_tells_all_of_the_asking() -> None:
    """It is the acknowledgement."""
    session = session_of()

    (question,) = session.ask(asking("why?", id="q1"), when_busy="queue", model="m")

    assert question == Question(session="s", seq=1, turn="t1", id="q1", text="why?", created=1001.0)
    assert (session.head, session.known_questions, session.idle) == (1, {"q1": KnownQuestion(1, hash("why?"))}, False)


def test_seq_counts_code_points_of_text_and_one_for_all_else() -> None:
    """docs/protocol.md, promise 4: like a byte offset."""
    session = session_of(1)
    turn = running(session)

    events = [
        *session.add_text(turn, "a🙂", now=3.0),
        *session.add_text(turn, "", now=3.0),
        *session.add_text(turn, "\ud83d", now=3.0),
        *session.end(turn, "stop", now=4.0, model="m"),
    ]

    assert summary(events) == [("token", 3, "t1", "a🙂"), ("token", 4, "t1", "\ufffd"), ("done", 5, "t1", "stop")]
    assert_proves(events[-1], "a🙂\ufffd")


def test_reasoning_and_text_are_logged_in_their_order() -> None:
    """Each kind in events of its own; the proof is of the text alone."""
    session = session_of(1)
    turn = running(session)

    events = [
        *session.add_thinking(turn, "hm🙂", now=3.0),
        *session.add_text(turn, "so", now=4.0),
        *session.add_thinking(turn, "", now=5.0),
        *session.add_thinking(turn, "sure?", now=5.0),
        *session.add_text(turn, " it is", now=6.0),
        *session.end(turn, "stop", now=7.0, model="m"),
    ]

    assert summary(events) == [
        ("thinking", 4, "t1", "hm🙂"),
        ("token", 6, "t1", "so"),
        ("thinking", 11, "t1", "sure?"),
        ("token", 17, "t1", " it is"),
        ("done", 18, "t1", "stop"),
    ]
    assert_proves(events[-1], "so it is")
    assert isinstance(events[-1], Done)
    assert events[-1].timing.first_token == 3.0


def test_half_a_character_of_one_kind_is_replaced_where_the_other_kind_follows() -> None:
    """Its other half can't come any more; an empty piece says nothing about that."""
    session = session_of(1)
    turn = running(session)

    events = [
        *session.add_thinking(turn, "a\ud83d", now=3.0),
        *session.add_text(turn, "", now=3.0),
        *session.add_thinking(turn, "\ude42b\ud83d", now=3.0),
        *session.add_text(turn, "\ude42c\ud83d", now=3.0),
        *session.add_thinking(turn, "", now=3.0),
        *session.add_thinking(turn, "\ude42d\ud83d", now=3.0),
        *session.end(turn, "stop", now=4.0, model="m"),
    ]

    assert [event[0::3] for event in summary(events)] == [
        ("thinking", "a"),
        ("thinking", "🙂b"),
        ("thinking", "\ufffd"),
        ("token", "\ufffdc"),
        ("token", "\ufffd"),
        ("thinking", "\ufffdd"),
        ("thinking", "\ufffd"),
        ("done", "stop"),
    ]
    assert_proves(events[-1], "\ufffdc\ufffd")


def test_long_reasoning_is_cut_into_slices_like_text() -> None:
    """Each fits one frame, whatever the code points are."""
    session = session_of(1)

    events = session.add_thinking(running(session), "🙂" * (2 * MAX_TOKEN_CHARS + 1), now=3.0)

    assert [len(event[3]) for event in summary(events) if isinstance(event[3], str)] == [
        MAX_TOKEN_CHARS,
        MAX_TOKEN_CHARS,
        1,
    ]
    assert events[-1].seq == session.head == 2 * MAX_TOKEN_CHARS + 2


def test_questions_wait_in_order_and_one_is_answered_at_a_time() -> None:
    """First in, first out."""
    session = session_of(3)
    order = [running(session).id]
    while session.running is not None:
        assert session.start_next(now=3.0) is None
        session.end(session.running, "stop", now=3.0, model="m")
        if (turn := session.start_next(now=3.0)) is not None:
            order.append(turn.id)

    assert order == ["t1", "t2", "t3"]
    assert session.idle


def test_replace_cancels_the_running_turn_and_waits_behind_the_others() -> None:
    """`when_busy: replace` is about the running turn only."""
    session = session_of(2)

    events = session.ask(asking(), when_busy="replace", model="m")

    assert summary(events) == [("done", 3, "t1", "cancelled"), ("question", 4, "t4")]
    assert [turn.id for turn in session.waiting] == ["t2", "t4"]


def test_an_edit_cancels_what_it_replaces_and_all_that_follows() -> None:
    """Earlier turns stay."""
    session = session_of(4)

    events = session.replace("t2", asking("what?"), model="m")

    assert [event[:2] + event[3:] for event in summary(events)] == [
        ("done", 5, "cancelled"),
        ("done", 6, "cancelled"),
        ("done", 7, "cancelled"),
        ("question", 8),
    ]
    question = events[-1]
    assert isinstance(question, Question)
    assert (question.replaces, question.text) == ("t2", "what?")
    assert (running(session).id, [turn.id for turn in session.waiting]) == ("t1", ["t8"])


def test_the_first_end_wins() -> None:
    """A cancel and the upstream's own end may cross; text that comes later is not logged."""
    session = session_of(1)
    turn = running(session)
    session.cancel(turn, "cancelled", now=3.0, model="m")

    assert session.add_text(turn, "late", now=3.0) == []
    assert session.add_thinking(turn, "late", now=3.0) == []
    assert session.end(turn, "stop", now=3.0, model="m") == []
    assert session.head == 2


def test_a_cancel_names_the_model_that_was_asked() -> None:
    """The question's own, or the configured one."""
    session = SessionMachine("s")
    for model in ("big", None):
        session.ask(asking(model=model), when_busy="queue", model="small")
    ends = [session.cancel(turn, "cancelled", now=2.0, model="small")[-1] for turn in list(session.waiting)]

    assert [end.model for end in ends if isinstance(end, Done)] == ["big", "small"]


def test_a_cancel_finds_the_running_or_any_waiting_turn() -> None:
    """And nothing else."""
    session = session_of(2)

    assert session.find_open_turn(None) is session.find_open_turn("t1") is session.running
    assert session.find_open_turn("t2") is session.waiting[0]
    for turn in ("t3", "nonsense"):
        with pytest.raises(TurnNotFound):
            session.find_open_turn(turn)


def test_old_ids_leave_the_memory_first() -> None:
    """The store knows them still."""
    session = SessionMachine("s")
    for number in range(MAX_KNOWN_QUESTIONS + 2):
        session.add_known_question(f"q{number}", number + 1, "why?")

    assert len(session.known_questions) == MAX_KNOWN_QUESTIONS
    assert next(iter(session.known_questions)) == "q2"


ILLEGAL: list[tuple[str, type[AskbotError], Callable[[SessionMachine], object]]] = [
    ("busy", Busy, lambda session: session.ask(asking(id="x"), when_busy="reject", model="m")),
    ("full", QueueFull, lambda session: session.ask(asking(id="x"), when_busy="queue", model="m")),
    ("full, replace", QueueFull, lambda session: session.ask(asking(id="x"), when_busy="replace", model="m")),
    ("no such turn", TurnNotFound, lambda session: session.replace("nonsense", asking(id="x"), model="m")),
    ("not running", TurnNotFound, lambda session: session.find_open_turn("t99")),
]


@pytest.mark.parametrize(("name", "error", "act"), ILLEGAL, ids=[name for name, _, _ in ILLEGAL])
def test_illegal_input_raises_and_changes_nothing(
    name: str, error: type[AskbotError], act: Callable[[SessionMachine], object]
) -> None:
    """docs/protocol.md, promise 7: a frame that is refused changes nothing."""
    session = session_of(3, max_waiting=2)
    before = snapshot(session)

    with pytest.raises(error):
        act(session)

    assert snapshot(session) == before


def snapshot(session: SessionMachine) -> object:
    """All that a session holds."""

    def of(turn: TurnMachine | None) -> object:
        proven = turn and turn.stored_hash and turn.stored_hash.hexdigest()
        return turn and (
            turn.seq,
            turn.state,
            turn.chars,
            bytes(turn.answer),
            proven,
            turn.thinking_chars,
            turn.pending_surrogate,
            turn.pending_thinking_surrogate,
            turn.first_token_at,
        )

    exchanges = session.context and list(session.context.turns)
    return copy.deepcopy(
        (
            session.head,
            of(session.running),
            [of(turn) for turn in session.waiting],
            session.known_questions,
            sorted(session.unstored_ended),
            exchanges,
            session.context and session.context.size,
        )
    )


# --- rewinding -------------------------------------------------------------------------------------------------------


def test_a_lost_question_was_never_asked() -> None:
    """Its id may be asked again, its place is free."""
    session = session_of(1)
    lost = session.ask(asking(id="q"), when_busy="queue", model="m")

    assert rewind(session, lost) == []
    assert (session.head, len(session.waiting), session.known_questions, running(session).id) == (1, 0, {}, "t1")


def test_a_lost_question_that_had_begun_ends_without_a_word() -> None:
    """Nobody knows of it."""
    session = session_of()
    lost = session.ask(asking(), when_busy="queue", model="m")
    turn = session.start_next(now=2.0)

    assert rewind(session, lost) == []
    assert turn is not None
    assert (turn.state, session.idle, session.head) == (TurnState.ENDED, True, 0)
    assert session.add_text(turn, "late", now=3.0) == []


def test_a_turn_that_lost_text_ends_with_what_is_left() -> None:
    """In the place of what was lost."""
    session = session_of(1)
    turn = running(session)
    session.add_text(turn, "kept", now=3.0)
    lost = [*session.add_text(turn, "lost", now=3.0), *session.add_text(turn, "too\ud83d", now=3.0)]

    (owed,) = rewind(session, lost)

    assert summary([owed]) == [("done", 6, "t1", "error")]
    assert_proves(owed, "kept")
    assert isinstance(owed, Done)
    assert owed.error == FAILURE
    assert (session.idle, session.head) == (True, 6)


def test_a_turn_that_lost_reasoning_ends_too() -> None:
    """With the proof of its text, of which nothing is lost; what was kept of the reasoning counts."""
    session = session_of(1)
    turn = running(session)
    session.add_thinking(turn, "kept", now=3.0)
    session.add_text(turn, "so", now=3.0)
    lost = session.add_thinking(turn, "lost\ud83d", now=3.0)

    (owed,) = rewind(session, lost)

    assert summary([owed]) == [("done", 8, "t1", "error")]
    assert_proves(owed, "so")
    assert (session.idle, session.head, turn.thinking_chars) == (True, 8, 4)


def test_a_lost_end_is_owed_as_it_was() -> None:
    """No text was lost, so the turn ended as it did."""
    session = session_of(1)
    turn = running(session)
    session.add_text(turn, "all", now=3.0)
    lost = session.end(turn, "length", now=4.0, model="m")

    assert rewind(session, lost) == lost


def test_a_lost_end_with_lost_text_says_what_is_left() -> None:
    """Also where the next turn has begun already."""
    session = session_of(2)
    turn = running(session)
    session.add_text(turn, "kept", now=3.0)
    lost = [*session.add_text(turn, "lost", now=3.0), *session.end(turn, "stop", now=4.0, model="m")]
    following = session.start_next(now=5.0)

    (owed,) = rewind(session, lost)

    assert summary([owed]) == [("done", 7, "t1", "error")]
    assert_proves(owed, "kept")
    assert session.running is following


def test_a_waiting_turn_whose_cancel_is_lost_waits_again() -> None:
    """In its place. Its end can't be owed: a server that finds both open would put the running turn's there."""
    session = session_of(3)
    lost = session.cancel(session.waiting[0], "cancelled", now=3.0, model="m")

    assert rewind(session, lost) == []
    assert (running(session).id, [turn.id for turn in session.waiting]) == ("t1", ["t2", "t3"])
    assert [turn.state for turn in session.waiting] == [TurnState.WAITING] * 2


def test_several_turns_in_one_lost_batch_each_get_what_is_theirs() -> None:
    """Text, ends, a cancelled waiting turn, and a question that replaced it all."""
    session = session_of(3)
    first = running(session)
    session.add_text(first, "kept", now=3.0)
    lost = [
        *session.add_text(first, "lost", now=3.0),
        *session.cancel(session.waiting[1], "cancelled", now=3.0, model="m"),
        *session.add_text(first, "lost", now=3.0),
        *session.replace("t1", asking(id="e"), model="m"),
    ]

    owed = rewind(session, lost)

    assert summary(owed) == [("done", 8, "t1", "error")]
    assert_proves(owed[0], "kept")
    assert (session.running, [turn.id for turn in session.waiting]) == (None, ["t2", "t3"])
    assert (session.known_questions, session.head) == ({}, 8)


def test_a_turn_that_waits_again_ends_before_a_newer_one_that_had_begun() -> None:
    """A server that starts again ends turns in order: at a place, readers have to have seen the same turn's end."""
    session = session_of(1)
    for text in ("second?", "third?"):
        session.ask(asking(text), when_busy="queue", model="m")
    session.mark_stored(session.head)
    session.mark_stored(session.end(running(session), "stop", now=3.0, model="m")[-1].seq)
    cancelled = session.cancel(session.waiting[0], "cancelled", now=4.0, model="m")
    session.start_next(now=4.0)
    owed = rewind(session, [*cancelled, *session.add_text(running(session), "lost", now=5.0)])

    assert summary(owed) == [("done", 5, "t2", "error"), ("done", 6, "t3", "error")]
    assert session.idle

    session = session_of(1)
    for text in ("second?", "third?"):
        session.ask(asking(text), when_busy="queue", model="m")
    session.end(running(session), "stop", now=3.0, model="m")
    cancelled = session.cancel(session.waiting[0], "cancelled", now=4.0, model="m")
    session.start_next(now=4.0)
    assert rewind(session, cancelled) == []
    assert [turn.id for turn in session.waiting] == ["t2"]
    owed = rewind(session, session.add_text(running(session), "lost", now=5.0))
    assert [(end.turn, end.seq) for end in owed if isinstance(end, Done)] == [("t2", 5), ("t3", 6)]


def test_after_a_loss_the_context_is_read_anew() -> None:
    """It may show text that was lost, or miss turns that a lost question replaced."""
    session = session_of(1)
    rewind(session, session.end(running(session), "stop", now=3.0, model="m"))

    assert session.context is None


def test_ends_that_are_stored_are_not_kept() -> None:
    """A turn's answer is in the log, not here."""
    session = session_of(2)
    (done,) = session.end(running(session), "stop", now=3.0, model="m")
    session.mark_stored(done.seq - 1)
    assert list(session.unstored_ended) == [done.seq]
    session.mark_stored(done.seq)
    assert not session.unstored_ended


# --- anything at all -------------------------------------------------------------------------------------------------

reasons: st.SearchStrategy[Reason] = st.sampled_from(["stop", "length", "refused", "error"])
whens: st.SearchStrategy[WhenBusy] = st.sampled_from(["queue", "reject", "replace"])


class AnySession(RuleBasedStateMachine):
    """Plays any commands, and a store that takes or loses what it is given; `log` is what a reader has."""

    def __init__(self) -> None:
        super().__init__()
        self.session = SessionMachine(
            "s", max_waiting=3, context_bytes=6, context=ContextWindow()
        )  # longer answers are not kept
        self.events: list[Event] = []  # stored, or shown as owed
        self.pending: list[Event] = []
        self.begun: list[int] = []
        self.now = 0.0

    def add(self, events: list[Event]) -> None:
        self.now += 1
        self.pending += events

    def attempt(self, act: Callable[[], list[Event]]) -> None:
        before = snapshot(self.session)
        try:
            self.add(act())
        except AskbotError:
            assert snapshot(self.session) == before

    @rule(when=whens)
    def ask(self, when: WhenBusy) -> None:
        self.attempt(lambda: self.session.ask(asking(id=f"q{self.now}", now=self.now), when_busy=when, model="m"))

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        turns = [event.turn for event in self.events if isinstance(event, Question)]
        if turns:
            turn = data.draw(st.sampled_from(turns))
            self.attempt(lambda: self.session.replace(turn, asking(now=self.now), model="m"))

    @rule()
    def start(self) -> None:
        turn = self.session.start_next(now=self.now)
        if turn is not None:
            self.begun.append(turn.seq)

    @rule(piece=st.text(st.sampled_from("aé🙂\ud83d\ude42"), max_size=4))
    def text(self, piece: str) -> None:
        if self.session.running is not None:
            self.add(self.session.add_text(self.session.running, piece, now=self.now))

    @rule(piece=st.text(st.sampled_from("aé🙂\ud83d\ude42"), max_size=4))
    def think(self, piece: str) -> None:
        if self.session.running is not None:
            self.add(self.session.add_thinking(self.session.running, piece, now=self.now))

    @rule(reason=reasons)
    def end(self, reason: Reason) -> None:
        if self.session.running is not None:
            self.add(self.session.end(self.session.running, reason, now=self.now, model="m"))

    @rule()
    def name(self) -> None:
        self.attempt(lambda: self.session.set_title("Colours"))

    @rule(turn=st.none() | st.integers(0, 30).map(lambda seq: f"t{seq}"))
    def cancel(self, turn: str | None) -> None:
        self.attempt(
            lambda: self.session.cancel(self.session.find_open_turn(turn), "cancelled", now=self.now, model="m")
        )

    @precondition(lambda self: self.pending)
    @rule()
    def store_takes(self) -> None:
        self.events += self.pending
        self.pending = []
        self.session.mark_stored(self.events[-1].seq)

    @precondition(lambda self: self.pending)
    @rule()
    def store_fails(self) -> None:
        ends = self.session.roll_back(self.pending, now=self.now, model="m", error=FAILURE)
        self.events += ends
        self.pending, self.begun = [], []
        self.session.context = ContextWindow()
        shown = [int(end.turn[1:]) for end in ends]
        still_open = [turn.seq for turn in [self.session.running, *self.session.waiting] if turn is not None]
        assert shown == sorted(shown), "a server that starts again ends turns in the order of their questions"
        assert not shown or not still_open or min(still_open) > shown[-1], "it would end the older one there"

    @invariant()
    def positions_are_contiguous(self) -> None:
        place = 0
        for event in [*self.events, *self.pending]:
            assert event.start == place
            place = event.seq
        assert place == self.session.head

    @invariant()
    def one_runs_at_most_and_the_queue_is_bounded_and_in_order(self) -> None:
        waiting = [turn.seq for turn in self.session.waiting]
        assert waiting == sorted(waiting)
        assert len(waiting) <= 3
        states = [turn.state for turn in self.session.waiting]
        assert states == [TurnState.WAITING] * len(states)
        assert self.session.running is None or self.session.running.state is TurnState.ANSWERING

    @invariant()
    def turns_begin_in_the_order_of_their_questions(self) -> None:
        assert self.begun == sorted(set(self.begun))

    @invariant()
    def every_turn_is_a_question_then_text_then_one_end_that_proves_it(self) -> None:
        answers: dict[str, str] = {}
        for event in [*self.events, *self.pending]:
            match event:
                case Question():
                    assert event.turn not in answers
                    answers[event.turn] = ""
                case Token():
                    answers[event.turn] += event.text
                case Thinking():
                    assert answers[event.turn] != "ended"
                case Done():
                    assert_proves(event, answers.pop(event.turn))
                    answers[event.turn] = "ended"
                case Title():
                    assert answers
                case LaterEvent():
                    raise AssertionError(f"this version makes no {event.type}")
        open_turns = {turn for turn, answer in answers.items() if answer != "ended"}
        known = [self.session.running, *self.session.waiting]
        assert open_turns == {turn.id for turn in known if turn is not None}

    @invariant()
    def the_log_can_be_read_from_anywhere(self) -> None:
        log = LogTail("s")
        for event in self.events:
            log.append(event)
        after = log.head // 2
        read = log.read_merged(after=after)
        assert (read[0].start if read else log.head) == after

    def teardown(self) -> None:
        """In the end every question has its `done`."""
        for turn in [*self.session.waiting, self.session.running]:
            if turn is not None:
                self.add(self.session.cancel(turn, "interrupted", now=self.now, model="m"))
        self.every_turn_is_a_question_then_text_then_one_end_that_proves_it()
        assert self.session.idle


TestAnySession = AnySession.TestCase
TestAnySession.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
