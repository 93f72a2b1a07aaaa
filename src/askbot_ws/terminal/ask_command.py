"""Ask command: `askbot ask`, one question whose answer can be piped."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace

from ..client import Answer, AnswerStream, Closed, Damaged, State, connect
from ..client.credentials import TokenSource
from ..dialects.askbot.frames import to_dict
from ..errors import AskbotError, InvalidFrame, Unauthorized
from ..events import Failure
from .exit_signals import ExitSignals
from .output import (
    ExitCode,
    describe_ending,
    describe_retry,
    print_error,
    report_output_error,
    write_answer,
    write_thinking,
)
from .question import NothingAskedError, check_length, read_question
from .server_url import hide_credentials
from .streams import discard_unwritten
from .token_option import NO_TOKEN, TokenOption, TokenUnreadableError

AWAY_SECONDS = 60.0  # without a connection and without a piece of the answer, after which it is given up


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What to ask, which server, session and model, whether to show the model's thinking, and the credential.

    `words` are those of the question, and `-` for what stdin has; without any, stdin is the question.
    """

    words: tuple[str, ...]
    url: str
    session: str | None = None
    model: str | None = None
    show_thinking: bool = False
    token: TokenOption = NO_TOKEN


@dataclass(slots=True)
class _Received:
    """What was received of the answer so far, and how much longer the server may be away."""

    session: str | None = None
    away_seconds: float = field(default_factory=lambda: AWAY_SECONDS)
    pieces: list[str] = field(default_factory=list[str])
    thinking: str = ""
    answer: Answer | None = None

    def add_thinking(self, text: str) -> None:
        """Note a piece of thinking."""
        self.thinking, self.away_seconds = self.thinking + text, AWAY_SECONDS

    def add_text(self, text: str) -> None:
        """Note a piece of the answer."""
        self.pieces.append(text)
        self.away_seconds = AWAY_SECONDS


async def ask(options: AskOptions, *, timeout: float | None, as_json: bool) -> int:  # noqa: ASYNC109 - it is the user's
    """Ask, write the answer to stdout and everything else to stderr. Returns the exit code.

    `timeout` is in seconds, for all of it: reading stdin, connecting and the answer.
    """
    received = _Received()
    with ExitSignals() as signals:
        try:
            try:
                code, error = await _try_to_ask(options, received, timeout, show=not as_json)
                if error:
                    print_error(error.message + describe_retry(error))
            except asyncio.CancelledError:
                if signals.exit_code is None:
                    raise
                code, error = signals.exit_code, _failure("cancelled", "the command was stopped")
            if as_json:
                write_answer(json.dumps(_json_report(received, error)) + "\n")
        except OSError as unwritten:
            code = report_output_error(unwritten)
        discard_unwritten()
    return code


async def _try_to_ask(
    options: AskOptions, received: _Received, limit: float | None, *, show: bool
) -> tuple[ExitCode, Failure | None]:
    """Ask. Returns the exit code, and what went wrong."""
    try:
        async with asyncio.timeout(limit):
            await _ask(options, received, show=show)
    except TimeoutError:
        return ExitCode.TIMEOUT, _failure("timeout", f"no complete answer within {limit:g} s")
    except (NothingAskedError, TokenUnreadableError) as nothing:
        return ExitCode.USAGE, _failure(InvalidFrame.code, str(nothing))
    except Unauthorized as refused:
        return ExitCode.from_error(refused), _failure(refused.code, options.token.describe_refusal())
    except AskbotError as raised:
        failure = Failure(
            code=raised.code, message=raised.message, retryable=raised.retryable, retry_after=raised.retry_after
        )
        return ExitCode.from_error(raised), failure
    answer = received.answer
    if answer and answer.reason != "stop":
        return ExitCode.INCOMPLETE, _failure(answer.reason, describe_ending(answer))
    return ExitCode.SUCCESS, None


