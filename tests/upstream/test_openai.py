"""OpenAIUpstream, over real sockets, on both transports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

import pytest

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import (
    AskbotError,
    ConfigError,
    ContextTooLong,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamStalled,
    UpstreamUnavailable,
)
from askbot_ws.events import Options, Usage
from askbot_ws.upstream import Ending, ThinkingText
from askbot_ws.upstream.completion_attempt import CompletionAttempt
from askbot_ws.upstream.openai import OpenAIUpstream
from askbot_ws.upstream.provider_errors import summarize
from tests.provider import MODEL, Provider, Seen

WORDS = "".join(f"word{number} " for number in range(20))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["direct", "openai"])
def transport(request: pytest.FixtureRequest) -> Literal["direct", "openai"]:
    way: Literal["direct", "openai"] = request.param
    return way


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


class Opener:
    """Opens upstreams for a test, with little patience, and closes them after it."""

    def __init__(self, stack: AsyncExitStack, provider: Provider, transport: str) -> None:
        self._stack, self._provider, self._transport = stack, provider, transport

    async def __call__(self, **settings: Any) -> OpenAIUpstream:
        defaults: dict[str, Any] = {
            "model": "tiny",
            "base_url": self._provider.url,
            "transport": self._transport,
            "stall_timeout": 5.0,
            "backoff": 0.001,
            "usage_timeout": 0.05,
        }
        upstream = OpenAIUpstream(**(defaults | settings))
        await upstream.open()
        self._stack.push_async_callback(upstream.close)
        return upstream


@pytest.fixture
async def opened(provider: Provider, transport: str) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(stack, provider, transport)


def prompt(text: str, **options: Any) -> Prompt:
    return Prompt.of([Message("system", "Be brief."), Message("user", text)], Options(**options))


async def answer(upstream: OpenAIUpstream, text: str, **options: Any) -> tuple[str, Ending]:
    pieces: list[str] = []
    ending = await upstream.stream(prompt(text, **options), pieces.append)
    return "".join(piece for piece in pieces if not isinstance(piece, ThinkingText)), ending


async def failure(upstream: OpenAIUpstream, text: str) -> tuple[str, UpstreamError]:
    pieces: list[str] = []
    with pytest.raises(UpstreamError) as caught:
        await upstream.stream(prompt(text), pieces.append)
    return "".join(pieces), caught.value


async def over(seen: Seen) -> Seen:
    async with asyncio.timeout(5):
        await seen.over.wait()
    return seen


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_whole_with_its_reason_model_and_usage(opened: Opener) -> None:
    """What the provider said, counted and named itself, is what the hub gets."""
    text, ending = await answer(await opened(), "say:hello big world")

    assert text == "hello big world"
    assert ending == Ending("stop", "tiny", Usage(input_tokens=5, output_tokens=3))


@pytest.mark.parametrize("how", ["", "bytes:1", "crlf", "framing:close", "framing:length", "crlf bytes:2", "reasoning"])
async def test_however_the_bytes_travel_the_answer_is_the_same(opened: Opener, how: str) -> None:
    """Chunked, counted or closed, cut after every byte: the same text."""
    text, ending = await answer(await opened(), f"tokens:20 {how}")

    assert text == WORDS
    assert ending.reason == "stop"


async def test_what_is_asked_is_what_was_configured_and_what_the_question_chose(
    provider: Provider, opened: Opener
) -> None:
    """The question's options win over the configured ones; extra fields and headers go out as they are."""
    upstream = await opened(
        temperature=0.5, max_tokens=10, headers={"X-Extra": "1"}, body={"top_p": 0.9}, api_key="secret"
    )
    await answer(upstream, "say:a", temperature=0.0, model="other")

    (seen,) = provider.asked
    assert seen.body == {
        "model": "other",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_tokens": 10,
        "top_p": 0.9,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say:a"}],
    }
    assert seen.headers["authorization"] == "Bearer secret"
    assert seen.headers["x-extra"] == "1"
    assert seen.headers["accept-encoding"] == "identity"


