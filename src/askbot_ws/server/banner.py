"""Banner: what a server prints at its start."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from .. import __version__
from ..store.url import without_password
from .address import Address


def print_banner(address: Address, *, model: str, store: str, workers: int = 1, note: str | None = None) -> None:
    """Print where the server can be reached, what answers and where sessions are stored; `note` is a line about it."""
    scheme = address.page_url.partition(":")[0]
    elsewhere = (
        f"  ({scheme}://{socket.gethostname()}:{address.port}/ from other machines)"
        if address.listens_everywhere
        else ""
    )
    lines = [
        f"askbot-ws {__version__}",
        f"  page    {address.page_url}{elsewhere}",
        f"  socket  {address.url}",
        f"  model   {model}",
        f"  store   {without_password(store)}",
    ]
    if workers > 1:
        lines.append(f"  workers {workers}")
    if note:
        lines.append(note)
    try:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    except OSError:  # a full disk or a closed pipe: serve all the same, and do not fail at exit either
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open until the end
