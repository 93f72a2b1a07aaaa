"""Session scripts: the scripts that take all keys of a session, with what they share."""

from __future__ import annotations

from functools import cache

from .scripts import Script, load_script


@cache
def session_script(name: str) -> Script:
    """The script of the file `scripts/<name>.lua`, behind `scripts/session.lua`. Its keys: `SessionKeys`, or `meta`."""
    return _joined(name, "session", name)


@cache
def confirmed_script(name: str) -> Script:
    """A `session_script` that only reads, after which `WAIT` waits for all that it may have read."""
    return _joined(name, "session", "confirm", name)


def _joined(name: str, *files: str) -> Script:
    return Script.of(name, b"".join(load_script(file).source for file in files).decode())
