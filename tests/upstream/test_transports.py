"""The two transports do the same: one set of cases, over both."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Sequence

import pytest

from askbot_ws.errors import UpstreamRejected
from askbot_ws.upstream.provider_errors import summarize
from tests.upstream.byte_server import (
    DONE,
    TRANSPORTS,
    ByteServer,
    Request,
    ask,
    delta,
    opened,
    response,
    served,
    stream,
)

BODY = delta(content="Yes, ") + delta(content="indeed.") + delta("stop") + DONE
ANSWER = stream(BODY)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def raw_deflate(data: bytes) -> bytes:
    """Without zlib's header, as some servers understand "deflate"."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["", "/", "/deep/er"])
async def test_the_query_of_a_base_url_stays_at_the_end(transport: str, base: str) -> None:
    """Azure's version of the API is in one."""
    async with (
        ByteServer(ANSWER) as server,
        opened(server, transport, base_url=f"{server.url}{base}?api-version=1&a=b") as upstream,
    ):
        outcome = await ask(upstream)
        await upstream.ping()

    assert outcome.text == "Yes, indeed."
    path = f"/v1{base.rstrip('/')}"
    assert [request.path for request in server.requests] == [
        f"{path}/chat/completions?api-version=1&a=b",
        f"{path}/models?api-version=1&a=b",
    ]


# --- redirects -------------------------------------------------------------------------------------------------------


def moved(status: int, where: str) -> Callable[[Request], Sequence[bytes | float]]:
    """Redirect what does not go there."""
    return lambda request: ANSWER if request.path.startswith("/new") else response(status, location=where)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("where", ["/new/chat/completions", "{origin}/new/chat/completions?a=b", "../../new"])
async def test_a_redirect_within_a_host_is_followed_with_the_same_request(
    transport: str, status: int, where: str
) -> None:
    """Method, body and key stay; the next question begins at the configured address again."""

    def serve(request: Request) -> Sequence[bytes | float]:
        return moved(status, where.format(origin=server.url.removesuffix("/v1")))(request)

    server = ByteServer(serve)
    async with server, opened(server, transport, api_key="sk-1") as upstream:
        outcome = await ask(upstream)
        await ask(upstream)

    first, second, third, _ = server.requests
    assert outcome.text == "Yes, indeed."
    assert (first.path, third.path) == ("/v1/chat/completions", "/v1/chat/completions")
    assert second.path.startswith("/new")
    assert (second.method, second.body, second.headers["authorization"]) == ("POST", first.body, "Bearer sk-1")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_to_another_origin_is_not_followed(transport: str, status: int) -> None:
    """The key would go with it. The log says which setting to change."""
    async with (
        ByteServer(ANSWER) as other,
        served(transport, response(status, location=f"{other.url}/x"), api_key="sk-1") as (server, upstream),
    ):
        outcome = await ask(upstream)

    assert isinstance(outcome.error, UpstreamRejected)
    assert "OPENAI_BASE_URL" in str(summarize(outcome.error).hint)
    assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize("where", ["/v1/chat/completions", "http://[", "ftp://127.0.0.1/", ""])
async def test_a_redirect_to_nowhere_ends(transport: str, where: str) -> None:
    """In a circle, or to what is no address."""
    async with served(transport, response(307, location=where)) as (server, upstream):
        outcome = await ask(upstream)

    assert outcome.end == "upstream_rejected"
    assert len(server.requests) <= 6


async def test_the_list_of_models_may_have_moved_too(transport: str) -> None:
    """It is asked for where no model is configured."""

    def serve(request: Request) -> Sequence[bytes | float]:
        models = json.dumps({"data": [{"id": "moved"}]}).encode()
        if request.method == "GET":
            return response(200, models) if request.path == "/new" else response(308, location="/new")
        return ANSWER

    async with AnswersGets(serve) as server, opened(server, transport, model=None) as upstream:
        assert upstream.model == "moved"


class AnswersGets(ByteServer):
    """A server whose script is for all requests."""

    def _script_for(self, request: Request) -> Sequence[bytes | float]:
        script = self._scripts[0]
        return script(request) if callable(script) else script


