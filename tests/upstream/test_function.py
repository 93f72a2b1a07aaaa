"""FunctionUpstream: a user's async generator function as a model."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import ConfigError, ContextTooLong, UpstreamRateLimited, UpstreamStalled, UpstreamUnavailable
from askbot_ws.events import Options
from askbot_ws.upstream import Ending, ThinkingText, function, isolation
from askbot_ws.upstream.function import FunctionUpstream

PROMPT = Prompt.of([Message("system", "Be brief."), Message("user", "Hi")], Options(temperature=0.5))
heard: list[Any] = []
closed: list[str] = []


async def polite(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    heard[:] = [messages, options]
    yield "You said "
    yield messages[-1]["content"]


async def broken(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    raise LookupError("no such thing")


async def too_long(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    if messages:
        raise ContextTooLong
    yield ""


async def numbers(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[Any]:
    yield "one "
    yield 2


async def nothing(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[Any]:
    yield None


async def slow(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    try:
        yield "so far"
        await asyncio.sleep(60)
    finally:
        closed.append("slow")


async def no_generator(messages: list[dict[str, str]], options: dict[str, Any]) -> str:
    return "all at once"


async def opened(name: str, **settings: Any) -> FunctionUpstream:
    upstream = FunctionUpstream(f"{__name__}:{name}", **settings)
    await upstream.open()
    return upstream


async def test_the_function_gets_the_messages_and_its_pieces_are_the_answer() -> None:
    """Plain dicts, as the OpenAI API has them, and only the options that were given."""
    upstream = await opened("polite")
    pieces: list[str] = []
    ending = await upstream.stream(PROMPT, pieces.append)
    await upstream.ping()
    await upstream.close()

    assert pieces == ["You said ", "Hi"]
    assert ending == Ending("stop")
    assert heard == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        {"temperature": 0.5},
    ]


@pytest.mark.parametrize(
    ("name", "pieces", "cause"),
    [("broken", ["so far"], LookupError), ("numbers", ["one "], TypeError), ("nothing", [], TypeError)],
)
async def test_a_fault_of_the_function_is_an_unavailable_model(
    name: str, pieces: list[str], cause: type[Exception]
) -> None:
    """The text so far stands; the fault is for the log."""
    said: list[str] = []
    with pytest.raises(UpstreamUnavailable) as caught:
        await (await opened(name)).stream(PROMPT, said.append)

    assert said == pieces
    assert isinstance(caught.value.__cause__, cause)


async def test_a_function_may_raise_our_errors() -> None:
    """So that it can say what it knows."""
    with pytest.raises(ContextTooLong):
        await (await opened("too_long")).stream(PROMPT, lambda text: None)


async def test_a_function_that_waits_too_long_is_stalled_and_closed() -> None:
    """Its `finally` has run when the error comes."""
    closed.clear()
    said: list[str] = []
    with pytest.raises(UpstreamStalled):
        await (await opened("slow", stall_timeout=0.02)).stream(PROMPT, said.append)

    assert (said, closed) == (["so far"], ["slow"])


async def test_a_cancel_closes_the_function() -> None:
    """At once."""
    closed.clear()
    started = asyncio.Event()
    task = asyncio.create_task((await opened("slow")).stream(PROMPT, lambda text: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert closed == ["slow"]


async def test_an_error_of_the_listener_closes_the_function() -> None:
    """And passes."""
    closed.clear()

    def full(text: str) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        await (await opened("slow")).stream(PROMPT, full)

    assert closed == ["slow"]


@pytest.mark.parametrize(
    "path", ["nocolon", ":name", "module:", "no.such.module:name", f"{__name__}:missing", f"{__name__}:no_generator"]
)
async def test_what_is_no_such_function_is_said_at_the_start(path: str) -> None:
    """With the setting's name."""
    with pytest.raises(ConfigError, match="ASKBOT_UPSTREAM"):
        await FunctionUpstream(path).open()


async def test_a_module_of_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People start the server beside their code."""
    (tmp_path / "my_agent_for_a_test.py").write_text("async def answer(messages, options):\n    yield 'mine'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    upstream = FunctionUpstream("my_agent_for_a_test:answer")
    await upstream.open()
    said: list[str] = []
    await upstream.stream(PROMPT, said.append)

    assert said == ["mine"]
    assert upstream.model == "my_agent_for_a_test:answer"


async def test_a_question_before_open_is_our_fault() -> None:
    """A programmer's error."""
    with pytest.raises(RuntimeError, match="not open"):
        await FunctionUpstream("a:b").stream(PROMPT, lambda text: None)


