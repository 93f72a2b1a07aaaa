"""Asking: `askbot ask`, one question whose answer fits a pipe."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from ..client import Answer, Asked, Damaged, connect
from ..dialects.askbot.frames import to_dict
from ..errors import AskbotError
from .words import Exit, leave_pipe, note, say, why


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and of whom."""

    text: str
    url: str
    session: str | None = None
    model: str | None = None


@dataclass(slots=True)
class _Told:
    """What there is to report so far."""

    session: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    answer: Answer | None = None


async def ask(question: Question, *, timeout: float | None, as_json: bool) -> int:  # noqa: ASYNC109 - it is the user's
    """The answer to stdout, everything else to stderr. Returns the exit code."""
    told, code, fault = _Told(), Exit.WHOLE, None
    try:
        async with asyncio.timeout(timeout):
            await _put(question, told, show=not as_json)
    except TimeoutError:
        code, fault = Exit.TIMEOUT, ("timeout", f"no complete answer within {timeout:g} s")
    except BrokenPipeError:
        return leave_pipe()
    except AskbotError as error:
        code, fault = Exit.of(error), (error.code, error.message)
    answer = told.answer
    if answer and answer.reason != "stop":
        code, fault = Exit.PARTIAL, (answer.reason, why(answer))
    if fault:
        note(f"askbot: {fault[1]}")
    try:
        if as_json:
            say(json.dumps(_report(told, fault)) + "\n")
    except BrokenPipeError:
        return leave_pipe()
    return code


async def _put(question: Question, told: _Told, *, show: bool) -> None:
    async with connect(question.url, session=question.session) as chat:
        told.session = chat.id
        await _hear(chat.ask(question.text, model=question.model), told, show=show)


async def _hear(asked: Asked, told: _Told, *, show: bool) -> None:
    """The text as it comes, ended by a newline. Leaving early, for whatever reason, stops it at the server too."""
    try:
        async for text in asked:
            told.pieces.append(text)
            if show:
                say(text)
    except Damaged:
        await asked  # as it was given: with JSON, no harm is done
        if show:
            raise
    except AskbotError:
        await asked  # raises where it could not be asked at all; else the reason is in the answer
    finally:
        if show and told.pieces and not told.pieces[-1].endswith("\n"):
            say("\n")
    told.answer = await asked


def _report(told: _Told, fault: tuple[str, str] | None) -> dict[str, object]:
    """One object, whatever happened; its fields are those of the wire, times in milliseconds."""
    answer = told.answer
    error = to_dict(answer.error) if answer and answer.error else None
    if fault and answer is None:
        error = {"code": fault[0], "message": fault[1]}
    return {
        "text": answer.text if answer else "".join(told.pieces),
        "session": told.session,
        "turn": answer.turn if answer else None,
        "reason": answer.reason if answer else None,
        "model": answer.model if answer else None,
        "usage": to_dict(answer.usage) if answer and answer.usage else None,
        "timing": to_dict(answer.timing) if answer and answer.timing else None,
        "error": error,
    }
