"""Credentials that expire: a conversation goes on with fresh ones, whatever the clock of this machine says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from askbot_ws.client import Chat, State, credentials
from askbot_ws.client.endpoint import Endpoint, ResumePoint
from askbot_ws.client.renewal import renewal_pause
from askbot_ws.dialects.askbot.frames import Ask, Attach, Auth, Authorized, ClientFrame, Error
from askbot_ws.errors import Unauthorized
from askbot_ws.events import Question, Record, Token

from .virtual import (
    CLOCK_OFFSET,
    DAY,
    HOUR,
    MINUTE,
    Line,
    VirtualEndpoint,
    chat_with,
    done,
    now,
    ready,
    run,
    virtual_endpoint,
)
from .virtual import question as question_event
from .virtual import token as token_event

LIFETIME = 5 * MINUTE
PIECES = int(2 * DAY / MINUTE)


def server_time() -> float:
    """The server's clock, which is decades ahead of this machine's."""
    return CLOCK_OFFSET + now()


def issue(user: str = "alice", *, lifetime: float = LIFETIME) -> str:
    """A credential, as an identity provider makes it, whose clock is the server's."""
    return f"{user} {server_time() + lifetime}"


class Server:
    """Closes a connection once its credential has expired, and takes a fresh one by `auth`. It has one session."""

    def __init__(self) -> None:
        self.events: list[Record] = []
        self.head = 0
        self.lines: list[Line] = []
        self.auths: list[tuple[float, str]] = []
        self.asked = asyncio.Event()
        self.refusal: str | None = None  # of each `auth`: the code
        self._expiries: dict[Line, asyncio.TimerHandle] = {}

    def accept(self, line: Line, credential: str) -> None:
        user, expires = credential.split()
        if float(expires) <= server_time():
            line.end(4401)
            return
        after = line.point.after or 0
        self.lines.append(line)
        line.on_frame = lambda frame: self._receive(line, frame, user)
        line.send(ready(seq=self.head, from_=after, user=user, expires=float(expires)))
        line.send(*(event for event in self.events if getattr(event, "seq", 0) > after))
        self._set_expiry(line, float(expires))

    def _set_expiry(self, line: Line, expires: float) -> None:
        if timer := self._expiries.get(line):
            timer.cancel()
        self._expiries[line] = asyncio.get_running_loop().call_at(expires - CLOCK_OFFSET, line.end, 4401)

    def _receive(self, line: Line, frame: ClientFrame, user: str) -> None:
        match frame:
            case Ask() if not self.asked.is_set():
                self.asked.set()
                self.log(question_event(frame.id))
            case Auth():
                self.auths.append((now(), frame.token))
                owner, expires = frame.token.split()
                code = self.refusal or ("forbidden" if owner != user else None)
                if code or float(expires) <= server_time():
                    line.send(Error(code=code or "unauthorized", message="No.", retryable=False, id=frame.id))
                    return
                self._set_expiry(line, float(expires))
                line.send(Authorized(id=frame.id, user=user, expires=float(expires)))
            case Attach():
                line.send(ready(session=str(frame.session), id=frame.id, user=user))
            case _:
                pass

    def log(self, event: Question | Token | Any) -> None:
        self.events.append(event)
        self.head = event.seq
        if self.lines:
            self.lines[-1].send(event)

    async def answer(self, pieces: int, pause: float = MINUTE) -> str:
        """Answer the question, a piece at a time; returns the whole."""
        await self.asked.wait()
        text = ""
        for number in range(pieces):
            await asyncio.sleep(pause)
            piece = f"{number} "
            self.log(token_event(piece, at=self.head))
            text += piece
        self.log(done(text, at=self.head))
        return text


def one_second(attempt: int) -> float:
    """The pause before each attempt to reconnect."""
    del attempt
    return 1.0


def endpoint_of(server: Server, **options: Any) -> VirtualEndpoint:
    """What connects to it; only the newest line gets what is logged."""

    def accept(line: Line) -> None:
        credential = endpoint.tokens[-1] or endpoint.tickets[-1]
        assert credential
        server.accept(line, credential)

    endpoint = virtual_endpoint(accept, delay=one_second, **options)
    return endpoint


async def answered(chat: Chat, server: Server, pieces: int) -> tuple[str, str]:
    """What was read of an answer, and what it is."""
    whole = asyncio.create_task(server.answer(pieces))
    read = [text async for text in chat.ask("Why?")]
    return "".join(read), await whole


