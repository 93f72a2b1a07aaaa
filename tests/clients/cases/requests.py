"""Requests: each ends once, and is sent again or not, as the table of both clients says."""

from __future__ import annotations

import asyncio

from askbot_ws.testing import Close, Cut, Receive, Script, ScriptedLog, ServerStep

from ..case import (
    RETURNED,
    Call,
    Case,
    Connected,
    OneOf,
    Read,
    Sent,
    Settled,
    Shown,
    State,
    Step,
    answered,
    ask,
    cancel,
    cancel_answer,
    case,
    cases,
    close,
    edit,
    failed,
    forget,
    history,
    lost,
    retry,
    running,
)

BROKEN = "a\ud83d"  # half an emoji


def seen(code: str) -> OneOf:
    """A code that the client does not know is `internal` in Python, whose message has it."""
    return OneOf((code, "internal") if code == "weather" else (code,))


# --- cancel ----------------------------------------------------------------------------------------------------------


@case
def cancel_with_nothing_to_cancel_ends_at_once() -> Case:
    """And kills no later answer, on no later connection."""
    log = ScriptedLog()
    go = asyncio.Event()
    return Case(
        scripts=[[log.ready(), go, Cut()], [log.resume(), Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), cancel(), Settled("cancel"), go, Connected(2), ask()],
        outcomes={"cancel": RETURNED, "ask": answered("Yes.")},
        sent={"cancel": 0},
    )


@case
def cancel_after_the_end_ends_at_once() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask(), Settled("ask"), cancel()],
        outcomes={"cancel": RETURNED},
        sent={"cancel": 0},
    )


@cases("unnamed", "by its turn", "by its question")
def cancel_ends_the_running_turn(how: str) -> Case:
    """It is sent with the turn's name, always; the text so far is kept."""
    log = ScriptedLog()
    script: Script = [
        *running(log),
        Receive("cancel"),
        {"type": "alive", "cancelled": "$cancel.turn"},
        log.done("cancelled"),
    ]
    call = {"unnamed": cancel(), "by its turn": cancel("t1"), "by its question": cancel_answer()}[how]
    return Case(
        scripts=[script],
        steps=[ask(), Shown("Be"), call],
        outcomes={"cancel": RETURNED, "ask": answered("Be", "cancelled")},
        connections=1,
        sent={"cancel": 1},
    )


@case
def cancel_and_the_end_may_cross() -> Case:
    """The turn has ended by itself: nobody need worry."""
    log = ScriptedLog()
    not_found = log.error("turn_not_found", id="$cancel.id", session="s1")
    return Case(
        scripts=[[*running(log), Receive("cancel"), log.done(), not_found]],
        steps=[ask(), Shown("Be"), cancel()],
        outcomes={"cancel": RETURNED, "ask": answered("Be")},
        connections=1,
    )


@case
def cancel_of_a_turn_that_is_not_there_ends() -> Case:
    log = ScriptedLog()
    not_found = log.error("turn_not_found", id="$cancel.id", session="s1")
    return Case(
        scripts=[[log.ready(), Receive("cancel"), not_found]],
        steps=[State("open"), cancel("t7")],
        outcomes={"cancel": RETURNED},
        connections=1,
        sent={"cancel": 1},
    )


@case
def cancel_that_is_refused_is_raised() -> Case:
    """The turn goes on."""
    log = ScriptedLog()
    refused = log.error("internal", id="$cancel.id", session="s1")
    return Case(
        scripts=[[*running(log), Receive("cancel"), refused, log.token("cause."), log.done()]],
        steps=[ask(), Shown("Be"), cancel()],
        outcomes={"cancel": failed("internal"), "ask": answered("Because.")},
        connections=1,
        sent={"cancel": 1},
    )


@case
def cancel_is_sent_again() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), Receive("cancel"), Cut()], [log.resume(), Receive("cancel"), log.done("cancelled")]],
        steps=[ask(), Shown("Be"), cancel()],
        outcomes={"cancel": RETURNED, "ask": answered("Be", "cancelled")},
        connections=2,
        sent={"cancel": 2, "ask": 1},
    )


