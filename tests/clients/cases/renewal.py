"""Credentials that expire, and a connection that may be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from askbot_ws.testing import Close, Receive, RequireToken, ScriptedConnection, ScriptedLog, expires_in

from ..case import Case, answered, ask, case, running

LIFETIME_SECONDS = 1.2
ONE_FORM = frozenset({"async"})  # cases that take a second; with askbot.js, which waits for five, tests/js plays them


def expiring(log: ScriptedLog) -> Callable[[ScriptedConnection], list[Any]]:
    """`ready`, with a credential that expires soon."""
    ready = log.ready(user="alice")
    return lambda _: [ready | {"expires": expires_in(LIFETIME_SECONDS)}]


def renewed_with(token: str) -> Callable[[ScriptedConnection], None]:
    """A check of what the client has sent."""

    def check(connection: ScriptedConnection) -> None:
        assert [frame["token"] for frame in connection.frames("auth")] == [token]

    return check


@case
def a_fresh_token_is_sent_before_the_old_one_expires() -> Case:
    """In the middle of an answer, which goes on."""
    log = ScriptedLog()
    begin = expiring(log)
    return Case(
        scripts=[
            [
                begin, Receive("ask"), log.question(), log.token("Be"),
                Receive("auth"), renewed_with("two"), log.authorized(), log.token("cause."), log.done(),
            ]
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
        options={"token": ["one", "two", "three"]},
        tokens=["one"],
        clients=ONE_FORM,
    )  # fmt: skip


@case
def a_fresh_token_that_is_refused_changes_nothing() -> Case:
    """The old one is good up to its end."""
    log = ScriptedLog()
    begin = expiring(log)
    return Case(
        scripts=[
            [
                begin, Receive("ask"), log.question(), log.token("Be"),
                Receive("auth"), log.error("forbidden", id="$auth.id"), log.token("cause."), log.done(),
            ]
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=1,
        options={"token": ["one", "two", "three"]},
        clients=ONE_FORM,
    )  # fmt: skip


@case
def a_fresh_ticket_opens_another_connection_before_the_old_one_expires() -> Case:
    """It reads on from where the old one was."""
    log = ScriptedLog()
    begin = expiring(log)
    return Case(
        scripts=[
            [RequireToken({"one"}), begin, Receive("ask"), log.question(), log.token("Be")],
            [RequireToken({"two"}), log.resume(user="alice"), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        sent={"auth": 0, "ask": 1},
        after={1: 3},
        options={"ticket": ["one", "two", "three"]},
        clients=ONE_FORM,
    )


@case
def a_ticket_that_is_no_longer_good_is_asked_for_once_more() -> Case:
    log = ScriptedLog()
    return Case(
        scripts=[
            [RequireToken({"one"}), *running(log), Close(4401)],
            [RequireToken({"two"}), log.resume(), log.token("cause."), log.done()],
        ],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        options={"ticket": ["one", "two", "three"]},
    )


@case
def a_token_that_is_refused_at_first_is_asked_for_once_more() -> Case:
    log = ScriptedLog()
    script = [RequireToken({"two"}), *running(log), log.token("cause."), log.done()]
    return Case(
        scripts=[script],
        steps=[ask()],
        outcomes={"ask": answered("Because.")},
        connections=2,
        options={"token": ["one", "two", "three"]},
        tokens=["one", "two"],
    )
