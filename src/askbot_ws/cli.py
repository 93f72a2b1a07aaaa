"""The command line: from arguments to a running server, or a conversation.

What takes long to import is imported by the command that needs it, so that `--help` is there at once.
"""

from __future__ import annotations

import inspect
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from . import __version__
from .config import Settings, default, flag, load, variable
from .errors import ConfigError

if TYPE_CHECKING:
    from .store.sqlite.maintenance.check import Report

URL = "ws://127.0.0.1:8765/v1/chat"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model = typer.Typer(no_args_is_help=True, help="The model that answers without a key and without a network.")
app.add_typer(model, name="model")
store = typer.Typer(no_args_is_help=True, help="Check, repair or copy the file that keeps the sessions.")
app.add_typer(store, name="store")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"askbot-ws {__version__}")
        raise typer.Exit


@app.callback()
def askbot(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Conversations with any OpenAI-compatible model over WebSocket: nothing lost, nothing twice."""


# --- serve -----------------------------------------------------------------------------------------------------------


def serve(*, reload: bool, **flags: Any) -> None:  # noqa: ANN401 - Settings checks them
    """Serve conversations.

    Every setting can also be given in the environment, in .env, or in askbot.toml (or the file that ASKBOT_CONFIG
    names), there as `port = 8765`. A flag is stronger than the environment, that than .env, that than askbot.toml.
    Durations are written like 20s, 5m, 2h or 30d, sizes like 64KiB or 1MiB.
    """
    if reload:
        from .reload import serve_again  # noqa: PLC0415 - late, see above

        arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
        raise typer.Exit(serve_again(arguments, [Path.cwd(), Path(__file__).parent]))
    settings = load(flags)
    from .logs import configure  # noqa: PLC0415 - for this command alone
    from .server.app import run  # noqa: PLC0415 - for this command alone

    configure(settings)
    raise typer.Exit(run(settings))


def _option(field: str) -> inspect.Parameter:
    """A setting as an option: its text is the setting's own, so that there is one list."""
    info = Settings.model_fields[field]
    switch = info.annotation is bool
    name = f"{flag(field)}/--no-{flag(field)[2:]}" if switch else flag(field)
    usual = default(field)
    facts = f"env: {variable(field)}" + (f"; default: {usual}" if usual else "")
    metavar = (
        None if switch else "|".join(get_args(info.annotation)) if get_origin(info.annotation) is Literal else "VALUE"
    )
    option = typer.Option(name, help=f"{info.description} [{facts}]", show_default=False, metavar=metavar)
    kind = Annotated[bool | None, option] if switch else Annotated[str | None, option]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _options() -> inspect.Signature:
    """What `serve` takes: all settings but the key, which the list of processes would show to everybody."""
    watch = Annotated[bool, typer.Option("--reload", help="Start again when a file changes. For development.")]
    switch = inspect.Parameter("reload", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=watch)
    return inspect.Signature(
        [switch, *(_option(field) for field in Settings.model_fields if field != "openai_api_key")]
    )


setattr(serve, "__signature__", _options())  # noqa: B010 - typer reads it; type checkers know no such attribute
app.command()(serve)

# --- conversations ---------------------------------------------------------------------------------------------------


Session = Annotated[str | None, typer.Option("--session", metavar="ID", help="Go on with this session.")]


@app.command()
def chat(
    url: Annotated[str, typer.Argument(help="The server.")] = URL,
    session: Session = None,
    *,
    new: Annotated[bool, typer.Option("--new", help="Begin a new conversation.")] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Remember what is asked, and which sessions there were.")
    ] = True,
    plain: Annotated[bool, typer.Option("--plain", help="Show text as it comes, and read lines as they are.")] = False,
) -> None:
    """Hold a conversation in the terminal.

    It goes on with the last one that was held from here with this server. /help shows the commands.
    """
    import asyncio  # noqa: PLC0415 - for this command alone

    from .terminal.chatting import Wishes  # noqa: PLC0415 - for this command alone
    from .terminal.chatting import chat as hold  # noqa: PLC0415 - for this command alone

    wishes = Wishes(url, session=session, new=new, remember=history, plain=plain)
    raise typer.Exit(asyncio.run(hold(wishes)))


