"""What a model refuses of a request, and what is learned from it, for whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from askbot_ws.core.prompt import Message
from askbot_ws.errors import UpstreamRejected
from tests.upstream.byte_server import (
    DONE,
    TRANSPORTS,
    ByteServer,
    Request,
    ask,
    delta,
    response,
    served,
    stream,
)

ANSWER = stream(delta(content="Yes"), delta("stop"), DONE)
SYSTEM, QUESTION = Message("system", "Be brief."), Message("user", "Well?")

Refusal = Callable[[Request], Sequence[bytes | float] | None]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def error(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def refuses(field: str, said: object, *, status: int = 400, model: str | None = None) -> Refusal:
    """Refuse requests with a field, for one model or for all."""

    def refusal(request: Request) -> Sequence[bytes | float] | None:
        meant = model is None or request.body["model"] == model
        return response(status, json.dumps(said).encode()) if meant and field in request.body else None

    return refusal


def refuses_system(said: object, *, status: int = 400) -> Refusal:
    """Refuse requests with a system message."""

    def refusal(request: Request) -> Sequence[bytes | float] | None:
        roles = [message["role"] for message in request.body["messages"]]
        return response(status, json.dumps(said).encode()) if "system" in roles else None

    return refusal


def model_that(*refusals: Refusal) -> Callable[[Request], Sequence[bytes | float]]:
    """A model that refuses some requests, and answers the others."""
    return lambda request: next((found for refusal in refusals if (found := refusal(request))), ANSWER)


def sent(server: ByteServer, field: str) -> list[Any]:
    return [request.body.get(field) for request in server.posts]


REFUSALS: dict[str, tuple[str, object, int]] = {
    "OpenAI": ("max_tokens", error("Use 'max_completion_tokens' instead of 'max_tokens'.", param="max_tokens"), 400),
    "a name in the text only": ("max_tokens", error("Unsupported parameter: max_tokens"), 400),
    "Mistral's list": (
        "max_tokens",
        {"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs"}]}},
        422,
    ),
    "FastAPI's list": ("temperature", {"detail": [{"loc": ["body", "temperature"], "msg": "not permitted"}]}, 422),
    "a reasoning model": (
        "temperature",
        error("'temperature' does not support 0.5 with this model.", param="temperature", code="unsupported_value"),
        400,
    ),
    "a text": ("temperature", "temperature is deprecated for this model", 400),
    "stream options": ("stream_options", error("Unrecognized request argument supplied: stream_options"), 400),
    "stream options by a part": ("stream_options", error("No.", param="stream_options.include_usage"), 400),
    "temperature, as a word": ("temperature", error("Temperature is not supported by this model"), 400),
    "max tokens, in another spelling": ("max_tokens", error("maxTokens: extraneous key"), 400),
    "stream options, as a fault": ("stream_options", error("json: unknown field stream_options"), 500),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_field_that_a_model_refuses_is_left_out_from_then_on(transport: str, name: str) -> None:
    """Or has its other name; it costs one more request, once."""
    field, said, status = REFUSALS[name]
    async with served(transport, model_that(refuses(field, said, status=status)), temperature=0.5, max_tokens=7) as (
        server,
        upstream,
    ):
        outcomes = [await ask(upstream), await ask(upstream)]

    assert [outcome.text for outcome in outcomes] == ["Yes", "Yes"]
    assert [field in request.body for request in server.posts] == [True, False, False]
    limits = {request.body.get("max_tokens") or request.body.get("max_completion_tokens") for request in server.posts}
    assert limits == {7}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (error("Unsupported value: 'messages[0].role' does not support 'system'.", param="messages[0].role"), 400),
        (error("System role not supported"), 400),
        (error("Conversation roles must alternate user/assistant/user/assistant/..."), 400),
        (error("Only user, assistant and tool roles are supported, got system."), 500),
        ({"error": "Server error: Conversation roles must alternate user/assistant", "error_type": "generation"}, 424),
        (error("Developer instruction is not enabled for models/m"), 400),
        (error("messages.0.role: Input should be 'user' or 'assistant'"), 400),
        (error("Please use a valid role: user, model."), 400),
        (error("Please ensure that multiturn requests alternate between user and model"), 400),
        (error("A conversation must start with a user message."), 400),
        (error("Input tag 'system' found using 'role' does not match any of the expected tags"), 400),
    ],
)
async def test_a_model_without_a_system_role_gets_it_with_the_first_question(
    transport: str, said: object, status: int
) -> None:
    """And roles alternate then, beginning with the user, as such models want it."""
    async with served(transport, model_that(refuses_system(said, status=status))) as (server, upstream):
        first = await ask(upstream, SYSTEM, QUESTION)
        again = await ask(upstream, SYSTEM, QUESTION, Message("assistant", "Yes"), QUESTION)

    assert (first.text, again.text) == ("Yes", "Yes")
    assert sent(server, "messages")[1] == [{"role": "user", "content": "Be brief.\n\nWell?"}]
    assert [message["role"] for message in sent(server, "messages")[2]] == ["user", "assistant", "user"]
    assert len(server.posts) == 3


async def test_a_model_may_refuse_one_thing_after_the_other(transport: str) -> None:
    """As those do that reason: each answer names one."""
    refusals = [
        refuses("max_tokens", error("Use 'max_completion_tokens'.", param="max_tokens")),
        refuses("temperature", error("Not supported.", param="temperature")),
        refuses("stream_options", error("Not supported: stream_options.")),
        refuses_system(error("Not supported.", param="messages[0].role")),
    ]
    async with served(transport, model_that(*refusals), temperature=1.0, max_tokens=7) as (server, upstream):
        outcomes = [await ask(upstream, SYSTEM, QUESTION) for _ in range(2)]

    assert [outcome.text for outcome in outcomes] == ["Yes", "Yes"]
    assert len(server.posts) == 6
    assert {*server.posts[-1].body} == {"model", "stream", "max_completion_tokens", "messages"}


async def test_both_names_of_max_tokens_are_learned_whichever_is_refused(transport: str) -> None:
    """A gateway may put another model behind a name."""
    wanted = ["max_completion_tokens"]

    def model(request: Request) -> Sequence[bytes | float]:
        other = {"max_tokens", "max_completion_tokens"} - {*wanted}
        return model_that(*(refuses(name, error(f"Unknown parameter: '{name}'.")) for name in other))(request)

    async with served(transport, model, max_tokens=7) as (server, upstream):
        first = await ask(upstream)
        wanted[0] = "max_tokens"
        second = await ask(upstream)

    assert (first.text, second.text) == ("Yes", "Yes")
    assert sent(server, "max_tokens") == [7, None, None, 7]
    assert sent(server, "max_completion_tokens") == [None, 7, 7, None]


async def test_what_is_learned_is_of_one_model(transport: str) -> None:
    """The others are asked as before."""
    old = refuses("max_completion_tokens", error("Unknown parameter: 'max_completion_tokens'."), model="old")
    new = refuses("max_tokens", error("Use 'max_completion_tokens'.", param="max_tokens"), model="new")
    async with served(transport, model_that(old, new), max_tokens=7) as (server, upstream):
        outcomes = [await ask(upstream, model=model) for model in ("old", "new", "old", "new")]

    assert [outcome.text for outcome in outcomes] == ["Yes"] * 4
    assert sent(server, "model") == ["old", "new", "new", "old", "new"]


async def test_all_first_questions_succeed_that_are_asked_at_once(transport: str) -> None:
    """Each learns for itself."""
    refusal = refuses("max_tokens", error("Use 'max_completion_tokens'.", param="max_tokens"))
    async with served(transport, model_that(refusal), max_tokens=7) as (server, upstream):
        outcomes = await asyncio.gather(*(ask(upstream) for _ in range(5)))
        await ask(upstream)

    assert [outcome.text for outcome in outcomes] == ["Yes"] * 5
    assert len(server.posts) == 11


@pytest.mark.parametrize(
    "question",
    ["What is max_completion_tokens?", "What is max_tokens?", "What are stream_options?", "A system prompt?"],
)
async def test_a_question_that_an_error_repeats_changes_no_other_request(transport: str, question: str) -> None:
    """It is tried, fails again, and is forgotten; the user is told of the first error."""

    def model(request: Request) -> Sequence[bytes | float]:
        asked = request.body["messages"][-1]["content"]
        bad = asked.endswith(question)
        return response(400, json.dumps(error(f"I don't like: {asked}")).encode()) if bad else ANSWER

    async with served(transport, model, max_tokens=7) as (server, upstream):
        await ask(upstream, SYSTEM, QUESTION)
        refused = await ask(upstream, SYSTEM, Message("user", question))
        after = await ask(upstream, SYSTEM, QUESTION)

    assert isinstance(refused.error, UpstreamRejected)
    assert f"I don't like: {question}" in str(refused.error.__cause__)
    assert after.text == "Yes"
    assert server.posts[0].body == server.posts[-1].body
    assert len(server.posts) <= 4


async def test_a_temperature_out_of_range_takes_the_others_from_nobody(transport: str) -> None:
    """It is left out, as the model would have no answer otherwise; another one is sent."""

    def model(request: Request) -> Sequence[bytes | float]:
        hot = request.body.get("temperature", 0) > 1
        return response(400, json.dumps(error("temperature: range: 0..1")).encode()) if hot else ANSWER

    async with served(transport, model) as (server, upstream):
        outcomes = [await ask(upstream, temperature=temperature) for temperature in (1.5, 0.5, 1.5)]

    assert [outcome.text for outcome in outcomes] == ["Yes"] * 3
    assert sent(server, "temperature") == [1.5, None, 0.5, None]


async def test_a_limit_that_is_too_large_is_not_hidden_under_another_name(transport: str) -> None:
    """From a server that ignores what it does not know, the answers of all would have no limit then."""

    def model(request: Request) -> Sequence[bytes | float]:
        large = request.body.get("max_tokens", 0) > 100
        said = error("max_tokens is too large: 200. The most are 100.", param="max_tokens", code="invalid_value")
        return response(400, json.dumps(said).encode()) if large else ANSWER

    async with served(transport, model) as (server, upstream):
        refused = await ask(upstream, max_tokens=200)
        after = await ask(upstream, max_tokens=50)

    assert (refused.end, after.text) == ("upstream_rejected", "Yes")
    assert sent(server, "max_tokens") == [200, 50]


async def test_a_refusal_inside_a_stream_is_one_too(transport: str) -> None:
    """Gateways have answered 200 before the model has seen the request."""

    def model(request: Request) -> Sequence[bytes | float]:
        said = error("Unsupported parameter: 'max_tokens'.", param="max_tokens")
        return stream(f"data: {json.dumps(said)}\n\n".encode()) if "max_tokens" in request.body else ANSWER

    async with served(transport, model, max_tokens=7) as (server, upstream):
        outcomes = [await ask(upstream), await ask(upstream)]

    assert [outcome.text for outcome in outcomes] == ["Yes", "Yes"]
    assert len(server.posts) == 3


async def test_what_no_format_mends_is_told_after_as_many_tries_as_there_are_formats(transport: str) -> None:
    """A server that names everything, and takes nothing."""
    said = error("max_tokens, max_completion_tokens, temperature, stream_options, system message: no!")
    async with served(transport, response(400, json.dumps(said).encode()), temperature=0.5, max_tokens=7) as (
        server,
        upstream,
    ):
        outcome = await ask(upstream, SYSTEM, QUESTION)

    assert outcome.end == "upstream_rejected"
    assert len(server.posts) <= 6


async def test_a_change_that_has_no_answer_is_not_kept(transport: str) -> None:
    """It stays for the retries of this question, whose failure is told."""
    refusal, fault = response(400, json.dumps(error("No.", param="max_tokens")).encode()), response(503, b"{}")
    async with served(transport, refusal, fault, fault, ANSWER, max_tokens=7, retries=1) as (server, upstream):
        failed, answered = await ask(upstream), await ask(upstream)

    assert (failed.end, answered.text) == ("upstream_unavailable", "Yes")
    assert sent(server, "max_completion_tokens") == [None, 7, 7, None]


async def test_a_fault_that_passes_changes_nothing(transport: str) -> None:
    """Whatever words it has."""
    said = json.dumps(error("The system message queue is full, its temperature too high.")).encode()
    async with served(transport, response(503, said), ANSWER, temperature=0.5) as (server, upstream):
        outcome = await ask(upstream, SYSTEM, QUESTION)

    assert outcome.text == "Yes"
    assert server.posts[0].body == server.posts[1].body
