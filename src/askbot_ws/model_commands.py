"""Model commands: `askbot model`: which model is embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import ConfigError
from .lazy_commands import make_typer

model = make_typer(help="The model that answers without a key and without a network.")


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
