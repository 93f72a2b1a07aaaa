"""Ask command: `askbot ask`, one question whose answer can be piped."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from ..client import Answer, AnswerStream, Damaged, connect
from ..dialects.askbot.frames import to_dict
from ..errors import AskbotError
from .output import ExitCode, describe_ending, discard_stdout, print_notice, write_answer, write_thinking


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What to ask, which server, session and model, and whether to show the model's thinking."""

    text: str
    url: str
    session: str | None = None
    model: str | None = None
    show_thinking: bool = False


@dataclass(slots=True)
class _Progress:
    """What was received of the answer so far."""

    session: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    thinking: str = ""
    answer: Answer | None = None


async def ask(options: AskOptions, *, timeout: float | None, as_json: bool) -> int:  # noqa: ASYNC109 - it is the user's
    """Ask, write the answer to stdout and everything else to stderr. `timeout` is in seconds. Returns the exit code."""
    progress, code, error = _Progress(), ExitCode.SUCCESS, None
    try:
        async with asyncio.timeout(timeout):
            await _ask(options, progress, show=not as_json)
    except TimeoutError:
        code, error = ExitCode.TIMEOUT, ("timeout", f"no complete answer within {timeout:g} s")
    except BrokenPipeError:
        return discard_stdout()
    except AskbotError as raised:
        code, error = ExitCode.from_error(raised), (raised.code, raised.message)
    answer = progress.answer
    if answer and answer.reason != "stop":
        code, error = ExitCode.INCOMPLETE, (answer.reason, describe_ending(answer))
    if error:
        print_notice(f"askbot: {error[1]}")
    try:
        if as_json:
            write_answer(json.dumps(_json_report(progress, error)) + "\n")
    except BrokenPipeError:
        return discard_stdout()
    return code


async def _ask(options: AskOptions, progress: _Progress, *, show: bool) -> None:
    async with connect(options.url, session=options.session) as chat:
        progress.session = chat.id
        stream = chat.ask(options.text, model=options.model)
        await _stream_thinking(stream, progress, show=options.show_thinking)
        await _stream_answer(stream, progress, show=show)
        later = progress.answer.thinking[len(progress.thinking) :] if progress.answer else ""
        if options.show_thinking and later:  # where it came, it would have broken the answer's lines
            write_thinking(later + "\n")


async def _stream_thinking(stream: AnswerStream, progress: _Progress, *, show: bool) -> None:
    """Write what the model thinks before it answers to stderr as it arrives, ended by a newline."""
    try:
        async for text in stream.thinking():
            progress.thinking += text
            if show:
                write_thinking(text)
    finally:
        if show and progress.thinking and not progress.thinking.endswith("\n"):
            write_thinking("\n")


async def _stream_answer(stream: AnswerStream, progress: _Progress, *, show: bool) -> None:
    """Write the text as it arrives, ended by a newline. Leaving early stops the answer at the server too."""
    try:
        async for text in stream:
            progress.pieces.append(text)
            if show:
                write_answer(text)
    except Damaged:
        await stream  # has the text as the server logged it, which is what JSON reports
        if show:
            raise
    except AskbotError:
        await stream  # raises where it could not be asked at all; else the reason is in the answer
    finally:
        if show and progress.pieces and not progress.pieces[-1].endswith("\n"):
            write_answer("\n")
    progress.answer = await stream


def _json_report(progress: _Progress, error: tuple[str, str] | None) -> dict[str, object]:
    """Return what `--json` prints, whatever happened; its fields are those of the wire, times in milliseconds.

    `error` is a code and a message.
    """
    answer = progress.answer
    reported = to_dict(answer.error) if answer and answer.error else None
    if error and answer is None:
        reported = {"code": error[0], "message": error[1]}
    return {
        "text": answer.text if answer else "".join(progress.pieces),
        "thinking": answer.thinking if answer else progress.thinking,
        "session": progress.session,
        "turn": answer.turn if answer else None,
        "reason": answer.reason if answer else None,
        "model": answer.model if answer else None,
        "usage": to_dict(answer.usage) if answer and answer.usage else None,
        "timing": to_dict(answer.timing) if answer and answer.timing else None,
        "error": reported,
    }