def test_two_days_over_a_token_of_five_minutes_are_one_connection() -> None:
    """A fresh one is sent a minute before each expiry, though this machine's clock is decades behind."""

    async def main() -> None:
        server, asked = Server(), list[float]()

        async def fetch() -> str:
            asked.append(now())
            await asyncio.sleep(0.2)
            return issue()

        endpoint = endpoint_of(server, token=fetch)
        async with chat_with(endpoint) as chat:
            read, whole = await answered(chat, server, PIECES)
        assert read == whole
        assert len(endpoint.lines) == 1
        assert len(asked) == pytest.approx(2 * DAY / (LIFETIME - MINUTE), rel=0.01)
        assert [when for when, _ in server.auths[:2]] == pytest.approx([240.4, 480.6], abs=0.3)

    run(main())


def test_two_days_over_a_ticket_of_five_minutes_miss_nothing() -> None:
    """Each connection is followed by another one before its ticket expires, without a pause, from where it was."""

    async def main() -> None:
        server, states = Server(), list[State]()
        endpoint = endpoint_of(server, ticket=issue)
        async with chat_with(endpoint, on_state=states.append) as chat:
            read, whole = await answered(chat, server, PIECES)
        assert read == whole
        assert not server.auths
        assert len(endpoint.lines) == pytest.approx(2 * DAY / (LIFETIME - MINUTE), rel=0.01)
        assert endpoint.attempts[:3] == pytest.approx([0, 240, 480], abs=1)
        assert len(set(endpoint.tickets)) == len(endpoint.tickets)  # each is good for one connection
        assert "waiting" not in states

    run(main())


def test_several_sessions_on_one_connection_have_one_renewal() -> None:
    """However many there are."""

    async def main() -> None:
        server = Server()
        endpoint = endpoint_of(server, token=issue)
        async with chat_with(endpoint) as chat, chat.session("two"), chat.session("three"):
            await asyncio.sleep(HOUR + MINUTE)
        assert len(endpoint.lines) == 1
        assert len(server.auths) == HOUR / (LIFETIME - MINUTE)

    run(main())


def test_a_credential_that_does_not_expire_is_not_renewed() -> None:
    """And one that is a string can't be."""

    async def main(token: Any, expires: float | None) -> int:
        endpoint = virtual_endpoint(lambda line: line.send(ready(expires=expires)), token=token)
        async with chat_with(endpoint):
            await asyncio.sleep(DAY)
        return len(endpoint.lines[0].received)

    assert run(main(lambda: "key", None)) == 0
    assert run(main("key", CLOCK_OFFSET + HOUR)) == 0


@pytest.mark.parametrize(
    ("left", "pause"),
    [(DAY, DAY - 60), (300, 240), (120, 60), (119, 59.5), (60, 30), (2, 1), (1, 0.5), (0.9, None), (0, None),
     (-HOUR, None), (float("inf"), None)],
)  # fmt: skip
def test_a_credential_is_renewed_a_minute_before_it_expires(left: float, pause: float | None) -> None:
    """Or after half of what is left; in the last second, and after, it is left to expire."""
    assert renewal_pause(left) == pause


# --- functions that fail ---------------------------------------------------------------------------------------------


async def hang() -> str:
    await asyncio.Event().wait()
    return ""


def fail() -> str:
    raise LookupError("the identity provider is away")


@pytest.mark.parametrize("carrier", ["token", "ticket"])
@pytest.mark.parametrize("wrong", [hang, fail, lambda: 5, lambda: None, lambda: "", "the old one"])
def test_a_function_that_fails_is_asked_again_a_few_times(wrong: Any, carrier: str) -> None:
    """At half of what is left, each time; the connection goes on until the credential has expired."""

    async def main() -> None:
        server, asked, first = Server(), list[float](), issue()

        def get() -> str | Awaitable[str]:
            asked.append(now())
            if now() > LIFETIME or len(asked) == 1:
                return issue() if len(asked) > 1 else first
            given: str | Awaitable[str] = first if wrong == "the old one" else wrong()
            return given

        endpoint = endpoint_of(server, **{carrier: get})
        async with chat_with(endpoint) as chat:
            read, whole = await answered(chat, server, 8)
        assert read == whole
        assert 2 <= len([when for when in asked if 0 < when < LIFETIME]) <= 8
        if wrong != "the old one" or carrier == "token":  # an old ticket opens another connection, too
            assert endpoint.attempts == pytest.approx([0, LIFETIME + 1], abs=1)

    run(main())


