"""ValidatedUpstream: an upstream that a program brings along can't do to the server what its code does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import Refused, UpstreamError, UpstreamRateLimited, UpstreamUnavailable
from askbot_ws.events import Usage
from askbot_ws.upstream import Ending, isolation
from askbot_ws.upstream.validated import ValidatedUpstream

PROMPT = Prompt.of([Message("user", "Hi")])


class Brought:
    """Somebody's own: it answers by whatever it is given."""

    def __init__(self, answer: Callable[[], Awaitable[Any]], *, model: Any = "mine") -> None:
        self.model = model
        self.opened = self.closed = 0
        self._answer = answer

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def ping(self) -> None:
        await self._answer()

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        on_text("so far")
        ending: Ending = await self._answer()
        return ending


def checked(answer: Callable[[], Awaitable[Any]], *, model: Any = "mine") -> ValidatedUpstream:
    return ValidatedUpstream(Brought(answer, model=model))


async def test_it_answers_as_the_one_that_it_is_given() -> None:
    """Text, ending, beginning and end."""
    said: list[str] = []

    async def answer() -> Ending:
        return Ending("length", "big-1", Usage(input_tokens=1, output_tokens=2))

    brought = Brought(answer)
    upstream = ValidatedUpstream(brought)
    await upstream.open()
    await upstream.ping()
    ending = await upstream.stream(PROMPT, said.append)
    await upstream.close()

    assert (said, ending, upstream.model) == (["so far"], await answer(), "mine")
    assert (brought.opened, brought.closed) == (1, 1)


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), SystemExit(), KeyboardInterrupt(), GeneratorExit(), Refused("no \ud800")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("call", ["stream", "ping"])
async def test_what_no_upstream_may_raise_is_an_unavailable_model(error: BaseException, call: str) -> None:
    """A cancellation that nobody asked for, an end of the program, an error that is not the model's."""

    async def answer() -> None:
        raise error

    upstream = checked(answer)
    with pytest.raises(UpstreamUnavailable):
        await (upstream.ping() if call == "ping" else upstream.stream(PROMPT, lambda text: None))

    asker = asyncio.current_task()
    assert asker
    assert not asker.cancelling()


async def test_a_fault_of_its_code_stays_what_it_is() -> None:
    """It may be the listener's, too: whoever asks tells it from a failure of the model."""

    async def answer() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        await checked(answer).stream(PROMPT, lambda text: None)


async def test_its_errors_are_such_as_the_log_can_keep() -> None:
    """Well-formed, and with a time that is one."""

    async def answer() -> None:
        raise UpstreamRateLimited("busy \ud800", retry_after=math.nan)

    with pytest.raises(UpstreamRateLimited) as caught:
        await checked(answer).stream(PROMPT, lambda text: None)

    assert (caught.value.message, caught.value.retry_after) == ("busy \ufffd", None)


@pytest.mark.parametrize("returned", [None, "stop", {"reason": "stop"}])
async def test_what_is_no_ending_is_an_unavailable_model(returned: object) -> None:
    """However well it is meant."""

    async def answer() -> object:
        return returned

    with pytest.raises(UpstreamUnavailable) as caught:
        await checked(answer).stream(PROMPT, lambda text: None)

    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("m\ud800", "m\ufffd"), ("m" * 1000, "m" * 200), ("", "unknown"), (None, "unknown"), (7, "unknown")],
)
async def test_its_name_is_one_that_every_frame_can_say(model: object, expected: str) -> None:
    """It is in each `ready` and each `done`."""

    async def answer() -> None:
        pass

    assert checked(answer, model=model).model == expected


async def test_one_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a limit: the session's next turn does not wait for it."""
    monkeypatch.setattr(isolation, "CANCEL_TIMEOUT_SECONDS", 0.1)
    started, may_end = asyncio.Event(), asyncio.Event()

    async def answer() -> None:
        started.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    task = asyncio.create_task(checked(answer).stream(PROMPT, lambda text: None))
    await started.wait()
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    may_end.set()
    (left,) = isolation._abandoned  # pyright: ignore[reportPrivateUsage]
    await asyncio.wait((left,))


# --- endings ---------------------------------------------------------------------------------------------------------

TOO_MANY = 2**53


@pytest.mark.parametrize("reason", ["banana", "error", "cancelled", "", None, ["stop"]])
def test_an_ending_with_a_reason_that_there_is_not_is_none(reason: Any) -> None:
    """Whoever makes it hears of it, and the turn fails as the model's."""
    with pytest.raises(UpstreamError):
        Ending(reason)


@pytest.mark.parametrize(
    ("model", "expected"), [("m\ud800", "m\ufffd"), ("m" * 1000, "m" * 200), ("", None), (7, None), (None, None)]
)
def test_the_model_of_an_ending_is_one_that_the_log_can_keep(model: Any, expected: str | None) -> None:
    """Or there is none."""
    assert Ending("stop", model).model == expected


@pytest.mark.parametrize("count", [-1, TOO_MANY, True, 1.0, "1", math.nan, math.inf, None, 10**400])
def test_a_usage_that_no_json_number_can_say_is_none(count: Any) -> None:
    """Nor does it spoil the ending."""
    assert Ending("stop", usage=Usage(input_tokens=count, output_tokens=1)).usage is None
    assert Ending("stop", usage=Usage(input_tokens=1, output_tokens=count)).usage is None
    assert Ending("stop", usage=count).usage is None


def test_the_largest_usage_counts() -> None:
    """2**53 - 1, what JavaScript can still count."""
    usage = Usage(input_tokens=0, output_tokens=TOO_MANY - 1)

    assert Ending("stop", usage=usage).usage == usage
