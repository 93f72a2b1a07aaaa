"""How often a client connects: the pauses grow until an event of the log has come, whatever else comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from askbot_ws.testing import Close, Cut, Receive, Refuse, Script, ScriptedLog, ServerStep

from ..case import (
    ALL,
    JS,
    PYTHON,
    Call,
    Case,
    Connected,
    OneOf,
    Read,
    State,
    answered,
    ask,
    case,
    cases,
    failed,
    lost,
    running,
)


def half_an_answer(log: ScriptedLog) -> list[ServerStep]:
    return [*running(log), Cut()]


def rest(log: ScriptedLog) -> list[ServerStep]:
    return [log.resume(), log.token("cause."), log.done()]


# --- what does not count as a connection that works ------------------------------------------------------------------

USELESS: dict[str, Callable[[ScriptedLog], Sequence[ServerStep]]] = {
    "close": lambda _: [Close(1013)],
    "cut": lambda _: [Cut()],
    "error and close": lambda log: [log.error("overloaded", retryable=True), Close(1013)],
    "error twice": lambda log: [log.error("overloaded"), log.error("internal"), Close(1013)],
    "ready": lambda log: [log.resume(), Close(1011)],
    "ready twice": lambda log: [log.resume(), log.resume(), Cut()],
    "error": lambda log: [log.resume(), log.error("internal"), Cut()],
    "alive": lambda log: [log.resume(), {"type": "alive"}, Cut()],
    "pong": lambda log: [log.resume(), {"type": "pong"}, Cut()],
    "going_away": lambda log: [log.resume(), {"type": "going_away", "reconnect_after": 0}, Cut()],
    "history": lambda log: [log.resume(), log.history(id="nobody's"), Cut()],
    "unknown frame": lambda log: [log.resume(), {"type": "weather"}, Cut()],
    "old event": lambda log: [log.resume(), log.events[0], Cut()],
    "old unknown event": lambda log: [log.resume(), {"type": "weather", "session": "s1", "seq": 1}, Cut()],
    "event of another session": lambda log: [log.resume(), log.events[-1] | {"session": "s9", "seq": 99}, Cut()],
    "gap": lambda log: [log.resume(), log.events[-1] | {"seq": log.head + 9}],
    "history of another name": lambda log: [log.resume(**{"from": 0, "log": "l1"}), *log.events, Cut()],
    "text that is no JSON": lambda _: ["{", Cut()],
}


@cases(*USELESS)
def the_pauses_grow_with_each_connection_that_brings_nothing(name: str) -> Case:
    """Then a good one brings the rest of the answer."""
    log = ScriptedLog()
    first = half_an_answer(log)
    useless = USELESS[name](log)
    return Case(
        scripts=[first, useless, useless, useless, useless, rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=6,
        sent={"ask": 1},
        attempts=[0, 1, 2, 3, 4],
    )


@case
def reading_a_lost_history_again_and_again_is_no_progress() -> Case:
    """A server that has another history at each connection, which the client reads from its beginning."""
    log = ScriptedLog()
    first = half_an_answer(log)
    scripts: list[list[ServerStep]] = [
        [log.resume(log=f"l{n}", **{"from": 0}), *log.events, Cut()] for n in range(2, 6)
    ]
    last: Script = [log.resume(log="l6", **{"from": 0}), *log.events, log.token("cause."), log.done()]
    return Case(
        scripts=[first, *scripts, last],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=6,
        sent={"ask": 1},
        attempts=[0, 1, 2, 3, 4],
    )


@cases("token", "unknown event")
def a_new_event_begins_the_pauses_anew(type: str) -> Case:
    """Each connection has one."""
    log = ScriptedLog()
    first = half_an_answer(log)
    scripts: list[Script] = [
        [log.resume(), log.token("x") if type == "token" else log.event("weather"), Cut()] for _ in range(3)
    ]
    text = "Be" + ("xxx" if type == "token" else "")
    return Case(
        scripts=[first, [Cut()], *scripts, rest(log)],
        steps=[ask()],
        outcomes={"ask": answered(text + "cause.")},
        connections=6,
        attempts=[0, 1, 0, 0, 0],
    )


@case
def many_connections_that_fail_are_no_end() -> Case:
    """Until one is good; the pauses are longest from the seventh on."""
    log = ScriptedLog()
    first = half_an_answer(log)
    return Case(
        scripts=[first, *[[Cut()]] * 6, rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=8,
        attempts=[*range(7)],
    )


# --- what the server says about when to come back --------------------------------------------------------------------

RETRY_AFTER_MS = 120


@cases("before ready", "after ready", "twice", "then ready")
def retry_after_of_an_error_is_kept(moment: str) -> Case:
    """A shorter one after it changes nothing, nor does `ready`."""
    log = ScriptedLog()
    first = half_an_answer(log)
    late = log.error("overloaded", retryable=True, retry_after=RETRY_AFTER_MS)
    soon = late | {"retry_after": 1}
    scripts: dict[str, list[ServerStep]] = {
        "before ready": [late, Close(1013)],
        "after ready": [log.resume(), late, Cut()],
        "twice": [late, soon, Close(1013)],
        "then ready": [late, log.resume(), Cut()],
    }
    return Case(
        scripts=[first, scripts[moment], rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        pauses={2: RETRY_AFTER_MS / 1000},
    )


@case
def retry_after_of_a_refused_request_is_kept() -> Case:
    """It says when the server can do more, whatever it is asked."""
    log = ScriptedLog()
    refused = log.error("overloaded", retryable=True, retry_after=RETRY_AFTER_MS, id="$history.id")
    return Case(
        scripts=[
            [log.ready(), Receive("history"), refused, Cut()],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[State("open"), Call("history"), ask()],
        outcomes={"history": failed("overloaded"), "ask": answered("Yes.")},
        connections=2,
        pauses={1: RETRY_AFTER_MS / 1000},
    )


@case
def retry_after_is_forgotten_once_an_event_has_come() -> Case:
    log = ScriptedLog()
    first = half_an_answer(log)
    second: Script = [log.resume(), log.error("overloaded", retry_after=60_000), log.token("cau"), Cut()]
    return Case(
        scripts=[first, second, [log.resume(), log.token("se."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        attempts=[0, 0],
    )


@cases(429, 503)
def retry_after_of_a_refused_handshake_is_kept(status: int) -> Case:
    """Seconds, in HTTP. A browser does not show it to askbot.js."""
    log = ScriptedLog()
    return Case(
        scripts=[half_an_answer(log), [Refuse(status, {"Retry-After": "60"})], rest(log)],
        steps=[ask(), Connected(2), 0.1],
        connections=2,
        clients=PYTHON,
    )


@cases("9" * 400, "-5", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "soon")
def a_retry_after_that_says_no_time_is_passed_over(text: str) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[half_an_answer(log), [Refuse(503, {"Retry-After": text})], rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        attempts=[0, 1],
    )


@cases("0", "-5", "1" + "0" * 400)
def a_retry_after_of_an_odd_size_ends_nothing(number: str) -> Case:
    """Of an error, and `reconnect_after` of a server that goes away."""
    log = ScriptedLog()
    odd = f'{{"type":"error","code":"x","message":"m","retryable":true,"retry_after":{number}}}'
    away = f'{{"type":"going_away","reconnect_after":{number}}}'
    return Case(
        scripts=[[*half_an_answer(log)[:-1], odd, Cut()], [log.resume(), away, Cut()], rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        clients=ALL if len(number) < 9 else PYTHON,  # in JavaScript it is Infinity, which is kept
    )


@cases(400, 404, 429, 500, 502, 503)
def a_refused_handshake_is_tried_again(status: int) -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[half_an_answer(log), [Refuse(status)], [Refuse(status, text="later")], rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=4,
        attempts=[0, 1, 2],
    )


@cases(401, 403)
def a_handshake_that_is_refused_to_this_caller_is_final(status: int) -> Case:
    """Where the status can be seen."""
    log = ScriptedLog()
    code = {401: "unauthorized", 403: "forbidden"}[status]
    return Case(
        scripts=[half_an_answer(log), [Refuse(status)]],
        steps=[ask(), State("closed")],
        outcomes={"ask": lost(code, read="Be")},
        connections=2,
        clients=PYTHON,
    )


@case
def a_handshake_that_is_refused_is_tried_again_where_the_status_is_hidden() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[half_an_answer(log), [Refuse(403)], [Refuse(403)], rest(log)],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=4,
        attempts=[0, 1, 2],
        clients=JS,
    )


@case
def a_first_connection_that_fails_is_tried_again_in_the_browser() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[Cut()], [Refuse(503)], [Close(1013)], [log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=4,
        attempts=[0, 1, 2],
        clients=JS,
    )


@cases(*[Cut(), Close(1013), Refuse(503), Close(1003), Close(1008)])
def a_first_connection_that_fails_is_raised_in_python(end: ServerStep) -> Case:
    """With nothing of the URL's credentials in the message."""
    return Case(scripts=[[end]], steps=[], opened="closed", connections=1, clients=PYTHON)


