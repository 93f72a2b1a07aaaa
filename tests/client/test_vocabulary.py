"""One vocabulary: the Python client, with and without asyncio, and the JavaScript client have the same names.

Each difference is in a table here, with its reason: a name that one gets is added to the others, or to the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any, get_args

import pytest

from askbot_ws import Answer, Turn, View, connect, connect_sync
from askbot_ws.client import AnswerStream, Chat, Closed, Damaged, State, Status, TimedOut, sync
from askbot_ws.errors import AskbotError

from ..process import ROOT

TYPES = "".join((ROOT / "client" / name).read_text("utf-8") for name in ("askbot.d.ts", "view.d.ts"))

RENAMED = {
    "Chat": {"session": "id", "title": "set_title"},  # `session` is a method here, as one connection has several
    "AskbotError": {},
    "AnswerStream": {},
    "Turn": {"from": "from_"},  # a keyword
    "View": {},
    "connect": {},
}
JAVASCRIPT_ONLY = {
    "Chat": {
        "connection": "a page shows it",
        "opened": "entering waits for it",
        "reconnect": "a user who looks at a page presses it",
        "fresh": "a page stays, and its conversation changes; a program connects again",
        "pending": "a page keeps it for the next load",
        "requests": "a page shows it",
        "add_event_listener": "the language's: `changed` and `on_state`",
        "remove_event_listener": "as above",
    },
    "AskbotError": {"id": "the language rejects the call's own promise", "text": "as above"},
    "AnswerStream": {},
    "Turn": {"tail": "strings are slow to grow there"},
    "View": {"gap": "an exception"},
    "connect": {
        "name": "of what the browser keeps",
        "storage": "as above",
        "web_socket": "the package has its own",
        "page": "of the browser",
        "timers": "as above",
        "random": "`delay`",
        "open_timeout": "entering raises; `asyncio.timeout` limits it",
    },
}
PYTHON_ONLY = {
    "Chat": {
        "changed": "there an event `change`",
        "models": "there of the view only",
        "title": "the same",
        "all_sessions": "the language's: an iterator",
        "session": "another session on the same connection",
        "turns": "of `view`, as the React hook has it",
    },
    "AskbotError": {"default": "of the class", "args": "the language's"}
    | dict.fromkeys(("add_note", "with_traceback"), "the language's"),
    "AnswerStream": {
        "turn": "there of the ended turn only",
        "cancel": "there `chat.cancel(stream.id)`",
        "thinking": "there in `view`",
    },
    "Turn": {
        "text": "the former name of `question`",
        "end": "all of the end at once",
        "whole": "it keeps the beginning of what is too long",
        "proven": "there an iteration fails",
    }
    | dict.fromkeys(
        ("answer_buffer", "thinking_buffer", "begins_with_thinking", "phase", "thinking_before_answer"), "its making"
    )
    | dict.fromkeys(("from_record", "measure_thinking", "read_thinking", "set_end", "snapshot"), "its making"),
    "View": {
        "has_earlier": "the former name of `earlier`",
        "ready": "the frame itself",
        "last_ready": "the same, or None",
        "all_turns": "replaced ones too, which `turns` has there",
    }
    | dict.fromkeys(("continues", "fold", "note_ready", "snapshot"), "its making"),
    "connect": {
        "after": "of a copy that a program keeps",
        "log": "as above",
        "ssl": "the browser's",
        "proxy": "as above",
        "silence": "there it is what the server says",
        "delay": "there `random`",
        "on_state": "there an event `state`",
    },
}


def snake(name: str) -> str:
    """A name as Python writes it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def body(interface: str) -> str:
    """What a declaration has between its braces."""
    found = re.search(rf"^export interface {interface}\b[^{{]*\{{\n(.*?)^\}}", TYPES, flags=re.DOTALL | re.MULTILINE)
    assert found, interface
    return found[1]


def javascript(interface: str) -> set[str]:
    """The names that a declaration has, as Python writes them."""
    names = re.findall(r"^  (?:readonly )?(\w+)\??[:(<]", body(interface), flags=re.MULTILINE)
    return {snake(name) for name in names}


