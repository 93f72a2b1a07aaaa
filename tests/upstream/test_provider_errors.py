"""One judgement for an error, wherever it comes: as a status, as a body, as an event, before the text or after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from askbot_ws.errors import UpstreamRejected, UpstreamUnavailable
from askbot_ws.upstream.provider_errors import summarize
from tests.upstream.byte_server import (
    TRANSPORTS,
    ByteServer,
    Request,
    ask,
    delta,
    event,
    opened,
    response,
    served,
    stream,
)

RETRIES = 2


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


CASES: dict[str, tuple[int, dict[str, Any], str, int]] = {  # status, body, end, how often it is asked for
    "filtered": (400, error("No.", code="content_filter", status=400), "refused", 1),
    "flagged": (403, error("Your input was flagged by our moderation.", code=403), "refused", 1),
    "no money": (429, error("No.", code="insufficient_quota", type="insufficient_quota"), "upstream_rejected", 1),
    "no money, by its status": (402, error("Insufficient Balance", code=402), "upstream_rejected", 1),
    "too long": (400, error("maximum context length is 9 tokens", code=400), "context_too_long", 1),
    "too long, of itself": (
        429,
        error("Request too large: tokens per min: Limit 100, Requested 200", code=429),
        "context_too_long",
        1,
    ),
    "throttled": (
        429,
        error("ThrottlingException: Too many tokens, please wait before trying again."),
        "upstream_rate_limited",
        1 + RETRIES,
    ),
    "busy": (429, error("No.", type="rate_limit_error"), "upstream_rate_limited", 1 + RETRIES),
    "a fault": (500, error("No.", type="server_error", code=500), "upstream_unavailable", 1 + RETRIES),
    "a wrong key": (401, error("No.", code="invalid_api_key"), "upstream_rejected", 1),
    "a wrong model": (404, error("The model `m` does not exist", code="model_not_found"), "upstream_rejected", 1),
    "no reason": (400, error("No.", type="invalid_request_error", code=400), "upstream_rejected", 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["status", "event"])
async def test_an_error_has_the_same_end_in_every_form(transport: str, form: str, name: str) -> None:
    """And costs as many requests."""
    status, said, end, asked = CASES[name]
    script = response(status, json.dumps(said).encode()) if form == "status" else stream(event(said))
    async with served(transport, script, retries=RETRIES) as (server, upstream):
        outcome = await ask(upstream)

    assert (outcome.end, outcome.text) == (end, "")
    assert len(server.posts) == asked


@pytest.mark.parametrize("name", CASES)
async def test_an_error_after_text_keeps_the_text_and_is_asked_once(transport: str, name: str) -> None:
    """Asking again could only repeat it."""
    _, said, end, _ = CASES[name]
    async with served(transport, stream(delta(content="So far"), event(said)), retries=RETRIES) as (server, upstream):
        outcome = await ask(upstream)

    assert (outcome.end, outcome.text) == (end, "So far")
    assert len(server.posts) == 1


async def test_each_403_has_its_own_words(transport: str) -> None:
    """It is not always the key."""
    said = {
        "key": error("Your API key was reported as leaked: invalid."),
        "country": error("No.", code="unsupported_country_region_territory"),
        "permission": error("No.", type="permission_error"),
        "model": error("No.", code="model_not_found"),
        "money": error("No.", code="billing_not_active"),
    }
    scripts = [response(403, json.dumps(body).encode()) for body in said.values()]
    async with served(transport, *scripts) as (_, upstream):
        outcomes = [await ask(upstream) for _ in said]

    messages = [outcome.error.message for outcome in outcomes if isinstance(outcome.error, UpstreamRejected)]
    assert len({*messages}) == len(said)
    assert [message for message in messages if "key" in message] == ["The API key was not accepted."]


# --- no model, or nobody ---------------------------------------------------------------------------------------------


class Models(ByteServer):
    """Answers a request for the list of models as it is told."""

    def __init__(self, models: Sequence[bytes | float]) -> None:
        super().__init__()
        self.models = models

    def _script_for(self, request: Request) -> Sequence[bytes | float]:
        return self.models


async def test_a_provider_that_is_not_there_is_not_a_model_that_is_not_configured(transport: str) -> None:
    """The user may try again; the operator looks at the address."""
    async with ByteServer() as gone:
        pass
    async with opened(gone, transport, model=None) as upstream:
        outcome = await ask(upstream)

    assert type(outcome.error) is UpstreamUnavailable
    assert outcome.error.message == "The model cannot be reached."
    assert "OPENAI_BASE_URL" in str(summarize(outcome.error).hint)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (response(401, b"{}"), "The API key was not accepted."),
        (response(503, b"{}"), "The model cannot be reached."),
        (response(404, b"{}"), "No model is configured."),
        (response(200, b'{"data":[]}'), "No model is configured."),
        (response(200, b"<html>"), "No model is configured."),
    ],
)
async def test_without_a_model_the_reason_is_that_of_the_list_of_models(
    transport: str, models: Sequence[bytes | float], message: str
) -> None:
    """It could be the key as well."""
    async with Models(models) as server, opened(server, transport, model=None) as upstream:
        outcome = await ask(upstream)

    assert outcome.error
    assert outcome.error.message == message
    assert server.posts == []


CAUSES: list[tuple[str, Callable[[], Sequence[bytes | float]]]] = [
    ("rejected", lambda: response(400, b"{}")),
    ("key_refused", lambda: response(401, b"{}")),
    ("access_refused", lambda: response(403, b"{}")),
    ("address_unknown", lambda: response(404, b"{}")),
    ("rate_limited", lambda: response(429, b"{}")),
    ("failed", lambda: response(500, b"{}")),
]


@pytest.mark.parametrize(("cause", "script"), CAUSES)
async def test_the_log_has_the_cause_and_what_to_do(
    transport: str, cause: str, script: Callable[[], Sequence[bytes | float]]
) -> None:
    """The message of a user has no setting, the hint of the operator may have one."""
    async with served(transport, script(), retries=0) as (_, upstream):
        outcome = await ask(upstream)

    assert outcome.error
    summary = summarize(outcome.error)
    assert (summary.cause, summary.status is not None, summary.hint is not None) == (cause, True, True)
    assert "_" not in outcome.error.message
