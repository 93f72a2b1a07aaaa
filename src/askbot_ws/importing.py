"""Importing: finds what a setting like `package.module:function` names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from .errors import ConfigError


def import_named(path: str, *, setting: str) -> object:
    """Return what `package.module:name` names; modules are searched in the working directory too.

    Raises `ConfigError`, with the setting's name, whatever the module does while it is imported.
    """
    module, _, names = path.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # a module may also exit
        raise ConfigError(f"{setting}: {path} cannot be imported: {error!r}.") from error
    return found
