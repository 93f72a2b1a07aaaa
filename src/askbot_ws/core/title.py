"""Title: how a model is asked for the title of a session, and what is made of its answer."""

from __future__ import annotations

import re

from ..events import Options
from .prompt import Message, Prompt
from .text import one_line

MAX_MODEL_TITLE_CHARS = 80  # of a title that a model makes, in code points
SHOWN_CHARS = 2000  # of the question and of the answer that the model is shown, in code points
TITLE_OPTIONS = Options(max_tokens=40)
REQUEST = "What is a good title for this conversation? Answer with at most six words in its language, and nothing else."
_MARKS = " \t\"'`*_#~„“”‟‚‘’‛«»‹›「」『』《》<>()[]{}.,:;"  # noqa: RUF001 - quotation marks, and those of Markdown
_LABEL = re.compile(r"(title|name)\s*:", re.IGNORECASE)


def title_prompt(question: str, answer: str) -> Prompt:
    """Return the prompt that asks for the title of a session, by its question and the answer."""
    shown = [Message("user", question[:SHOWN_CHARS]), Message("assistant", answer[:SHOWN_CHARS])]
    return Prompt.of([*shown, Message("user", REQUEST)], TITLE_OPTIONS)


def clean_title(text: str) -> str:
    """Return the title in a model's answer, in one line without quotation marks around it; empty where there is none.

    A longer one is cut behind a word.
    """
    lines = (line.strip(_MARKS) for line in text.splitlines())
    first = next((line for line in lines if line and not _LABEL.fullmatch(line + ":")), "")
    title = one_line(_LABEL.sub("", first, count=1) if _LABEL.match(first) else first, limit=4 * MAX_MODEL_TITLE_CHARS)
    if len(title) > MAX_MODEL_TITLE_CHARS:
        title = title[: MAX_MODEL_TITLE_CHARS + 1].rpartition(" ")[0] or title[:MAX_MODEL_TITLE_CHARS]
    return title.strip(_MARKS)
