"""Recall: the questions that were asked from this terminal, for the up key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import History

from .files import append_private, write_private

MOST = 1000  # the file may grow to twice as many


class Recall(History):
    """Kept over runs, in a file that only its user can read: a JSON string a line."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        questions = [*self._read()]
        if len(questions) > 2 * MOST:
            questions = questions[-MOST:]
            with suppress(OSError):
                write_private(self._file, b"".join(map(_line, questions)))
        return reversed(questions)

    def store_string(self, string: str) -> None:
        """Commands are not kept: they are about one moment."""
        if not string.startswith("/"):
            with suppress(OSError):  # where nothing can be kept, one can still ask
                append_private(self._file, _line(string))

    def _read(self) -> Iterator[str]:
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in lines:
            try:
                question = json.loads(line)
            except ValueError:
                continue
            if isinstance(question, str):
                yield question


def _line(question: str) -> bytes:
    return json.dumps(question).encode() + b"\n"
