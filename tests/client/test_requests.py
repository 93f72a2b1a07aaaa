"""Each request ends once: by its answer, an error, the end of the session, or its time limit; in virtual time."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from askbot_ws.client import Chat, Closed, TimedOut
from askbot_ws.client.pending import REQUESTS, TIME_LIMIT_SECONDS
from askbot_ws.dialects.askbot.frames import (
    Ask,
    Attach,
    Cancel,
    ClientFrame,
    GoingAway,
    History,
    HistoryRequest,
    type_of,
)
from askbot_ws.errors import AskbotError, Forbidden, InvalidFrame, RateLimited, SessionNotFound
from askbot_ws.events import TurnRecord

from .virtual import (
    HOUR,
    Line,
    VirtualEndpoint,
    answer,
    chat_with,
    done,
    error,
    now,
    question,
    ready,
    run,
    token,
    virtual_endpoint,
)

Reply = Callable[[Line, Any], None]


@asynccontextmanager
async def conversation(
    on_frame: Reply = lambda _, __: None,
) -> AsyncGenerator[tuple[VirtualEndpoint, Chat]]:
    """A server that answers each frame so; it has the session, with its `ready` at the position of the client."""

    def accept(line: Line) -> None:
        line.on_frame = lambda frame: on_frame(line, frame)
        line.send(ready(seq=line.point.after or 0, from_=line.point.after or 0))

    endpoint = virtual_endpoint(accept, delay=lambda _: 1.0)
    async with chat_with(endpoint) as chat:
        yield endpoint, chat


def received(endpoint: VirtualEndpoint, kind: type[ClientFrame]) -> list[Any]:
    return [frame for line in endpoint.lines for frame in line.received if isinstance(frame, kind)]


async def code_of(call: Awaitable[Any]) -> str | None:
    """The code of the error that a call raises; None where it returns."""
    try:
        await call
    except AskbotError as failure:
        return failure.code
    return None


async def read(stream: Any) -> str:
    return "".join([text async for text in stream])


CALLS: dict[str, Callable[[Chat], Awaitable[Any]]] = {
    "ask": lambda chat: chat.ask("Why?"),
    "iterating": lambda chat: read(chat.ask("Why?")),
    "retry": lambda chat: chat.retry(),
    "edit": lambda chat: chat.edit("t1", "What?"),
    "cancel": lambda chat: chat.cancel("t1"),
    "stream.cancel": lambda chat: chat.ask("Why?").cancel(),
    "history": lambda chat: chat.history(),
    "fork": lambda chat: chat.fork("t1"),
    "forget": lambda chat: chat.forget(),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# --- the time limit --------------------------------------------------------------------------------------------------


@each_call
def test_a_request_that_nobody_answers_times_out(call: Callable[[Chat], Awaitable[Any]]) -> None:
    """After a minute, though the connection is alive; it is not sent again."""

    async def main() -> tuple[str | None, float]:
        async with conversation() as (endpoint, chat):
            code = await code_of(call(chat))
            ended = now()
            endpoint.lines[0].end()
            await asyncio.sleep(10)
            assert len(endpoint.lines) == 2
            assert endpoint.lines[1].received == []
            return code, ended

    code, ended = run(main())
    assert code in {"timeout", None if call is CALLS["stream.cancel"] else "timeout"}
    assert ended == TIME_LIMIT_SECONDS == 60.0


def test_time_without_a_connection_does_not_count() -> None:
    """Each connection on which it is sent has a minute; what waits after `going_away` waits for the next one."""

    async def main() -> tuple[str | None, float]:
        async with conversation() as (endpoint, chat):
            call = asyncio.ensure_future(code_of(chat.history()))
            await asyncio.sleep(59)
            endpoint.lines[0].send(GoingAway(reconnect_after=0.0))
            await asyncio.sleep(59)
            endpoint.lines[1].end()
            return await call, now()

    assert run(main()) == ("timeout", 59 + 59 + 1 + 60)


def test_an_acknowledged_question_may_take_any_time() -> None:
    """Models think for as long as they like."""

    async def main() -> str:
        async with conversation(lambda line, frame: line.send(question(frame.id))) as (endpoint, chat):
            asking = asyncio.ensure_future(chat.ask("Why?"))
            await asyncio.sleep(HOUR)
            endpoint.lines[0].send(*answer("", "Because.")[1:])
            return (await asking).text

    assert run(main()) == "Because."


def test_a_question_that_has_failed_here_is_cancelled_where_it_gets_into_the_log_after_all() -> None:
    """Nobody pays for what nobody waits for; one that is only late is not asked twice either."""

    async def main() -> list[Any]:
        async with conversation() as (endpoint, chat):
            stream = chat.ask("Why?")
            with pytest.raises(TimedOut):
                await stream
            with pytest.raises(TimedOut):
                await read(stream)
            endpoint.lines[0].send(question(stream.id))
            await asyncio.sleep(1)
            return received(endpoint, Cancel)

    (cancel,) = run(main())
    assert cancel.turn == "t1"


def test_a_session_that_the_server_never_attaches_is_not_waited_for() -> None:
    """Entering raises; and what is asked where it was read before ends too."""

    async def main() -> list[str | None]:
        def accept(line: Line) -> None:
            line.send(ready(session="s" if len(endpoint.lines) == 1 else "other"))

        endpoint = virtual_endpoint(accept, delay=lambda _: 1.0)
        async with chat_with(endpoint) as chat:
            codes = [await code_of(chat.session("never"))]
            assert len(endpoint.lines) == 1
            endpoint.lines[0].end()
            await asyncio.sleep(2)
            codes += [await code_of(chat.ask("Why?")), await code_of(chat.history())]
            assert len(endpoint.lines) <= 4
            return codes

    assert run(main()) == ["timeout"] * 3


def test_a_session_whose_log_never_comes_is_not_entered_for_ever() -> None:
    """But one that only takes long is."""

    async def main(*, slowly: bool) -> str | None:
        async def replay(line: Line) -> None:
            for event in answer("q", *"slow"):
                await asyncio.sleep(50)
                line.send(event)

        def accept(line: Line) -> None:
            line.send(ready(seq=6))
            if slowly:
                tasks.append(asyncio.ensure_future(replay(line)))

        tasks = list[asyncio.Future[None]]()
        chat = chat_with(virtual_endpoint(accept), session="s")
        code = await code_of(chat)
        await chat.close()
        return code

    assert run(main(slowly=False)) == "timeout"
    assert run(main(slowly=True)) is None


# --- other ends ------------------------------------------------------------------------------------------------------


@each_call
def test_a_request_ends_where_the_conversation_is_closed(call: Callable[[Chat], Awaitable[Any]]) -> None:
    """Also where it is made once that has happened."""

    async def main() -> tuple[str | None, str | None]:
        async def later() -> Any:
            return await call(chat)

        async with conversation() as (_, chat):
            waiting = asyncio.ensure_future(code_of(call(chat)))
            await asyncio.sleep(1)
        return await waiting, await code_of(later())

    waiting, later = run(main())
    assert waiting == (None if call is CALLS["stream.cancel"] else "closed")
    assert later == "closed"


@each_call
@pytest.mark.parametrize(("close", "code"), [(4401, "unauthorized"), (4403, "forbidden")])
def test_a_request_ends_with_the_code_of_a_final_close(
    call: Callable[[Chat], Awaitable[Any]], close: int, code: str
) -> None:
    """And so does each later one."""

    async def main() -> tuple[str | None, str | None]:
        async def later() -> Any:
            return await call(chat)

        async with conversation(lambda line, _: line.end(close)) as (_, chat):
            return await code_of(call(chat)), await code_of(later())

    waiting, later = run(main())
    assert waiting == (None if call is CALLS["stream.cancel"] else code)
    assert later == code


@each_call
@pytest.mark.parametrize("code", ["forbidden", "internal", "rate_limited", "brand_new"])
def test_a_request_that_is_refused_raises(call: Callable[[Chat], Awaitable[Any]], code: str) -> None:
    """A cancel and a forget too: it has not happened. A code of a later version is told as it is."""

    async def main() -> tuple[str | None, str | None]:
        async with conversation(lambda line, frame: line.send(error(code, id=frame.id))) as (_, chat):
            return await code_of(call(chat)), chat.view.session

    found, session = run(main())
    assert found == (None if call is CALLS["stream.cancel"] else code)
    assert session == "s"


def test_an_answer_whose_cancel_is_refused_goes_on_and_can_be_cancelled_again() -> None:
    """Whoever cancels it is told."""

    def reply(line: Line, frame: ClientFrame) -> None:
        if isinstance(frame, Ask):
            line.send(question(frame.id))
        elif isinstance(frame, Cancel):
            refused = len([each for each in line.received if isinstance(each, Cancel)]) == 1
            line.send(error("rate_limited", id=frame.id) if refused else done(at=1))

    async def main() -> str:
        async with conversation(reply) as (endpoint, chat):
            stream = chat.ask("Why?")
            await asyncio.sleep(1)
            with pytest.raises(RateLimited):
                await stream.cancel()
            await stream.cancel()
            assert len(received(endpoint, Cancel)) == 2
            return (await stream).text

    assert run(main()) == ""


def test_a_cancel_that_the_server_ignores_times_out() -> None:
    """By the stream, and by the turn's id."""

    def reply(line: Line, frame: ClientFrame) -> None:
        if isinstance(frame, Ask):
            line.send(question(frame.id))

    async def main() -> list[str | None]:
        async with conversation(reply) as (_, chat):
            stream = chat.ask("Why?")
            await asyncio.sleep(1)
            return [*await asyncio.gather(code_of(stream.cancel()), code_of(chat.cancel()), code_of(chat.cancel("t1")))]

    assert run(main()) == ["timeout"] * 3