async def test_the_openai_packages_own_environment_counts(
    provider: Provider, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, key and organization come from where users of the package put them."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    await answer(await opened(base_url=None), "say:a")

    assert provider.asked[0].headers["authorization"] == "Bearer from-the-environment"
    assert provider.asked[0].headers["openai-organization"] == "org-1"


@pytest.mark.parametrize(
    ("script", "text", "reason"),
    [
        ("empty", "", "stop"),
        ("whitespace", " \n\n\t", "stop"),
        ("surrogates", "a smile \ud83d\ude00 in two halves", "stop"),
        ("finish:length say:a b", "a b", "length"),
        ("finish:content_filter say:a b", "a b", "refused"),
        ("finish:tool_calls empty", "", "stop"),
        ("refusal say:I will not.", "I will not.", "refused"),
        ("no-done say:a b", "a b", "stop"),
        ("linger say:a b", "a b", "stop"),
        ("status:400 code:content_filter", "", "refused"),
    ],
)
async def test_every_good_end_has_its_reason(opened: Opener, script: str, text: str, reason: str) -> None:
    """Also where [DONE] or the body's end never comes, once there is a finish reason."""
    said, ending = await answer(await opened(), script)

    assert (said, ending.reason) == (text, reason)


async def test_a_flood_comes_through_whole(opened: Opener) -> None:
    """As fast as it is read, nothing lost."""
    text, _ = await answer(await opened(), "burst:20000")

    assert text == "".join(f"word{number} " for number in range(20_000))


async def test_many_answers_at_once_do_not_mix(opened: Opener) -> None:
    """Each question gets its own answer."""
    upstream = await opened()
    answers = await asyncio.gather(*(answer(upstream, f"say:{number} one two") for number in range(30)))

    assert [text for text, _ in answers] == [f"{number} one two" for number in range(30)]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("tokens:9 cut after:5", UpstreamUnavailable),
        ("tokens:9 cut:fin after:5", UpstreamUnavailable),
        ("tokens:9 cut:fin after:5 framing:close", UpstreamUnavailable),
        ("tokens:9 malformed after:5", UpstreamUnavailable),
        ("tokens:9 error after:5", UpstreamUnavailable),
        ("tokens:9 error code:rate_limit_exceeded after:5", UpstreamRateLimited),
        ("tokens:9 error code:context_length_exceeded after:5", ContextTooLong),
        ("tokens:5 no-finish", UpstreamUnavailable),
        ("tokens:5 no-finish no-done", UpstreamUnavailable),
        ("tokens:5 finish:error", UpstreamUnavailable),
    ],
)
async def test_an_answer_that_breaks_off_keeps_its_text_and_is_not_asked_again(
    provider: Provider, opened: Opener, script: str, cause: type[UpstreamError]
) -> None:
    """The text so far stands: asking again could only repeat it."""
    text, error = await failure(await opened(), script)

    assert text == "".join(f"word{number} " for number in range(5))
    assert type(error) is cause
    assert error.__cause__ is not None
    assert len(provider.asked) == 1


def test_text_that_comes_with_the_end_of_the_body_stands_too() -> None:
    """An event without its blank line, in an answer without an end: asking again could only repeat it."""
    heard: list[str] = []
    cut_off = CompletionAttempt(heard.append, usage_timeout=1.0)

    assert cut_off.feed(b'data: {"choices":[{"index":0,"delta":{"content":"last"}}]}') is None
    with pytest.raises(UpstreamUnavailable):
        cut_off.finish()
    assert (heard, cut_off.has_text) == (["last"], True)


async def test_a_malformed_event_stops_the_provider(provider: Provider, opened: Opener) -> None:
    """What follows nonsense is not waited for."""
    await failure(await opened(), "tokens:9 malformed after:5")

    assert (await over(provider.asked[0])).left


@pytest.mark.parametrize("script", ["stall", "tokens:9 stall after:5", "slow-headers:60"])
async def test_silence_is_a_stall(provider: Provider, opened: Opener, script: str) -> None:
    """No byte for so long, before the answer or within it; the provider is left."""
    _, error = await failure(await opened(stall_timeout=0.05), script)

    assert type(error) is UpstreamStalled
    assert (await over(provider.asked[0])).left
    assert len(provider.asked) == 1


async def test_a_slow_answer_is_no_stall(opened: Opener) -> None:
    """Each byte renews the patience."""
    text, _ = await answer(await opened(stall_timeout=1), "tokens:20 rate:15")

    assert text == WORDS


@pytest.mark.parametrize(
    ("script", "cause", "asked"),
    [
        ("status:400", UpstreamRejected, 1),
        ("status:401", UpstreamRejected, 1),
        ("status:403", UpstreamRejected, 1),
        ("status:404", UpstreamRejected, 1),
        ("status:422", UpstreamRejected, 1),
        ("context", ContextTooLong, 1),
        ("status:400 say:the request exceeds the available context size", ContextTooLong, 1),
        ("status:408", UpstreamUnavailable, 3),
        ("status:409", UpstreamUnavailable, 3),
        ("status:429", UpstreamRateLimited, 3),
        ("status:429 code:insufficient_quota", UpstreamRejected, 1),
        ("status:429 retry-after:31", UpstreamRateLimited, 1),
        ("status:500", UpstreamUnavailable, 3),
        ("status:503 retry-after:0.01", UpstreamUnavailable, 3),
        ("hangup", UpstreamUnavailable, 3),
        ("cut", UpstreamUnavailable, 3),
        ("error", UpstreamUnavailable, 3),
        ("malformed", UpstreamUnavailable, 3),
        ("empty no-finish", UpstreamUnavailable, 3),
    ],
)
async def test_every_failure_has_its_error_and_its_number_of_tries(
    provider: Provider, opened: Opener, script: str, cause: type[UpstreamError], asked: int
) -> None:
    """Asked again where that may help and nothing was said yet, else not."""
    text, error = await failure(await opened(), script)

    assert text == ""
    assert type(error) is cause
    assert len(provider.asked) == asked


