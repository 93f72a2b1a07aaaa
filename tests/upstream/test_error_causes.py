"""What is made of an error, in the words of many providers and proxies."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from askbot_ws.errors import (
    ContextTooLong,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamStalled,
    UpstreamUnavailable,
)
from askbot_ws.upstream import error_causes
from askbot_ws.upstream.error_causes import ErrorCause
from askbot_ws.upstream.error_report import report_of_response
from askbot_ws.upstream.provider_errors import (
    ProviderError,
    error_from_event,
    error_from_response,
    is_retryable,
    is_unexplained,
    may_be_length,
    summarize,
)
from tests.process import ROOT

CLASSES: dict[str, type[UpstreamError]] = {
    "context_too_long": ContextTooLong,
    "rate_limited": UpstreamRateLimited,
    "failed": UpstreamUnavailable,
}
QUESTION = "What is a rate limit, an invalid API key, or a content filter?"


def openai(message: str, *, code: object = None, type: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def google(status: int, name: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": status, "message": message, "status": name, "details": [*details]}}]


CASES: dict[str, tuple[int, object, str]] = {
    # --- too long
    "OpenAI": (
        400,
        openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        "context_too_long",
    ),
    "OpenAI, a long message": (
        400,
        openai("Invalid 'messages[0].content'.", code="string_above_max_length", param="messages[0].content"),
        "context_too_long",
    ),
    "Gemini": (
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (218152) exceeds the maximum number of tokens allowed (65536).",
        ),
        "context_too_long",
    ),
    "Anthropic": (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}},
        "context_too_long",
    ),
    "Anthropic, with the answer's length": (
        400,
        openai("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        "context_too_long",
    ),
    "Anthropic, by size": (
        413,
        {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        "context_too_long",
    ),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "context_too_long",
    ),
    "llama.cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
            }
        },
        "context_too_long",
    ),
    "llama.cpp, as a fault": (
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
        "context_too_long",
    ),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
            "error_type": "validation",
        },
        "context_too_long",
    ),
    "TGI, without an answer": (
        422,
        {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 9000"},
        "context_too_long",
    ),
    "LiteLLM": (
        400,
        openai('litellm.ContextWindowExceededError: X - {"error":{"message":"no"}}', code="400", type=""),
        "context_too_long",
    ),
    "SGLang": (
        400,
        {"object": "error", "message": "length of prompt_tokens (9) must be less than max_seq_len (8).", "code": 400},
        "context_too_long",
    ),
    "Alibaba": (
        400,
        openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
        "context_too_long",
    ),
    "Groq, without a code": (
        400,
        openai("Please reduce the length of the messages or completion."),
        "context_too_long",
    ),
    "Zhipu, by its filter": (
        400,
        {"error": {"code": "1301", "message": "System detected potentially unsafe or sensitive content in input."}},
        "content_filtered",
    ),
    "Bedrock, by a guardrail": (400, openai("The guardrail intervened and blocked it."), "content_filtered"),
    "xAI, by its filter": (403, openai("Content violates usage guidelines. Failed check: X"), "content_filtered"),
    "new-api, by its filter": (
        400,
        openai("sensitive words detected", code="sensitive_words_detected"),
        "content_filtered",
    ),
    "one-api, without credit": (403, openai("用户额度不足", code="insufficient_user_quota", type=""), "quota_used_up"),
    "LiteLLM, over its budget": (
        400,
        openai("Budget has been exceeded! Current cost: 2, Max budget: 1", code="400", type="budget_exceeded"),
        "quota_used_up",
    ),
    "Anthropic, over a limit of one's own": (
        400,
        openai("You have reached your specified API usage limits. You will regain access on 2026-12-01."),
        "quota_used_up",
    ),
    "Bedrock, without such a model": (400, openai("The provided model identifier is invalid."), "model_unknown"),
    "OpenRouter, with the words of the provider behind it": (
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": json.dumps({"error": {"message": "Input is too long for requested model."}})},
            }
        },
        "context_too_long",
    ),
    "Bedrock": (
        400,
        {"message": "Input is too long for requested model.", "__type": "ValidationException"},
        "context_too_long",
    ),
    "nginx": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "context_too_long"),
    "OpenAI, over the tokens a minute": (
        429,
        openai(
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 36258.",
            code="rate_limit_exceeded",
            type="tokens",
        ),
        "context_too_long",
    ),
    "Groq, over the tokens a minute": (
        413,
        openai(
            "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 8011",
            code="rate_limit_exceeded",
            type="tokens",
        ),
        "context_too_long",
    ),
    # --- too many requests
    "OpenAI, tokens that others have used": (
        429,
        openai(
            "Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9500, Requested 800.",
            code="rate_limit_exceeded",
            type="tokens",
        ),
        "rate_limited",
    ),
    "Bedrock, throttled": (
        400,
        {"error": {"message": "ThrottlingException: Too many tokens, please wait before trying again."}},
        "rate_limited",
    ),
    "Gemini, for now": (
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. Please retry in 34s.",
        ),
        "rate_limited",
    ),
    "Mistral, of the free tier": (
        429,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "code": "3505",
        },
        "rate_limited",
    ),
    "Azure": (
        429,
        {"error": {"code": "429", "message": "Requests to the operation have exceeded token rate limit of your tier."}},
        "rate_limited",
    ),
    "nobody's words": (429, "", "rate_limited"),
    # --- no money
    "OpenAI, no money": (
        429,
        openai("You exceeded your current quota.", code="insufficient_quota", type="insufficient_quota"),
        "quota_used_up",
    ),
    "DeepSeek, no money": (402, openai("Insufficient Balance", type="unknown_error"), "quota_used_up"),
    "Anthropic, no money": (400, openai("Your credit balance is too low to access the API."), "quota_used_up"),
    "Moonshot, no money": (429, openai("no", type="exceeded_current_quota_error"), "quota_used_up"),
    # --- the content filter
    "Azure, filtered": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure's policy.",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "content_filtered",
    ),
    "OpenRouter, flagged": (
        403,
        {
            "error": {
                "code": 403,
                "message": "m requires moderation on P. Your input was flagged. No credits were charged.",
                "metadata": {"reasons": ["violence"], "flagged_input": "…"},
            }
        },
        "content_filtered",
    ),
    "DeepSeek, filtered": (400, openai("Content Exists Risk"), "content_filtered"),
    "Qwen, filtered": (
        400,
        openai("Input data may contain inappropriate content.", code="data_inspection_failed"),
        "content_filtered",
    ),
    "Moonshot, filtered": (
        400,
        openai("The request was rejected because it was considered high risk", type="content_filter"),
        "content_filtered",
    ),
    # --- who asks, and for what
    "a wrong key": (401, openai("Incorrect API key provided: sk-1.", code="invalid_api_key"), "key_refused"),
    "Gemini, a wrong key": (
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {"@type": "t", "reason": "API_KEY_INVALID"},
        ),
        "key_refused",
    ),
    "OpenAI, a country": (
        403,
        openai("Country, region, or territory not supported", code="unsupported_country_region_territory"),
        "region_refused",
    ),
    "Gemini, a country": (
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        "region_refused",
    ),
    "a permission": (403, openai("Project does not have access to model m", code="model_not_found"), "model_unknown"),
    "Gemini, a permission": (403, google(403, "PERMISSION_DENIED", "Permission denied on resource."), "access_refused"),
    "a 403 without words": (403, "<html>Forbidden</html>", "access_refused"),
    "OpenAI, a model": (404, openai("The model `m` does not exist.", code="model_not_found"), "model_unknown"),
    "Ollama, a model": (404, openai('model "m" not found, try pulling it first', type="api_error"), "model_unknown"),
    "Azure, a deployment": (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource is not there."}},
        "model_unknown",
    ),
    "an address": (404, "404 page not found", "address_unknown"),
    "another host": (308, "", "address_unknown"),
    # --- a field
    "OpenAI, a field": (400, openai("No.", code="unsupported_value", param="temperature"), "field_refused"),
    "Mistral, a field": (
        422,
        {
            "object": "error",
            "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "n"], "msg": "no", "input": QUESTION}]},
            "type": "invalid_request_error",
        },
        "field_refused",
    ),
    # --- nothing of it
    "no reason": (400, openai("Invalid request."), "rejected"),
    "a template": (400, openai("role user is not like this", param="messages[1].role"), "rejected"),
    "a body that is none": (422, "no", "rejected"),
    "FastAPI": (
        422,
        {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field", "input": {"q": QUESTION}}]},
        "rejected",
    ),
    "a fault": (500, openai("The server had an error.", type="server_error"), "failed"),
    "a fault with a question in it": (500, openai(QUESTION), "failed"),
    "Anthropic, overloaded": (529, openai("Overloaded", type="overloaded_error"), "failed"),
    "TGI, in generation": (424, {"error": "Request failed during generation", "error_type": "generation"}, "failed"),
    "Cloudflare": (
        400,
        {"result": None, "success": False, "errors": [{"code": 7003, "message": "Could not route to /m."}]},
        "rejected",
    ),
}


def body_of(said: object) -> bytes:
    return said.encode() if isinstance(said, str) else json.dumps(said).encode()


def cause_of(error: UpstreamError) -> str:
    return summarize(error).cause


@pytest.mark.parametrize("name", CASES)
def test_an_error_has_one_cause_with_its_own_error(name: str) -> None:
    """Whatever it is written in."""
    status, said, cause = CASES[name]
    error = error_from_response(status, {}, body_of(said))

    assert cause_of(error) == cause
    assert type(error) is CLASSES.get(cause, UpstreamRejected)


def told_by_its_body(name: str) -> bool:
    """Whether the status adds nothing to what the body says."""
    _, said, cause = CASES[name]
    by_status = ("rejected", "failed", "field_refused", "quota_used_up", "key_refused")
    return not isinstance(said, str) and (
        report_of_response(200, body_of(said)).status is not None or cause not in by_status
    )


@pytest.mark.parametrize("name", [name for name in CASES if told_by_its_body(name)])
def test_an_error_with_a_status_of_success_has_the_same_cause(name: str) -> None:
    """Where the body names a status, a code or a type: some gateways have answered 200 by then."""
    _, said, cause = CASES[name]

    assert error_causes.find_cause(report_of_response(200, body_of(said))).name == cause


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (openai("boom", type="server_error"), "failed"),
        (openai("slow down", type="rate_limit_error"), "rate_limited"),
        (openai("no", code=429), "rate_limited"),
        (openai("no", code="429"), "rate_limited"),
        (openai("no", type="RateLimitError"), "rate_limited"),
        (openai("no", code=502, type=""), "failed"),
        (openai("no"), "rejected"),
        (openai("no", type="BadRequestError"), "rejected"),
        (openai("no", code="insufficient_quota", type=""), "quota_used_up"),
        (openai("no", code="content_filter", type=""), "content_filtered"),
        (openai("no", code="context_length_exceeded", type=""), "context_too_long"),
        (openai("no", code=401, type=""), "key_refused"),
        (openai("no", type="authentication_error"), "key_refused"),
        (openai("no", type="permission_error"), "access_refused"),
        ({"error": "out of memory"}, "failed"),
        ({"error": "ThrottlingException: Too many tokens, please wait before trying again."}, "rate_limited"),
        ({"object": "error", "message": "no", "code": 400}, "rejected"),
        ({"error": {"message": "maximum context length is 9 tokens", "code": 400}}, "context_too_long"),
        ({"error": {"error": {"message": "no", "code": 400}}}, "rejected"),
        ({"error": True}, "failed"),
        ({"error": {}}, "failed"),
    ],
)
def test_an_error_event_has_the_cause_that_a_response_has(event: dict[str, Any], cause: str) -> None:
    """By its codes and words, as there is no status."""
    assert cause_of(error_from_event(event)) == cause


@pytest.mark.parametrize("status", [400, 422])
def test_what_repeats_the_question_is_not_read(status: int) -> None:
    """FastAPI and others put what they were sent into the error; the words of a user explain nothing."""
    messages = [{"role": "user", "content": QUESTION}]
    said = {"detail": [{"type": "value_error", "loc": ["body"], "msg": "Invalid.", "input": {"messages": messages}}]}

    assert cause_of(error_from_response(status, {}, body_of(said))) == "rejected"


def test_what_users_are_told_names_no_setting_and_the_log_says_what_to_do() -> None:
    """One sentence for each cause."""
    causes = [cause for cause in vars(error_causes).values() if isinstance(cause, ErrorCause)]
    messages = [cause.error(cause.message).message for cause in causes if cause.message]

    assert len(causes) > 10
    assert len({*messages}) == len(messages)
    assert all(message.endswith(".") and "_" not in message for message in messages)
    assert all(cause.hint.endswith(".") for cause in causes)
    assert len({cause.name for cause in causes}) == len(causes)


@pytest.mark.parametrize(
    ("status", "said", "unexplained", "may_be_long"),
    [
        (400, "no", True, True),
        (413, "no", True, True),
        (422, "no", True, True),
        (404, "no", False, False),
        (401, "no", False, False),
        (500, "no", False, True),
        (429, "slow down", False, False),
        (429, "Rate limit of 20,000 input tokens per minute", False, True),
        (400, "Insufficient balance", False, False),
    ],
)
def test_whether_the_length_may_be_the_reason(*, status: int, said: str, unexplained: bool, may_be_long: bool) -> None:
    """Where nothing else is said, or a shorter prompt is less work."""
    error = error_from_response(status, {}, said.encode())

    assert (is_unexplained(error), may_be_length(error)) == (unexplained, may_be_long)


def test_a_model_that_reads_for_too_long_may_have_been_given_too_much() -> None:
    """It sent nothing; an address where nobody is, however, says nothing of the length."""
    assert may_be_length(UpstreamStalled())
    assert not may_be_length(UpstreamUnavailable())


@pytest.mark.parametrize(("status", "retried"), [(408, True), (409, True), (500, True), (429, True), (400, False)])
def test_what_passes_is_tried_again(status: int, *, retried: bool) -> None:
    """And nothing else."""
    assert is_retryable(error_from_response(status, {}, b"{}")) is retried


def test_the_page_about_providers_lists_every_cause_with_its_code() -> None:
    """And no other."""
    page = (ROOT / "docs/providers.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|none[^|]*) \|", page, flags=re.MULTILINE)
    causes = [cause for cause in vars(error_causes).values() if isinstance(cause, ErrorCause)]

    assert {*rows} == {(cause.name, "" if cause.name == "content_filtered" else cause.error.code) for cause in causes}


# --- for the log -----------------------------------------------------------------------------------------------------


def test_the_log_has_what_programs_say_and_no_sentence() -> None:
    """Status, type, code and length; the words apart."""
    said = openai(f"You asked: {QUESTION}", code="invalid_value")
    summary = summarize(error_from_response(400, {}, body_of(said)))

    assert (summary.status, summary.type, summary.provider_code) == (400, "invalid_request_error", "invalid_value")
    assert summary.text_chars == len(body_of(said))
    assert QUESTION in summary.text
    assert QUESTION not in f"{summary.cause} {summary.hint}"


@pytest.mark.parametrize("name", ["code", "type", "status", "reason"])
def test_a_sentence_is_no_code(name: str) -> None:
    """Some servers put one there; it may be the question."""
    summary = summarize(error_from_response(400, {}, body_of({"error": {name: QUESTION}})))

    assert (summary.type, summary.provider_code) == (None, None)


def test_what_the_system_reports_is_logged_with_its_words_and_what_others_raise_without() -> None:
    """The reason for which nothing answers, under whatever it was raised from."""
    refused, wrapped, foreign = UpstreamUnavailable(), UpstreamUnavailable(), UpstreamRejected()
    refused.__cause__ = ConnectionRefusedError(111, "Connect call failed")
    wrapped.__cause__ = RuntimeError(QUESTION)
    wrapped.__cause__.__cause__ = TimeoutError()
    foreign.__cause__ = ValueError(QUESTION)

    assert summarize(refused).cause == "ConnectionRefusedError: [Errno 111] Connect call failed"
    assert summarize(wrapped).cause == "RuntimeError, by TimeoutError: "
    assert summarize(foreign).cause == "ValueError"
    assert "OPENAI_BASE_URL" in str(summarize(refused).hint)
    assert "OPENAI_BASE_URL" in str(summarize(wrapped).hint)
    assert summarize(foreign).hint is None


def test_a_stall_has_its_hint() -> None:
    """The setting that is too low."""
    assert "ASKBOT_STALL_TIMEOUT" in str(summarize(UpstreamStalled()).hint)


@pytest.mark.parametrize(
    "body", [b"[" * 5000, json.dumps({"error": {"error": {"error": {}}}}).encode(), b"\xff", b"", b"1"]
)
def test_whatever_the_body_is_there_is_an_error(body: bytes) -> None:
    """It may be anything."""
    assert isinstance(error_from_response(400, {}, body).__cause__, ProviderError)
