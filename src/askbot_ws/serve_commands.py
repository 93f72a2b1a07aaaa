"""Serve commands: `askbot serve` and `askbot check`, whose options are the settings."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer
from typer.core import TyperCommand

from .config import SECRETS, Settings, default_text, env_variable, flag, load, section_title
from .early import allow_pydantic_plugins
from .errors import ConfigError, StoreUnavailable
from .lazy_commands import make_typer

serve, check = make_typer(), make_typer()


class SectionedCommand(TyperCommand):
    """A command whose help has its options in sections: those of `rich_help_panel`, without drawing boxes."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's own
        """Write the sections, in the order of their first options, and those of the command itself at the end."""
        sections = dict[str, list[tuple[str, str]]]()
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                sections.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in sorted(sections.items(), key=lambda item: item[0] == "Options"):
            with formatter.section(title):
                formatter.write_dl(records)


def serve_conversations(*, reload: bool, **flags: Any) -> None:  # noqa: ANN401 - Settings checks them
    """Serve conversations.

    Every setting can also be given in the environment, in .env, or in askbot.toml (or the file that ASKBOT_CONFIG
    names), there as `port = 8765`. A flag overrides the environment, that overrides .env, that askbot.toml.
    Durations are written like 20s, 5m, 2h or 30d, sizes like 64KiB or 1MiB.
    """
    if reload:
        from .reload import run_with_reload  # noqa: PLC0415 - for --reload only

        allow_pydantic_plugins()  # the server decides
        arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
        raise typer.Exit(run_with_reload(arguments, [Path.cwd(), Path(__file__).parent]))
    settings = load(flags)
    if settings.own_functions:
        allow_pydantic_plugins()
    else:
        _import_structlog()
    from .logs import configure  # noqa: PLC0415 - for this command only
    from .server.process import run  # noqa: PLC0415 - for this command only

    configure(settings)
    if settings.workers > 1:
        from .server.workers.supervising import run_workers  # noqa: PLC0415 - for this command only

        raise typer.Exit(run_workers(settings, flags, lambda: load(flags), count=settings.workers))
    try:
        code = run(settings, lambda: load(flags))
    except StoreUnavailable as error:  # code 2 is for settings that no other start helps
        typer.echo(str(error), err=True)
        code = 1
    raise typer.Exit(code)


def _import_structlog() -> None:
    """Import structlog without rich, with which it would draw tracebacks: the server draws none, and starts sooner."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = cast(ModuleType, None)  # as if it were not installed
        import structlog  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  # others use it

        del sys.modules["rich"]


def _setting_option(field: str) -> inspect.Parameter:
    """Return a setting as a command-line option, with the setting's own help text."""
    info = Settings.model_fields[field]
    switch = info.annotation is bool
    name = f"{flag(field)}/--no-{flag(field)[2:]}" if switch else flag(field)
    default = default_text(field)
    facts = f"env: {env_variable(field)}" + (f"; default: {default}" if default else "")
    metavar = (
        None if switch else "|".join(get_args(info.annotation)) if get_origin(info.annotation) is Literal else "VALUE"
    )
    option = typer.Option(
        name,
        help=f"{info.description} [{facts}]",
        show_default=False,
        metavar=metavar,
        rich_help_panel=section_title(field),
    )
    kind = Annotated[bool | None, option] if switch else Annotated[str | None, option]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _with_settings(**switches: str) -> inspect.Signature:
    """Return switches, each with its help, and all settings as options.

    Not the secrets, which every user of the machine could read.
    """
    own = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(option, help=help)],
        )
        for name, (option, help) in ((name, text.split(": ", 1)) for name, text in switches.items())
    ]
    fields = [field for field in Settings.model_fields if field not in SECRETS]
    return inspect.Signature([*own, *(_setting_option(field) for field in fields)])


def check_settings(*, as_json: bool, no_upstream: bool, **flags: Any) -> None:  # noqa: ANN401 - Settings checks them
    """Check what a server with these settings would need, and say what it would serve; a server may run meanwhile.

    The settings, the address, the certificate, the keys, the store, and the model, which is asked for one token. All
    options of `serve` can be given. The exit code is 0 where a server could serve, else 1.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    from .logs import silence  # noqa: PLC0415 - for this command only

    silence()
    results: list[dict[str, str]] = []
    try:
        settings = load(flags)
    except ConfigError as error:
        _report_result("settings", "fault", str(error), as_json=as_json, results=results)
    else:
        if settings.own_functions:
            allow_pydantic_plugins()
        from .server.preflight import preflight  # noqa: PLC0415 - for this command only

        async def run() -> None:
            async for result in preflight(settings, ask_upstream=not no_upstream):
                _report_result(result.part, result.status, result.text, as_json=as_json, results=results)

        asyncio.run(run())
    faults = sum(result["status"] == "fault" for result in results)
    if as_json:
        typer.echo(json.dumps({"ok": not faults, "checks": results}, indent=2))
    else:
        typer.echo(f"askbot can't serve: {faults} of {len(results)} checks failed." if faults else "askbot can serve.")
    raise typer.Exit(1 if faults else 0)


def _report_result(part: str, status: str, text: str, *, as_json: bool, results: list[dict[str, str]]) -> None:
    results.append({"part": part, "status": status, "text": text})
    if not as_json:
        typer.echo(f"{status:<8} {part:<15} " + text.replace("\n", "\n" + " " * 25))


setattr(  # noqa: B010 - typer reads it; type checkers know no such attribute
    serve_conversations,
    "__signature__",
    _with_settings(reload="--reload: Restart when a file changes; for development."),
)
setattr(  # noqa: B010 - as above
    check_settings,
    "__signature__",
    _with_settings(
        as_json="--json: Print one JSON object.", no_upstream="--no-upstream: Don't ask the model for a token."
    ),
)
serve.command(cls=SectionedCommand)(serve_conversations)
check.command(cls=SectionedCommand)(check_settings)
