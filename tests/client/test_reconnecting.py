"""How often the client connects, whatever a server does; in virtual time, so that a day passes at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from askbot_ws.client import Chat, Closed, State
from askbot_ws.client.backoff import reconnect_delay
from askbot_ws.dialects.askbot.frames import Alive, Ask, ClientFrame, GoingAway, Pong
from askbot_ws.errors import Unauthorized

from .virtual import (
    DAY,
    HOUR,
    MINUTE,
    Line,
    VirtualEndpoint,
    answer,
    chat_with,
    error,
    now,
    question,
    ready,
    refuse,
    run,
    token,
    virtual_endpoint,
)

MOST_IN_AN_HOUR = 300  # 240 and the first few, at 15 s on average
MOST_IN_A_DAY = 6_000  # docs/clients-python.md


def delay(seed: int = 1) -> Callable[[int], float]:
    return partial(reconnect_delay, random=random.Random(seed).random)


# --- a day -----------------------------------------------------------------------------------------------------------


def test_a_client_left_alone_for_a_day_answers_at_the_end() -> None:
    """The server is up for one second each minute: a bounded number of connections, and nothing is asked twice."""
    asked = list[str]()

    async def main() -> tuple[VirtualEndpoint, str]:
        async def accept(line: Line) -> None:
            if now() >= DAY:
                line.on_frame = lambda frame: line.send(*answer(frame.id, "Yes."))
                line.send(ready())
                return
            if now() and now() % MINUTE >= 1.0:
                refuse()
            line.on_frame = lambda frame: asked.append(frame.id or "")
            line.send(ready())
            asyncio.get_running_loop().call_later(1.0 - now() % MINUTE, line.end)

        endpoint = virtual_endpoint(accept, delay=delay())
        async with chat_with(endpoint) as chat:
            return endpoint, (await chat.ask("Still there?")).text

    endpoint, text = run(main())
    assert text == "Yes."
    assert len(set(asked)) == 1
    assert len(asked) > 10
    assert 5_000 < len(endpoint.attempts) < MOST_IN_A_DAY


def test_an_answer_that_takes_a_day_of_seconds_is_read_to_its_end() -> None:
    """One piece each time that the server is there: what is new begins the pauses anew."""
    pieces = ["."] * 50

    async def main() -> tuple[VirtualEndpoint, str]:
        log = list[Any]()

        async def accept(line: Line) -> None:
            if now() % MINUTE >= 1.0:
                refuse()
            after = line.point.after or 0
            line.send(ready(seq=after, from_=after))

            def begin(frame: ClientFrame) -> None:
                log.extend(answer(frame.id, *pieces))
                line.send(log[0])
                line.end()

            line.on_frame = begin
            if log:
                line.send(*[event for event in log if event.seq > after][:1])
                line.end()

        endpoint = virtual_endpoint(accept, delay=delay())
        async with chat_with(endpoint) as chat:
            return endpoint, (await chat.ask("Still there?")).text

    endpoint, text = run(main())
    assert text == "".join(pieces)
    assert len(endpoint.attempts) < MOST_IN_A_DAY


# --- servers that misbehave ------------------------------------------------------------------------------------------


def overloaded(line: Line, _: int) -> None:
    line.send(error("overloaded"))
    line.end(1013)


def ready_and_1013(line: Line, _: int) -> None:
    line.send(ready())
    line.end(1013)


def ready_and_4408(line: Line, _: int) -> None:
    line.send(ready(), Alive(), Pong())
    line.end(4408)


def a_gap(line: Line, _: int) -> None:
    line.send(ready(seq=50, from_=line.point.after or 0), question("q"), token("lost?", at=40))


def new_history(line: Line, number: int) -> None:
    line.send(ready(seq=2, log=f"log{number}"), *answer("q"))
    line.end()


def rewound(line: Line, _: int) -> None:
    line.send(ready(seq=4), *answer("q", "ab"))
    line.end()


def going_away(line: Line, _: int) -> None:
    line.send(ready(), GoingAway(reconnect_after=0.0))


def going_away_and_closing(line: Line, _: int) -> None:
    line.send(ready(), GoingAway(reconnect_after=20.0))
    line.end(1012)


def an_unlogged_frame(line: Line, number: int) -> None:
    line.send(ready(), (Alive(), Pong(), error("internal"), b'{"type":"fireworks"}')[number % 4])
    line.end()


def no_json(line: Line, _: int) -> None:
    line.send(ready(), b"fireworks")


def a_bad_event(line: Line, _: int) -> None:
    line.send(ready(), b'{"type":"token","session":"s","seq":1,"turn":"t1"}')


def an_unknown_event(line: Line, _: int) -> None:
    line.send(ready(), b'{"type":"fireworks","session":"s","seq":9}')
    line.end()


def gone(line: Line, number: int) -> None:
    if line.point.session is not None:
        line.end(4404)
        return
    line.send(ready(session=f"s{number}"))
    line.end(1012)


def too_many(line: Line, _: int) -> None:
    line.send(ready(), error("rate_limited", retry_after=60.0))
    line.end(4429)


def not_there(_: Line, number: int) -> None:
    refuse(status=503, retry_after=None if number % 2 else 5.0)


def nothing(line: Line, _: int) -> None:
    """Not even `ready`."""


def another_session(line: Line, _: int) -> None:
    line.send(ready(session="other"), Alive())


def bad_frames(line: Line, number: int) -> None:
    line.send(ready())
    line.end((1003, 1008, 1009)[number % 3])


MISBEHAVIOUR = [
    overloaded, ready_and_1013, ready_and_4408, a_gap, new_history, rewound, going_away, going_away_and_closing,
    an_unlogged_frame, no_json, a_bad_event, an_unknown_event, gone, too_many, not_there, nothing, another_session,
    bad_frames,
]  # fmt: skip


@pytest.mark.parametrize("misbehave", MISBEHAVIOUR, ids=lambda each: each.__name__)
def test_a_server_that_misbehaves_is_not_hammered(misbehave: Callable[[Line, int], None]) -> None:
    """A bounded number of connections in an hour, whatever it does at each of them."""

    async def main() -> VirtualEndpoint:
        def accept(line: Line) -> None:
            if len(endpoint.attempts) == 1:
                line.send(ready())
                asyncio.get_running_loop().call_later(1.0, line.end)
            else:
                misbehave(line, len(endpoint.attempts))

        endpoint = virtual_endpoint(accept, delay=delay())
        async with chat_with(endpoint):
            await asyncio.sleep(HOUR)
        return endpoint

    attempts = run(main()).attempts
    assert len(attempts) < MOST_IN_AN_HOUR
    assert len(attempts) > 20, "it has not given up"
    if misbehave is too_many:
        assert min(after - before for before, after in pairwise(attempts[1:])) >= 60.0


def test_an_event_that_was_never_read_begins_the_pauses_anew() -> None:
    """Those that are read again, as a lost history is built anew, do not."""
    told = list[int]()

    async def main() -> None:
        def accept(line: Line) -> None:
            number = len(endpoint.attempts)
            new = number == 5
            log = answer("q", "ab", "c") if new else answer("q", "ab")
            line.send(ready(seq=3, log=f"log{number}"), *log)
            line.end()

        def count(attempt: int) -> float:
            told.append(attempt)
            return 1.0

        endpoint = virtual_endpoint(accept, delay=count)
        async with chat_with(endpoint):
            await asyncio.sleep(7.5)

    run(main())
    assert told == [0, 1, 2, 3, 0, 1, 2, 3]


# --- what the server asks for ----------------------------------------------------------------------------------------


def test_retry_after_of_an_error_is_kept() -> None:
    """No connection before, and an error that comes later does not shorten it."""

    async def main() -> list[float]:
        def accept(line: Line) -> None:
            line.send(ready())
            if len(endpoint.attempts) == 1:
                line.send(error("overloaded", retry_after=500.0), error("overloaded", retry_after=1.0))
                line.end(1013)

        endpoint = virtual_endpoint(accept, delay=lambda _: 0.25)
        async with chat_with(endpoint):
            await asyncio.sleep(HOUR)
        return endpoint.attempts

    assert run(main()) == [0.0, 500.25]


def test_going_away_ends_with_the_close_or_at_its_time_whichever_is_first() -> None:
    """A server that is back at once is met at once; one that does not close is left."""

    async def main() -> tuple[list[float], float]:
        def accept(line: Line) -> None:
            if len(endpoint.attempts) > 2:
                line.on_frame = lambda frame: line.send(*answer(frame.id, "Yes."))
            line.send(ready())
            if len(endpoint.attempts) <= 2:
                line.send(GoingAway(reconnect_after=20.0), GoingAway(reconnect_after=500.0), ready())
            if len(endpoint.attempts) == 1:
                asyncio.get_running_loop().call_later(2.5, line.end, 1012)

        endpoint = virtual_endpoint(accept, delay=lambda _: 0.5)
        async with chat_with(endpoint) as chat:
            await asyncio.sleep(1)
            text = (await chat.ask("Why?")).text
            assert text == "Yes."
            assert endpoint.lines[0].received == []
            return endpoint.attempts, now()

    assert run(main()) == ([0.0, 3.0, 23.5], 23.5)


def test_a_connection_without_ready_is_given_up_though_frames_come() -> None:
    """`alive` alone opens nothing; at first that is an error."""

    async def main() -> float:
        with pytest.raises(Closed, match="no answer from"):
            await chat_with(virtual_endpoint(lambda _: None))
        return now()

    assert run(main()) == 45.0


# --- tokens ----------------------------------------------------------------------------------------------------------


def tokens_of(
    accept: Callable[[Line, int], None], given: Any, seconds: float = 100.0
) -> tuple[list[str | None], list[State]]:
    """What each connection presents; raises what asking a question raises at the end."""

    async def main() -> tuple[list[str | None], list[State]]:
        def number_lines(line: Line) -> None:
            accept(line, len(endpoint.lines))

        states = list[State]()
        endpoint = virtual_endpoint(number_lines, token=given, delay=lambda _: 1.0)
        async with chat_with(endpoint, on_state=states.append) as chat:
            await asyncio.sleep(seconds)
            chat.ask("Why?")
        return endpoint.tokens, states

    return run(main())


def numbered() -> Callable[[], str]:
    numbers = iter(range(1000))
    return lambda: f"token{next(numbers)}"


def test_a_function_is_asked_for_the_token_before_each_connection() -> None:
    """One that has to be awaited too."""

    def accept(line: Line, number: int) -> None:
        line.send(ready())
        if number < 3:
            line.end()

    async def fetch() -> str:
        return "fetched"

    assert tokens_of(accept, numbered())[0] == ["token0", "token1", "token2"]
    assert tokens_of(accept, fetch)[0] == ["fetched"] * 3


def expires(line: Line, number: int) -> None:
    """The first token is closed after a minute."""
    line.send(ready())
    if number == 1:
        asyncio.get_running_loop().call_later(MINUTE, line.end, 4401)


def always_expires(line: Line, number: int) -> None:
    line.send(ready())
    asyncio.get_running_loop().call_later(MINUTE, line.end, 4401)


def refused_at_once(line: Line, number: int) -> None:
    line.send(ready())
    line.end(4401)


def refused_before_ready(line: Line, number: int) -> None:
    if number == 1:
        line.send(ready())
        line.end()
    else:
        line.end(4401)


def never_accepted(line: Line, number: int) -> None:
    refuse(status=401)


def test_a_token_that_is_no_longer_good_is_asked_for_once_more() -> None:
    """4401 after `ready`; each one that has worked for a while may expire."""
    assert tokens_of(expires, numbered())[0] == ["token0", "token1"]
    assert len(tokens_of(always_expires, numbered(), seconds=HOUR)[0]) > 50


@pytest.mark.parametrize(
    ("accept", "given", "connections"),
    [
        (refused_at_once, "function", 2),
        (refused_before_ready, "function", 3),
        (never_accepted, "function", 2),
        (expires, "string", 1),
        (never_accepted, "string", 1),
    ],
)
def test_a_token_that_is_refused_is_final(accept: Callable[[Line, int], None], given: str, connections: int) -> None:
    """A fresh one that does not work either, before `ready` too, and one that can't be renewed."""
    opened = list[int]()

    def counted(line: Line, number: int) -> None:
        opened.append(number)
        accept(line, number)

    with pytest.raises(Unauthorized):
        tokens_of(counted, "string" if given == "string" else numbered())
    assert len(opened) == connections


