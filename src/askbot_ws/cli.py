"""Command line: `askbot` and its subcommands.

What takes long to import is imported by the command that needs it, so that `--help` is fast.
"""

from __future__ import annotations

# isort: off
from . import early  # noqa: F401  # pyright: ignore[reportUnusedImport]  # first: it takes effect when imported

# isort: on
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, NoReturn

import typer

from . import __version__
from .command_errors import Commands
from .errors import ConfigError
from .lazy_commands import make_typer
from .terminal.streams import discard_unwritten, prepare_streams, take_unwritable


class AllCommands(Commands):
    """All commands, but for those that are in this module."""

    modules: ClassVar[Mapping[str, str]] = {
        "serve": "serve_commands",
        "check": "serve_commands",
        "chat": "conversation_commands",
        "ask": "conversation_commands",
        "ticket": "credential_commands",
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
model = make_typer(help="The model that answers without a key and without a network.")
app.add_typer(model, name="model")


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


@model.command("install")
def install_model() -> None:
    """Install the embedded model."""
    from .upstream.weights import install  # noqa: PLC0415 - for this command only

    install(report=typer.echo)


@model.command("use")
def use_model(file: Annotated[Path, typer.Argument(help="GGUF file of an instruct model.")]) -> None:
    """Run another model on this machine: sets ASKBOT_EMBEDDED_MODEL in the .env of the current folder.

    Removing that line undoes it.
    """
    from dotenv import set_key  # noqa: PLC0415 - for this command only

    from .config import env_variable  # noqa: PLC0415 - for this command only
    from .upstream.embedded_model import model_of_file  # noqa: PLC0415 - for this command only
    from .upstream.weights import require_engine  # noqa: PLC0415 - for this command only

    require_engine()
    path, dotenv = file.expanduser().absolute(), Path(".env").resolve()
    name, variable = model_of_file(path).name, env_variable("embedded_model")
    try:
        set_key(dotenv, variable, str(path))
    except OSError as error:
        raise ConfigError(f"{dotenv} can't be written ({error.strerror or error}). Set {variable}={path}") from error
    typer.echo(f"{name} answers what is asked of a server that is started here.")
    typer.echo(f"{variable} is set in {dotenv}; remove the line to undo it.")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of all frames."""
    from .dialects.askbot.frames import schema  # noqa: PLC0415 - for this command only

    typer.echo(json.dumps(schema(), indent=2))


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
        if notice := take_unwritable():
            with suppress(OSError):
                typer.echo(f"askbot: {notice}", err=True)
        discard_unwritten()


def _exit(code: int, message: str) -> NoReturn:
    with suppress(OSError):
        typer.echo(message, err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
