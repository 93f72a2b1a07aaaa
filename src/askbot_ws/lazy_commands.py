"""Lazy commands: those that are imported when they are called, as imports take longer than most commands."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


def make_typer(*, help: str | None = None) -> typer.Typer:
    """Return what the commands of a group are registered with; or one command, where there is no help for the group."""
    return typer.Typer(help=help, no_args_is_help=help is not None, add_completion=False, rich_markup_mode=None)


class LazyGroup(TyperGroup):
    """A group of commands, most of which are in modules that are imported for them alone."""

    modules: ClassVar[Mapping[str, str]] = {}
    """By the names of these commands: modules of this package, in which a `typer.Typer` has that name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own
        """Return the names of all commands, in the order of the help."""
        return [*self.modules, *(name for name in self.commands if name not in self.modules)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer's own
        """Return a command; for a name that is none, import all, so that typer can suggest some."""
        for name in [cmd_name] if cmd_name in self.list_commands(ctx) else self.modules:
            if name not in self.commands:
                self.commands[name] = self._import(name)
        return super().get_command(ctx, cmd_name)

    def _import(self, name: str) -> Any:  # noqa: ANN401 - typer's classes have no public names
        command = get_command(getattr(import_module(f".{self.modules[name]}", __package__), name))
        command.name = name
        return command
