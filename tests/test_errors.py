"""Errors: one tree, whose codes are those of docs/errors.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from askbot_ws.errors import AskbotError, ConfigError, FrameError, RateLimited, UpstreamError

CODES = {
    "invalid_json",
    "invalid_frame",
    "unknown_type",
    "session_not_found",
    "turn_not_found",
    "busy",
    "queue_full",
    "question_empty",
    "question_too_long",
    "refused",
    "rate_limited",
    "quota_exceeded",
    "unauthorized",
    "forbidden",
    "upstream_unavailable",
    "upstream_rate_limited",
    "upstream_rejected",
    "upstream_stalled",
    "context_too_long",
    "overloaded",
    "internal",
}

RETRYABLE = [
    "busy",
    "queue_full",
    "rate_limited",
    "upstream_unavailable",
    "upstream_rate_limited",
    "upstream_stalled",
    "overloaded",
]


def tree(root: type[AskbotError] = AskbotError) -> Iterator[type[AskbotError]]:
    """Those of errors.py: other tests have some of their own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == AskbotError.__module__:
            yield from tree(child)


def test_every_code_of_the_protocol_is_one_branch_and_there_is_no_other() -> None:
    """A class that has a code of its own begins a branch; the others inherit theirs."""
    named = [cls.code for cls in tree() if "code" in vars(cls)]

    assert sorted(named) == sorted(CODES)


def test_every_error_can_be_shown_to_a_stranger() -> None:
    """It has words of its own, without being given any."""
    for cls in tree():
        error = cls()
        assert error.message == str(error) == cls.default
        assert error.message.endswith(".")
        assert error.retry_after is None


def test_what_may_be_tried_again_says_so() -> None:
    """A client acts on it, so it is part of the contract."""
    retryable = {cls.code for cls in tree() if cls.retryable and cls.code != "internal"}

    assert retryable == set(RETRYABLE)


@pytest.mark.parametrize("prefix", ["upstream_", "context_too_long"])
def test_the_model_s_side_is_one_branch(prefix: str) -> None:
    """So that what the hub catches is all of it, and nothing else."""
    assert all(issubclass(cls, UpstreamError) for cls in tree() if cls.code.startswith(prefix))


def test_an_error_may_say_when_to_come_again_and_which_frame_it_is_about() -> None:
    """In seconds."""
    assert RateLimited("slower", retry_after=1.5).retry_after == 1.5
    assert FrameError(id="f1").id == "f1"


def test_a_fault_of_the_configuration_is_not_for_clients() -> None:
    """It ends the start."""
    assert not issubclass(ConfigError, AskbotError)
