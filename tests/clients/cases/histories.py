"""Another history: the server has lost events, or has replaced them, and says so in `ready`."""

from __future__ import annotations

import asyncio

from askbot_ws.testing import Close, Cut, Receive, Script, ScriptedLog, ServerStep

from ..case import (
    RETURNED,
    Case,
    OneOf,
    Read,
    Settled,
    Shown,
    Step,
    answered,
    ask,
    cancel,
    case,
    cases,
    running,
)

LOGS = {"the same log": "l1", "another log": "l2", "a log without a name": ""}


def lost_history(log: ScriptedLog, *, cut: bool = True) -> list[ServerStep]:
    return [*running(log), *([Cut()] if cut else [])]


@cases(*LOGS)
def an_acknowledged_question_that_is_not_in_the_new_history_is_interrupted(name: str) -> Case:
    """With the text so far; nobody pays twice."""
    new = ScriptedLog(log=LOGS[name])
    return Case(
        scripts=[lost_history(ScriptedLog()), [new.resume(), Receive("ask"), *new.answer("Yes.")]],
        steps=[ask(), Settled("ask"), ask("And?", name="second")],
        outcomes={"ask": answered("Be", "interrupted"), "second": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        answers=["Yes."],
    )


@case
def what_the_new_history_has_instead_is_read_before_that_is_decided() -> Case:
    """Up to the `seq` of `ready`."""
    new = ScriptedLog(log="l2")
    new.answer("Other.", text="Before?", id="before")
    return Case(
        scripts=[lost_history(ScriptedLog()), [new.resume()]],
        steps=[ask(), Settled("ask"), Shown("Other.")],
        outcomes={"ask": answered("Be", "interrupted")},
        connections=2,
        sent={"ask": 1},
        answers=["Other."],
    )


@cases(*LOGS)
def a_question_that_is_in_the_new_history_goes_on_there(name: str) -> Case:
    """Behind another turn; what was read already is not given again."""
    new = ScriptedLog(log=LOGS[name])
    replay: Script = [*(event | {"id": "other"} for event in new.answer("Other.")), new.question(), new.token("B")]
    return Case(
        scripts=[lost_history(ScriptedLog()), [new.ready(**{"from": 0}), *replay, new.token("ecause."), new.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        answers=["Other.", "Because."],
    )


@case
def a_question_that_has_another_answer_in_the_new_history_is_damaged_for_who_has_read_it() -> Case:
    """Whoever awaits it gets the new answer."""
    new = ScriptedLog(log="l2")
    replay: Script = [new.question(), new.token("No."), new.done()]
    ready = new.ready(**{"from": 0})
    is_read = asyncio.Event()
    return Case(
        scripts=[lost_history(ScriptedLog()), [is_read, ready, *replay, Receive("history"), new.history()]],
        steps=[ask(), Read("ask", "Be"), is_read],
        outcomes={"ask": {"code": None, "text": "No.", "reason": "stop", "read_code": "damaged"}},
        connections=2,
        sent={"ask": 1},
        answers=["No."],
    )


@cases(*LOGS)
def a_question_that_was_not_acknowledged_is_asked_in_the_new_history(name: str) -> Case:
    new = ScriptedLog(log=LOGS[name])
    return Case(
        scripts=[
            [ScriptedLog().ready(), Receive("ask"), Cut()],
            [new.resume(), Receive("ask"), *new.answer("Yes.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        answers=["Yes."],
    )


@case
def a_new_history_may_come_in_the_middle_of_a_connection() -> Case:
    """With another `ready`."""
    new = ScriptedLog(log="l2")
    script: Script = [*lost_history(ScriptedLog(), cut=False), new.ready(), Receive("ask"), *new.answer("Yes.")]
    return Case(
        scripts=[script],
        steps=[ask(), Settled("ask"), ask("And?", name="second")],
        outcomes={"ask": answered("Be", "interrupted"), "second": answered("Yes.")},
        connections=1,
        sent={"ask": 2},
        answers=["Yes."],
    )


@case
def the_same_ready_twice_is_no_new_history() -> Case:
    """The answer goes on."""
    log = ScriptedLog()
    script: Script = [*lost_history(log, cut=False), log.ready(), log.ready(), log.token("cause."), log.done()]
    return Case(
        scripts=[script],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
        sent={"ask": 1},
        answers=["Because."],
    )


@case
def ready_twice_before_the_acknowledgement_asks_once_in_the_log() -> Case:
    """However often it is sent, it has one id."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), log.ready(), Receive("ask"), *log.answer("Because.")]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
        answers=["Because."],
    )


@case
def a_history_that_is_lost_twice_ends_nothing_twice() -> Case:
    second, third = ScriptedLog(log="l2"), ScriptedLog(log="l3")
    return Case(
        scripts=[
            lost_history(ScriptedLog()),
            [second.ready(), Receive("ask"), second.question(), second.token("Ye"), Cut()],
            [third.ready(), Receive("ask"), *third.answer("At last.")],
        ],
        steps=[
            ask(),
            Settled("ask"),
            ask("2", name="second"),
            Settled("second"),
            ask("3", name="third"),
        ],
        outcomes={
            "ask": answered("Be", "interrupted"),
            "second": answered("Ye", "interrupted"),
            "third": answered("At last."),
        },
        connections=3,
        sent={"ask": 3},
        answers=["At last."],
    )


@case
def a_cut_before_the_new_history_was_read_decides_nothing() -> Case:
    """The question comes with the rest of it, on the next connection."""
    new = ScriptedLog(log="l2")
    other = [event | {"id": "other"} for event in new.answer("Other.")]
    mine = [new.question(), new.token("Because."), new.done()]
    begin: Script = [new.ready(**{"from": 0}), *other[:2], Cut()]
    return Case(
        scripts=[lost_history(ScriptedLog()), begin, [new.ready(**{"from": 7}), other[2], *mine]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        sent={"ask": 1},
        after={2: 7},
        answers=["Other.", "Because."],
    )


@case
def a_log_that_begins_later_is_another_history() -> Case:
    """Old events were deleted: `from` is beyond our position, and the question is not to be found."""
    new = ScriptedLog()
    new.head = 50
    return Case(
        scripts=[lost_history(ScriptedLog()), [new.ready(), Receive("ask"), *new.answer("Yes.")]],
        steps=[ask(), Settled("ask"), ask("And?", name="second")],
        outcomes={"ask": answered("Be", "interrupted"), "second": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        answers=["Yes."],
    )


@case
def cancel_of_a_turn_that_was_lost_ends() -> Case:
    """The server does not know it; or the client sees that itself."""
    log, new = ScriptedLog(), ScriptedLog(log="l2")
    script: Script = [*lost_history(log, cut=False), Receive("cancel"), Cut()]
    not_found = new.error("turn_not_found", id="$cancel.id", session="s1")
    return Case(
        scripts=[script, [new.ready(), Receive("cancel"), not_found]],
        steps=[ask(), Shown("Be"), cancel()],
        outcomes={"ask": answered("Be", "interrupted"), "cancel": RETURNED},
        connections=2,
    )


@case
def an_answer_that_has_ended_is_not_touched_by_a_new_history() -> Case:
    new = ScriptedLog(log="l2")
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("ask"), *log.answer("Because."), Close(1012)]
    steps: list[Step] = [ask(), Settled("ask"), ask("And?", name="second")]
    return Case(
        scripts=[script, [new.ready(), Receive("ask"), *new.answer("Yes.")]],
        steps=steps,
        outcomes={"ask": answered("Because."), "second": answered("Yes.")},
        answers=["Yes."],
    )


@case
def a_page_of_the_lost_history_leaves_nobody_waiting() -> Case:
    """It has a turn with the id of the next one."""
    log, new = ScriptedLog(), ScriptedLog(log="l2")
    begin = lost_history(log)
    page = log.history(id="nobody's")
    return Case(
        scripts=[begin, [new.ready(), page, Receive("ask", "second"), *new.answer("Yes.", id="$second.id")]],
        steps=[ask(), Settled("ask"), ask("And?", name="second")],
        outcomes={"ask": answered("Be", "interrupted"), "second": {"code": OneOf((None, "timeout"))}},
        connections=2,
        options={"limit": 0.12},
    )