@pytest.mark.parametrize(
    "script", ["status:500 times:2 say:hello", "cut times:2 say:hello", "hangup times:1 say:hello"]
)
async def test_a_passing_failure_is_not_noticed(opened: Opener, script: str) -> None:
    """Two retries by default."""
    text, _ = await answer(await opened(), script)

    assert text == "hello"


async def test_retry_after_is_heard(provider: Provider, opened: Opener) -> None:
    """The provider's own wish comes before our backoff, and goes to the client where we give up."""
    await answer(await opened(backoff=60.0), "status:429 retry-after:0.05 times:1 say:hello")
    first, second = provider.asked
    _, error = await failure(await opened(retries=0), "status:429 retry-after:7")

    assert 0.05 <= second.at - first.at < 5
    assert error.retry_after == 7


async def test_what_the_provider_says_is_for_the_log_and_the_key_for_nobody(opened: Opener) -> None:
    """docs/protocol.md, promise 9: the provider's own text is never shown, nor is the key."""
    async with Provider(key="another") as provider:
        upstream = await opened(base_url=provider.url, api_key="sk-very-secret")
        _, error = await failure(upstream, "say:a")

    assert isinstance(error, UpstreamRejected)
    assert "Incorrect" not in error.message
    assert "Incorrect" in str(error.__cause__)
    assert "sk-very-secret" not in error.message + str(error.__cause__)


async def test_nobody_there_is_unavailable(opened: Opener) -> None:
    """A connection that is refused is tried again, then told."""
    async with Provider() as gone:
        url = gone.url
    _, error = await failure(await opened(base_url=url), "say:a")

    assert type(error) is UpstreamUnavailable
    assert isinstance(error.__cause__, Exception)


async def test_an_error_of_the_listener_ends_the_answer(provider: Provider, opened: Opener) -> None:
    """A log that can't be written stops the provider, and the hub hears of it."""

    def full(text: str) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        await (await opened()).stream(prompt("tokens:1000 rate:100"), full)

    assert (await over(provider.asked[0])).left


