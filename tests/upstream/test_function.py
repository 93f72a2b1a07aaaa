"""FunctionUpstream: a user's async generator function as a model."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import ConfigError, ContextTooLong, UpstreamStalled, UpstreamUnavailable
from askbot_ws.events import Options
from askbot_ws.upstream import Ending
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
