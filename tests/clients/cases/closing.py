"""Connections that end: with each close code, at each moment, and after `going_away`."""

from __future__ import annotations

import asyncio
from typing import Any

from askbot_ws.testing import Close, Cut, Receive, Script, ScriptedLog, ServerStep

from ..case import (
    RETURNED,
    Call,
    Case,
    Connected,
    Sent,
    Settled,
    Shown,
    State,
    answered,
    ask,
    cancel,
    case,
    cases,
    edit,
    failed,
    forget,
    history,
    lost,
    retry,
    running,
)

ENDS: dict[str, ServerStep] = {
    "1000": Close(1000),  # of a proxy, say: this side has not asked for it
    "1001": Close(1001),
    "1006": Cut(),
    "reset": Cut(reset=True),
    "1011": Close(1011),
    "1012": Close(1012),
    "1013": Close(1013),
    "3000": Close(3000),
    "4408": Close(4408),
    "4429": Close(4429),
    "4999": Close(4999),
}
"""After which a client comes back."""
REFUSALS = {4401: "unauthorized", 4403: "forbidden"}
BAD_FRAME = (1003, 1008, 1009)
BAD_CODES = {1003: "invalid_frame", 1008: "invalid_frame", 1009: "question_too_long"}  # of a question

# --- it comes back ---------------------------------------------------------------------------------------------------


@cases(*ENDS)
def a_question_is_asked_again_after_an_end_before_ready(end: str) -> Case:
    """On the second connection; the third one is good."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Cut()],
            [ENDS[end]],
            [log.ready(), Receive("ask"), *log.answer("Because.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        sent={"ask": 2},
        attempts=[0, 1],
    )


@cases(*ENDS)
def a_question_is_asked_again_after_an_end_before_its_acknowledgement(end: str) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), ENDS[end]], [log.ready(), Receive("ask"), *log.answer("Because.")]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 2},
        attempts=[0],
    )


@cases(*ENDS)
def an_answer_is_read_on_after_an_end_in_its_middle(end: str) -> Case:
    """And after a second one."""
    log = ScriptedLog()
    go = asyncio.Event()  # RST would lose what is not read yet
    return Case(
        scripts=[
            [*running(log), go, ENDS[end]],
            [log.resume(), log.token("cau"), ENDS[end] if end != "reset" else Cut()],
            [log.resume(), log.token("se."), log.done()],
        ],
        steps=[ask(), Shown("Be"), go],
        outcomes={"ask": answered("Because.")},
        connections=3,
        sent={"ask": 1},
        after={1: 3, 2: 6},
        attempts=[0, 0],
    )


@cases("1012", "1006", "4429")
def a_question_made_while_there_is_no_connection_is_asked_on_the_next(end: str) -> Case:
    log = ScriptedLog()
    go, back = asyncio.Event(), asyncio.Event()
    return Case(
        scripts=[
            [log.ready(), go, ENDS[end]],
            [back, log.ready(), Receive("ask"), *log.answer("Because.")],
        ],
        steps=[State("open"), go, Connected(2), ask(), back],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
    )


ALL_ENDS = ENDS | {str(code): Close(code) for code in (1003, 1008, 1009, 4401, 4403, 4404)}


@cases(*ALL_ENDS)
def an_end_right_after_an_answer_takes_nothing_from_it(end: str) -> Case:
    """Final ones too: what has come is whole. RST may lose what is not read yet."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Be", "cause."), ALL_ENDS[end]], [log.resume()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
    )


@cases(*ALL_ENDS)
def an_end_right_after_a_page_of_history_takes_nothing_from_it(end: str) -> Case:
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    script: Script = [log.resume(), Receive("history"), log.history(), ALL_ENDS[end]]
    return Case(
        scripts=[script, [log.resume(), Receive("history"), log.history()]],
        steps=[State("open"), history()],
        outcomes={"history": RETURNED | {"answers": ["Yes."]}},
        connections=2,
    )


@cases(*ALL_ENDS)
def an_end_right_after_an_error_leaves_it(end: str) -> Case:
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("ask"), log.error("busy", id="$ask.id"), ALL_ENDS[end]]
    return Case(
        scripts=[script, [log.ready(), Receive("ask"), log.error("busy", id="$ask.id")]],
        steps=[ask()],
        outcomes={"ask": lost("busy")},
        connections=2,
    )


# --- it does not -----------------------------------------------------------------------------------------------------


