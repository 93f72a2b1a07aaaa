"""AnswerFilter: passes on an answer of a small model, without what such a model adds to it.

It removes a prefix that the model copies from the examples of its prompt, and notices when the model repeats itself.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable

MAX_BLOCK_LINES = 8  # of a block of lines that is looked for
REPEATS = 3  # of a block, after which the answer ends
MIN_SENTENCE_WORDS = 3  # of a sentence whose repetition counts
MAX_OPENINGS = 5  # clauses that begin alike, after which the answer ends
OPENING_WORDS = 3  # of a clause, by which its beginning is compared
LINE_END = re.compile(r"\n")
SENTENCE_END = re.compile(r"\n|(?<=[^\d][.!?])\s")  # not after the number of a list's item
CLAUSE_END = re.compile(r"[,;:.!?]\s+")
LIST_MARKER = re.compile(r"\s*(?:\d+[.)]|[-*•])\s+")  # a list of one item that is numbered on is a repetition, too


class AnswerFilter:
    """Calls `on_text` with the answer's pieces, until the same block of lines came three times in a row.

    With `sentences`, for a small model, a sentence that comes for the third time anywhere ends it, too, and so do five
    clauses that begin alike.

    Attributes:
        has_text: Whether `on_text` was called.
        repeats: Whether the answer repeats itself; further pieces are dropped.
        on_repeat: Called when that is noticed.
    """

    def __init__(self, on_text: Callable[[str], None], *, prefix: str = "", sentences: bool = False) -> None:
        """`prefix` is removed from the answer's beginning, with the space around it."""
        self.has_text = False
        self.repeats = False
        self.on_repeat: Callable[[], object] = bool
        self._on_text = on_text
        self._prefix = prefix
        self._beginning: str | None = ""  # of the answer, while it may be the prefix
        self._separator = SENTENCE_END if sentences else LINE_END
        self._sentences: Counter[str] | None = Counter() if sentences else None
        self._openings: Counter[str] = Counter()  # of clauses
        self._line = ""  # the last one, which goes on
        self._lines: deque[str] = deque(maxlen=REPEATS * MAX_BLOCK_LINES)  # those before it that are not blank

    def __call__(self, text: str) -> None:
        """Take a piece of the answer."""
        if self._beginning is not None:
            text = self._without_prefix(self._beginning + text)
        if text and not self.repeats:
            self.has_text = True
            self._on_text(text[: self._take_lines(text)])

    def finish(self) -> None:
        """Pass on what is left at the answer's end."""
        if self._beginning and self._beginning.strip() != self._prefix:
            self.has_text = True
            self._on_text(self._beginning)
        self._beginning = None

    def _without_prefix(self, beginning: str) -> str:
        """Return what can be passed on of the answer's beginning."""
        stripped = beginning.lstrip()
        if self._prefix and self._prefix.startswith(stripped.rstrip()):
            self._beginning = beginning
            return ""
        self._beginning = None
        has_prefix = self._prefix and stripped.startswith(self._prefix)
        return stripped.removeprefix(self._prefix).lstrip() if has_prefix else beginning

    def _take_lines(self, text: str) -> int:
        """Look at the lines that a piece ends; returns how much of it comes before the repetition's end, if any."""
        whole, start = self._line + text, 0
        for end in self._separator.finditer(whole):
            line, start = whole[start : end.start()], end.end()
            if line.strip():
                self._lines.append(LIST_MARKER.sub("", line, count=1).rstrip())
                if _ends_with_repeats(list(self._lines)) or self._is_repeated(self._lines[-1]):
                    self.repeats = True
                    self.on_repeat()
                    return len(text) - (len(whole) - start)
        self._line = whole[start:]
        return len(text)

    def _is_repeated(self, sentence: str) -> bool:
        """Count a sentence and its clauses; returns whether it, or clauses that begin alike, came too often."""
        if self._sentences is None:
            return False
        openings = [
            " ".join(clause.lower().rstrip(".!?").split()[:OPENING_WORDS]) for clause in CLAUSE_END.split(sentence)
        ]
        self._openings.update(opening for opening in openings if " " in opening)
        if any(self._openings[opening] >= MAX_OPENINGS for opening in openings):
            return True
        if len(sentence.split()) < MIN_SENTENCE_WORDS:
            return False
        self._sentences[sentence.lower()] += 1
        return self._sentences[sentence.lower()] == REPEATS


def _ends_with_repeats(lines: list[str]) -> bool:
    """Whether the last lines are one block, with a word in it, `REPEATS` times."""
    for size in range(1, len(lines) // REPEATS + 1):
        block = lines[-size:]
        if lines[-size * REPEATS :] == block * REPEATS and any(re.search(r"\w", line) for line in block):
            return True
    return False
