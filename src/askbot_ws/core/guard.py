"""Guard: recognizes what is no question, or inappropriate, by its words, and gives a fixed answer to it.

It is for models that are too small to do so themselves. It would rather let pass than refuse: a statement is refused
only where all its sentences look like statements and no word in it hints at a request; something inappropriate only
where somebody asks to do it, not where it is talked about. It knows English and Korean.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias
from zlib import crc32

from .guard_words import (
    ANSWERS,
    CRIME,
    FICTION,
    GREETING,
    HELLO,
    INAPPROPRIATE,
    KOREAN_CRIME,
    KOREAN_FICTION,
    KOREAN_FIRST_PERSON,
    KOREAN_GREETING,
    KOREAN_HELLO,
    KOREAN_REQUEST,
    KOREAN_STATEMENT,
    REQUEST,
    SELF_HARM,
    STATEMENT,
    UNFINISHED,
)

Verdict: TypeAlias = Literal["greeting", "statement", "inappropriate", "self_harm"]

MAX_STATEMENT_WORDS = 25  # a longer text may be one to work on
HANGUL = re.compile("[가-힣ㄱ-ㅎ]")
WORD = re.compile(r"\w")
CODE = re.compile(r"[`{}\[\]<>=|\\_@#/]|\n|:(?:\s|$)|(?<!\.)\.\.++\s*$|…\s*$")  # a text to work on, or to go on with
SENTENCE_END = re.compile(r"(?<![.!~。])[.!~。]++(?:\s+|$)|\n+")


def refusal(question: str, *, follows: bool = False) -> str | None:
    """Return the sentence that answers a question which is refused, always the same; None where the model may answer.

    Args:
        question: What was asked.
        follows: Whether it follows other questions of its session: then it need not look like a question.
    """
    verdict = judge(question, follows=follows)
    return None if verdict is None else answer_to(question, verdict)


def answer_to(question: str, verdict: Verdict) -> str:
    """Return the sentence that answers a question which is refused for this reason, in its language."""
    sentences = ANSWERS["ko" if HANGUL.search(question) else "en"][verdict]
    return sentences[crc32(question.encode(errors="replace")) % len(sentences)]


def judge(question: str, *, follows: bool = False) -> Verdict | None:
    """Return why a question is refused; None where it is not. The arguments are those of `refusal`."""
    text = unicodedata.normalize("NFC", question).replace("\u2019", "'").replace("\uff1f", "?").strip().lower()
    if SELF_HARM.search(text):
        return "self_harm"
    if INAPPROPRIATE.search(text) or _asks_for_crime(text):
        return "inappropriate"
    if not WORD.search(text):
        return None if follows or "?" in text or CODE.search(text) else "statement"
    sentences = [one for one in SENTENCE_END.split(_without_symbols(text)) if one.strip()]
    if all(_is_greeting(one) for one in sentences) and not (follows and _is_reply(text)):
        return "greeting"
    if follows or "?" in text or CODE.search(text) or len(text.split()) > MAX_STATEMENT_WORDS:
        return None
    is_statement = _is_korean_statement if HANGUL.search(text) else _is_statement
    return "statement" if all(_is_greeting(one) or is_statement(one) for one in sentences) else None


def _asks_for_crime(text: str) -> bool:
    """Whether it asks how to commit a crime, and not in a game or a story."""
    english = CRIME.search(text) and not FICTION.search(text)
    return bool(english or (KOREAN_CRIME.search(text) and not KOREAN_FICTION.search(text)))


def _is_reply(text: str) -> bool:
    """Whether it may answer what the model asked: no word of it is only a greeting."""
    return not HELLO.search(text) and not KOREAN_HELLO.search(text)


def _without_symbols(text: str) -> str:
    """Return a text without emoji and other symbols."""
    return "".join(one for one in text if unicodedata.category(one) not in {"So", "Sk", "Cf", "Mn"})


def _is_greeting(sentence: str) -> bool:
    greeting = KOREAN_GREETING if HANGUL.search(sentence) else GREETING
    return greeting.fullmatch(sentence.strip(" ,!?.~^-")) is not None


def _is_statement(sentence: str) -> bool:
    if REQUEST.search(sentence) or UNFINISHED.search(sentence):
        return False
    return STATEMENT.match(_without_greeting(sentence, GREETING)) is not None


def _is_korean_statement(sentence: str) -> bool:
    sentence = _without_greeting(sentence, KOREAN_GREETING)
    if KOREAN_REQUEST.search(sentence):
        return False
    return (KOREAN_STATEMENT.search(sentence) or KOREAN_FIRST_PERSON.match(sentence)) is not None


def _without_greeting(sentence: str, greeting: re.Pattern[str]) -> str:
    """Return what follows a greeting and a comma."""
    first, comma, rest = sentence.partition(",")
    return rest.strip() if comma and greeting.fullmatch(first.strip()) else sentence.strip()
