"""Finish reasons: the many words that providers have for why an answer ended, as the few that we have."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, cast

from . import FinishReason

Finish: TypeAlias = FinishReason | Literal["error"]

_NULLS = {"", "null", "none", "nil", "undefined", "unspecified"}  # a finish that has not happened yet
_PATTERNS: tuple[tuple[Finish, re.Pattern[str]], ...] = (  # the first that is found in the word counts
    (
        "refused",
        re.compile(
            r"filter|safety|unsafe|refus|blocked|blocklist|prohibit|moderat|recitation|spii|sensitiv|guardrail"
            r"|policy|violat|censor|flagged|harm|toxic|inappropriate|^language$"
        ),
    ),
    (
        "error",
        re.compile(
            r"error|fail|abort|cancel|time_?d?_?out|insufficient|malformed|overload|unavailable|exception|interrupt"
            r"|rate_?limit|quota|disconnect|network|invalid|crash|preempt|unexpected"
        ),
    ),
    ("length", re.compile(r"length|(^|_)max|limit|truncat|context|budget|incomplete|unfinished|out_of_tokens")),
    ("stop", re.compile(r"stop|eos|end|complete|finish|done|tool|function|normal|repetition")),
)


def finish_word(value: object) -> str:
    """The provider's word in lower case, with underscores between its parts; "" where it means null.

    Some providers send an object with the word in it.
    """
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        value = next((field for field in fields.values() if isinstance(field, str)), None)
    word = re.sub(r"[^a-z0-9]+", "_", str(value or "").lower()).strip("_").removeprefix("finish_reason_")
    return "" if word in _NULLS else word


def parse_finish(word: str) -> Finish | None:
    """What a word says; None where nothing is known of it."""
    return next((finish for finish, pattern in _PATTERNS if pattern.search(word)), None)
