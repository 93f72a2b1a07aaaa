"""Output: what is written to stdout and stderr, and the exit codes."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from enum import IntEnum
from typing import Protocol

import typer

from ..client import Answer, Closed
from ..client.view import End
from ..errors import AskbotError, SessionNotFound
from ..events import Failure
from .server_url import hide_credentials

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ENDINGS = {
    "length": "the answer is longer than it may be",
    "cancelled": "the answer was stopped",
    "refused": "the model declined",
    "interrupted": "the server stopped during the answer",
}


class ExitCode(IntEnum):
    """The exit codes; docs/terminal.md and `askbot ask --help` list them too."""

    SUCCESS = 0
    INCOMPLETE = 1
    USAGE = 2
    UNREACHABLE = 3
    NO_SESSION = 4
    TIMEOUT = 124
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143

    @classmethod
    def from_error(cls, error: AskbotError) -> ExitCode:
        """Return the exit code for an error that left no answer."""
        match error:
            case Closed():
                return cls.UNREACHABLE
            case _ if error.code == "timeout":  # the server is there, and doesn't answer
                return cls.UNREACHABLE
            case SessionNotFound():
                return cls.NO_SESSION
            case _:
                return cls.INCOMPLETE


# --- writing ---------------------------------------------------------------------------------------------------------


def strip_control(text: str) -> str:
    """Return text without control characters but tab and newline: a model's text must not control the terminal."""
    return _CONTROL.sub("", text)


def write_answer(text: str) -> None:
    """Write a piece of an answer to stdout: unchanged to a pipe, without control characters to a terminal.

    Raises `BrokenPipeError` where nobody reads stdout any more.
    """
    sys.stdout.write(strip_control(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_notice(text: str) -> None:
    """Write a line to stderr, dim and without control characters."""
    typer.secho(strip_control(text), dim=True, err=True)


def write_thinking(text: str) -> None:
    """Write a piece of what a model thinks to stderr: unchanged to a pipe, dim and harmless to a terminal."""
    if sys.stderr.isatty():
        typer.secho(strip_control(text), dim=True, err=True, nl=False)
    else:
        sys.stderr.write(text)
        sys.stderr.flush()


def report_output_error(error: OSError) -> ExitCode:
    """Say why stdout or stderr can't be written, unless nobody reads it any more. Returns the exit code."""
    if isinstance(error, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    with suppress(OSError):
        print_notice(f"askbot: the output can't be written: {error.strerror}")
    return ExitCode.INCOMPLETE


def print_error(text: str) -> None:
    """Write what ends the command to stderr; no URL in it has credentials."""
    print_notice(f"askbot: {hide_credentials(text)}")


# --- texts -----------------------------------------------------------------------------------------------------------


def describe_ending(end: Answer | End) -> str:
    """Return in words why an answer is incomplete."""
    return end.error.message if end.error else _ENDINGS.get(end.reason, end.reason)


def describe_retry(failure: Failure) -> str:
    """Return a sentence, after a space, on when the same may work; nothing where it will not."""
    if not failure.retryable:
        return ""
    return " Try again later." if failure.retry_after is None else f" Try again in {failure.retry_after:.0f} s."


def one_line(text: str, *, width: int = 60) -> str:
    """Return the beginning of a text as one line of at most `width` characters, "…" included."""
    line = " ".join(strip_control(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


# --- screens ---------------------------------------------------------------------------------------------------------


class Screen(Protocol):
    """Where `askbot chat` shows answers and notices."""

    def write(self, text: str) -> None:
        """Show the next piece of an answer."""

    def end_answer(self) -> None:
        """Finish the answer, complete or not: what follows begins on a new line."""

    def show_progress(self, text: str) -> None:
        """Show, before an answer, a line that the next one replaces."""

    def end_progress(self, text: str) -> None:
        """Replace that line for the last time: what follows begins on a new one."""

    def print_notice(self, text: str) -> None:
        """Show a notice, even in the middle of an answer."""


class PlainScreen:
    """Writes text as it comes: for pipes, and for terminals that can't move their cursor."""

    def __init__(self) -> None:
        self._last = "\n"  # the last character written

    def write(self, text: str) -> None:
        """Write the next piece of an answer to stdout."""
        self._last = text[-1:] or self._last
        write_answer(text)

    def end_answer(self) -> None:
        """Begin a new line, unless the answer ended with one."""
        if self._last != "\n":
            write_answer("\n")
        self._last = "\n"

    def show_progress(self, text: str) -> None:
        """Do nothing: a line can't be replaced here."""

    def end_progress(self, text: str) -> None:
        """Write the line as a notice on a terminal; nothing to a pipe."""
        if sys.stdout.isatty():
            print_notice(text)

    def print_notice(self, text: str) -> None:
        """Write a notice to stderr; on a terminal, on a line of its own."""
        if self._last != "\n" and sys.stdout.isatty():
            self.end_answer()
        print_notice(text)


def terminal_size() -> tuple[int, int]:
    """Return the terminal's columns and rows; 80 and 24 where it doesn't know."""
    size = os.get_terminal_size(sys.stdout.fileno())
    return size.columns or 80, size.lines or 24