@case
def cancel_is_not_sent_again_once_the_turn_has_ended() -> Case:
    """That is read on the new connection."""
    log = ScriptedLog()
    begin: Script = [*running(log), Receive("cancel"), Cut()]
    end = log.done("cancelled")
    return Case(
        scripts=[begin, [log.resume(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask(), Shown("Be"), cancel(), Settled("cancel"), ask("And?", name="second")],
        outcomes={"cancel": RETURNED, "ask": answered("Be", str(end["reason"])), "second": answered("Yes.")},
        connections=2,
    )


@cases("unnamed", "by its question")
def a_question_that_is_cancelled_before_its_acknowledgement_is_cancelled_after_it(how: str) -> Case:
    """Nobody pays for it."""
    log = ScriptedLog()
    go = asyncio.Event()
    call = cancel() if how == "unnamed" else cancel_answer()
    return Case(
        scripts=[[log.ready(), Receive("ask"), go, log.question(), Receive("cancel"), log.done("cancelled")]],
        steps=[State("open"), ask(), Sent("ask"), call, 0.01, go, Sent("cancel")],
        outcomes={"cancel": RETURNED, "ask": {"code": OneOf(("cancelled", None))}},
        connections=1,
        sent={"ask": 1, "cancel": 1},
    )


@case
def a_question_that_is_cancelled_without_a_connection_is_cancelled_if_it_was_asked() -> Case:
    """It was in the log before the connection was lost."""
    log = ScriptedLog()
    go, back = asyncio.Event(), asyncio.Event()
    begin: Script = [log.ready(), Receive("ask"), go, Cut()]
    log.question()
    return Case(
        scripts=[begin, [back, log.resume(), Receive("cancel"), log.done("cancelled")]],
        steps=[State("open"), ask(), Sent("ask"), go, Connected(2), cancel_answer(), 0.01, back, Sent("cancel")],
        outcomes={"cancel": RETURNED, "ask": {"code": OneOf(("cancelled", None))}},
        connections=2,
        sent={"cancel": 1},
    )


# --- history and forget ----------------------------------------------------------------------------------------------


@case
def history_is_sent_again_until_it_comes() -> Case:
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    page = log.history()
    return Case(
        scripts=[[log.resume(), Receive("history"), Cut()], [log.resume(), Receive("history"), page, page]],
        steps=[State("open"), history()],
        outcomes={"history": RETURNED | {"answers": ["Yes."]}},
        connections=2,
        sent={"history": 2},
        answers=["Yes."],
    )


@cases("internal", "forbidden", "overloaded", "weather")
def history_that_is_refused_is_raised(code: str) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("history"), log.error(code, id="$history.id")]],
        steps=[State("open"), history()],
        outcomes={"history": failed(seen(code))},
        connections=1,
        sent={"history": 1},
    )


@case
def an_error_that_comes_twice_ends_one_request() -> Case:
    """The next one is not touched by it."""
    log = ScriptedLog()
    error = log.error("internal", id="$history.id")
    return Case(
        scripts=[[log.ready(), Receive("history"), error, error, Receive("ask"), error, *log.answer("Yes.")]],
        steps=[State("open"), history(), Settled("history"), ask()],
        outcomes={"history": failed("internal"), "ask": answered("Yes.")},
        connections=1,
    )


@case
def an_answer_and_then_an_error_end_one_request() -> Case:
    log = ScriptedLog()
    script: Script = [log.ready(), Receive("history"), log.history(), log.error("internal", id="$history.id")]
    return Case(
        scripts=[[*script, Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), history(), Settled("history"), ask()],
        outcomes={"history": RETURNED, "ask": answered("Yes.")},
        connections=1,
    )


@case
def an_error_after_the_acknowledgement_ends_the_question() -> Case:
    """Or it is passed over; it does not wait for ever."""
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), log.error("internal", id="$ask.id"), log.token("cause."), log.done()]],
        steps=[ask()],
        outcomes={"ask": {"code": OneOf(("internal", None))}},
        connections=1,
        sent={"ask": 1},
    )


GONE = ScriptedLog().error("session_not_found")
DELETED: dict[str, Script] = {
    "refused as not there": [GONE | {"id": "$forget.id", "session": "s1"}, Close(4404)],
    "refused without a session": [GONE | {"id": "$forget.id"}],
    "told and closed": [GONE | {"session": "s1"}, Close(4404)],
    "closed": [Close(4404)],
}


@cases(*DELETED)
def forget_ends_once_the_session_is_gone(how: str) -> Case:
    """However the server says so."""
    log, other = ScriptedLog(), ScriptedLog("s2", "l2")
    log.answer("Yes.", text="Before?", id="before")
    return Case(
        scripts=[[log.resume(), Receive("forget"), *DELETED[how]], [other.ready()]],
        steps=[State("open"), Shown("Yes."), forget()],
        outcomes={"forget": RETURNED},
        sent={"forget": 1},
    )


@cases("forbidden", "internal", "weather")
def forget_that_is_refused_is_raised(code: str) -> Case:
    """The session is still there, and answers."""
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    refused = log.error(code, id="$forget.id", session="s1")
    return Case(
        scripts=[[log.resume(), Receive("forget"), refused, Receive("ask"), *log.answer("No.")]],
        steps=[State("open"), Shown("Yes."), forget(), Settled("forget"), ask()],
        outcomes={"forget": failed(seen(code)), "ask": answered("No.")},
        connections=1,
        sent={"forget": 1},
        answers=["Yes.", "No."],
    )


