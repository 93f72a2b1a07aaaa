"""Lazy commands: those that are imported when they are called, as imports take longer than most commands."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


def make_typer(*, help: str | None = None) -> typer.Typer:
    """Return a `typer.Typer` for a group of commands; without `help`, for a single command."""
    return typer.Typer(help=help, no_args_is_help=help is not None, add_completion=False, rich_markup_mode=None)


class LazyGroup(TyperGroup):
    """A group of commands whose modules are imported when they are called."""

    modules: ClassVar[Mapping[str, str]] = {}
    """By the name of each command: the module of this package in which a `typer.Typer` of the same name has it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own
        """Return the names of all commands, in the order of the help."""
        return [*self.modules]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's own
        """Return a command; for a name that is none, import all, so that typer can suggest some."""
        for name in [cmd_name] if cmd_name in self.modules else self.modules:
            if name not in self.commands:
                self.commands[name] = self._import(name)
        return super().get_command(ctx, cmd_name)

    def _import(self, name: str) -> Any:  # noqa: ANN401 - typer's classes have no public names
        command = get_command(getattr(import_module(f".{self.modules[name]}", __package__), name))
        command.name = name
        return command
