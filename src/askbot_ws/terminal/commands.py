"""Slash commands: what a line that begins with a slash means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "retry": ("", "asks the last question again"),
        "edit": ("[N]", "asks something else instead of the last question (or of number N)"),
        "history": ("[N]", "shows the last N questions and answers"),
        "thinking": ("", "shows what the model thought before the last answer"),
        "sessions": ("[N]", "lists your conversations, to go on with one"),
        "open": ("[N]", "goes on with number N of that list"),
        "title": ("[TEXT]", "names this conversation, or shows its name"),
        "new": ("", "begins a new conversation"),
        "model": ("[NAME]", "lists the models, or asks another one from now on"),
        "export": ("[FILE]", "writes this conversation to a file, as Markdown"),
        "forget": ("", "deletes this conversation, everywhere"),
        "help": ("", "shows this"),
        "quit": ("", "leaves, as Ctrl-D does, and Ctrl-C at the prompt"),
    }
)
_ALIASES = {"exit": "quit", "?": "help"}
HINT = "/help shows what there is; Ctrl-C stops an answer"
KEYS_HELP = (
    "Alt+Enter, or a backslash at a line's end, begins a further line.\nCtrl-C stops an answer. "
    "A question may begin with a space and a slash."
)


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command as it was typed, known or not."""

    name: str
    argument: str

    @property
    def number(self) -> int | None:
        """The argument as a number; None where it is none."""
        return int(self.argument) if re.fullmatch("[0-9]{1,9}", self.argument) else None


def parse_command(line: str) -> SlashCommand | None:
    """Return the command that a line is; None for a question."""
    found = re.fullmatch(r"/([a-z]+|\?)(?:\s+(.*?))?\s*", line, flags=re.DOTALL)
    return SlashCommand(_ALIASES.get(found[1], found[1]), found[2] or "") if found else None


def help_text() -> str:
    """Return what /help shows: all commands, one a line, and the keys."""
    lines = [(f"/{name} {argument}", text) for name, (argument, text) in COMMANDS.items()]
    return "\n".join([*(f"{usage:<16} {text}" for usage, text in lines), KEYS_HELP])