def test_a_function_that_raises_has_failed_to_connect() -> None:
    """It is asked again later; at first, what it raises is raised."""
    tokens = iter(["one", "", "", "two"])

    def fetch() -> str:
        if token := next(tokens):
            return token
        raise LookupError("none")

    def accept(line: Line, number: int) -> None:
        line.send(ready())
        if number == 1:
            line.end()

    assert tokens_of(accept, fetch)[0] == ["one", "two"]

    def refuse_to_tell() -> str:
        raise LookupError("no token today")

    with pytest.raises(LookupError, match="no token today"):
        tokens_of(accept, refuse_to_tell)


def test_a_token_that_no_header_can_have_is_an_error_that_does_not_show_it() -> None:
    """It could end the header, and begin another one."""
    with pytest.raises(ValueError, match="no HTTP header can have") as caught:
        tokens_of(expires, "s3cret\r\nHost: x")
    assert "s3cret" not in repr(caught.value)


# --- frames that the server closes for -------------------------------------------------------------------------------


async def outcome(chat: Chat, text: str) -> str:
    try:
        return (await chat.ask(text)).text
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is the outcome
        return str(getattr(failure, "code", failure))


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1003, ["invalid_frame", "Yes.", "Yes."]), (1008, ["invalid_frame", "Yes.", "Yes."]),
     (1009, ["Yes.", "question_too_long", "Yes."])],
)  # fmt: skip
def test_one_request_fails_for_each_close_that_a_frame_was_the_reason_for(code: int, expected: list[str]) -> None:
    """After 1009 the longest, else the oldest; it is not sent again, the others are."""
    sent = list[list[str]]()

    async def main() -> list[str]:
        def accept(line: Line) -> None:
            line.send(ready())
            seq = 0
            if len(endpoint.attempts) == 1:
                asyncio.get_running_loop().call_later(1.0, line.end, code)
                return

            def reply(frame: Any) -> None:
                nonlocal seq
                events = answer(frame.id, "Yes.", at=seq)
                seq += 6
                line.send(*events)

            line.on_frame = reply

        endpoint = virtual_endpoint(accept, delay=lambda _: 0.5)
        async with chat_with(endpoint) as chat:
            found = await asyncio.gather(*(outcome(chat, text) for text in ("a", "b" * 100, "c")))
        for line in endpoint.lines:
            sent.append([frame.text[:1] for frame in line.received if isinstance(frame, Ask)])
        return found

    assert run(main()) == expected
    assert sent == [["a", "b", "c"], [name for name, end in zip("abc", expected, strict=True) if end == "Yes."]]


