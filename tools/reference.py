"""docs/settings.md and docs/errors.md: tables that are told by the code."""

from __future__ import annotations

from askbot_ws.config import Settings, default_text, env_variable, flag
from askbot_ws.errors import AskbotError


def settings() -> str:
    """docs/settings.md: one row a setting."""
    rows = [
        f"| `{env_variable(name)}` | {_flag(name)} | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Flags override the environment, that overrides `.env`, that `askbot.toml` (or the file that",
            "`ASKBOT_CONFIG` names; its keys are the flags' names with underscores), that the defaults. All settings",
            "are checked at the start, and all errors are reported at once.",
            "",
            "Durations are in seconds, or written like `20s`, `5m`, `2h` or `30d`. Sizes are in bytes, or written like",
            "`64KiB` or `1MiB`, whose unit is a power of 1024 (of `64kB` or `1MB`, a power of 1000). Switches are `on`",
            "or `off` (as flags: `--fsync`, `--no-limits`).",
            "",
            "| variable | flag | default | what it sets |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _flag(name: str) -> str:
    return "" if name == "openai_api_key" else f"`{flag(name)}`"  # the list of processes would show it to everybody


def _default(name: str) -> str:
    if name == "store":
        return "`askbot.db` in your data folder"  # another one on each machine
    value = default_text(name)
    return "" if value is None else f"`{value}`"


def errors() -> str:
    """docs/errors.md: one row a code."""
    rows = [
        f"| `{code}` | {'yes' if cause.retryable else 'no'} | {cause.default} |" for code, cause in causes().items()
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


def causes() -> dict[str, type[AskbotError]]:
    """The class of each code on the wire; where several share one, the first, which has its words.

    The clients' own errors are of another module, and on no wire.
    """
    found: dict[str, type[AskbotError]] = {}
    pending: list[type[AskbotError]] = [AskbotError]
    while pending:
        cause = pending.pop(0)
        if cause.__module__ == AskbotError.__module__:
            found.setdefault(cause.code, cause)
        pending += cause.__subclasses__()
    return dict(sorted(found.items()))
