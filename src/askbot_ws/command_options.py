"""Command options: those that commands of several modules have."""

from __future__ import annotations

from typing import Annotated

import typer

from .command_variables import TOKEN_VARIABLE

TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE|-",
        help=f"File with the key or token for the server; - is the first line of stdin. Or the token itself is in "
        f"{TOKEN_VARIABLE}.",
    ),
]
