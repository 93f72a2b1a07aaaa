"""Choice: names to choose from, and which of them may be meant by one that is none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MAX_NEAR = 3


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return at most `MAX_NEAR` of the known names: those that have the name in them, else those spelled like it."""
    by_form = {each.lower(): each for each in known}
    wanted = name.lower()
    near = [form for form in by_form if wanted in form] or get_close_matches(wanted, by_form, n=MAX_NEAR, cutoff=0.5)
    return [by_form[form] for form in near[:MAX_NEAR]]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question about the names that are near, with a space before it; empty where none is."""
    near = near_names(name, known)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def list_names(names: Sequence[str], *, chosen: str) -> str:
    """Return the names, one a line; the chosen one has a star, as in /sessions."""
    return "\n".join(f"{'*' if name == chosen else ' '} {name}" for name in names)
