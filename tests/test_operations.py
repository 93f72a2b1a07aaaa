"""docs/operations.md lists every log event of the package, with its level and its keys, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import pytest

from askbot_ws.metrics import RefusalReason

from .process import ROOT

PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
EVENTS = PAGE.partition("## Log events")[2].partition("\n## ")[0]
SOURCES = ROOT / "src/askbot_ws"
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
OF_OTHERS = {  # loggers of another program or package, whose events are not the server's
    ("server/http_connection.py", "_logger"),  # uvicorn; a filter gives its records our event's name
    ("client/endpoint.py", "_logger"),  # websockets
    ("client/reconnecting_socket.py", "_logger"),  # the program that uses the client
}


@dataclass(frozen=True, slots=True, order=True)
class LogCall:
    """A call that logs an event, and where it is."""

    event: str
    level: str
    keys: frozenset[str]
    place: str


def logs_of(source: str, path: str) -> Iterator[LogCall]:
    """The log calls of a module. Raises `AssertionError` for a use of its logger that can't be read from the source."""
    tree = ast.parse(source)
    loggers = {name for name in _loggers(tree) if (path, name) not in OF_OTHERS}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    read: set[ast.Name] = set()
    for call in calls:
        match call.func:
            case ast.Attribute(value=ast.Name(id=name) as logger, attr=method) if name in loggers:
                read.add(logger)
                place = f"{path}:{call.lineno}"
                assert method in LEVELS, f"{place}: {method} is no level"
                match call.args:
                    case [ast.Constant(value=str(event))]:
                        keys = {keyword.arg for keyword in call.keywords if keyword.arg} - {"exc_info"}
                        yield LogCall(event, LEVELS[method], frozenset(keys), place)
                    case _:
                        raise AssertionError(f"{place}: the event's name is to be a constant")
            case _:
                pass
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in loggers:
            assert node in read, f"{path}:{node.lineno}: the logger is passed on"
        if isinstance(node, ast.Assign):
            yield from _messages(node, path)


def _loggers(tree: ast.Module) -> Iterator[str]:
    """The names that are bound to a logger."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(attr=made) | ast.Name(id=made))
            ) if made in ("get_logger", "getLogger", "make_audit_logger"):
                yield name
            case _:
                pass


def _messages(node: ast.Assign, path: str) -> Iterator[LogCall]:
    """What is assigned to the `msg` of a log record: it is of uvicorn, which logs it as an error."""
    for target in node.targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for name, value in zip(names, values, strict=False):
            match name, value:
                case ast.Attribute(attr="msg"), ast.Constant(value=str(event)):
                    yield LogCall(event, "error", frozenset(), f"{path}:{node.lineno}")
                case ast.Attribute(attr="msg"), _:
                    raise AssertionError(f"{path}:{node.lineno}: the event's name is to be a constant")
                case _:
                    pass


def logged() -> list[LogCall]:
    """All log calls of the package."""
    paths = sorted(SOURCES.rglob("*.py"))
    return [call for path in paths for call in logs_of(path.read_text("utf-8"), str(path.relative_to(SOURCES)))]


def listed() -> dict[str, tuple[str, set[str]]]:
    """The rows of the table: of each event its level and its keys."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|[^|]*\|([^|]*)\|[^|]*\|$", EVENTS, flags=re.MULTILINE)
    assert len({event for event, _, _ in rows}) == len(rows), "an event has one row"
    return {event: (level, set(re.findall(r"`(\w+)`", keys))) for event, level, keys in rows}


def test_every_log_event_has_its_row() -> None:
    """With the level of all its calls, and the keys that any of them has; and there is no row of another."""
    table, calls = listed(), logged()

    assert len(calls) > 30
    assert {call.event for call in calls} == set(table)
    assert [call for call in calls if call.level != table[call.event][0]] == []
    for event, (_, keys) in table.items():
        assert keys == {key for call in calls if call.event == event for key in call.keys}, event


def test_an_event_is_a_noun_with_a_past_participle() -> None:
    """Words that an operator would search for, the last of them says what happened."""
    for call in logged():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*_([a-z]+ed|reset)", call.event), call


def test_what_the_table_says_can_be_done_is_said_of_every_event() -> None:
    """Even if it is nothing."""
    rows = re.findall(r"^\| `\w+` \|.*$", EVENTS, flags=re.MULTILINE)

    assert [row for row in rows if not re.search(r"\| [A-Z][^|]*\. \|$", row)] == []


def test_every_reason_for_a_refusal_is_explained() -> None:
    """And no other."""
    section = PAGE.partition("## Why connections are refused")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == [*get_args(RefusalReason)]


@pytest.mark.parametrize(
    "line",
    [
        'log.info(f"{name}_ended")',
        "log.info(EVENT)",
        "report(log)",
        "write = log.info",
        'log.msg("turn_ended")',
        'log.bind(session="s").info("turn_ended")',
        "record.msg = text",
    ],
)
def test_a_log_call_that_could_hide_its_event_is_a_fault(line: str) -> None:
    """Or the table could miss it."""
    with pytest.raises(AssertionError):
        list(logs_of(f"log = structlog.get_logger(__name__)\n{line}\n", "a.py"))


def test_a_new_event_is_found() -> None:
    """Wherever it is in a module."""
    source = 'log = structlog.get_logger()\ndef f():\n    try: ...\n    except E: log.exception("a_lost", k=1)\n'

    assert [*logs_of(source, "a.py")] == [LogCall("a_lost", "error", frozenset({"k"}), "a.py:4")]


def test_every_module_that_logs_is_seen() -> None:
    """By its import of structlog, or of logging for what it does not configure."""
    importing = {
        str(path.relative_to(SOURCES))
        for path in sorted(SOURCES.rglob("*.py"))
        if re.search(r"^import (structlog|logging)$", path.read_text("utf-8"), flags=re.MULTILINE)
    }
    seen = {call.place.split(":")[0] for call in logged()}

    assert importing - seen <= {"logs.py", *(path for path, _ in OF_OTHERS)}
