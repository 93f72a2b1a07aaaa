"""Write the files that are made from the code; with --check, say which of them are not up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from askbot_ws.config import Settings, flag, variable
from askbot_ws.errors import AskbotError

ROOT = Path(__file__).parents[1]


def settings() -> str:
    """docs/settings.md: one row a setting."""
    rows = [
        f"| `{variable(name)}` | `{flag(name)}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Flags over the environment over `.env` over `askbot.toml` (or the file that `ASKBOT_CONFIG` names; its",
            "keys are the flags' names with underscores) over the defaults. Everything is checked at the start, and",
            "every fault is told at once. Durations are seconds, or `20s`, `5m`, `2h`, `30d`; sizes are bytes, or",
            "`64KiB`, `1MiB`.",
            "",
            "| variable | flag | default | |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default is PydanticUndefined:
        return "a file in your data folder"
    value = field.default
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def errors() -> str:
    """docs/errors.md: one row a code."""
    found: dict[str, type[AskbotError]] = {}
    pending: list[type[AskbotError]] = [AskbotError]
    while pending:
        cause = pending.pop(0)
        found.setdefault(cause.code, cause)
        pending += cause.__subclasses__()
    rows = [
        f"| `{code}` | {'yes' if cause.retryable else 'no'} | {cause.default} |"
        for code, cause in sorted(found.items())
    ]
    return "\n".join(
        [
            "# Error codes",
            "",
            "What `error.code` may be, in an `error` frame or in a `done` with reason `error`; the message may say",
            "more.",
            "",
            "| code | retryable | what it says |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


FILES = {"docs/settings.md": settings, "docs/errors.md": errors}


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
            path.write_text(text)
            print(f"wrote {name}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
