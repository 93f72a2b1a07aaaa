"""Provider health, as `/readyz` has it: what does not pass is told, what passes is not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from typing import TypeAlias

import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import UpstreamRejected, UpstreamUnavailable
from askbot_ws.events import Options
from askbot_ws.upstream.openai import OpenAIUpstream

from .byte_server import DONE, ByteServer, Request, Script, delta, response, stream

PROMPT = Prompt.of([Message("user", "Well?")], Options())

Opener: TypeAlias = Callable[[ByteServer, str], Awaitable[OpenAIUpstream]]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opener]:
    """Opens upstreams that remember no ping, and closes them after the test."""
    monkeypatch.setattr("askbot_ws.upstream.openai.PING_CACHE_SECONDS", 0.0)
    async with AsyncExitStack() as stack:

        async def open_upstream(provider: ByteServer, model: str) -> OpenAIUpstream:
            upstream = OpenAIUpstream(
                model=model, base_url=provider.url, api_key="sk-1", max_tokens=9, retries=0, environ={}
            )
            await upstream.open()
            stack.push_async_callback(upstream.close)
            return upstream

        yield open_upstream


class Listing(ByteServer):
    """A provider with a list of models; `list_status` is what a request for that gets."""

    def __init__(self, *names: str, script: Script) -> None:
        super().__init__(script)
        self.names, self.list_status = names, 200

    def _script_for(self, request: Request) -> Script:
        if request.method == "POST":
            return super()._script_for(request)
        names = {"data": [{"id": name} for name in self.names]}
        return response(self.list_status, json.dumps(names if self.list_status == 200 else {"error": "x"}).encode())


UNKNOWN_MODEL = response(404, b'{"error":{"message":"The model `none` does not exist","code":"model_not_found"}}')
ONE_TOKEN = stream(delta(content="a"), delta("length"), DONE)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_that_is_busy_for_a_moment_counts_as_there(
    opened: Opener, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next question may well be answered; a fault that lasts for a minute does not count as one of a moment."""
    async with Listing("m", script=ONE_TOKEN) as provider:
        upstream = await opened(provider, "m")
        provider.list_status = status
        await upstream.ping()
        monkeypatch.setattr("askbot_ws.upstream.health.PASSING_FAULT_SECONDS", 0.0)
        if status == 429:
            await upstream.ping()
        else:
            with pytest.raises(UpstreamUnavailable):
                await upstream.ping()
        provider.list_status = 200
        await upstream.ping()


async def test_a_model_that_does_not_exist_is_not_ready(opened: Opener) -> None:
    """It is asked for one token, as it is not in the list, and then for a minute no more."""
    async with Listing("other", script=UNKNOWN_MODEL) as provider:
        upstream = await opened(provider, "none")
        for _ in range(3):
            with pytest.raises(UpstreamRejected, match="no such model"):
                await upstream.ping()
        assert [post.body["model"] for post in provider.posts] == ["none"]


async def test_a_model_that_answers_is_ready_whatever_is_listed(opened: Opener) -> None:
    """Servers with one model list its file, and answer by any name; one that is listed is not asked at all."""
    async with Listing("/models/file.gguf", "vendor/known", "llama3:latest", script=ONE_TOKEN) as provider:
        for name, asked in (("known", 0), ("llama3", 0), ("any-name", 1)):
            upstream = await opened(provider, name)
            for _ in range(3):
                await upstream.ping()
            assert len(provider.posts) == asked, name
    assert provider.posts[0].body["max_tokens"] == 1


async def test_a_key_that_questions_are_refused_for_is_not_ready(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the list of models is public; what a user's words can bring about is no fault of the settings."""
    refused = response(401, b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}')
    repeated = response(400, b'{"error":{"message":"Invalid: model x does not exist"}}')
    for script, is_ready in ((refused, False), (repeated, True)):
        async with Listing("m", script=script) as provider:
            upstream = await opened(provider, "m")
            await upstream.ping()
            with pytest.raises(UpstreamRejected):
                await upstream.stream(PROMPT, lambda _: None)
            with nullcontext() if is_ready else pytest.raises(UpstreamRejected, match="API key"):
                await upstream.ping()
            with monkeypatch.context() as patch:
                patch.setattr("askbot_ws.upstream.health.REFUSAL_SECONDS", 0.0)  # a minute later
                await upstream.ping()