async def test_a_cancel_stops_the_provider_at_once(provider: Provider, opened: Opener) -> None:
    """The connection is closed: the provider sees it, long before its answer's end."""
    started = asyncio.Event()
    upstream = await opened()
    task = asyncio.create_task(upstream.stream(prompt("tokens:1000 rate:100"), lambda text: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    seen = await over(provider.asked[0])
    assert seen.left
    assert seen.tokens < 100


async def test_a_cancel_during_a_pause_ends_it(provider: Provider, opened: Opener) -> None:
    """Nothing is asked again for somebody who has left."""
    upstream = await opened(backoff=60.0)
    task = asyncio.create_task(upstream.stream(prompt("status:500"), lambda text: None))
    await asyncio.sleep(0.2)  # long enough for a first answer, far too short for the pause
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(provider.asked) == 1


# --- what servers know ------------------------------------------------------------------------------------------------


async def test_a_server_that_knows_no_stream_options_is_asked_without_them(opened: Opener) -> None:
    """Once is enough to learn it."""
    async with Provider(unknown=["stream_options"]) as provider:
        upstream = await opened(base_url=provider.url)
        answers = [await answer(upstream, "say:a b") for _ in range(2)]

    assert [text for text, _ in answers] == ["a b", "a b"]
    assert [ending.usage for _, ending in answers] == [None, None]
    assert ["stream_options" in seen.body for seen in provider.asked] == [True, False, False]


async def test_a_model_that_wants_another_name_for_max_tokens_gets_it(provider: Provider, opened: Opener) -> None:
    """OpenAI's newer models do, wherever they are hosted."""
    upstream = await opened(max_tokens=5)
    script = "status:400 times:1 say:Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    await answer(upstream, script)

    assert [seen.body.get("max_completion_tokens") for seen in provider.asked] == [None, 5]


async def test_without_a_model_the_servers_first_is_taken(opened: Opener) -> None:
    """Servers of one's own mostly have one."""
    upstream = await opened(model=None)
    _, ending = await answer(upstream, "say:a")

    assert upstream.model == MODEL
    assert ending.model == MODEL


async def test_a_server_that_names_no_model_makes_the_setting_needed(opened: Opener) -> None:
    """Said when it matters: to the user what is wrong, to the operator with the setting's name."""
    async with Provider(models=[]) as provider:
        upstream = await opened(base_url=provider.url, model=None)
        _, error = await failure(upstream, "say:a")

    assert isinstance(error, UpstreamRejected)
    assert error.message == "No model is configured."
    assert summarize(error).hint == "Set ASKBOT_MODEL."


@pytest.mark.parametrize("name", ["", None, 7, {"id": "m"}, "m" * 201])
async def test_what_a_server_lists_is_a_name_or_there_is_none(opened: Opener, name: Any) -> None:
    """It would be in each frame that names the model, and in each request."""
    async with Provider(models=[name]) as provider:
        upstream = await opened(base_url=provider.url, model=None)

    assert upstream.model == "unknown"


async def test_a_server_that_starts_later_is_asked_for_its_model_then(opened: Opener) -> None:
    """`open` does not need the provider; the first question does."""
    async with Provider() as early:
        url, port = early.url, int(early.url.split(":")[2].split("/")[0])
    upstream = await opened(base_url=url, model=None)
    async with Provider(port=port):
        text, ending = await answer(upstream, "say:a")

    assert (text, ending.model) == ("a", MODEL)


# --- ping ------------------------------------------------------------------------------------------------------------


async def test_a_ping_asks_for_the_models_and_remembers_the_outcome(provider: Provider, opened: Opener) -> None:
    """A prober every second is not the provider's business."""
    upstream = await opened(model=MODEL)
    await asyncio.gather(*(upstream.ping() for _ in range(5)))

    assert [(seen.method, seen.path) for seen in provider.seen] == [("GET", "/v1/models")]


async def test_a_server_without_a_list_of_models_is_reachable(opened: Opener) -> None:
    """404 on /models says that somebody is there."""
    async with Provider(models=[]) as provider:
        await (await opened(base_url=provider.url)).ping()


async def test_a_ping_with_a_wrong_key_says_so(opened: Opener) -> None:
    """Each time, from memory too."""
    async with Provider(key="right") as provider:
        upstream = await opened(base_url=provider.url, api_key="wrong")
        for _ in range(2):
            with pytest.raises(UpstreamRejected, match="API key"):
                await upstream.ping()

    assert len(provider.seen) == 1


async def test_a_ping_into_the_void_fails(opened: Opener) -> None:
    """Nobody there: a question would not be answered."""
    async with Provider() as gone:
        url = gone.url
    with pytest.raises(UpstreamUnavailable):
        await (await opened(base_url=url)).ping()


# --- configuration ---------------------------------------------------------------------------------------------------


async def test_openai_itself_needs_a_key() -> None:
    """Said at the start, with the variable's name."""
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await OpenAIUpstream().open()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://here/v1", "http://here:port/v1", "http://"])
async def test_an_address_that_is_none_is_said_at_the_start(url: str) -> None:
    """With the variable's name."""
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        await OpenAIUpstream(base_url=url, api_key="k", model="m").open()


async def test_a_model_whose_name_is_not_utf_8_is_said_at_the_start() -> None:
    """As the environment gives such bytes: no frame could say it."""
    with pytest.raises(ConfigError, match="ASKBOT_MODEL"):
        await OpenAIUpstream(base_url="http://127.0.0.1:9/v1", api_key="k", model="m\udcff").open()


async def test_openai_itself_has_a_default_model_and_its_own_name_for_max_tokens() -> None:
    """No request is made to find that out."""
    upstream = OpenAIUpstream(api_key="k", max_tokens=7)
    await upstream.open()
    request = upstream._request(prompt("hi"), upstream.model)  # pyright: ignore[reportPrivateUsage]
    body = json.loads(request.encode(upstream._first_format))  # pyright: ignore[reportPrivateUsage]
    await upstream.close()

    assert upstream.model == "gpt-4.1-mini"
    assert body["max_completion_tokens"] == 7
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_a_question_before_open_is_our_fault() -> None:
    """A programmer's error, not the provider's."""
    with pytest.raises(RuntimeError, match="not open"):
        await OpenAIUpstream(model="m").stream(prompt("a"), lambda text: None)


async def test_a_proxy_from_the_environment_is_used(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the openai package, which knows how; not for hosts that are to be reached without."""
    proxied: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxied.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("NO_PROXY", "")
    upstream = OpenAIUpstream(base_url="http://model.example/v1", model="m", retries=0)
    await upstream.open()
    with pytest.raises(AskbotError):
        await upstream.stream(prompt("a"), lambda text: None)
    await upstream.close()
    server.close()

    assert proxied == [b"POST http://model.example/v1/chat/completions HTTP/1.1\r\n"]

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    direct = OpenAIUpstream(base_url=provider.url, model="m", retries=0)
    await direct.open()
    assert (await answer(direct, "say:a"))[0] == "a"
    await direct.close()
    assert len(proxied) == 1