@cases(*REFUSALS)
def a_refusal_in_the_middle_is_final(code: int) -> Case:
    """For what runs, for what is not acknowledged, and for each later call."""
    log = ScriptedLog()
    reason = REFUSALS[code]
    script: Script = running(log)
    return Case(
        scripts=[[*script, Receive("ask", "other"), Receive("history"), Close(code)]],
        steps=[
            ask(),
            Sent("ask"),
            ask("And?", name="second"),
            Sent("ask", 2),
            history(),
            Settled("ask"),
            ask("Later?", name="later"),
            Call("history", name="later history"),
            Call("forget", name="later forget"),
            Call("cancel", ("t1",), "later cancel"),
            Call("retry", (None,), "later retry"),
            Call("edit", ("t1", "What?"), "later edit"),
            0.02,
        ],
        outcomes={
            "ask": lost(reason, read="Be"),
            "second": lost(reason),
            "history": failed(reason),
            "later": lost(reason),
            "later history": failed(reason),
            "later forget": failed(reason),
            "later cancel": failed(reason),
            "later retry": lost(reason),
            "later edit": lost(reason),
        },
        connections=1,
    )


@cases(*REFUSALS)
def a_refusal_before_ready_is_final(code: int) -> Case:
    """On the second connection."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), Cut()], [Close(code)]],
        steps=[ask(), Settled("ask"), State("closed"), ask(name="later"), 0.02],
        outcomes={"ask": lost(REFUSALS[code]), "later": lost(REFUSALS[code])},
        connections=2,
        sent={"ask": 1},
    )


@cases(*REFUSALS)
def a_refusal_of_the_first_connection_is_final(code: int) -> Case:
    return Case(scripts=[[Close(code)]], steps=[0.02], opened=REFUSALS[code], connections=1)


@case
def an_empty_session_that_is_gone_is_begun_again() -> Case:
    """Servers keep nothing of a session without a question."""
    log, other = ScriptedLog(), ScriptedLog("s2", "l2")
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Cut()],
            [Close(4404)],
            [other.ready(), Receive("ask"), *other.answer("Yes.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=3,
        sent={"ask": 2},
        answers=["Yes."],
    )


@case
def a_session_that_is_gone_ends_what_waits_for_it() -> Case:
    """An answer that was begun in it does not come back."""
    log, other = ScriptedLog(), ScriptedLog("s2", "l2")
    return Case(
        scripts=[[*running(log), Cut()], [Close(4404)], [other.ready()]],
        steps=[ask()],
        outcomes={"ask": lost("session_not_found", read="Be")},
        sent={"ask": 1},
    )


@case
def a_session_that_is_gone_in_the_middle_of_a_connection_ends_what_waits_for_it() -> Case:
    """Somebody has deleted it."""
    log, other = ScriptedLog(), ScriptedLog("s2", "l2")
    gone = log.error("session_not_found", session="s1")
    return Case(
        scripts=[[*running(log), gone, Close(4404)], [other.ready()]],
        steps=[ask()],
        outcomes={"ask": failed("session_not_found", read_code="session_not_found")},
        sent={"ask": 1},
    )


# --- a frame of ours was bad -----------------------------------------------------------------------------------------


@cases(*BAD_FRAME)
def a_frame_that_the_server_closes_for_is_not_sent_again(code: int) -> Case:
    """Its request fails; the next question is asked on the next connection."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), Close(code)], [log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask("Bad?", name="bad"), Settled("bad"), ask()],
        outcomes={"bad": lost(BAD_CODES[code]), "ask": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        attempts=[0],
    )


@cases(*BAD_FRAME)
def one_request_fails_for_each_such_close(code: int) -> Case:
    """After 1009 the longest, else the oldest; the others go on, in the order in which they were made."""
    log = ScriptedLog()
    all_three: Script = [Receive("ask", "first"), Receive("ask", "second"), Receive("ask", "third")]
    texts = (
        {"first": "1", "second": "22", "third": "333"}
        if code != 1009
        else {"first": "333", "second": "22", "third": "1"}
    )
    return Case(
        scripts=[
            [log.ready(), *all_three, Close(code)],
            [log.ready(), *all_three[1:], Close(code)],
            [log.ready(), all_three[2], log.question(id="$third.id", text="?"), log.token("Yes."), log.done()],
        ],
        steps=[ask(text, name=name) for name, text in zip(("first", "second", "third"), texts, strict=True)],
        outcomes={"first": lost(BAD_CODES[code]), "second": lost(BAD_CODES[code]), "third": answered("Yes.")},
        connections=3,
        sent={"ask": 6},
        attempts=[0, 1],
    )


@cases(*BAD_FRAME)
def what_is_acknowledged_does_not_fail_for_a_bad_frame(code: int) -> Case:
    log = ScriptedLog()
    begin: Script = [*running(log), Receive("ask", "bad"), Close(code)]
    return Case(
        scripts=[begin, [log.resume(), log.token("cause."), log.done()]],
        steps=[ask("A question that is long?"), Shown("Be"), ask("Bad?", name="bad")],
        outcomes={"ask": answered("Because."), "bad": lost(BAD_CODES[code])},
        connections=2,
        sent={"ask": 2},
    )


@cases(*BAD_FRAME)
def no_request_fails_for_a_bad_frame_that_was_not_sent_on_that_connection(code: int) -> Case:
    """One that was made while there was no connection is not to blame."""
    log = ScriptedLog()
    go = asyncio.Event()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Cut()],
            [go, Close(code)],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask(), Connected(2), go],
        outcomes={"ask": answered("Yes.")},
        connections=3,
        sent={"ask": 2},
    )


