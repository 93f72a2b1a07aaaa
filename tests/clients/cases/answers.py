"""What comes in the middle of an answer, or instead of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from askbot_ws.testing import Cut, Receive, Script, ScriptedLog

from ..case import Case, OneOf, Read, Sent, Settled, answered, ask, case, cases, close, failed, lost, running

TIMING = {"queued": 0, "first_token": None, "total": 1}
EMPTY_CHECK = {"chars": 0, "sha256": hashlib.sha256(b"").hexdigest()}


@case
def an_answer_is_read() -> Case:
    """What all the others are compared with."""
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("ask"), *log.answer("Be", "cause 🙂.")]
    return Case(
        scripts=[script],
        steps=[ask()],
        outcomes={"ask": answered("Because 🙂.")},
        connections=1,
        sent={"ask": 1},
        answers=["Because 🙂."],
    )


@case
def an_answer_without_text_is_an_answer() -> Case:
    log = ScriptedLog()
    return Case(scripts=[[log.ready(), Receive("ask"), *log.answer()]], steps=[ask()], outcomes={"ask": answered("")})


@cases("Be", "🙂 ", "")
def an_answer_is_read_on_after_a_cut(text: str) -> Case:
    """Also after a character that is two code units in JavaScript, and right after the question."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), log.question(), *([log.token(text)] if text else []), Cut()],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered(text + "cause.")},
        connections=2,
        sent={"ask": 1},
        after={1: 1 + len(text)},
    )


@case
def an_unknown_event_in_the_middle_of_an_answer_breaks_nothing() -> Case:
    """And the place to come back to is behind it."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), log.event("weather", wind=3), Cut()],
            [log.resume(), log.event("weather"), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        after={1: 4},
    )


@case
def an_unknown_event_may_move_the_position_by_more_than_one() -> Case:
    log = ScriptedLog()
    begin: Script = running(log)
    log.head += 9
    return Case(
        scripts=[[*begin, log.event("song"), log.token("cause."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
    )


@case
def an_unknown_reason_is_an_end() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Because.", reason="moved_on")]],
        steps=[ask()],
        outcomes={"ask": answered("Because.", "moved_on")},
        connections=1,
    )


@cases("length", "cancelled", "refused", "interrupted")
def every_reason_is_an_end(reason: str) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Bec", reason=reason)]],
        steps=[ask()],
        outcomes={"ask": answered("Bec", reason)},
        connections=1,
    )


@case
def an_answer_that_fails_has_its_text() -> Case:
    """The reason is `error`; iterating raises it in Python."""
    log = ScriptedLog()
    error = {"code": "upstream_stalled", "message": "It stopped.", "retryable": True, "retry_after": None}
    return Case(
        scripts=[[*running(log), log.done("error", error=error)]],
        steps=[ask()],
        outcomes={"ask": {"code": None, "text": "Be", "reason": "error", "read": "Be"}},
        connections=1,
    )


IGNORED: dict[str, Any] = {
    "unknown type": {"type": "weather", "wind": 3},
    "unknown type about the session": {"type": "weather", "session": "s1"},
    "pong": {"type": "pong", "id": "nobody's"},
    "alive": {"type": "alive"},
    "event of another session": ScriptedLog("other").question(id="q", text="Me?"),
    "token of another session": {"type": "token", "session": "other", "turn": "t1", "seq": 4, "text": "no"},
    "done of another session": ScriptedLog("other").answer("no")[-1],
    "history that nobody asked for": ScriptedLog().history(id="nobody's"),
    "error that names no frame": ScriptedLog().error("internal"),
    "error that names an unknown frame": ScriptedLog().error("internal", id="nobody's"),
    "error with an unknown code": ScriptedLog().error("weather"),
    "unknown fields": {"type": "alive", "session": 3, "seq": [], "more": {}},
}


@cases(*IGNORED)
def in_the_middle_of_an_answer_it_changes_nothing(name: str) -> Case:
    log = ScriptedLog()
    script: Script = [*running(log), IGNORED[name], log.token("cause.")]
    return Case(
        scripts=[[*script, log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
        sent={"ask": 1},
        answers=["Because."],
    )


@cases(*IGNORED)
def before_ready_it_changes_nothing(name: str) -> Case:
    """On the second connection, where an answer is read on."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), Cut()],
            [IGNORED[name], log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        answers=["Because."],
    )


@case
def ready_of_another_session_leaves_nobody_waiting() -> Case:
    """A client of one session takes it for another history."""
    log = ScriptedLog()
    script: Script = [*running(log), ScriptedLog("other").ready()]
    return Case(
        scripts=[[*script, log.token("cause."), log.done()]],
        steps=[ask()],
        outcomes={"ask": {"code": None}},
        connections=1,
        sent={"ask": 1},
    )


