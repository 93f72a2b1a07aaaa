"""The command line as `python -m askbot_ws`, the same as `askbot`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
