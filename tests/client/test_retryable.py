"""`retryable` and `retry_after`: what a program can decide by, for each error of the client in each situation."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trustme

from askbot_ws import connect, connect_sync
from askbot_ws.client import Closed, Damaged, TimedOut
from askbot_ws.client.errors import exception_for
from askbot_ws.dialects.askbot.frames import Error
from askbot_ws.errors import AskbotError, Forbidden, Internal, Unauthorized
from askbot_ws.events import Failure
from askbot_ws.testing import Close, Cut, Receive, Refuse, Script, ScriptedLog, ScriptedServer

from .test_endpoint import authority, certified, environ, tunnels

__all__ = ["authority", "environ"]  # fixtures

READY = ScriptedLog().ready()


@asynccontextmanager
async def answering(text: bytes, *, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server that says this to each handshake, and closes; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(text)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def refused(url: str, *, silence: float = 45, proxy: str | None = None) -> AskbotError:
    """What entering raises."""
    with pytest.raises(AskbotError) as caught:
        await connect(url, silence=silence, proxy=proxy)
    return caught.value


@pytest.mark.parametrize(
    ("url", "retryable"),
    [
        ("ws://127.0.0.1:1", True),  # nothing listens
        ("ws://nowhere.invalid", True),  # no such host now
        ("ws://", False),
        ("nonsense", False),
        ("ftp://127.0.0.1/", False),
        ("ws://127.0.0.1:99999", False),
        ("ws://[::1", False),
    ],
)
async def test_a_server_that_is_not_there_may_be_later_but_a_wrong_url_stays_so(url: str, *, retryable: bool) -> None:
    """Whatever the system says of it."""
    error = await refused(url)

    assert isinstance(error, Closed)
    assert (error.retryable, error.retry_after) == (retryable, None)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504, 521)),
        *((status, False) for status in (200, 302, 400, 404, 410, 426, 501)),
    ],
)
async def test_a_refused_handshake_is_told_by_its_status(status: int, *, retryable: bool) -> None:
    """Faults of the server pass; ours stay."""
    async with ScriptedServer([Refuse(status)]) as server:
        error = await refused(server.url)

    assert isinstance(error, Closed)
    assert error.retryable is retryable


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
async def test_a_caller_that_is_not_served_is_not_served_later(status: int, kind: type[AskbotError]) -> None:
    """Without another token."""
    async with ScriptedServer([Refuse(status)]) as server:
        error = await refused(server.url)

    assert type(error) is kind
    assert not error.retryable


async def test_what_a_refusal_says_of_the_time_is_told() -> None:
    """Its `Retry-After`, as seconds."""
    async with ScriptedServer([Refuse(503, headers={"Retry-After": "7"})]) as server:
        error = await refused(server.url)

    assert error.retryable
    assert error.retry_after == pytest.approx(7, abs=1)


@pytest.mark.parametrize(
    ("script", "retryable"),
    [
        ([Close(1000)], True),  # a proxy may send it
        ([Close(1001)], True),
        ([Close(1011)], True),
        ([Close(1012)], True),
        ([Close(1013)], True),
        ([Close(4408)], True),
        ([Close(4429)], True),
        ([Cut()], True),
        ([], True),  # no `ready` in time
        ([Close(1002)], False),
        ([Close(1003)], False),
        ([Close(1008)], False),
        ([Close(4400)], False),
        (["no JSON"], False),  # another protocol
    ],
)
async def test_a_connection_that_ends_before_ready_is_told_by_its_end(script: Script, *, retryable: bool) -> None:
    """A restart passes; a server of another kind stays one."""
    async with ScriptedServer(script) as server:
        error = await refused(server.url, silence=0.3)

    assert isinstance(error, Closed)
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [(b"", True), (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", False), (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", False)],
)
async def test_a_handshake_that_breaks_off_may_succeed_later_but_not_with_another_service(
    answer: bytes, *, retryable: bool
) -> None:
    """Nothing at all is a server that has just stopped."""
    async with answering(answer) as port:
        assert (await refused(f"ws://127.0.0.1:{port}")).retryable is retryable


async def test_a_certificate_that_is_not_trusted_stays_so(authority: trustme.CA) -> None:
    """And so does a server without TLS."""
    async with answering(b"", context=certified(authority, "localhost")) as port:
        assert not (await refused(f"wss://localhost:{port}")).retryable
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert not (await refused(f"wss://localhost:{port}")).retryable


async def test_a_proxy_is_a_server_on_the_way(environ: pytest.MonkeyPatch) -> None:
    """One that is not there, or is busy, may be later; one that is named wrongly not."""
    async with tunnels(1) as proxy:
        proxy.refuses = 1
        busy = await refused("ws://chat.example", proxy=f"http://127.0.0.1:{proxy.port}")
    away = await refused("ws://chat.example", proxy="http://127.0.0.1:1")
    wrong = await refused("ws://chat.example", proxy="nonsense")

    assert [busy.retryable, away.retryable, wrong.retryable] == [True, True, False]


def test_it_is_the_same_without_asyncio() -> None:
    """The server that is not there, and the URL that is none."""
    found: list[bool] = []
    for url in ("ws://127.0.0.1:1", "nonsense"):
        with pytest.raises(Closed) as caught:
            connect_sync(url)
        found.append(caught.value.retryable)
    assert found == [True, False]


async def test_a_conversation_that_was_closed_here_stays_closed() -> None:
    """So does one that was not entered."""
    async with ScriptedServer([READY]) as server:
        chat = connect(server.url)
        with pytest.raises(Closed) as early:
            chat.ask("Why?")
        async with chat:
            running = chat.ask("Why?")
        with pytest.raises(Closed) as late:
            chat.ask("Why?")
        with pytest.raises(Closed) as left:
            await running
    assert [early.value.retryable, late.value.retryable, left.value.retryable] == [False, False, False]


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("code", ["busy", "upstream_rejected", "overheated"])
def test_what_the_server_says_of_an_error_counts(code: str, *, retryable: bool) -> None:
    """Its `code` too, where a later version has others; an error frame's as that of an answer that failed."""
    for kind in (Error, Failure):
        error = exception_for(kind(code=code, message="No.", retryable=retryable, retry_after=2.5))
        assert (error.code, error.retryable, error.retry_after) == (code, retryable, 2.5)
    assert (AskbotError.code, AskbotError.retryable, Internal.retryable) == ("internal", False, True)


async def test_an_answer_whose_history_can_not_be_had_may_be_had_later() -> None:
    """It fails its proof here; the server says for how long it has no history."""
    log = ScriptedLog()
    asked: Script = [log.ready(), Receive("ask"), log.question(), log.token("No")]
    wrong = log.done() | {"check": {"chars": 2, "sha256": "0" * 64}}
    busy = {"type": "error", "code": "overloaded", "message": "Later.", "retryable": True, "retry_after": 3000}
    script: Script = [*asked, wrong, Receive("history"), busy | {"id": "$history.id"}]
    async with ScriptedServer(script) as server, connect(server.url) as chat:
        with pytest.raises(Damaged) as caught:
            await chat.ask("Why?")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 3.0)


def test_each_class_has_what_it_is_mostly() -> None:
    """Of the client's own; those of the server are in docs/errors.md."""
    assert [kind.retryable for kind in (Closed, Damaged, TimedOut)] == [False, False, True]