# --- what a function may do to its task ------------------------------------------------------------------------------


class OddError(BaseException):
    """No `Exception`, and not to be shown."""

    def __repr__(self) -> str:
        raise ValueError("not even this")


class ShyError(Exception, OddError):
    """An `Exception` that is not to be shown."""


def from_a_shy_one() -> UpstreamUnavailable:
    error = UpstreamUnavailable()
    error.__cause__ = ShyError()
    return error


async def current() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()


async def an_inner_task() -> None:
    inner = asyncio.create_task(asyncio.sleep(60))
    inner.cancel()
    await inner


async def a_task_of_its_group() -> None:
    async with asyncio.TaskGroup() as group:
        inner = group.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner


async def a_future_that_it_waits_for() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


CANCELS = [current, an_inner_task, a_task_of_its_group, a_future_that_it_waits_for]
RAISED = [
    asyncio.CancelledError(),
    GeneratorExit(),
    StopAsyncIteration(),
    StopIteration(),
    SystemExit(3),
    KeyboardInterrupt(),
    BaseExceptionGroup("both", [asyncio.CancelledError(), SystemExit()]),
    OddError(),
    ShyError(),
    from_a_shy_one(),
]


async def cancels(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    await CANCELS[int(messages[-1]["content"])]()
    await asyncio.sleep(60)


async def raises(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    raise RAISED[int(messages[-1]["content"])]


async def takes_nothing() -> AsyncIterator[str]:
    yield "never"


@pytest.mark.parametrize("number", range(len(CANCELS)))
async def test_a_cancellation_that_nobody_asked_for_is_an_unavailable_model(number: int) -> None:
    """Whatever the function cancels, the one who asks is not cancelled, and hears of it."""
    said: list[str] = []
    with pytest.raises(UpstreamUnavailable):
        await (await opened("cancels")).stream(Prompt.of([Message("user", f"{number}")]), said.append)

    assert said == ["so far"]
    asker = asyncio.current_task()
    assert asker
    assert not asker.cancelling()


@pytest.mark.parametrize("number", range(len(RAISED)), ids=[type(error).__name__ for error in RAISED])
async def test_whatever_is_raised_is_an_unavailable_model(number: int) -> None:
    """It ends neither the asker's task nor the loop; the text so far stands."""
    said: list[str] = []
    with pytest.raises(UpstreamUnavailable) as caught:
        await (await opened("raises")).stream(Prompt.of([Message("user", f"{number}")]), said.append)

    assert said == ["so far"]
    assert repr(caught.value.__cause__)  # the log shows it


async def test_a_function_that_takes_other_arguments_is_an_unavailable_model() -> None:
    """Its mistake, said when it is called."""
    with pytest.raises(UpstreamUnavailable) as caught:
        await (await opened("takes_nothing")).stream(PROMPT, lambda text: None)

    assert isinstance(caught.value.__cause__, TypeError)


async def scoped(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    with anyio.move_on_after(0.01):
        await anyio.sleep(60)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            yield "after the scope, "
            await asyncio.sleep(60)
    with suppress(asyncio.CancelledError):
        await an_inner_task()
    yield "after all"


async def test_a_cancellation_that_stays_inside_is_the_functions_own() -> None:
    """Scopes, time-outs and tasks of its own work as anywhere, over a `yield` too."""
    said: list[str] = []

    assert await (await opened("scoped")).stream(PROMPT, said.append) == Ending("stop")
    assert said == ["after the scope, ", "after all"]


async def deaf(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    """Takes every cancellation for a passing fault; ends when it is told to by a word."""
    yield "so far"
    while not closed:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


async def deaf_but_talking(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    try:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
            yield "so far"
    finally:
        closed.append("deaf_but_talking")


async def long_in_closing(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    try:
        yield "so far"
        await asyncio.sleep(60)
    finally:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("long_in_closing")


async def bad_at_closing(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[Any]:
    try:
        yield "so far"
        yield 2
    finally:
        closed.append("bad_at_closing")
        raise LookupError("while it is closed")


async def cancelled(name: str) -> None:
    """Ask, and be cancelled after the first piece."""
    started = asyncio.Event()
    task = asyncio.create_task((await opened(name)).stream(PROMPT, lambda text: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_function_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a limit, and then neither the asker nor the end of the loop waits for it."""
    monkeypatch.setattr(isolation, "CANCEL_TIMEOUT_SECONDS", 0.1)
    closed.clear()
    before = len(asyncio.all_tasks())
    async with asyncio.timeout(5):
        await cancelled("deaf")

    assert len(asyncio.all_tasks()) == before
    (left,) = isolation._abandoned  # pyright: ignore[reportPrivateUsage]
    closed.append("now")
    await left
    assert not isolation._abandoned  # pyright: ignore[reportPrivateUsage]


async def test_a_stalled_function_that_does_not_end_is_left_behind_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is a stall."""
    monkeypatch.setattr(isolation, "CANCEL_TIMEOUT_SECONDS", 0.1)
    closed.clear()
    with pytest.raises(UpstreamStalled):
        await (await opened("deaf", stall_timeout=0.02)).stream(PROMPT, lambda text: None)

    (left,) = isolation._abandoned  # pyright: ignore[reportPrivateUsage]
    closed.append("now")
    await left


async def test_a_function_that_talks_on_after_a_cancel_is_closed() -> None:
    """At its next word."""
    closed.clear()
    async with asyncio.timeout(isolation.CANCEL_TIMEOUT_SECONDS / 4):
        await cancelled("deaf_but_talking")

    assert closed == ["deaf_but_talking"]


async def test_a_function_that_is_long_in_closing_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in a `finally` block waits for half of the limit."""
    monkeypatch.setattr(isolation, "CANCEL_TIMEOUT_SECONDS", 0.1)
    closed.clear()
    await cancelled("long_in_closing")

    assert closed == ["long_in_closing"]


async def test_an_error_in_closing_is_an_error_of_the_function() -> None:
    """Beside the one for which it was closed."""
    closed.clear()
    with pytest.raises(UpstreamUnavailable) as caught:
        await (await opened("bad_at_closing")).stream(PROMPT, lambda text: None)

    assert closed == ["bad_at_closing"]
    assert isinstance(caught.value.__cause__, LookupError)


# --- what a function may say -----------------------------------------------------------------------------------------


class OwnError(UpstreamRateLimited):
    """With a code that nobody knows, and without what the base class sets."""

    code = "my_own\ud800"

    def __init__(self) -> None:
        Exception.__init__(self)


def long_message() -> UpstreamRateLimited:
    return UpstreamRateLimited("m\ud800" * 1000, retry_after=5)


SAID = [
    (long_message, "m\ufffd" * 250, 5),
    (lambda: UpstreamRateLimited("later", retry_after=math.nan), "later", None),
    (lambda: UpstreamRateLimited("later", retry_after=-1), "later", None),
    (lambda: UpstreamRateLimited("later", retry_after=math.inf), "later", None),
    (lambda: UpstreamRateLimited("later", retry_after=10**400), "later", None),
    (lambda: UpstreamRateLimited(3, retry_after="soon"), UpstreamRateLimited.default, None),  # type: ignore[arg-type]
    (OwnError, UpstreamRateLimited.default, None),
]


async def complains(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    if messages:
        made, _, _ = SAID[int(messages[-1]["content"])]
        error = made()
        raise error
    yield ""


@pytest.mark.parametrize("number", range(len(SAID)))
async def test_an_error_of_the_function_is_one_that_the_log_can_keep(number: int) -> None:
    """Message, code and time are what JSON can say, and of a length."""
    _, message, retry_after = SAID[number]
    with pytest.raises(UpstreamRateLimited) as caught:
        await (await opened("complains")).stream(Prompt.of([Message("user", f"{number}")]), lambda text: None)

    assert type(caught.value) is UpstreamRateLimited
    assert (caught.value.message, caught.value.retry_after) == (message, retry_after)


async def endless_word(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    yield "x" * 25


async def test_a_very_long_piece_comes_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener may have enough after each."""
    monkeypatch.setattr(function, "MAX_PIECE_CHARS", 10)
    said: list[str] = []
    await (await opened("endless_word")).stream(PROMPT, said.append)

    assert said == ["x" * 10, "x" * 10, "x" * 5]


async def thinking(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    yield ThinkingText("Let me think.")
    yield "Yes."


@pytest.mark.parametrize("max_chars", [100, 4])
async def test_reasoning_that_the_function_yields_stays_reasoning(
    monkeypatch: pytest.MonkeyPatch, max_chars: int
) -> None:
    """In slices, too."""
    monkeypatch.setattr(function, "MAX_PIECE_CHARS", max_chars)
    upstream, pieces = await opened("thinking"), list[str]()
    await upstream.stream(PROMPT, pieces.append)

    assert "".join(piece for piece in pieces if isinstance(piece, ThinkingText)) == "Let me think."
    assert "".join(piece for piece in pieces if not isinstance(piece, ThinkingText)) == "Yes."
