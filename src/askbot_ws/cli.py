"""Command line: `askbot` and its subcommands.

What takes long to import is imported by the command that needs it, so that `--help` is fast.
"""

from __future__ import annotations

# isort: off
from . import early  # noqa: F401  # pyright: ignore[reportUnusedImport]  # first: it takes effect when imported

# isort: on
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, ClassVar, NoReturn

import typer

from . import __version__
from .command_errors import Commands
from .errors import ConfigError
from .terminal.streams import discard_unwritten, pop_encoding_warning, prepare_streams


class AllCommands(Commands):
    """All commands."""

    modules: ClassVar[Mapping[str, str]] = {
        "serve": "serve_commands",
        "check": "serve_commands",
        "chat": "conversation_commands",
        "ask": "conversation_commands",
        "ticket": "credential_commands",
        "schema": "schema_command",
        "model": "model_commands",
        "key": "credential_commands",
        "store": "store_commands",
        "sessions": "session_commands",
    }


app = typer.Typer(
    cls=AllCommands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"askbot-ws {__version__}")
        raise typer.Exit


@app.callback()
def askbot(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Conversations with any OpenAI-compatible model over WebSocket: nothing lost, nothing twice."""


def main() -> None:
    """Run the console script. Exits with 2 where settings are wrong, with 130 after Ctrl-C."""
    prepare_streams()
    try:
        app()
    except ConfigError as error:
        _exit(2, str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if notice := pop_encoding_warning():
            with suppress(OSError):
                typer.echo(f"askbot: {notice}", err=True)
        discard_unwritten()


def _exit(code: int, message: str) -> NoReturn:
    with suppress(OSError):
        typer.echo(message, err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