def test_a_frame_over_the_limit_is_never_sent() -> None:
    """At once, also at the `ready` that tells the limit; the bytes count, not the characters."""

    async def main() -> tuple[list[str], list[str]]:
        def accept(line: Line) -> None:
            number = len(endpoint.attempts)
            line.on_frame = lambda frame: line.send(*answer(frame.id, "Yes."))
            line.send(ready(frame_bytes=200 if number > 1 else 1_048_576))
            if number == 1:
                line.end()

        endpoint = virtual_endpoint(accept, delay=lambda _: 5.0)
        async with chat_with(endpoint) as chat:
            await asyncio.sleep(1)
            offline = asyncio.ensure_future(outcome(chat, "é" * 150))
            await asyncio.sleep(0.5)
            assert not offline.done()
            found = [await offline, await outcome(chat, "x" * 200), await outcome(chat, "Short?")]
        texts = [frame.text for line in endpoint.lines for frame in line.received if isinstance(frame, Ask)]
        return found, texts

    assert run(main()) == (["question_too_long", "question_too_long", "Yes."], ["Short?"])


def accept_anew(line: Line) -> None:
    """Go on where the client is."""
    line.on_frame = lambda frame: line.send(*answer(frame.id, "Yes.", at=line.point.after or 0))
    line.send(ready(seq=line.point.after or 0, from_=line.point.after or 0))


