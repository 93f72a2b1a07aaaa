"""Session scripts: the scripts that take all keys of a session, with what they share."""

from __future__ import annotations

from functools import cache

from .scripts import Script, load_script


@cache
def session_script(name: str) -> Script:
    """The script of the file `scripts/<name>.lua`, behind `scripts/session.lua`. Its keys: `SessionKeys`, or `meta`."""
    return Script.of(name, (load_script("session").source + load_script(name).source).decode())