@app.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="The question; without it, stdin is.")] = None,
    url: Annotated[str, typer.Option(help="The server.")] = URL,
    session: Session = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model to ask.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="The most seconds to wait, in all.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, once the answer has ended.")] = False,
) -> None:
    """Ask one question; the answer goes to stdout, as it comes.

    What is piped in follows the question as context. Everything but the answer goes to stderr.

    The exit code is 0 where the answer is whole; 1 where it ended otherwise, or was refused; 2 for a wrong command
    line; 3 where the server can't be reached; 4 where there is no such session; 124 after --timeout; 130 after Ctrl-C;
    141 where nobody reads the output any more. In the last three cases the answer is stopped at the server too.
    """
    import asyncio  # noqa: PLC0415 - for this command alone

    from .terminal.asking import Question  # noqa: PLC0415 - for this command alone
    from .terminal.asking import ask as put  # noqa: PLC0415 - for this command alone

    text = "\n\n".join(part for part in (question, _piped(needed=question is None)) if part and part.strip())
    if not text:
        raise typer.BadParameter("nothing was asked: give a question, or pipe one in", param_hint="QUESTION")
    asked = Question(text, url, session=session, model=model)
    raise typer.Exit(asyncio.run(put(asked, timeout=timeout, as_json=as_json)))


def _piped(*, needed: bool) -> str | None:
    """What stdin holds; beside a question only where it is surely meant: a pipe or a file."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    kind = 0 if needed else os.fstat(sys.stdin.fileno()).st_mode
    return sys.stdin.read() if needed or stat.S_ISFIFO(kind) or stat.S_ISREG(kind) else None


# --- the store -------------------------------------------------------------------------------------------------------

Where = Annotated[str | None, typer.Option("--store", help="The store; without it, the one that `serve` would use.")]


@store.command()
def check(where: Where = None) -> None:
    """See whether the store is sound; a server may run meanwhile.

    The exit code is 0 where it is, 1 where something is wrong, 2 where it can't be opened.
    """
    from .store.sqlite.maintenance.check import check as look  # noqa: PLC0415 - for this command alone

    path = _store(where)
    _tell(path, look(path), fault="wrong", hint="`askbot store repair` keeps what can be kept; stop the server first.")


@store.command()
def repair(where: Where = None) -> None:
    """Keep what can be kept of a damaged store; no server may run meanwhile. The old files are kept beside it.

    The exit code is 0 where nothing is lost, 1 where something is, 2 where it can't be repaired.
    """
    from .store.sqlite.maintenance.repair import repair as mend  # noqa: PLC0415 - for this command alone

    path = _store(where)
    _tell(path, mend(path), fault="lost", hint="The store can be used again.")


@store.command()
def backup(file: Annotated[Path, typer.Argument(help="The copy; it must not exist.")], where: Where = None) -> None:
    """Copy the store into one file, while a server uses it or not. The copy can be used as a store.

    It has everything that anybody had been shown when the command began. The exit code is 1 where the copy is as
    damaged as the store is, 2 where there is none.
    """
    from .store.sqlite.maintenance.backup import backup as copy  # noqa: PLC0415 - for this command alone

    path = _store(where)
    _tell(file, copy(path, file), fault="wrong", hint="The store is damaged like this: see `askbot store check`.")


def _store(url: str | None) -> Path:
    """The file of the store that is meant. What the store itself would log is told by the commands."""
    import logging  # noqa: PLC0415 - for this command alone

    import structlog  # noqa: PLC0415 - for this command alone

    from .store.url import path_of  # noqa: PLC0415 - for this command alone

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return path_of(load({"store": url}).store)


def _tell(path: Path, report: Report, *, fault: str, hint: str) -> None:
    """Print what was found, and exit with what that comes to."""
    lines = [f"{path}:", *(f"  {fact}" for fact in report.facts)]
    lines += [f"  {fault}: {one}" for one in report.faults] or [f"  nothing is {fault}"]
    typer.echo("\n".join([*lines, hint] if report.faults else lines))
    raise typer.Exit(1 if report.faults else 0)


# --- the rest --------------------------------------------------------------------------------------------------------


@model.command()
def install() -> None:
    """Install the embedded model."""
    from .upstream.weights import install as fetch  # noqa: PLC0415 - for this command alone

    fetch(report=typer.echo)


@app.command()
def schema() -> None:
    """Print the JSON Schema of all frames."""
    from .dialects.askbot.frames import schema as make  # noqa: PLC0415 - for this command alone

    typer.echo(json.dumps(make(), indent=2))


def main() -> None:
    """The console script."""
    try:
        app()
    except ConfigError as error:
        typer.echo(error, err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