@cases("history", "forget", "cancel")
def other_requests_fail_with_invalid_frame(type: str) -> Case:
    log = ScriptedLog()
    begin: Script = [*running(log), Receive(type), Close(1008)]
    return Case(
        scripts=[begin, [log.resume(), log.token("cause."), log.done()]],
        steps=[ask(), Shown("Be"), {"history": history(), "forget": forget(), "cancel": cancel("t1")}[type]],
        outcomes={type: failed("invalid_frame"), "ask": answered("Because.")},
        connections=2,
        sent={type: 1},
    )


LIMITS = {"frame_bytes": 200, "question_chars": 8000, "waiting_turns": 8}


@cases("x" * 200, "é" * 110, "🙂" * 60, '"' * 110)
def a_question_over_the_limit_of_bytes_is_never_sent(text: str) -> Case:
    """UTF-8 as it is sent counts. The one after it is asked on the same connection."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(limits=LIMITS), Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), ask(text, name="long"), Settled("long"), ask()],
        outcomes={"long": lost("question_too_long"), "ask": answered("Yes.")},
        connections=1,
        sent={"ask": 1},
    )


@case
def a_question_over_the_limit_that_was_made_without_a_connection_fails_at_ready() -> Case:
    log = ScriptedLog()
    go, back = asyncio.Event(), asyncio.Event()
    return Case(
        scripts=[
            [log.ready(), go, Cut()],
            [back, log.ready(limits=LIMITS), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[State("open"), go, Connected(2), ask("x" * 300, name="long"), ask(), back],
        outcomes={"long": lost("question_too_long"), "ask": answered("Yes.")},
        connections=2,
        sent={"ask": 1},
    )


@case
def other_frames_over_the_limit_are_never_sent() -> Case:
    """An edit has a question's text; a cancel and a retry have none."""
    log = ScriptedLog()
    long = "x" * 300
    return Case(
        scripts=[[log.ready(limits=LIMITS), Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), edit("t1", long), cancel(long), retry(long), Settled("retry"), ask()],
        outcomes={
            "edit": lost("question_too_long"),
            "cancel": failed("invalid_frame"),
            "retry": lost("invalid_frame"),
            "ask": answered("Yes."),
        },
        connections=1,
        sent={"edit": 0, "cancel": 0, "retry": 0},
    )


# --- going_away ------------------------------------------------------------------------------------------------------


def going_away(milliseconds: int) -> dict[str, Any]:
    return {"type": "going_away", "reconnect_after": milliseconds}


@cases("1012", "1006", "1001")
def a_close_does_not_wait_out_reconnect_after(end: str) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), going_away(30_000), ENDS[end]],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        attempts=[0],
    )


@case
def after_reconnect_after_the_client_comes_back_by_itself() -> Case:
    """From a server that closes nothing."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), going_away(60)],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
        pauses={1: 0.05},
    )


@case
def an_answer_is_read_to_its_end_after_going_away() -> Case:
    """On the same connection; the next question is asked on the next one."""
    log = ScriptedLog()
    go = asyncio.Event()
    script: Script = [
        log.ready(),
        Receive("ask"),
        log.question(),
        going_away(30_000),
        log.token("Because."),
        log.done(),
        go,
    ]
    return Case(
        scripts=[[*script, Close(1012)], [log.resume(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask(), Settled("ask"), ask("And?", name="second"), 0.02, go],
        outcomes={"ask": answered("Because."), "second": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        after={1: 10},
    )


@case
def going_away_twice_is_one() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), log.question(), going_away(30_000), going_away(40), log.token("Be")],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"ask": 1},
    )


@case
def going_away_before_ready_is_no_hindrance() -> Case:
    """The next connection asks."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Cut()],
            [going_away(30_000), Close(1012)],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=3,
        sent={"ask": 2},
    )


@cases("first", "second")
def ready_after_going_away_changes_nothing(place: str) -> Case:
    """The server still goes away."""
    log = ScriptedLog()
    again = [log.ready(), going_away(30_000)] if place == "second" else [going_away(30_000)]
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), *again, log.ready(), Close(1012)],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=2,
    )


@case
def requests_after_going_away_wait_for_the_next_connection() -> Case:
    """Each kind of them."""
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    deleted = log.error("session_not_found", id="$forget.id", session="s1")
    gone = asyncio.Event()
    return Case(
        scripts=[
            [log.ready(), going_away(30_000), gone, Close(1012)],
            [log.resume(), Receive("history"), log.history(), Receive("forget"), deleted, Close(4404)],
            [ScriptedLog("s2").ready()],
        ],
        steps=[State("open"), 0.02, history(), 0.02, gone, Settled("history"), forget()],
        outcomes={"history": RETURNED | {"answers": ["Yes."]}, "forget": RETURNED},
        sent={"history": 1, "forget": 1},
    )
