"""ChatCompletion: what a completion's chunks add up to."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from ..errors import UpstreamError
from ..events import Usage
from . import FinishReason, ThinkingText, clean_model_name, parse_usage
from .chunk_text import REASONING_FIELDS, content_pieces, reasoning_pieces
from .finish_reasons import finish_word, parse_finish
from .provider_errors import broken_answer, error_from_event

_MESSAGE_FIELDS = ("message", "detail", "msg", "error_msg", "error_message")  # of an error
_SUCCESS = re.compile("0|2[0-9][0-9]|ok|success", re.IGNORECASE)  # as an event's code
_MAX_FINISH_CHARS = 64  # of a provider's word for a finish, in the log

_Json: TypeAlias = Any  # not checked beforehand: a wrong shape shows when it is used


class ChatCompletion:
    """One answer, as its chunks tell it.

    Attributes:
        error: Why the answer failed; None where it has not.
        finish_reason: Why the answer ended; None where it has not, or has failed.
        finish_contradicted: Text came after the finish reason: it may have been none.
        unknown_finish: The provider's word for the finish, where nothing is known of it; it counts as "stop".
    """

    __slots__ = (
        "_has_refusal",
        "_has_text",
        "_has_thinking",
        "_message_text",
        "_message_thinking",
        "_messages",
        "_model",
        "_usage",
        "error",
        "finish_contradicted",
        "finish_reason",
        "unknown_finish",
    )

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self.finish_reason: FinishReason | None = None
        self.finish_contradicted = False
        self.unknown_finish: str | None = None
        self._has_text = self._has_thinking = self._has_refusal = False
        self._messages = 0  # that had something new: with one, the text came as a whole
        self._message_text = self._message_thinking = ""
        self._model: _Json = None
        self._usage: _Json = None

    @property
    def model(self) -> str | None:
        """The provider's name for the model, made well-formed and cut; None where it named none."""
        return clean_model_name(self._model)

    @property
    def usage(self) -> Usage | None:
        """The tokens that the provider counted; None where it did not, or sent no valid numbers."""
        try:
            return parse_usage(self._usage["prompt_tokens"], self._usage["completion_tokens"])
        except (LookupError, TypeError):
            return None

    def add_chunk(self, chunk: dict[str, _Json], *, is_bare: bool = False) -> list[str]:
        """Take a chunk, or a whole completion. Returns its pieces of text, reasoning as `ThinkingText`.

        `is_bare` is whether it is no event, but a line of JSON for itself: then a message alone is an error's.

        Raises `LookupError`, `TypeError`, `ValueError`, `AttributeError` or `RecursionError` where its shape is wrong.
        """
        if not self._model:
            self._model = chunk.get("model")
        if usage := chunk.get("usage"):
            self._usage = usage
        choices = chunk.get("choices")
        finish_before = self.finish_reason
        pieces = self._add_choice(choices[0]) if choices and choices[0] else []
        if chunk.get("error") or (not choices and _is_error(chunk, is_bare=is_bare)):
            self.finish_reason, self.error = finish_before, error_from_event(chunk)
        return pieces

    def note_body_end(self) -> None:
        """Note the end of the body: a whole answer needs no finish reason."""
        if self._messages == 1 and self.finish_reason is None and self.error is None:
            self.finish_reason = "refused" if self._has_refusal else "stop"

    def _add_choice(self, choice: dict[str, _Json]) -> list[str]:
        had_finish = self.finish_reason is not None
        pieces = self._choice_pieces(choice)
        finish = choice.get("finish_reason")
        word = finish_word(finish) if finish else ""
        if word:
            is_name = len(word) <= _MAX_FINISH_CHARS and not re.search(r"\s", str(finish).strip())
            self._set_finish(word, name=word if is_name else "a text")
        if choice.get("error"):
            self.finish_reason, self.error = None, error_from_event(choice)
        if pieces:
            self.finish_contradicted = had_finish
        elif word:
            self.finish_contradicted = False
        return pieces

    def _set_finish(self, word: str, *, name: str) -> None:
        """Take a finish; `name` is for the log, where a text, which may be a question, must not be."""
        finish = parse_finish(word)
        if finish == "error":
            self.finish_reason, self.error = None, broken_answer(f"the provider ended the answer with {name}")
            return
        self.unknown_finish = None if finish else name
        self.finish_reason = "refused" if self._has_refusal else finish or "stop"

    def _choice_pieces(self, choice: dict[str, _Json]) -> list[str]:
        """The text of a delta; of a message, where no text has come in deltas."""
        delta, message = choice.get("delta"), choice.get("message")
        pieces = self._delta_pieces(delta or {"content": choice.get("text")})
        for piece in pieces:
            if type(piece) is str:
                self._has_text = True
            else:
                self._has_thinking = True
        if message and not self._has_text:
            pieces += self._message_pieces(message)
        return pieces

    def _message_pieces(self, message: _Json) -> list[str]:
        """What a message adds: one that begins with the text of those before it repeats them, another one goes on."""
        pieces = self._delta_pieces(message)
        text = "".join(piece for piece in pieces if not isinstance(piece, ThinkingText))
        thinking = "".join(piece for piece in pieces if isinstance(piece, ThinkingText) and not self._has_thinking)
        text, thinking = text.removeprefix(self._message_text), thinking.removeprefix(self._message_thinking)
        self._message_text += text
        self._message_thinking += thinking
        if text or thinking or not self._messages:
            self._messages += 1
        return [piece for piece in (ThinkingText(thinking), text) if piece]

    def _delta_pieces(self, delta: _Json) -> list[str]:
        if isinstance(delta, str):
            return content_pieces(delta)
        pieces = [] if REASONING_FIELDS.isdisjoint(delta) else reasoning_pieces(delta)
        content = delta.get("content")
        if isinstance(content, str):
            if content:
                pieces.append(content)
        else:
            pieces += content_pieces(content)
        refusal = delta.get("refusal")
        if refusal and refusal is not True:
            self._has_refusal = True
            pieces += content_pieces(refusal)
        return pieces


def _is_error(chunk: dict[str, _Json], *, is_bare: bool) -> bool:
    """Whether a chunk without choices is an error, in a shape that has no field of that name."""
    get = chunk.get
    if get("errors") or any("error" in str(get(name)).lower() for name in ("object", "type", "status")):
        return True
    code = get("code")
    return any(get(name) for name in _MESSAGE_FIELDS) and bool(is_bare or (code and not _SUCCESS.fullmatch(str(code))))