async def cancelled_by_itself() -> str:
    raise asyncio.CancelledError


@pytest.mark.parametrize("wrong", [lambda: b"bytes", lambda: 5, cancelled_by_itself])
def test_whatever_a_function_returns_for_a_token_ends_no_conversation(wrong: Callable[[], Any]) -> None:
    """It has failed to connect, and is asked again."""

    async def main() -> tuple[int, str]:
        tokens: Iterator[Callable[[], Any]] = iter([lambda: "good", wrong, lambda: "good"])

        def get_token() -> Any:
            return next(tokens)()

        endpoint = virtual_endpoint(accept_anew, delay=lambda _: 1.0, token=get_token)
        async with chat_with(endpoint) as chat:
            endpoint.lines[0].end()
            return len(endpoint.attempts), (await chat.ask("Why?")).text

    assert run(main())[1] == "Yes."


@pytest.mark.parametrize(("wrong", "error"), [(lambda: b"bytes", TypeError), (cancelled_by_itself, RuntimeError)])
def test_a_function_that_returns_no_token_is_told_so(wrong: Callable[[], Any], error: type[Exception]) -> None:
    """Where the first connection can't be made."""

    async def main() -> None:
        await chat_with(virtual_endpoint(accept_anew, token=wrong))

    with pytest.raises(error, match="token"):
        run(main())


def test_a_function_that_can_not_be_cancelled_keeps_no_conversation_open() -> None:
    """It returns a token where it is cancelled, as one with a bare `except` does."""

    async def main() -> tuple[int, float]:
        async def get_token() -> str:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(now() * MINUTE)
            return "good"

        endpoint = virtual_endpoint(accept_anew, delay=lambda _: 1.0, token=get_token)
        async with chat_with(endpoint):
            endpoint.lines[0].end()
            await asyncio.sleep(5)
        return len(endpoint.lines), now()

    assert run(main()) == (1, 5.0)


def test_a_close_that_nobody_asked_for_is_a_lost_connection() -> None:
    """1000 too, which a proxy may send."""

    async def main() -> tuple[int, str]:
        endpoint = virtual_endpoint(accept_anew, delay=lambda _: 1.0)
        async with chat_with(endpoint) as chat:
            endpoint.lines[0].end(1000)
            return len(endpoint.lines), (await chat.ask("Why?")).text

    assert run(main()) == (1, "Yes.")
