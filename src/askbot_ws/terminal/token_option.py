"""Token option: where `askbot ask` and `askbot chat` have their credential from, never from the command line itself."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..client.credentials import TokenSource
from ..decoding import recover_text
from .line_input import without_echo
from .output import print_notice
from .stdin_reader import StdinReader

STDIN = "-"  # the file that stands for the first line of stdin


class TokenUnreadableError(Exception):
    """There is no token where one was to be; the message says where, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class TokenOption:
    """Where the token is: in the file that `--token-file` names, in the environment variable, or nowhere."""

    variable: str
    file: str | None = None

    async def read(self) -> TokenSource | None:
        """Return the token; for a file, a function that reads it each time, as a fresh one may be written there.

        What is no regular file, as a pipe of the shell's `<(…)`, is read once. Raises `TokenUnreadableError`.
        """
        if self.file == STDIN:
            return await _read_stdin_line()
        if self.file is not None:
            return self._open_file(Path(self.file))
        token = self._read_variable()
        return _checked(token, self.variable) if token else None

    def _open_file(self, path: Path) -> TokenSource:
        token = self._read_file()
        return self._read_file if path.is_file() else token

    def _read_variable(self) -> str:
        return os.environ.get(self.variable, "").strip()

    def _read_file(self) -> str:
        path = Path(self.file or "")
        try:
            token = path.read_text("utf-8-sig").strip()
        except OSError as error:
            raise TokenUnreadableError(f"the token can't be read: {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise TokenUnreadableError(f"the token can't be read: {path} is no text") from None
        return _checked(token, str(path))

    def describe_refusal(self) -> str:
        """Return what to do where the server has refused the credential, or wants one."""
        match self.file:
            case None if not self._read_variable():
                return f"This server wants a key or a token: set {self.variable}, or name a file by --token-file."
            case None:
                place = f"{self.variable} has"
            case "-":
                place = "stdin had"
            case path:
                place = f"{path} has"
        return f"The server doesn't take the token that {place}: it may be wrong, expired or revoked."


NO_TOKEN = TokenOption(variable="")
"""No credential, whatever the environment has."""


def _checked(token: str, place: str) -> str:
    """Return a token that can be sent. Raises `TokenUnreadableError`."""
    if not token:
        raise TokenUnreadableError(f"there is no token: {place} is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise TokenUnreadableError(f"there is no token: {place} has more than one line of ASCII characters")
    return token


async def _read_stdin_line() -> str:
    """Read the first line of stdin, which a terminal doesn't show, and nothing after it."""
    terminal = sys.stdin.isatty()
    if terminal:
        print_notice("(the token, which is not shown; Enter ends it)")
    reader, line = StdinReader(sys.stdin.fileno(), sys.stdin.encoding, size=1), ""
    with without_echo(sys.stdin.fileno(), line_editing=True) if terminal else nullcontext():
        while (piece := await reader.read()) not in {"", "\n"}:
            line += piece
    return _checked(recover_text(line).strip(), "the first line of stdin")