# --- frames that are none --------------------------------------------------------------------------------------------

BAD_FRAMES: dict[str, ServerStep] = {
    "no JSON": "{",
    "empty": "",
    "no object": "[1, 2]",
    "null": "null",
    "number": "7",
    "string": '"ready"',
    "no type": {"session": "s1", "text": "x"},
    "type that is no string": {"type": 7},
    "type of Object": {"type": "constructor"},
    "question with wrong fields": {"type": "question", "session": "s1", "seq": "4", "turn": 7},
    "token without text": {"type": "token", "session": "s1", "turn": "t1", "seq": 9},
    "token with a number": {"type": "token", "session": "s1", "turn": "t1", "seq": 9, "text": 7},
    "token with null": {"type": "token", "session": "s1", "turn": "t1", "seq": None, "text": "x"},
    "token with a broken seq": {"type": "token", "session": "s1", "turn": "t1", "seq": 1.5, "text": "x"},
    "done without check": {"type": "done", "session": "s1", "turn": "t1", "seq": 4, "reason": "stop"},
    "done with wrong check": {"type": "done", "session": "s1", "turn": "t1", "seq": 4, "reason": "stop", "check": 7},
    "error without code": {"type": "error"},
    "error with wrong fields": {"type": "error", "code": 7, "message": None, "retryable": "no", "retry_after": "x"},
    "history without turns": {"type": "history", "session": "s1", "id": "nobody's"},
    "history with wrong turns": {"type": "history", "session": "s1", "turns": [7], "more": False},
    "going_away without a time": {"type": "going_away"},
    "going_away with a text": {"type": "going_away", "reconnect_after": "soon"},
    "ready without limits": {"type": "ready", "session": "s1", "seq": 3, "from": 3, "log": "l1"},
    "ready with wrong fields": {"type": "ready", "session": "s1", "seq": "x", "from": None, "log": 7, "limits": []},
    "unknown event with a wrong seq": {"type": "weather", "session": "s1", "seq": "x"},
    "binary": b'{"type": "alive"}',
    "binary that is no UTF-8": b"\xff\x00",
    "binary event": b'{"type":"token","session":"s1","turn":"t1","seq":99,"text":"binary"}',
}


