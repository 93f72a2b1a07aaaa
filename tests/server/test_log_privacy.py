"""What was asked and answered is in no log line, whatever providers repeat of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..process import KEY, askbot, reading, spellings
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
