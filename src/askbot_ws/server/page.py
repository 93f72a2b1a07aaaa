"""The page's HTML, once for each language: `index.html` names its words, `page/words.json` has them."""

from __future__ import annotations

import html
import json
import re
from importlib.resources.abc import Traversable

from pydantic import TypeAdapter

WORDS = TypeAdapter(dict[str, dict[str, str]])


def pages_of(folder: Traversable) -> dict[str, bytes]:
    """By language, the one for everybody else first. The words are in it as JSON too, for its scripts."""
    template = (folder / "index.html").read_text(encoding="utf-8")
    words = WORDS.validate_json((folder / "page" / "words.json").read_bytes())
    return {language: _rendered(template, language, known) for language, known in words.items()}


def _rendered(template: str, language: str, words: dict[str, str]) -> bytes:
    script = json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # nothing ends it early
    values = {name: html.escape(text) for name, text in words.items()} | {"lang": language, "words": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template).encode()