def test_a_cancel_of_nothing_ends_at_once() -> None:
    """And sends nothing."""

    async def main() -> list[Any]:
        async with conversation() as (endpoint, chat):
            await chat.cancel()
            return received(endpoint, Cancel)

    assert run(main()) == []


def test_forgetting_is_done_where_the_session_is_gone() -> None:
    """By an error with the id or without, and by a close."""

    async def main(reply: Reply) -> str | None:
        async with conversation(reply) as (endpoint, chat):
            endpoint.lines[0].send(*answer("q"))
            await asyncio.sleep(1)
            code = await code_of(chat.forget())
            with pytest.raises(SessionNotFound):
                await chat.history()
            return code

    def closing(line: Line, _: Any) -> None:
        line.send(error("session_not_found"))
        line.end(4404)

    assert run(main(lambda line, frame: line.send(error("session_not_found", id=frame.id)))) is None
    assert run(main(lambda line, _: line.send(error("session_not_found")))) is None
    assert run(main(closing)) is None


def test_an_error_about_a_question_that_is_in_the_log_is_not_its_end() -> None:
    """It was sent again, and that was refused; the turn's end is its end."""

    def reply(line: Line, frame: ClientFrame) -> None:
        if isinstance(frame, Ask):
            line.send(question(frame.id), error("rate_limited", id=frame.id))
            line.send(*answer("", "Because.")[1:])

    async def main() -> str:
        async with conversation(reply) as (_, chat):
            return (await chat.ask("Why?")).text

    assert run(main()) == "Because."


