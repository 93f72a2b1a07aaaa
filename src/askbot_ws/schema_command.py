"""Schema command: `askbot schema`."""

from __future__ import annotations

import json

import typer

from .dialects.askbot.frames import schema as make_schema
from .lazy_commands import make_typer

schema = make_typer()


@schema.command()
def print_schema() -> None:
    """Print the JSON Schema of all frames."""
    typer.echo(json.dumps(make_schema(), indent=2))
