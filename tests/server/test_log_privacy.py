"""What was asked and answered is in no log line, whatever providers repeat of it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from askbot_ws.logs import hash_session

from ..http.raw_requests import request
from ..process import KEY, Askbot, ProviderProcess, Reader, Story, askbot, reading, spellings
from ..upstream.byte_server import DONE, TRANSPORTS, ByteServer, Request, delta, event, response, stream

QUESTIONS = ['Is "Zanzibar" my password?\n\\o/', "비밀번호가 무엇인가요? 🙂", "<b>Größenwahn & Übermut</b>"]
ANSWER = "Your secret is Tutankhamun, ägyptisch."
WORDS = ("Zanzibar", "password", "비밀번호가", "Größenwahn", "Tutankhamun", "ägyptisch")


def bodies(request: Request) -> Iterator[object]:
    """Errors that repeat the messages, in the ways of many servers."""
    messages = request.body["messages"]
    text = "\n".join(message["content"] for message in messages)
    yield {"detail": [{"type": "value_error", "loc": ["body"], "msg": f"Not this: {text}", "input": messages}]}
    yield {"error": {"message": repr(messages), "type": text, "code": text, "param": text}}
    yield {"error": {"message": json.dumps(messages), "type": messages[-1]["content"].split()[0], "code": 400}}
    yield {"error": text}
    yield [{"error": {"message": ascii(text), "status": text, "details": messages}}]
    yield {"errors": [{"code": text, "message": text}]}
    yield messages
    yield text


def scripts(request: Request) -> Iterator[Sequence[bytes | float]]:
    """Everything in which a request can end."""
    for said in bodies(request):
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        plain = said.encode() if isinstance(said, str) else json.dumps(said, ensure_ascii=False).encode()
        for status in (400, 401, 403, 404, 422, 429, 500):
            yield response(status, data if status % 2 else plain)
        yield response(307, location="/" + "".join(character for character in data.decode() if character.isalnum()))
        yield response(200, data)
        yield stream(event(said), DONE)
        yield stream(delta(content=ANSWER), event(said), DONE)
        yield stream(delta(content=ANSWER), b"data: " + data[:-1] + b"\n\n")
    yield stream(delta(finish=QUESTIONS[0], content=ANSWER), DONE)
    yield (b"HTTP/1.1 " + json.dumps(QUESTIONS).encode() + b"\r\n\r\n",)
    yield [*response(200, kind="text/event-stream", x_said="Zanzibar"), delta(content=ANSWER)]


class Repeating(ByteServer):
    """Answers each question once, with one error after the other, and then well."""

    def __init__(self) -> None:
        super().__init__()
        self.number = -1  # of the error; below 0: none

    def _script_for(self, request: Request) -> Sequence[bytes | float]:
        every = [*scripts(request)] if request.body else []
        if request.body and 0 <= self.number < len(every):
            return every[self.number]
        return stream(delta(content=ANSWER), delta("stop"), DONE) if request.body else response(404, b"{}")


async def log_of(folder: Path, *flags: str) -> tuple[str, int]:
    """The log of a server that was asked each question, with each error; and how often it failed."""
    example: Any = Request("POST", "/", {}, {"messages": [{"role": "user", "content": QUESTIONS[0]}]})
    count = len([*scripts(example)])
    failed = 0
    async with Repeating() as provider:
        with askbot(folder, "--retries", "0", *flags, upstream=provider.url) as server:
            async with reading(server.url) as reader:
                await reader.answer("Tutankhamun?")
                for number in range(count):
                    provider.number = number
                    turn = await reader.answer(QUESTIONS[number % len(QUESTIONS)])
                    failed += turn.reason == "error"
            return server.log.read_text(), failed


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_no_question_and_no_answer_is_in_the_log(tmp_path: Path, transport: str) -> None:
    """In no spelling: as it is, escaped for JSON, Python, HTML or a URL."""
    log, failed = await log_of(tmp_path, "--transport", transport)

    assert failed > 50
    assert log.count('"upstream_failed"') == failed
    assert [word for word in WORDS for spelling in spellings(word) if spelling in log.lower()] == []
    assert KEY not in log


async def test_with_the_setting_the_log_has_what_the_provider_said(tmp_path: Path) -> None:
    """For the operator who looks for a fault; the words above can be found, then."""
    log, _ = await log_of(tmp_path, "--log-content")

    for word in WORDS:
        assert any(spelling in log.lower() for spelling in spellings(word)), word
    assert KEY not in log


# --- everything that a server logs -----------------------------------------------------------------------------------

SECRET = "Ultramarine tourmaline"  # in every question and every answer
TOKEN = "token-9c41f0d2a7"  # a credential that is not accepted


async def use(reader: Reader, story: Story) -> None:
    """Ask in all ways, and send what is no frame."""
    await reader.answer(f"say:{SECRET} one")
    await reader.answer(f"error code:server_error after:3 tokens:9 note:{SECRET.split(maxsplit=1)[0]}")
    await reader.answer(f"status:400 say:{SECRET} two")
    await reader.ask(f"tokens:5000 rate:50 note:{SECRET.split(maxsplit=1)[0]}")
    await reader.until("token")
    await reader.send(type="cancel")
    await reader.until("done")
    await reader.send(type="retry")
    await reader.until("token")
    await reader.send(type="cancel")
    await reader.until("done")
    await reader.send(type="history", session=story.session)
    await reader.until("history")
    for bad in (SECRET, f'{{"type": "{SECRET}"}}', json.dumps({"type": "ask", "text": [SECRET]}), "\x1b[2J\n"):
        await reader.socket.send(bad)
        await reader.until("error")
    await reader.send(type="attach", session=f"{SECRET.split(maxsplit=1)[0]}-0123456789")
    await reader.until("error")


async def be_refused(server: Askbot, session: str) -> None:
    """Be refused in a handshake, in a request and by a wrong message, with secrets in all of them."""
    port = int(server.http.rpartition(":")[2])
    url = server.url.removesuffix("/v1/chat")
    for path in (f"/v1/{session}", f"/v1/chat/{session}?session={session}", f"/{TOKEN}-{session}"):
        with pytest.raises(InvalidStatus):
            await connect(url + path, proxy=None, additional_headers={"Authorization": f"Bearer {TOKEN}"})
    with pytest.raises(InvalidStatus):
        await connect(f"{server.url}?session={session}&ticket={TOKEN}", proxy=None, origin="https://evil.example")  # type: ignore[arg-type]
    for path in (f"/{session}", f"/?session={session}&ticket={TOKEN}", f"/{session}/{session}"):
        await request(port, path, Cookie=f"askbot={TOKEN}", Authorization=f"Bearer {TOKEN}")
    assert (await request(port, "/v1/chat", Content_Length="99999999", Cookie=TOKEN)).status == 413
    async with connect(server.url, proxy=None) as socket:
        await socket.recv()
        await socket.send(SECRET.encode())
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_whole_run_at_debug_has_no_secret(tmp_path: Path, provider: ProviderProcess) -> None:
    """Questions, answers, sessions, keys: of a server that is used, refuses, is killed, starts again and stops."""
    story, other = Story(), Story()
    logs = ""
    with askbot(tmp_path, "--retries", "0", upstream=provider.url, ASKBOT_LOG_LEVEL="debug") as server:
        async with reading(server.url, story) as reader:
            await use(reader, story)
            await be_refused(server, story.session or "")
            await reader.ask(f"tokens:5000 rate:50 note:{SECRET.split(maxsplit=1)[0]}")
            await reader.until("token")
            await asyncio.sleep(0.1)
            server.signal(signal.SIGKILL)
            await server.ended()
    with askbot(tmp_path, "--retries", "0", upstream=provider.url, ASKBOT_LOG_LEVEL="debug") as server:
        async with reading(server.url, story) as reader, reading(server.url, other) as second:
            await reader.until(lambda frame: frame["type"] == "done")
            await second.answer(f"say:{SECRET} three")
            await second.send(type="forget", session=other.session)
            await second.until("error")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        logs, lines = server.log.read_text(), server.lines()

    events = {line["event"] for line in lines}
    assert events >= {
        "handshake_accepted", "session_attached", "frame_received", "model_asked", "sessions_flushed", "turn_ended",
        "connection_refused", "request_refused", "connection_closed", "upstream_failed", "journal_replayed",
        "server_started", "drain_started", "server_stopped",
    }  # fmt: skip
    assert [line["event"] for line in lines][-1] == "server_stopped"
    secrets = [KEY, TOKEN, story.session or "", other.session or "", *SECRET.split()]
    assert [text for text in secrets for spelling in spellings(text) if spelling in logs.lower()] == []
    closed = [line for line in lines if line["event"] == "connection_closed"]
    assert {line["address"] for line in closed} == {"127.0.0.1"}
    assert hash_session(story.session or "") in {line["session"] for line in closed}
