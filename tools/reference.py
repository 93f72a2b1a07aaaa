"""docs/settings.md and docs/errors.md: tables that are told by the code."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from askbot_ws.config import RELOADABLE, SECRETS, Settings, default_text, env_variable, flag, section_title
from askbot_ws.errors import AskbotError
from askbot_ws.upstream.choose import DEFAULT_CONTEXT_TOKENS, DEFAULT_PERSONA
from askbot_ws.upstream.embedded_model import DEFAULT_WINDOW_TOKENS, SMOLLM2, SYSTEM_PROMPT
from askbot_ws.upstream.openai import DEFAULT_MODEL

DEPENDENT = [env_variable(name) for name in ("model", "persona", "context_tokens", "max_tokens", "guard")]


def settings() -> str:
    """docs/settings.md: one table a section, one row a setting."""
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
            *_reloadable(),
            *_tables(),
            *_defaults(),
        ]
    )


def _reloadable() -> list[str]:
    """The settings that a running server takes."""
    names = ", ".join(f"`{env_variable(name)}`" for name in Settings.model_fields if name in RELOADABLE)
    text = (
        "At SIGHUP a running server reads all sources and the key file again, and applies what has changed of these: "
        f"{names}. Others need a restart, which the log says. Where anything is wrong, all stays as it was, and the "
        "log has every fault."
    )
    return [*textwrap.wrap(text, 112, break_long_words=False, break_on_hyphens=False), ""]


def _tables() -> Iterator[str]:
    """One section after another, as in `askbot serve --help`."""
    for title, names in groupby(Settings.model_fields, key=section_title):
        yield from (f"## {title}", "", "| variable | flag | default | what it sets |", "| --- | --- | --- | --- |")
        for name in names:
            described = Settings.model_fields[name].description
            yield f"| `{env_variable(name)}` | {_flag(name)} | {_default(name)} | {described} |"
        yield ""


def _defaults() -> list[str]:
    """The defaults that depend on what answers."""
    tokens = Settings().max_tokens
    quoted = textwrap.wrap(DEFAULT_PERSONA, 110, initial_indent="> ", subsequent_indent="> ")
    rows = [
        ("what answers", *map("`{}`".format, DEPENDENT)),
        ("---",) * (len(DEPENDENT) + 1),
        ("an API", f"`{DEFAULT_MODEL}`; of another URL, its first", "Askbot's", DEFAULT_CONTEXT_TOKENS, tokens, "off"),
        (SMOLLM2.name, "itself", "Askbot's, by examples", SMOLLM2.context_tokens, SMOLLM2.max_tokens, "on"),
        ("another GGUF file", "itself", "Askbot's", f"the file's, up to {DEFAULT_WINDOW_TOKENS}", tokens, "on"),
        ("your own function", "its name", "none", DEFAULT_CONTEXT_TOKENS, tokens, "off"),
    ]
    return [
        "## What the defaults are",
        "",
        "They depend on what answers:",
        "",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
        "### The persona",
        "",
        "Whoever asks talks to Askbot: every request begins with a system prompt, in these words:",
        "",
        *quoted,
        "",
        f"{SMOLLM2.name} is too small for rules; it is shown by examples:",
        "",
        *(f"> {line}  " for line in SYSTEM_PROMPT.splitlines()),
        "",
        "`ASKBOT_PERSONA` replaces it by a text, or by that of a file (`ASKBOT_PERSONA=@persona.txt`). Empty",
        "(`ASKBOT_PERSONA=`, `--persona ''`), it switches it off: no system prompt is sent, and the model speaks in",
        "its own voice.",
        "",
        "### The guard",
        "",
        "A model as small as the embedded one can't tell a question from a greeting. So where `ASKBOT_GUARD` is on,",
        "greetings, statements that ask nothing and a short list of what is inappropriate, in English and Korean, are",
        "answered with one of a few fixed sentences; the model is not asked, and `done` has the reason `refused`. It",
        "would rather let pass than refuse; what follows an answer need not look like a question.",
        "",
        "### A model of your own",
        "",
        "`ASKBOT_EMBEDDED_MODEL=model.gguf` runs any instruct model in a GGUF file on this machine's CPU, with the",
        "chat template and the context length of the file (at most what fits a quarter of the memory, unless",
        "`ASKBOT_CONTEXT_TOKENS` says more). `askbot model use model.gguf` checks the file and writes that line into",
        "the `.env` of the current folder; removing the line undoes it. What runs it is installed by `askbot model",
        "install`, or alone by `pip install 'askbot-ws[embedded]'`. A large model may need a longer",
        "`ASKBOT_STALL_TIMEOUT` for its first word.",
        "",
    ]


def _flag(name: str) -> str:
    return "" if name in SECRETS else f"`{flag(name)}`"  # the list of processes would show it to everybody


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
