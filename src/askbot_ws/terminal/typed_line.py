"""Typed line: a line that grows by keys, on a terminal that can't move its cursor.

The terminal's own line editing keeps 4095 bytes of a line and drops the rest, so it is switched off and done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.cells import cell_len

_TAB_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class EditingKeys:
    """The keys that edit a line, as the terminal is set up; each is a set of characters, mostly one."""

    erase: frozenset[str] = frozenset("\x7f\x08")
    erase_word: frozenset[str] = frozenset("\x17")
    kill: frozenset[str] = frozenset("\x15")
    end: frozenset[str] = frozenset("\x04")


class TypedLine:
    """A line as it is typed: `feed` applies keys, `take_echo` returns what is to be shown of them."""

    def __init__(self, prompt: str, keys: EditingKeys, *, columns: Callable[[], int]) -> None:
        """`prompt` stands before it already; `columns` returns the terminal's width."""
        self.ended = False
        self.at_end = False  # the key for the end of the input was pressed on an empty line
        self._prompt = prompt
        self._keys = keys
        self._columns = columns
        self._typed: list[str] = []
        self._echo: list[str] = []

    @property
    def text(self) -> str:
        """What was typed, without what was erased."""
        return "".join(self._typed)

    def take_echo(self) -> str:
        """Return what to write to the terminal, once."""
        echo = "".join(self._echo)
        self._echo.clear()
        return echo

    def shown(self) -> str:
        """Return prompt and line as they are shown, to show them again."""
        return self._prompt + "".join(map(_visible, self._typed))

    def feed(self, characters: str) -> str:
        """Apply what was typed, up to the line's end. Returns what comes after it."""
        for at, character in enumerate(characters):
            self._press(character)
            if self.ended:
                return characters[at + 1 :]
        return ""

    def _press(self, key: str) -> None:
        keys = self._keys
        if key in "\n\r" or key in keys.end:
            self.ended, self.at_end = True, key in keys.end and not self._typed
            self._echo.append("" if self.at_end else "\n")
        elif key in keys.erase:
            self._erase(self._last_character())
        elif key in keys.erase_word:
            self._erase(self._last_word())
        elif key in keys.kill:
            self._erase(len(self._typed))
        else:
            self._typed.append(key)
            self._echo.append(_visible(key))

    def _last_character(self) -> int:
        """Return how many code points the last character has, with what combines with it."""
        count = 1
        while count < len(self._typed) and not cell_len(_visible(self._typed[-count]).replace("\t", " ")):
            count += 1
        return min(count, len(self._typed))

    def _last_word(self) -> int:
        """Return how many code points the last word has, with the spaces after it."""
        return len(self._typed) - (self.text.rstrip().rfind(" ") + 1)

    def _erase(self, count: int) -> None:
        """Erase so many code points; a line that is longer than the terminal is wide is shown anew."""
        if not count:
            return
        before = self._width(self._typed)
        del self._typed[len(self._typed) - count :]
        width = before - self._width(self._typed)
        if before + cell_len(self._prompt) < self._columns():
            self._echo.append("\b" * width + " " * width + "\b" * width)
        elif count > 1:
            self._echo.append("\n" + self.shown())
        else:
            self._echo.append("\b \b" * width)

    def _width(self, characters: Iterable[str]) -> int:
        start = column = cell_len(self._prompt)
        for character in characters:
            column += _TAB_COLUMNS - column % _TAB_COLUMNS if character == "\t" else cell_len(_visible(character))
        return column - start


def _visible(character: str) -> str:
    """Return what is shown of a character: a control character as ^X, one that is no text as a question mark."""
    if character != "\t" and (character < " " or character == "\x7f"):
        return f"^{chr(ord(character) ^ 64)}"
    if "\x80" <= character <= "\x9f":
        return ""
    return "?" if "\ud800" <= character <= "\udfff" else character
