"""Choice: what may be meant by a name."""

from __future__ import annotations

import pytest

from askbot_ws.terminal.choice import did_you_mean, list_names

MODELS = ["gpt-5-mini", "gpt-5", "Qwen3-8B", "claude"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mini", " Did you mean gpt-5-mini?"),
        ("GPT", " Did you mean gpt-5-mini or gpt-5?"),
        ("qwen-8b", " Did you mean Qwen3-8B?"),
        ("cluade", " Did you mean claude?"),
        ("카", ""),
    ],
)
def test_the_names_that_are_near_are_told(name: str, told: str) -> None:
    """Whatever their case is; a part is near before a misspelling."""
    assert did_you_mean(name, MODELS) == told


def test_the_chosen_name_has_a_star() -> None:
    """As in other lists."""
    assert list_names(["a", "b"], chosen="b") == "  a\n* b"
