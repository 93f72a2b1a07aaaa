"""ThinkTagSplitter: separates the reasoning that a model writes into its answer, between tags, from the answer."""

from __future__ import annotations

from . import ThinkingText

MAX_HELD_CHARS = 256  # of blanks that may precede a tag
_CLOSING_TAGS = {
    "<think>": "</think>",  # DeepSeek R1, Qwen3, QwQ, GLM, MiniMax, Nemotron, Phi
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini, where thoughts are asked for; EXAONE
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi
}
_TAGS = (*_CLOSING_TAGS, *_CLOSING_TAGS.values())  # some servers send the closing tag alone
_FIRST_CHARS = {"", *(tag[0] for tag in _TAGS)}


class ThinkTagSplitter:
    """Splits an answer's text, whose tags may be cut anywhere.

    START --opening tag--> THINKING --its closing tag--> START --other text--> settled

    Blanks around the tags are dropped. Tags that come after other text belong to the answer.
    """

    __slots__ = ("_closing_tag", "_drops_blanks", "_held", "settled")

    def __init__(self) -> None:
        self.settled = False  # the answer has begun: all that follows belongs to it
        self._closing_tag = ""  # where not empty: THINKING
        self._held = ""  # the beginning of what may become a tag
        self._drops_blanks = False  # a tag was the last that came

    def split(self, text: str) -> list[str]:
        """Take a piece of text. Returns what is certain: reasoning as `ThinkingText`, the answer as `str`."""
        pieces: list[str] = []
        rest, self._held = self._held + text, ""
        while rest and not self.settled:
            if self._drops_blanks:
                rest = rest.lstrip()
            rest = self._take_thinking(rest, pieces) if self._closing_tag else self._take_tag(rest)
        return [*pieces, rest] if rest else pieces

    def flush(self) -> list[str]:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return [ThinkingText(held) if self._closing_tag else held] if held else []

    def _take_tag(self, text: str) -> str:
        """Take a tag at the beginning of the text, or hold the text where it may become one. Returns the rest."""
        stripped = text.lstrip()
        if stripped[:1] in _FIRST_CHARS:
            for tag in _TAGS:
                if stripped.startswith(tag):
                    self._closing_tag, self._drops_blanks = _CLOSING_TAGS.get(tag, ""), True
                    return stripped[len(tag) :]
            if len(text) <= MAX_HELD_CHARS and any(tag.startswith(stripped) for tag in _TAGS):
                self._held = text
                return ""
        self.settled = True
        return text

    def _take_thinking(self, text: str, pieces: list[str]) -> str:
        """Take the text up to the closing tag, or to what may become one. Returns the rest."""
        thinking, tag, rest = text.partition(self._closing_tag)
        if tag:
            self._closing_tag = ""
        else:
            thinking, self._held = _without_partial_tag(text, self._closing_tag)
        if thinking:
            pieces.append(ThinkingText(thinking))
        self._drops_blanks = bool(tag) or (self._drops_blanks and not thinking)
        return rest


def _without_partial_tag(text: str, tag: str) -> tuple[str, str]:
    """The text up to the beginning of a tag at its end, and that beginning."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return text[:-length], text[-length:]
    return text, ""
