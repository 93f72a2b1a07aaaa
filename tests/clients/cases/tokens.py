"""The token: a string, or a function that is asked before each connection."""

from __future__ import annotations

from askbot_ws.testing import Close, Cut, Receive, ScriptedLog, ServerStep

from ..case import JS, Case, State, answered, ask, case, lost, running


def cut_twice(log: ScriptedLog) -> list[list[ServerStep]]:
    return [
        [*running(log), Cut()],
        [log.resume(), log.token("cau"), Cut()],
        [log.resume(), log.token("se."), log.done()],
    ]


@case
def a_string_is_sent_with_each_connection() -> Case:
    return Case(
        scripts=cut_twice(ScriptedLog()),
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        options={"token": "one"},
        tokens=["one", "one", "one"],
    )


@case
def a_function_is_asked_before_each_connection() -> Case:
    return Case(
        scripts=cut_twice(ScriptedLog()),
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        options={"token": ["one", "two", "three"]},
        tokens=["one", "two", "three"],
    )


@case
def a_function_that_raises_has_failed_to_connect() -> Case:
    """The attempt is counted, and the next one asks again."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), Cut()],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        options={"token": ["one", None, None, "two"]},
        tokens=["one", "two"],
        attempts=[0, 1, 2],
    )


@case
def a_function_that_raises_at_first_is_asked_again_in_the_browser() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("ask"), *log.answer("Yes.")]],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=1,
        options={"token": [None, None, "one"]},
        tokens=["one"],
        attempts=[0, 1],
        clients=JS,
    )


@case
def a_token_that_is_no_longer_good_is_renewed() -> Case:
    """4401 after `ready`; whenever it was good in between."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), Close(4401)],
            [log.resume(), log.token("cau"), Close(4401)],
            [log.resume(), log.token("se."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=3,
        options={"token": ["one", "two", "three"]},
        tokens=["one", "two", "three"],
        attempts=[0, 0],
    )


@case
def a_question_is_asked_again_with_the_new_token() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("ask"), Close(4401)],
            [log.ready(), Receive("ask"), *log.answer("Yes.")],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Yes.")},
        connections=2,
        sent={"ask": 2},
        options={"token": ["one", "two"]},
        tokens=["one", "two"],
    )


@case
def a_new_token_that_is_refused_too_is_final() -> Case:
    """Before `ready`."""
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), Close(4401)], [Close(4401)]],
        steps=[ask(), State("closed"), 0.02],
        outcomes={"ask": lost("unauthorized", read="Be")},
        connections=2,
        options={"token": ["one", "two", "three"]},
        tokens=["one", "two"],
    )


@case
def a_new_token_that_is_refused_right_after_ready_is_final() -> Case:
    """Else a server that says `ready` first would be asked for ever."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), Close(4401)],
            [log.resume(), Close(4401)],
        ],
        steps=[ask(), State("closed"), 0.02],
        outcomes={"ask": lost("unauthorized", read="Be")},
        connections=2,
        options={"token": ["one", "two", "three"]},
        tokens=["one", "two"],
    )


@case
def a_string_that_is_no_longer_good_is_final() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), Close(4401)]],
        steps=[ask(), State("closed"), 0.02],
        outcomes={"ask": lost("unauthorized", read="Be")},
        connections=1,
        options={"token": "one"},
    )


@case
def tokens_that_are_refused_before_ready_are_final() -> Case:
    """A function is asked once more at most, for the first connection too."""
    return Case(
        scripts=[[Close(4401)]],
        steps=[State("closed"), 0.02],
        opened="unauthorized",
        connections=2,
        options={"token": ["one", "two", "three"]},
        tokens=["one"],
    )
