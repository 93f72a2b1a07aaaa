"""Titles, and the list of a user's sessions."""

from __future__ import annotations

from askbot_ws.testing import Cut, Receive, ScriptedLog

from ..case import PYTHON, RETURNED, Case, answered, ask, case, failed, running, sessions, set_title


@case
def a_title_between_two_tokens_is_no_part_of_the_answer() -> Case:
    """Another device has given it."""
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), log.title("Sky"), log.token("cause."), log.done()]],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
    )


@case
def a_title_is_a_position_to_resume_from() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [*running(log), log.title("Sky"), Cut()],
            [log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        after={1: 4},
    )


@case
def a_title_is_given_once_it_is_in_the_log() -> Case:
    """While an answer comes."""
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), Receive("title"), log.title(), log.token("cause."), log.done()]],
        steps=[ask(), set_title()],
        outcomes={"set_title": RETURNED, "ask": answered("Because.")},
        connections=1,
        sent={"title": 1},
    )


@case
def a_title_is_sent_again_until_it_is_in_the_log() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("title"), Cut()],
            [log.ready(), Receive("title"), log.title()],
        ],
        steps=[set_title()],
        outcomes={"set_title": RETURNED},
        connections=2,
        sent={"title": 2},
    )


@case
def a_title_that_was_given_before_the_connection_was_lost_is_not_sent_again() -> Case:
    """`ready` says it; the browser asks again, which changes nothing."""
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("title"), Cut()],
            [log.ready(title="Sky")],
        ],
        steps=[set_title()],
        outcomes={"set_title": RETURNED},
        connections=2,
        sent={"title": 1},
        clients=PYTHON,
    )


@case
def a_title_that_is_refused_raises() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("title"), log.error("turn_not_found", id="$title.id")]],
        steps=[set_title()],
        outcomes={"set_title": failed("turn_not_found")},
        connections=1,
    )


@case
def a_page_of_sessions_comes_between_two_tokens() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[*running(log), Receive("sessions"), log.sessions(), log.token("cause."), log.done()]],
        steps=[ask(), sessions()],
        outcomes={"sessions": RETURNED | {"titles": ["Why?"]}, "ask": answered("Because.")},
        connections=1,
        sent={"sessions": 1},
    )


@case
def a_page_of_sessions_is_asked_for_again_on_the_next_connection() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [log.ready(), Receive("sessions"), Cut()],
            [log.ready(), Receive("sessions"), log.sessions(more="next")],
        ],
        steps=[sessions()],
        outcomes={"sessions": RETURNED},
        connections=2,
        sent={"sessions": 2},
    )


@case
def an_anonymous_client_is_told_that_it_has_no_sessions() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[[log.ready(), Receive("sessions"), log.error("forbidden", id="$sessions.id")]],
        steps=[sessions()],
        outcomes={"sessions": failed("forbidden")},
        connections=1,
    )