# --- statuses and encodings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 203])
async def test_every_success_is_an_answer(transport: str, status: int) -> None:
    """Some gateways create something."""
    async with served(transport, response(status, BODY, kind="text/event-stream")) as (_, upstream):
        outcome = await ask(upstream)

    assert (outcome.text, outcome.end) == ("Yes, indeed.", "stop")


async def test_a_success_without_a_body_is_a_failure(transport: str) -> None:
    """It has no answer, and is asked for again."""
    async with served(transport, response(204), ANSWER) as (server, upstream):
        outcome = await ask(upstream)

    assert outcome.text == "Yes, indeed."
    assert len(server.posts) == 2


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "GZip": ("GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("step", [1, 1000])
async def test_a_compression_that_nobody_asked_for_is_undone(transport: str, name: str, step: int) -> None:
    """However its bytes are cut."""
    encoding, compress = ENCODINGS[name]
    data = compress(BODY)
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    async with served(transport, response(200, *pieces, content_encoding=encoding)) as (server, upstream):
        outcome = await ask(upstream)

    assert (outcome.text, outcome.end) == ("Yes, indeed.", "stop")
    assert server.posts[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ENCODINGS)
async def test_an_error_may_be_compressed_too(transport: str, name: str) -> None:
    """It is read as others are."""
    encoding, compress = ENCODINGS[name]
    said = json.dumps({"error": {"message": "no", "code": "context_length_exceeded"}}).encode()
    async with served(transport, response(400, compress(said), content_encoding=encoding)) as (_, upstream):
        outcome = await ask(upstream)

    assert outcome.end == "context_too_long"


@pytest.mark.parametrize(
    ("body", "text", "end"),
    [
        (BODY, "Yes, indeed.", "stop"),
        (delta("stop", content="Yes"), "Yes", "stop"),
        (delta(content="Yes"), "Yes", "upstream_unavailable"),
    ],
)
async def test_what_a_fault_of_http_comes_with_is_read_first(transport: str, body: bytes, text: str, end: str) -> None:
    """In one read, with what is no chunk: the text stands, and nothing is asked again."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(transport, [head + b"%x\r\n%b\r\nno chunk\r\n" % (len(body), body)]) as (server, upstream):
        outcome = await ask(upstream)

    assert (outcome.text, outcome.end, len(server.posts)) == (text, end, 1)


@pytest.mark.parametrize(
    ("rest", "end"),
    [([], "upstream_unavailable"), ([math.inf], "upstream_stalled"), ([b"x" * 999], "upstream_rejected")],
)
async def test_the_body_of_an_error_may_break_off(transport: str, rest: list[bytes | float], end: str) -> None:
    """It is no fault of ours; where enough of it has come, it is read."""
    script = [*response(400, b'{"error":', content_length="999"), *rest]
    async with served(transport, script, stall_timeout=0.3, retries=0) as (_, upstream):
        outcome = await ask(upstream)

    assert outcome.end == end


async def test_a_damaged_compression_is_a_broken_answer(transport: str) -> None:
    """What was readable of it stands."""
    data = gzip.compress(delta(content="Yes") * 1000)
    damaged: list[bytes | float] = [data[:60], 0.02, b"\x00" * 40]
    async with served(transport, response(200, *damaged, content_encoding="gzip"), retries=0) as (_, upstream):
        outcome = await ask(upstream)

    assert outcome.end == "upstream_unavailable"
    assert outcome.error
    assert outcome.error.message == "The model's answer broke off."
    assert outcome.text == "Yes" * (len(outcome.text) // 3)


async def test_a_few_bytes_that_say_a_million_are_taken_in_pieces(transport: str) -> None:
    """None of them is larger than what memory is meant for."""
    text = "x" * 400_000
    data = gzip.compress(delta(content=text) * 3 + delta("stop") + DONE)
    async with served(transport, response(200, data, content_encoding="gzip")) as (_, upstream):
        outcome = await ask(upstream)

    assert outcome.text == text * 3