@cases("closed", "refused")
def forget_is_sent_again(how: str) -> Case:
    """The first one may have come, so the session may be gone."""
    log, other = ScriptedLog(), ScriptedLog("s2", "l2")
    log.answer("Yes.", text="Before?", id="before")
    gone = log.error("session_not_found", id="$forget.id", session="s1")
    second: Script = [Close(4404)] if how == "closed" else [log.resume(), Receive("forget"), gone, Close(4404)]
    return Case(
        scripts=[[log.resume(), Receive("forget"), Cut()], second, [other.ready()]],
        steps=[State("open"), Shown("Yes."), forget()],
        outcomes={"forget": RETURNED},
        sent={"forget": 1 if how == "closed" else 2},
    )


# --- questions -------------------------------------------------------------------------------------------------------


@cases("retry", "edit")
def retry_and_edit_are_sent_again_until_they_are_acknowledged(type: str) -> Case:
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    resume = log.resume()
    question = log.question("What?", id=f"${type}.id", replaces="t1")
    acknowledged: Script = [resume, Receive(type), question, log.token("No"), Cut()]
    return Case(
        scripts=[[resume, Receive(type), Cut()], acknowledged, [log.resume(), log.token("."), log.done()]],
        steps=[State("open"), Shown("Yes."), retry("t1") if type == "retry" else edit("t1", "What?")],
        outcomes={type: answered("No.")},
        connections=3,
        sent={type: 2},
    )


@cases("busy", "queue_full", "question_empty", "question_too_long", "rate_limited", "weather")
def a_question_that_is_refused_is_raised(code: str) -> Case:
    """And not sent again."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), log.error(code, id="$ask.id"), Cut()],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask(name="refused"), Settled("refused"), ask()],
        outcomes={"refused": lost(seen(code)), "ask": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
    )


@case
def several_questions_are_answered_each() -> Case:
    """One is acknowledged, one is not, and one is made while there is no connection."""
    log = ScriptedLog()
    go = asyncio.Event()
    begin: Script = [*running(log), Receive("ask", "second"), Cut()]
    end: Script = [
        go, log.resume(), Receive("ask", "second"), Receive("ask", "third"), log.question("2", id="$second.id"),
        log.question("3", id="$third.id"), log.token("cause.", turn="t1"), log.done(turn="t1"),
        log.token("Two.", turn="t2"), log.done(turn="t2"), log.token("Three.", turn="t3"), log.done(turn="t3"),
    ]  # fmt: skip
    return Case(
        scripts=[begin, end],
        steps=[
            ask(),
            Shown("Be"),
            ask("2", name="second"),
            Connected(2),
            ask("3", name="third"),
            go,
        ],
        outcomes={"ask": answered("Because."), "second": answered("Two."), "third": answered("Three.")},
        connections=2,
        sent={"ask": 4},
        answers=["Because.", "Two.", "Three."],
    )


@cases("ask", "edit", "turn of retry", "turn of cancel")
def half_an_emoji_is_refused_at_once(what: str) -> Case:
    """UTF-8 has no such thing; nothing is sent, and the next question is asked."""
    log = ScriptedLog()
    call: Call = {
        "ask": Call("ask", (BROKEN,), "bad"),
        "edit": Call("edit", ("t1", BROKEN), "bad"),
        "turn of retry": Call("retry", (BROKEN,), "bad"),
        "turn of cancel": Call("cancel", (BROKEN,), "bad"),
    }[what]
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), call, Settled("bad"), ask()],
        outcomes={"bad": failed("invalid_frame"), "ask": answered("Yes.")},
        connections=1,
        sent={"ask": 1, "edit": 0, "retry": 0, "cancel": 0},
    )


@case
def half_an_emoji_is_refused_without_a_connection_too() -> Case:
    log = ScriptedLog()
    go, back = asyncio.Event(), asyncio.Event()
    return Case(
        scripts=[[log.ready(), go, Cut()], [back, log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[State("open"), go, Connected(2), ask(BROKEN, name="bad"), Settled("bad"), ask(), back],
        outcomes={"bad": lost("invalid_frame"), "ask": answered("Yes.")},
        connections=2,
        sent={"ask": 1},
    )


@case
def half_an_emoji_in_an_answer_is_no_end() -> Case:
    """A server that cuts a character in two: the answer can't be what its proof says."""
    log = ScriptedLog()
    broken = '{"type":"token","session":"s1","turn":"t1","seq":4,"text":"\\ud83d"}'
    script: Script = [*running(log), broken, log.done(seq=5)]
    return Case(
        scripts=[[*script, Receive("history"), log.error("internal", id="$history.id")]],
        steps=[ask()],
        outcomes={"ask": {"code": OneOf((None, "damaged"))}},
        connections=3,
        sent={"ask": 1},
    )


