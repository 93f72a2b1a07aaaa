"""Setting sources: a setting's value with the place that it was written at, and what may be shown of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_SHOWN_CHARACTERS = 80
_MAX_SUGGESTIONS = 2
_CREDENTIALS = (
    (re.compile(r"//\S*@"), "//…@"),
    (re.compile(r"(?<!\S)[^\s/@]+:\S*@"), "…@"),  # of a URL without its scheme
    (re.compile(r"(//[^\s?#]*[?#])\S+"), r"\1…"),
)


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value, its setting's name as it was written (`--port`, `ASKBOT_PORT`, `port`), and in words where that is."""

    value: object
    name: str
    source: str

    def describe(self, *, secret: bool) -> str:
        """Return name, value and source; nothing of a value that is secret."""
        return f"{self.name}: {'what was given' if secret else shown_value(self.value)}, {self.source}"


def shown_value(value: object) -> str:
    """Return a value without user, password, query and fragment of a URL, quoted and cut at 80 characters."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    for pattern, shown in _CREDENTIALS:
        text = pattern.sub(shown, text)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def suggest_name(name: str, known: Sequence[str]) -> str:
    """Return which of the known names may be meant, or what to do where none is near."""
    wanted = _normalize(name)
    by_form = {_normalize(each): each for each in known}
    close = get_close_matches(wanted, by_form, n=_MAX_SUGGESTIONS, cutoff=0.7)
    close = close or [form for form in by_form if f"_{wanted}_" in f"_{form}_"][:_MAX_SUGGESTIONS]
    if not close:
        return "Remove it; `askbot serve --help` lists all that there are."
    return f"Did you mean {' or '.join(by_form[form] for form in close)}?"


def _normalize(name: str) -> str:
    """Return a name in the form in which `--max-turns`, `ASKBOT_MAX_TURNS` and `max_turns` are equal."""
    return name.strip("-").lower().replace("-", "_").removeprefix("askbot_")
