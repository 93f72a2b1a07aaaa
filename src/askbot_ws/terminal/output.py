"""Words: what is said on a terminal, beside the answers."""

from __future__ import annotations

import os
import re
import sys
from enum import IntEnum

import typer

from ..client import Answer, Closed
from ..client.view import End
from ..errors import AskbotError, SessionNotFound

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WHY = {
    "length": "the answer is longer than it may be",
    "cancelled": "the answer was stopped",
    "refused": "the model declined",
    "interrupted": "the server stopped during the answer",
}


class Exit(IntEnum):
    """The exit codes; docs/terminal.md and `askbot ask --help` have them too."""

    WHOLE = 0
    PARTIAL = 1
    USAGE = 2
    UNREACHABLE = 3
    NO_SESSION = 4
    TIMEOUT = 124
    INTERRUPTED = 130
    PIPE = 141

    @classmethod
    def of(cls, error: AskbotError) -> Exit:
        """Where there was no answer at all."""
        match error:
            case Closed():
                return cls.UNREACHABLE
            case SessionNotFound():
                return cls.NO_SESSION
            case _:
                return cls.PARTIAL


def plain(text: str) -> str:
    """Text without what would steer the terminal: it comes from a model, and that read who knows what."""
    return _CONTROL.sub("", text)


def say(text: str) -> None:
    """A piece of an answer to stdout: to a pipe as it is, to a terminal without what would steer it."""
    sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def leave_pipe() -> Exit:
    """Whoever read our output has enough. Python's own flush at the end would complain of that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.PIPE


def note(text: str) -> None:
    """A word aside."""
    typer.secho(plain(text), dim=True, err=True)


def why(answer: Answer | End) -> str:
    """Why an answer is not whole."""
    return answer.error.message if answer.error else _WHY.get(answer.reason, answer.reason)


def line_of(text: str, *, width: int = 60) -> str:
    """The beginning of a text as one line."""
    line = " ".join(plain(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"