@each_call
def test_another_answer_with_the_id_of_a_request_is_not_its_end(call: Callable[[Chat], Awaitable[Any]]) -> None:
    """A history page ends only who asked for one."""

    def reply(line: Line, frame: Any) -> None:
        if frame.type == "history":
            line.send(ready(id=frame.id), replace(question(frame.id), seq=1))
        else:
            line.send(History(session="s", id=frame.id, turns=[], more=False))

    async def main() -> str | None:
        async with conversation(reply) as (_, chat):
            return await code_of(call(chat))

    assert run(main()) == (None if call is CALLS["stream.cancel"] else "timeout")


# --- what can't be sent ----------------------------------------------------------------------------------------------


HALVES: list[Callable[[Chat], Awaitable[Any]]] = [
    lambda chat: chat.ask("half \ud83d an emoji"),
    lambda chat: read(chat.ask("half \ud83d an emoji")),
    lambda chat: chat.ask("Why?", model="\ud83d"),
    lambda chat: chat.edit("t1", "\ude00"),
    lambda chat: chat.retry("\ude00"),
    lambda chat: chat.cancel("\ude00"),
    lambda chat: chat.session("\ude00"),
]


@pytest.mark.parametrize("call", HALVES)
def test_half_a_character_is_an_error_at_once(call: Callable[[Chat], Awaitable[Any]]) -> None:
    """It says so, and nothing is sent, also without a connection."""

    async def main() -> tuple[str, float, list[ClientFrame]]:
        async with conversation() as (endpoint, chat):
            with pytest.raises(InvalidFrame) as caught:
                await call(chat)
            return str(caught.value), now(), endpoint.lines[0].received

    message, moment, sent = run(main())
    assert "lone surrogate" in message
    assert (moment, sent) == (0.0, [])


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", ["wrong", "refused", "nothing", "another turn"])
def test_a_wrong_answer_that_history_does_not_repair_is_damaged(reply: str) -> None:
    """Or that can't be had; however it is read, and as often."""

    def on_frame(line: Line, frame: Any) -> None:
        events = [question("q"), token("wrong", at=1), done("right", at=6)]
        match frame.type, reply:
            case "ask", _:
                line.send(question(frame.id), *events[1:])
            case "attach", _:
                line.send(ready(seq=7, id=frame.id), *events)
            case _, "refused":
                line.send(error("internal", id=frame.id))
            case _, "wrong":
                turn = TurnRecord(turn="t1", text="Why?", created=0.0, answer="wrong", from_=0, seq=7)
                line.send(History(session="s", id=frame.id, turns=[turn], more=False))
            case _, "another turn":
                line.send(History(session="s", id=frame.id, turns=[], more=False))
            case _:
                pass

    async def main() -> list[str | None]:
        async with conversation(on_frame) as (endpoint, chat):
            stream = chat.ask("Why?")
            codes = [await code_of(read(stream)), await code_of(stream), await code_of(read(stream))]
            assert len(endpoint.lines) == 1
            assert len(received(endpoint, HistoryRequest)) == 1
            return codes

    assert run(main()) == ["damaged"] * 3