@case
def an_event_before_ready_is_not_lost_and_not_doubled() -> Case:
    """The server says it again after `ready`, which begins at the `after` of the URL."""
    log = ScriptedLog()
    begin: Script = [*running(log), Cut()]
    resume = log.resume()
    early = log.token("cau")
    return Case(
        scripts=[begin, [early, resume, early, log.token("se."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        answers=["Because."],
    )


@cases("question", "token", "done")
def an_event_that_is_said_again_is_passed_over(type: str) -> Case:
    log = ScriptedLog()
    question, token, done = log.answer("Because.")
    again = {"question": question, "token": token, "done": done}[type]
    script: Script = [log_ready(), Receive("ask"), question, token, *([again] if type != "done" else []), done, again]
    return Case(
        scripts=[[*script, Receive("ask"), *log.answer("Yes.")]],
        steps=[ask(name="first"), Settled("first"), ask("Sure?", name="second")],
        outcomes={"first": answered("Because."), "second": answered("Yes.")},
        connections=1,
        answers=["Because.", "Yes."],
    )


def log_ready() -> dict[str, Any]:
    return ScriptedLog().ready()


@case
def a_slice_that_overlaps_what_was_read_is_read_from_there() -> Case:
    log = ScriptedLog()
    script: Script = running(log)
    log.token("cause.")
    overlapping = log.events[-1] | {"text": "Because."}
    return Case(
        scripts=[[*script, overlapping, log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
    )


@case
def after_a_gap_the_client_comes_back_with_what_fits() -> Case:
    log = ScriptedLog()
    script: Script = running(log)
    log.token("cau")
    return Case(
        scripts=[[*script, log.token("se.")], [log.resume(), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        after={1: 3},
    )


@cases("token", "done", "thinking")
def an_event_of_an_unknown_turn_breaks_nothing(type: str) -> Case:
    log = ScriptedLog()
    script: Script = running(log)
    strays: dict[str, dict[str, Any]] = {
        "token": {"text": "stray"},
        "thinking": {"text": "stray"},
        "done": {"reason": "stop", "model": "m", "usage": None, "timing": TIMING, "check": EMPTY_CHECK},
    }
    stray = strays[type]
    log.head += len(stray.get("text", "1"))
    event = {"type": type, "session": "s1", "seq": log.head, "turn": "never"} | stray
    return Case(
        scripts=[[*script, event, log.token("cause."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
    )


@case
def done_without_a_question_breaks_nothing() -> Case:
    """In an empty log."""
    log = ScriptedLog()
    done = ScriptedLog().answer()[-1] | {"seq": 1}
    log.head = 1
    return Case(
        scripts=[[ScriptedLog().ready(), done, Receive("ask"), *log.answer("Because.")]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
    )


@case
def the_first_of_two_ends_counts() -> Case:
    """The second one is further on in the log; the next question is answered."""
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("ask"), *log.answer("Because."), log.done("length"), log.token("late")]
    return Case(
        scripts=[[*script, Receive("ask"), *log.answer("Yes.")]],
        steps=[ask(name="first"), Settled("first"), ask("Sure?", name="second")],
        outcomes={"first": answered("Because."), "second": answered("Yes.")},
    )


# --- proofs ----------------------------------------------------------------------------------------------------------


def wrong_answer(log: ScriptedLog) -> list[Any]:
    """What was said is not what the log has."""
    question, token, done = log.answer("Because.")
    return [log_ready(), Receive("ask"), question, token | {"text": "Becouse."}, done]


@case
def a_wrong_answer_is_repaired_by_history() -> Case:
    """Whoever awaits it gets the right one; whoever has iterated over the wrong one is told."""
    log, is_read = ScriptedLog(), asyncio.Event()
    return Case(
        scripts=[[*wrong_answer(log), Receive("history"), is_read, log.history()]],
        steps=[ask(), Read("ask", "Becouse."), is_read],
        outcomes={"ask": answered("Because.", read="Becouse.", read_code="damaged")},
        connections=1,
        sent={"ask": 1, "history": 1},
        answers=["Because."],
    )


UNREPAIRED: dict[str, Callable[[ScriptedLog], dict[str, Any]]] = {
    "wrong too": lambda log: log.history(turns=[log.history()["turns"][0] | {"answer": "Becouse."}]),
    "another turn": lambda log: log.history(turns=[log.history()["turns"][0] | {"turn": "t9", "id": "x"}]),
    "still running": lambda log: log.history(turns=[log.history()["turns"][0] | {"answer": "Bec", "reason": None}]),
    "empty": lambda log: log.history(turns=[]),
    "error": lambda log: log.error("internal", id="$history.id"),
    "unknown error": lambda log: log.error("weather", id="$history.id"),
}


@cases(*UNREPAIRED)
def a_wrong_answer_that_history_does_not_repair_is_damaged(name: str) -> Case:
    log, is_read = ScriptedLog(), asyncio.Event()
    return Case(
        scripts=[[*wrong_answer(log), Receive("history"), is_read, UNREPAIRED[name](log)]],
        steps=[ask(), Read("ask", "Becouse."), is_read],
        outcomes={"ask": lost("damaged", read="Becouse.")},
        connections=1,
        sent={"ask": 1, "history": 1},
    )


@case
def a_wrong_answer_is_damaged_where_history_never_comes() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[*wrong_answer(log), Receive("history")]],
        steps=[ask()],
        outcomes={"ask": lost("damaged", read="Becouse.")},
        connections=1,
        options={"limit": 0.05},
    )


@case
def a_repair_goes_on_after_a_cut() -> Case:
    log, is_read = ScriptedLog(), asyncio.Event()
    return Case(
        scripts=[
            [*wrong_answer(log), Receive("history"), Cut()],
            [log.resume(), Receive("history"), is_read, log.history()],
        ],
        steps=[ask(), Read("ask", "Becouse."), is_read],
        outcomes={"ask": answered("Because.", read="Becouse.", read_code="damaged")},
        connections=2,
        sent={"ask": 1, "history": 2},
    )


@case
def closing_ends_a_repair() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[*wrong_answer(log), Receive("history")]],
        steps=[ask(), Sent("history"), close()],
        outcomes={"ask": failed(OneOf(("closed", "damaged")))},
        connections=1,
    )