def python(kind: object) -> set[str]:
    """The public names of a class, or of an instance."""
    return {name for name in dir(kind) if not name.startswith("_")}


def literals(declaration: str) -> set[str]:
    """The strings that a declaration allows."""
    return set(re.findall(r'"(\w+)"', declaration))


@pytest.mark.parametrize(
    ("interface", "kind"),
    [
        ("Chat", Chat),
        ("Chat", sync.Chat),
        ("AnswerStream", AnswerStream),
        ("AnswerStream", sync.AnswerStream),
        ("Turn", Turn),
        ("View", View),
        ("AskbotError", AskbotError()),
    ],
)
def test_what_a_class_has_is_called_the_same_in_both_languages(interface: str, kind: object) -> None:
    """But for what the tables name."""
    renamed, javascript_only = RENAMED[interface], set(JAVASCRIPT_ONLY[interface])
    python_only = set(PYTHON_ONLY[interface])
    there = {renamed.get(name, name) for name in javascript(interface)}
    if interface == "AskbotError":
        there |= {"message"}  # of `Error`
    if kind is sync.Chat:
        python_only -= {"changed"}  # an event of a loop
    if kind is sync.AnswerStream:
        python_only |= {"answer"}  # `await`
    assert there - javascript_only == python(kind) - python_only
    assert javascript_only <= there
    assert python_only <= python(kind)


def test_both_forms_of_the_python_client_have_the_same_names() -> None:
    """But for what a language without `await` needs."""
    assert python(Chat) - python(sync.Chat) == {"changed"}
    assert python(sync.Chat) <= python(Chat)
    assert python(sync.AnswerStream) - python(AnswerStream) == {"answer"}
    assert python(AnswerStream) <= python(sync.AnswerStream)
    for name in python(sync.Chat):
        asynchronous, blocking = vars(Chat)[name], vars(sync.Chat)[name]
        if callable(asynchronous):
            assert [*signature(blocking).parameters.values()] == [*signature(asynchronous).parameters.values()], name


def test_an_answer_has_the_names_of_a_turn() -> None:
    """JavaScript awaits a turn; `text` is what it was called before."""
    assert python(Answer) - python(Turn) == set()
    assert {"question", "answer", "turn", "id", "reason", "model", "usage", "timing", "error"} <= python(Answer)


@pytest.mark.parametrize("function", [connect, connect_sync])
def test_what_connect_takes_is_called_the_same(function: Callable[..., Any]) -> None:
    """But for what the tables name."""
    given = set(signature(function).parameters)
    assert javascript("ConnectOptions") - set(JAVASCRIPT_ONLY["connect"]) == given - set(PYTHON_ONLY["connect"])
    assert set(JAVASCRIPT_ONLY["connect"]) <= javascript("ConnectOptions")
    assert set(PYTHON_ONLY["connect"]) <= given


@pytest.mark.parametrize("kind", [Chat, sync.Chat])
def test_questions_have_the_same_options(kind: type[Chat | sync.Chat]) -> None:
    """JavaScript has the question's `id` too: a page asks again what it has kept."""
    declared = "".join(re.findall(r"^export type (?:Model|Question|Ask)Options = (.*);$", TYPES, flags=re.MULTILINE))
    options = literals(declared)
    assert options == {"model", "temperature", "max_tokens", "when_busy"}
    assert set(signature(kind.ask).parameters) == {"self", "text"} | options
    assert set(signature(kind.retry).parameters) == {"self", "turn"} | options - {"when_busy"}
    assert set(signature(kind.edit).parameters) == {"self", "turn", "text"} | options - {"when_busy"}


def test_states_statuses_and_codes_are_the_same_words() -> None:
    """JavaScript has `cancelled` too: a question that was withdrawn is rejected there, and has ended here."""
    for name, kind in (("State", State), ("Status", Status)):
        (declared,) = re.findall(rf"^export type {name} = (.*);$", TYPES, flags=re.MULTILINE)
        assert literals(declared) == set(get_args(kind))
    (codes,) = re.findall(r"readonly code: ErrorCode \| (.*);", body("AskbotError"))
    assert literals(codes) - {"cancelled"} == {kind.code for kind in (Closed, Damaged, TimedOut)}
