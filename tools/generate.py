"""Write the files that are made from the code; with --check, say which of them are not up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from api_reference import pages
from asyncapi import document
from reference import errors, settings
from typescript import declarations

ROOT = Path(__file__).parents[1]

FILES = {
    "docs/settings.md": settings,
    "docs/errors.md": errors,
    "docs/asyncapi.json": document,
    "client/frames.d.ts": declarations,
    **pages(),
}


def main(*, check: bool) -> int:
    """Returns the exit code."""
    stale = 0
    for name, make in FILES.items():
        path = ROOT / name
        text = make()
        if path.exists() and path.read_text() == text:
            continue
        if check:
            print(f"{name} is not up to date: make generate")
            stale += 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