def test_an_answer_that_the_server_no_longer_has_is_damaged_where_it_is_read_again() -> None:
    """The log was read up to its end, and it was not there."""

    def on_frame(line: Line, frame: Any) -> None:
        line.send(ready(seq=0, id=frame.id)) if frame.type == "attach" else line.send(*answer(frame.id, "Yes."))

    async def main() -> list[Any]:
        async with conversation(on_frame) as (_, chat):
            stream = chat.ask("Why?")
            return [await read(stream), await code_of(read(stream)), (await stream).text]

    assert run(main()) == ["Yes.", "damaged", "Yes."]


# --- errors that are raised more than once ---------------------------------------------------------------------------


def test_an_error_that_is_raised_again_has_no_longer_traceback() -> None:
    """Each time it is a fresh instance: a refused question, and a conversation that is closed."""

    async def main() -> list[int]:
        async with conversation(lambda line, frame: line.send(error("forbidden", id=frame.id))) as (_, chat):
            refused = chat.ask("Why?")
            await code_of(refused)
        seen = list[AskbotError]()
        for _ in range(3):
            for call in (lambda: refused, lambda: read(refused), chat.history):
                with pytest.raises(AskbotError) as caught:
                    await call()
                assert all(caught.value is not other for other in seen)
                seen.append(caught.value)
        assert isinstance(seen[0], Forbidden)
        assert isinstance(seen[2], Closed)
        return [len(traceback.extract_tb(each.__traceback__)) for each in seen]

    lengths = run(main())
    assert lengths[:3] == lengths[3:6] == lengths[6:]


# --- two readers -----------------------------------------------------------------------------------------------------


def test_a_second_task_on_one_iterator_is_told_and_the_first_is_unharmed() -> None:
    """Over the text, and over the thinking."""

    def reply(line: Line, frame: ClientFrame) -> None:
        if isinstance(frame, Ask):
            line.send(question(frame.id))

    async def main() -> list[str]:
        async with conversation(reply) as (endpoint, chat):
            stream = chat.ask("Why?")
            pieces, thinking = aiter(stream), stream.thinking()
            first = asyncio.ensure_future(anext(pieces))
            thought = asyncio.ensure_future(anext(thinking, "none"))
            await asyncio.sleep(1)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(pieces)
            with pytest.raises(RuntimeError, match="already running"):
                await anext(thinking)
            endpoint.lines[0].send(*answer("", "Because.")[1:])
            return [await first, await thought, *[text async for text in pieces]]

    assert run(main()) == ["Because.", "none"]


def test_an_iterator_that_is_closed_while_a_task_waits_ends() -> None:
    """Nobody waits for ever."""

    async def main() -> list[str]:
        async with conversation() as (_, chat):
            pieces = aiter(chat.ask("Why?"))
            waiting = asyncio.ensure_future(collect(pieces))
            await asyncio.sleep(1)
            await pieces.aclose()
            return await waiting

    async def collect(pieces: Any) -> list[str]:
        return [text async for text in pieces]

    assert run(main()) == []


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_every_request_that_the_client_sends() -> None:
    """All frames but those that begin and end the reading of a session, `auth` and `ping`."""
    others = {"attach", "auth", "detach", "fork", "ping"}
    assert set(REQUESTS) == {type_of(kind) for kind in ClientFrame.__args__} - others


def test_a_question_is_sent_though_another_answer_has_no_room() -> None:
    """What is unread holds up the reading of answers, and no question."""

    def reply(line: Line, frame: Any) -> None:
        if isinstance(frame, Ask):
            events = answer(frame.id, "x" * 70_000) if frame.text == "Long?" else [question(frame.id, at=70_001)]
            line.send(*events[:2])
        elif isinstance(frame, Attach):
            line.send(ready(seq=70_001, from_=frame.after or 0, id=frame.id))

    async def main() -> list[str]:
        async with conversation(reply) as (endpoint, chat):
            pieces = aiter(chat.ask("Long?"))
            assert len(await anext(pieces)) == 70_000
            unread = aiter(chat.ask("Long?"))
            del unread
            chat.ask("Short?")
            await asyncio.sleep(30)
            return [frame.text for frame in received(endpoint, Ask)]

    assert run(main())[-1] == "Short?"
