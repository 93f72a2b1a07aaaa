"""Command errors: what is said of a command line that is wrong, and of an output that can't be written."""

from __future__ import annotations

import errno
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from .command_variables import TOKEN_VARIABLE
from .errors import ConfigError
from .lazy_commands import LazyGroup

_TOKEN_OPTIONS = {"--token", "--key", "--api-key", "--ticket", "--bearer"}  # that somebody may try
BROKEN_PIPE = 141  # the exit code where nobody reads the output any more
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}  # of an output that is full, or not open for writing


class Commands(LazyGroup):
    """The commands, with what can be said of their errors."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - typer's own
        """Read the command line up to the command."""
        with _errors_told():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Read the rest of the command line, and run the command."""
        with _errors_told():
            return super().invoke(ctx)


@contextmanager
def _errors_told() -> Generator[None]:
    """Exit where the output can't be written; have no credentials of a URL in what is said of a wrong command line."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        with suppress(OSError):
            typer.echo(f"askbot: the output can't be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    except UnicodeEncodeError as error:
        if error.encoding != sys.getfilesystemencoding():
            raise
        raise ConfigError(
            f"The name of a file can't be written in the locale's encoding, {error.encoding}; set LC_ALL=C.UTF-8."
        ) from None
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str) and hasattr(error, "format_message"):
            from .terminal.server_url import hide_credentials  # noqa: PLC0415 - for errors only

            told: Any = error  # typer's classes have no public names
            told.message = hide_credentials(message) + (_option_hint(told) if hasattr(told, "possibilities") else "")
            told.possibilities = None
        raise


def _option_hint(error: Any) -> str:  # noqa: ANN401 - typer's, see above
    """Return what may be meant by an option that a command doesn't have."""
    from .config import SECRETS, env_variable, flag  # noqa: PLC0415 - for errors only
    from .setting_types import one_of  # noqa: PLC0415 - for errors only

    name = error.option_name.partition("=")[0]
    secret = next((field for field in SECRETS if name == flag(field)), None)
    if secret is not None:
        what = "key" if secret.endswith("key") else "secret"
        return f". The {what} is no option, as every user of this machine could read it: set {env_variable(secret)}."
    if name in _TOKEN_OPTIONS:
        return (
            f". The token is no option, as every user of this machine could read it: set {TOKEN_VARIABLE}, "
            "or name a file that has it by --token-file."
        )
    if error.possibilities:
        return f". Did you mean {' or '.join(error.possibilities[:2])}?"
    group = error.ctx.command
    names: list[str] = group.list_commands(error.ctx) if isinstance(group, TyperGroup) else []
    commands: list[Any] = [group.get_command(error.ctx, each) for each in names]
    owners = [f"`askbot {command.name}`" for command in commands for p in command.params if name in p.opts]
    return f". It is an option of {one_of(owners)}, and stands behind that." if owners else ""
