"""Finish reasons: whatever a provider calls an end, it is told as what it was."""

from __future__ import annotations

import pytest

from askbot_ws.upstream.finish_reasons import finish_word, parse_finish

NAMES = {
    "length": """length LENGTH max_tokens MAX_TOKENS max-tokens maxTokens max_output_tokens max_new_tokens max_length
        model_length model_context_window_exceeded context_length_exceeded token_limit limit truncated incomplete
        FinishReason.MAX_TOKENS FINISH_REASON_MAX_TOKENS""",
    "refused": """content_filter content-filter contentFilter ContentFiltered SAFETY safety_error IMAGE_SAFETY
        RECITATION PROHIBITED_CONTENT BLOCKLIST SPII LANGUAGE refusal refused moderation guardrail_intervened sensitive
        content_policy_violation blocked flagged""",
    "error": """error ERROR error_finish network_error network-error server_error abort aborted cancelled canceled
        failed timeout time_out insufficient_system_resource insufficient_quota MALFORMED_FUNCTION_CALL overloaded
        engine_overloaded rate_limit rate_limit_exceeded exception interrupted unavailable""",
    "stop": """stop STOP stopped eos eos_token stop_sequence stop_token end end_turn endoftext complete COMPLETE
        completed finished done tool_calls tool_use function_call FinishReason.STOP normal_stop""",
}


@pytest.mark.parametrize(
    ("finish", "name"), [(finish, name) for finish, names in NAMES.items() for name in names.split()]
)
def test_each_name_says_what_it_means(finish: str, name: str) -> None:
    """In either case, with any sign between its words."""
    assert parse_finish(finish_word(name)) == finish


@pytest.mark.parametrize(
    "null", [None, "", " ", "null", "NULL", "None", "nil", "undefined", "FINISH_REASON_UNSPECIFIED", False, 0, {}, []]
)
def test_what_means_null_is_null(null: object) -> None:
    """The answer has not ended."""
    assert finish_word(null) == ""


@pytest.mark.parametrize("finish", [{"type": "length"}, {"reason": "LENGTH", "n": 1}, {"n": None, "kind": "length"}])
def test_an_object_says_what_the_word_in_it_says(finish: dict[str, object]) -> None:
    """As some servers send it."""
    assert parse_finish(finish_word(finish)) == "length"


@pytest.mark.parametrize("unknown", ["finito", "other", 1, True, "\ud800", "終わり", ["x"]])
def test_of_an_unknown_word_nothing_is_known(unknown: object) -> None:
    """Whoever asks decides."""
    assert parse_finish(finish_word(unknown)) is None