def test_a_function_that_fails_for_a_while_loses_no_connection() -> None:
    """It is asked again before the token expires."""

    async def main() -> None:
        server, results = Server(), iter([issue, fail, fail, *([issue] * 100)])

        def get() -> str:
            return next(results)()

        endpoint = endpoint_of(server, token=get)
        async with chat_with(endpoint):
            await asyncio.sleep(HOUR)
        assert len(endpoint.lines) == 1

    run(main())


def test_a_token_that_stays_old_is_final_once_it_has_expired() -> None:
    """The function is asked once more, and then no more."""

    async def main() -> None:
        server, asked, old = Server(), list[float](), issue()

        def get() -> str:
            asked.append(now())
            return old

        endpoint = endpoint_of(server, token=get)
        with pytest.raises(Unauthorized):
            async with chat_with(endpoint) as chat:
                await chat.ask("Why?")
        assert len(endpoint.lines) == 2
        assert len(asked) < 12
        calls = len(asked)
        await asyncio.sleep(DAY)
        assert len(asked) == calls

    run(main())


def test_a_token_that_the_server_refuses_leaves_the_connection_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in a warning, without the token; the next one is tried before the old one has expired."""

    async def main() -> None:
        server = Server()
        server.refusal = "unauthorized"
        endpoint = endpoint_of(server, token=issue)
        async with chat_with(endpoint):
            await asyncio.sleep(250)
            server.refusal = None
            await asyncio.sleep(HOUR)
        assert len(endpoint.lines) == 1
        assert [when for when, _ in server.auths[:2]] == [240, 270]

    with caplog.at_level(logging.WARNING, "askbot_ws.client"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "the server has not taken the renewed token: unauthorized"
    ]


def test_what_one_user_has_asked_is_not_asked_as_another() -> None:
    """A function may return somebody else's token, after signing in anew."""

    async def main() -> None:
        server, users = Server(), iter(["alice", "bob"])
        server.asked.set()  # it takes no question
        endpoint = endpoint_of(server, token=lambda: issue(next(users), lifetime=DAY))
        async with chat_with(endpoint) as chat:
            stream = chat.ask("What is Alice's secret?")
            endpoint.lines[0].end()
            with pytest.raises(Unauthorized, match="another user"):
                await stream
        assert not [frame for frame in endpoint.lines[1].received if isinstance(frame, Ask)]

    run(main())


@pytest.mark.parametrize("carrier", ["token", "ticket"])
def test_a_function_that_hangs_at_first_is_told_after_half_a_minute(carrier: str) -> None:
    """Nobody waits for ever."""

    async def main() -> float:
        with pytest.raises(TimeoutError, match=f"has not returned the {carrier} for 30 seconds"):
            await chat_with(endpoint_of(Server(), **{carrier: hang}))
        return now()

    assert run(main()) == credentials.MAX_ASKING_SECONDS


def test_a_renewal_ends_with_the_conversation() -> None:
    """No task is left, though the function hangs."""

    async def main() -> None:
        given: list[Callable[[], Any]] = [issue]

        def get() -> Any:
            return (given.pop() if given else hang)()

        endpoint = endpoint_of(Server(), token=get)
        async with chat_with(endpoint):
            await asyncio.sleep(250)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


# --- the server's clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        (lambda: format_datetime(datetime.now(UTC) + timedelta(hours=5), usegmt=True), 5 * HOUR),
        (lambda: "yesterday", 0.0),
        (lambda: None, 0.0),
    ],
)
async def test_the_servers_time_is_that_of_the_handshake(date: Callable[[], str | None], ahead: float) -> None:
    """As its `Date` says; this machine's where there is none."""

    def set_date(connection: ServerConnection, request: Request, response: Response) -> Response:
        del connection, request, response.headers["Date"]
        if (written := date()) is not None:
            response.headers["Date"] = written
        return response

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, process_response=set_date) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await Endpoint(f"ws://127.0.0.1:{port}").open(ResumePoint())
        found = socket.clock_offset + asyncio.get_running_loop().time()
        await socket.close()
    assert found == pytest.approx((datetime.now(UTC) + timedelta(seconds=ahead)).timestamp(), abs=3)