@cases(*BAD_FRAMES)
def a_frame_that_is_none_costs_at_most_a_connection(name: str) -> Case:
    """It is passed over, or the client comes back. What it does to the answer is repaired, or told: `damaged`."""
    log = ScriptedLog()
    begin: Script = running(log)
    repair: Script = [log.token("cause."), log.done(), Receive("history"), log.history()]
    return Case(
        scripts=[[*begin, BAD_FRAMES[name], *repair], [log.resume(), *repair[2:]]],
        steps=[ask()],
        outcomes={"ask": {"code": OneOf((None, "damaged")), "text": OneOf(("Because.", None))}},
        connections=2,
        sent={"ask": 1},
    )


@cases(*BAD_FRAMES)
def a_frame_that_is_none_at_each_connection_is_no_storm(name: str) -> Case:
    """The pauses grow, if the client comes back; and it can be closed."""
    log = ScriptedLog()
    go = asyncio.Event()
    begin: Script = [*running(log), go, Cut()]
    return Case(
        scripts=[begin, [BAD_FRAMES[name], log.resume(), BAD_FRAMES[name]]],
        steps=[ask(), Read("ask", "Be"), go, 0.06, Call("close")],
        outcomes={"ask": {"read": "Be"}, "close": {"code": None}},
        connections=9,
        sent={"ask": 1},
    )