def _failure(code: str, message: str) -> Failure:
    """Return what has gone wrong, where nothing says that it may work later."""
    return Failure(code=code, message=message, retryable=False)


async def _ask(options: AskOptions, received: _Received, *, show: bool) -> None:
    token = await options.token.read()
    question = await read_question(options.words)
    limit = asyncio.timeout(None)
    try:
        async with limit:
            await _ask_until(limit, question, options, token, received, show=show)
    except TimeoutError:
        if limit.expired():
            raise Closed(f"The server was away for {AWAY_SECONDS:g} s.", retryable=True) from None
        raise


async def _ask_until(
    limit: asyncio.Timeout,
    question: str,
    options: AskOptions,
    token: TokenSource | None,
    received: _Received,
    *,
    show: bool,
) -> None:
    """Ask; `limit` passes where the server is away for too long."""
    on_state = _AwayTime(limit, received).on_state
    async with connect(options.url, session=options.session, token=token, on_state=on_state) as chat:
        received.session = chat.id
        check_length(question, chat.view)
        stream = chat.ask(question, model=options.model)
        try:
            await _stream_thinking(stream, received, show=options.show_thinking)
            await _stream_answer(stream, received, show=show)
        finally:
            received.session = chat.id  # a session that was lost while it was empty has another id now
        later = received.answer.thinking[len(received.thinking) :] if received.answer else ""
        if options.show_thinking and later:  # where it came, it would have broken the answer's lines
            write_thinking(later + "\n")


class _AwayTime:
    """The time in which there is no connection, counted until text comes; `limit` passes when it is used up."""

    def __init__(self, limit: asyncio.Timeout, received: _Received) -> None:
        self._limit = limit
        self._received = received
        self._now = asyncio.get_running_loop().time
        self.on_state("connecting")

    def on_state(self, state: State) -> None:
        """Note the connection's new state."""
        when = self._limit.when()
        if self._limit.expired():
            return
        if state == "open" and when is not None:
            self._received.away_seconds = when - self._now()
            self._limit.reschedule(None)
        elif state in {"connecting", "waiting"} and when is None:
            self._limit.reschedule(self._now() + self._received.away_seconds)


async def _stream_thinking(stream: AnswerStream, received: _Received, *, show: bool) -> None:
    """Write what the model thinks before it answers to stderr as it arrives, ended by a newline."""
    try:
        async for text in stream.thinking():
            received.add_thinking(text)
            if show:
                write_thinking(text)
    finally:
        if show and received.thinking and not received.thinking.endswith("\n"):
            write_thinking("\n")


async def _stream_answer(stream: AnswerStream, received: _Received, *, show: bool) -> None:
    """Write the text as it arrives, ended by a newline. Leaving early stops the answer at the server too."""
    try:
        async for text in stream:
            received.add_text(text)
            if show:
                write_answer(text)
    except Damaged:
        await stream  # has the text as the server logged it, which is what JSON reports
        if show:
            raise
    except AskbotError:
        await stream  # raises where it could not be asked at all; else the reason is in the answer
    finally:
        if show and received.pieces and not received.pieces[-1].endswith("\n"):
            write_answer("\n")
    received.answer = await stream


def _json_report(received: _Received, error: Failure | None) -> dict[str, object]:
    """Return what `--json` prints, whatever happened; its fields are those of the wire, times in milliseconds."""
    answer = received.answer
    reported = to_dict(answer.error) if answer and answer.error else None
    if error and answer is None:
        reported = to_dict(replace(error, message=hide_credentials(error.message)))
    return {
        "text": answer.text if answer else "".join(received.pieces),
        "thinking": answer.thinking if answer else received.thinking,
        "session": received.session,
        "turn": answer.turn if answer else None,
        "reason": answer.reason if answer else None,
        "model": answer.model if answer else None,
        "usage": to_dict(answer.usage) if answer and answer.usage else None,
        "timing": to_dict(answer.timing) if answer else None,
        "error": reported,
    }