# --- the end of a conversation ---------------------------------------------------------------------------------------

PENDING: tuple[Step, ...] = (ask("And?", name="second"), history(), forget(), retry("t1"), edit("t1", "What?"))


@cases("open", "waiting", "going away")
def close_ends_each_request_once(moment: str) -> Case:
    """Whatever it waits for."""
    log = ScriptedLog()
    go = asyncio.Event()
    begin = running(log)
    scripts: dict[str, list[list[ServerStep]]] = {
        "open": [begin],
        "waiting": [[*begin, go, Cut()], [Receive("never")]],
        "going away": [[*begin, {"type": "going_away", "reconnect_after": 30_000}]],
    }
    more: list[Step] = [go, Connected(2)] if moment == "waiting" else [0.01]
    return Case(
        scripts=scripts[moment],
        steps=[ask(), Shown("Be"), Read("ask", "Be"), *more, *PENDING, cancel("t1"), 0.01, close()],
        outcomes={
            "ask": lost("closed", read="Be"),
            "second": lost("closed"),
            "history": failed("closed"),
            "forget": failed("closed"),
            "retry": lost("closed"),
            "edit": lost("closed"),
            "cancel": failed("closed"),
            "close": RETURNED,
        },
        connections=2,
    )


@case
def each_call_after_close_says_so() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[
            State("open"),
            close(),
            Settled("close"),
            ask(),
            *PENDING,
            cancel("t1"),
            Call("close", name="again"),
            0.02,
        ],
        outcomes={
            "ask": lost("closed"),
            "second": lost("closed"),
            "history": failed("closed"),
            "forget": failed("closed"),
            "retry": lost("closed"),
            "edit": lost("closed"),
            "cancel": failed("closed"),
            "again": RETURNED,
        },
        connections=1,
        sent={"ask": 0, "history": 0, "forget": 0, "retry": 0, "edit": 0, "cancel": 0},
    )


# --- time limits -----------------------------------------------------------------------------------------------------

LIMIT_SECONDS = 0.12


@cases("history", "forget", "cancel", "ask", "retry", "edit")
def a_request_that_nobody_answers_ends_by_its_time_limit(type: str) -> Case:
    """The connection works otherwise."""
    log = ScriptedLog()
    log.answer("Yes.", text="Before?", id="before")
    call = {
        "history": history(), "forget": forget(), "cancel": cancel("t7"), "ask": ask(), "retry": retry(),
        "edit": edit("t1", "What?"),
    }[type]  # fmt: skip
    return Case(
        scripts=[[log.resume(), Receive(type)]],
        steps=[State("open"), Shown("Yes."), call],
        outcomes={type: failed("timeout")},
        connections=1,
        sent={type: 1},
        options={"limit": LIMIT_SECONDS},
    )


@case
def an_acknowledged_question_has_no_time_limit() -> Case:
    """A model may think for long."""
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), log.question(), 2 * LIMIT_SECONDS, log.token("Yes."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=1,
        options={"limit": LIMIT_SECONDS},
    )


@case
def time_without_a_connection_does_not_count() -> Case:
    """Each connection begins the limit anew."""
    log = ScriptedLog()
    go = asyncio.Event()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Cut()],
            [2 * LIMIT_SECONDS, log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask(), go],
        outcomes={"ask": answered("Yes.")},
        connections=2,
        options={"limit": LIMIT_SECONDS},
    )


@case
def a_question_that_timed_out_is_cancelled_if_it_gets_into_the_log() -> Case:
    """Nobody pays for it."""
    log = ScriptedLog()
    script: Script = [
        log.ready(),
        Receive("ask"),
        2 * LIMIT_SECONDS,
        log.question(),
        Receive("cancel"),
        log.done("cancelled"),
    ]
    return Case(
        scripts=[script],
        steps=[State("open"), ask(), Settled("ask"), Sent("cancel")],
        outcomes={"ask": lost("timeout")},
        connections=1,
        sent={"ask": 1, "cancel": 1},
        options={"limit": LIMIT_SECONDS},
    )


@case
def a_question_that_timed_out_is_not_sent_again() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), 2 * LIMIT_SECONDS, Cut()],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[State("open"), ask(name="late"), Settled("late"), Connected(2), ask()],
        outcomes={"late": lost("timeout"), "ask": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        options={"limit": LIMIT_SECONDS},
    )
