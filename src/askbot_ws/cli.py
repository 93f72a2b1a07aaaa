"""Command line: `askbot` and its subcommands.

What takes long to import is imported by the command that needs it, so that `--help` is fast.
"""

from __future__ import annotations

# isort: off
from . import hangup  # noqa: F401  # pyright: ignore[reportUnusedImport]  # first: it takes effect when imported

# isort: on
import errno
import inspect
import json
import math
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from . import __version__
from .config import (
    SECRETS,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Settings,
    default_text,
    env_variable,
    flag,
    load,
    section,
)
from .credential_commands import TokenFileOption, key, print_ticket
from .decoding import is_text, recover_text
from .errors import ConfigError
from .session_commands import ServerOption, SourceOptions, StoreOption, run_on_source, sessions
from .setting_types import one_of
from .terminal.streams import discard_unwritten, prepare_streams, take_unwritable

if TYPE_CHECKING:
    from .session_source import SessionSource
    from .store.audit import Report

URL_HELP = f"URL of the server, or its host and port [env: {URL_VARIABLE}]."
DEFAULT_URL = "ws://127.0.0.1:8765/v1/chat"
_TOKEN_OPTIONS = {"--token", "--key", "--api-key", "--ticket", "--bearer"}  # that somebody may try
BROKEN_PIPE = 141  # the exit code where nobody reads the output any more
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}  # of an output that is full, or not open for writing


class _Commands(TyperGroup):
    """The commands, with what can be said of their errors."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - typer's own
        """Read the command line up to the command."""
        with _errors_told():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Read the rest of the command line, and run the command."""
        with _errors_told():
            return super().invoke(ctx)


@contextmanager
def _errors_told() -> Generator[None]:
    """Exit where the output can't be written; have no credentials of a URL in what is said of a wrong command line."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        with suppress(OSError):
            typer.echo(f"askbot: the output can't be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    except UnicodeEncodeError as error:
        if error.encoding != sys.getfilesystemencoding():
            raise
        raise ConfigError(
            f"The name of a file can't be written in the locale's encoding, {error.encoding}; set LC_ALL=C.UTF-8."
        ) from None
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str) and hasattr(error, "format_message"):
            from .terminal.server_url import hide_credentials  # noqa: PLC0415 - late, see above

            told: Any = error  # typer's classes have no public names
            told.message = hide_credentials(message) + (_option_hint(told) if hasattr(told, "possibilities") else "")
            told.possibilities = None
        raise


def _option_hint(error: Any) -> str:  # noqa: ANN401 - typer's, see above
    """Return what may be meant by an option that a command doesn't have."""
    name = error.option_name.partition("=")[0]
    secret = next((field for field in SECRETS if name == flag(field)), None)
    if secret is not None:
        what = "key" if secret.endswith("key") else "secret"
        return f". The {what} is no option, as every user of this machine could read it: set {env_variable(secret)}."
    if name in _TOKEN_OPTIONS:
        return (
            f". The token is no option, as every user of this machine could read it: set {TOKEN_VARIABLE}, "
            "or name a file that has it by --token-file."
        )
    if error.possibilities:
        return f". Did you mean {' or '.join(error.possibilities[:2])}?"
    commands: dict[str, Any] = getattr(error.ctx.command, "commands", {})
    owners = [f"`askbot {each}`" for each, command in commands.items() for p in command.params if name in p.opts]
    return f". It is an option of {one_of(owners)}, and stands behind that." if owners else ""


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model = typer.Typer(no_args_is_help=True, help="The model that answers without a key and without a network.")
app.add_typer(model, name="model")
app.add_typer(key, name="key")
store = typer.Typer(no_args_is_help=True, help="Check, repair or copy the file that keeps the sessions.")
app.add_typer(store, name="store")
app.add_typer(sessions, name="sessions")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"askbot-ws {__version__}")
        raise typer.Exit


@app.callback()
def askbot(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Conversations with any OpenAI-compatible model over WebSocket: nothing lost, nothing twice."""


class _SectionedCommand(TyperCommand):
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


# --- serve -----------------------------------------------------------------------------------------------------------


def serve(*, reload: bool, **flags: Any) -> None:  # noqa: ANN401 - Settings checks them
    """Serve conversations.

    Every setting can also be given in the environment, in .env, or in askbot.toml (or the file that ASKBOT_CONFIG
    names), there as `port = 8765`. A flag overrides the environment, that overrides .env, that askbot.toml.
    Durations are written like 20s, 5m, 2h or 30d, sizes like 64KiB or 1MiB.
    """
    if reload:
        from .reload import run_with_reload  # noqa: PLC0415 - late, see above

        arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
        raise typer.Exit(run_with_reload(arguments, [Path.cwd(), Path(__file__).parent]))
    settings = load(flags)
    from .logs import configure  # noqa: PLC0415 - for this command only
    from .server.app import run  # noqa: PLC0415 - for this command only

    configure(settings)
    raise typer.Exit(run(settings, lambda: load(flags)))


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
        name, help=f"{info.description} [{facts}]", show_default=False, metavar=metavar, rich_help_panel=section(field)
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


def check(*, as_json: bool, no_upstream: bool, **flags: Any) -> None:  # noqa: ANN401 - Settings checks them
    """Check what a server with these settings would need, and say what it would serve; a server may run meanwhile.

    The settings, the address, the certificate, the keys, the store, and the model, which is asked for one token. All
    options of `serve` can be given. The exit code is 0 where a server could serve, else 1.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    _silence_logs()
    findings: list[dict[str, str]] = []
    try:
        settings = load(flags)
    except ConfigError as error:
        _report_finding("settings", "fault", str(error), as_json=as_json, findings=findings)
    else:
        from .server.preflight import preflight  # noqa: PLC0415 - for this command only

        async def run() -> None:
            async for finding in preflight(settings, ask_upstream=not no_upstream):
                _report_finding(finding.part, finding.status, finding.text, as_json=as_json, findings=findings)

        asyncio.run(run())
    faults = sum(finding["status"] == "fault" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not faults, "checks": findings}, indent=2))
    else:
        typer.echo(f"askbot can't serve: {faults} of {len(findings)} checks failed." if faults else "askbot can serve.")
    raise typer.Exit(1 if faults else 0)


def _report_finding(part: str, status: str, text: str, *, as_json: bool, findings: list[dict[str, str]]) -> None:
    findings.append({"part": part, "status": status, "text": text})
    if not as_json:
        typer.echo(f"{status:<8} {part:<15} " + text.replace("\n", "\n" + " " * 25))


setattr(serve, "__signature__", _with_settings(reload="--reload: Restart when a file changes; for development."))  # noqa: B010 - typer reads it; type checkers know no such attribute
app.command(cls=_SectionedCommand)(serve)
setattr(  # noqa: B010 - as above
    check,
    "__signature__",
    _with_settings(
        as_json="--json: Print one JSON object.", no_upstream="--no-upstream: Don't ask the model for a token."
    ),
)
app.command(cls=_SectionedCommand)(check)

# --- conversations ---------------------------------------------------------------------------------------------------


SessionOption = Annotated[str | None, typer.Option("--session", metavar="ID", help="Session to resume.")]


@app.command()
def chat(
    url: Annotated[
        str, typer.Argument(metavar="URL", help=URL_HELP, envvar=URL_VARIABLE, show_envvar=False)
    ] = DEFAULT_URL,
    session: SessionOption = None,
    *,
    token_file: TokenFileOption = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new conversation.")] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Save questions and the list of sessions on this machine.")
    ] = True,
    plain: Annotated[
        bool, typer.Option("--plain", help="Show plain text instead of Markdown, and read plain lines.")
    ] = False,
) -> None:
    """Hold a conversation in the terminal.

    It resumes the last one from this machine with this server. /help shows the commands.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    from .terminal.chat_command import ChatOptions  # noqa: PLC0415 - for this command only
    from .terminal.chat_command import chat as run_chat  # noqa: PLC0415 - for this command only
    from .terminal.token_option import TokenOption  # noqa: PLC0415 - for this command only

    options = ChatOptions(
        _check_url(url, name="URL"),
        session=session and _check_name(session, name="--session"),
        new=new,
        save_history=history,
        plain=plain,
        token=TokenOption(TOKEN_VARIABLE, token_file),
    )
    raise typer.Exit(asyncio.run(run_chat(options)))


@app.command()
def ask(
    question: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION|-", help="The question; - is what stdin has, as without a question."),
    ] = None,
    url: Annotated[str, typer.Option(help=URL_HELP, envvar=URL_VARIABLE, show_envvar=False)] = DEFAULT_URL,
    session: SessionOption = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model to ask.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Maximum time for everything, in seconds.")
    ] = None,
    *,
    token_file: TokenFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer has ended.")] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help="Show the model's thinking, on stderr.")] = False,
) -> None:
    """Ask one question; the answer goes to stdout, as it comes.

    Stdin is read only where there is no question, or for -, as in `git diff | askbot ask "What does this change?" -`.
    Everything but the answer goes to stderr.

    The exit code is 0 where the answer is complete; 1 where it ended otherwise, or was refused; 2 for a wrong command
    line; 3 where the server can't be reached, or is away for too long; 4 where there is no such session; 124 after
    --timeout; 141 where nobody reads the output any more; 129, 130 or 143 after SIGHUP, Ctrl-C or SIGTERM. In the last
    three cases the answer is stopped at the server too.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    from .terminal.ask_command import AskOptions  # noqa: PLC0415 - for this command only
    from .terminal.ask_command import ask as run_ask  # noqa: PLC0415 - for this command only
    from .terminal.token_option import TokenOption  # noqa: PLC0415 - for this command only

    limit = None if timeout is None else _seconds_of(timeout, name="--timeout")
    options = AskOptions(
        _question_words(question or []),
        _check_url(url, name="--url"),
        session=session and _check_name(session, name="--session"),
        model=model and _check_name(model, name="--model"),
        show_thinking=thinking,
        token=TokenOption(TOKEN_VARIABLE, token_file),
    )
    raise typer.Exit(asyncio.run(run_ask(options, timeout=limit, as_json=as_json)))


def _question_words(words: list[str]) -> tuple[str, ...]:
    """Return one question, one `-`, or both; without any where stdin has it. Raises BadParameter."""
    questions = [word for word in words if word != "-"]
    if len(questions) > 1 or len(words) - len(questions) > 1:
        raise typer.BadParameter("there is one question, in quotes, and at most one -", param_hint="QUESTION")
    if not words and (sys.stdin is None or sys.stdin.isatty()):
        raise typer.BadParameter("nothing was asked: give a question, or pipe one in", param_hint="QUESTION")
    return tuple(words)


def _seconds_of(written: str, *, name: str) -> float:
    """Return a number of seconds, 0 or more. Raises BadParameter."""
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # nan is not, either
        raise typer.BadParameter("it has to be a number of seconds, 0 or more", param_hint=name)
    return seconds


def _check_url(written: str, *, name: str) -> str:
    """Return the complete URL. Raises BadParameter, with the name of the argument and nothing of the URL."""
    from .terminal.server_url import complete_url  # noqa: PLC0415 - for these commands only

    try:
        return complete_url(_check_name(written, name=name))
    except ValueError as error:
        raise typer.BadParameter(f"{error}, like localhost:8765 or wss://example.org", param_hint=name) from None


def _check_name(written: str, *, name: str) -> str:
    """Return a text from the command line or the environment. Raises BadParameter where it has bytes that are none."""
    text = recover_text(written)
    if not is_text(text):
        raise typer.BadParameter("there are bytes in it that are no text", param_hint=name)
    return text


# --- the store -------------------------------------------------------------------------------------------------------


@store.command("check")
def check_store(url: StoreOption = None) -> None:
    """Check whether the store is sound; a server may run meanwhile.

    The exit code is 0 where it is, 1 where something is wrong, 2 where it can't be opened.
    """
    from .store.sqlite.maintenance.check import check  # noqa: PLC0415 - for this command only
    from .store.url import is_shared  # noqa: PLC0415 - for this command only

    if is_shared(load({"store": url}).store):
        from .store_copy_commands import check_shared_store  # noqa: PLC0415 - for this command only

        _silence_logs()
        check_shared_store(load({"store": url}).store)
    path = _store_path(url)
    _print_report(
        path,
        check(path),
        fault="wrong",
        hint="`askbot store repair` keeps what can be kept; stop the server first.",
    )


@store.command("copy")
def copy_store(
    source: Annotated[str, typer.Argument(help="URL of the store to copy, which no server should use.")],
    target: Annotated[str, typer.Argument(help="URL of a store without sessions.")],
) -> None:
    """Copy all sessions to another kind of store, as from sqlite:///askbot.db to redis://localhost, or back.

    The copy is checked. The exit code is 0 where it is whole, 1 where it is not, 2 where a store can't be opened.
    """
    from .store_copy_commands import copy_all  # noqa: PLC0415 - for this command only

    _silence_logs()
    copy_all(load({"store": source}).store, load({"store": target}).store)


@store.command("repair")
def repair_store(url: StoreOption = None) -> None:
    """Keep what can be kept of a damaged store; no server may run meanwhile. The old files are kept beside it.

    The exit code is 0 where nothing is lost, 1 where something is, 2 where it can't be repaired.
    """
    from .store.sqlite.maintenance.repair import repair  # noqa: PLC0415 - for this command only

    path = _store_path(url)
    _print_report(path, repair(path), fault="lost", hint="The store can be used again.")


@store.command("backup")
def backup_store(
    file: Annotated[Path, typer.Argument(help="The copy; it must not exist.")], url: StoreOption = None
) -> None:
    """Copy the store into one file, while a server uses it or not. The copy can be used as a store.

    It has everything that anybody had been shown when the command began. The exit code is 1 where the copy is as
    damaged as the store is, 2 where there is none.
    """
    from .store.sqlite.maintenance.backup import backup  # noqa: PLC0415 - for this command only

    path = _store_path(url)
    _print_report(
        file, backup(path, file), fault="wrong", hint="The store is damaged like this: see `askbot store check`."
    )


@store.command("vacuum")
def vacuum_store(url: StoreOption = None, server: ServerOption = None, *, token_file: TokenFileOption = None) -> None:
    """Make the store's files as small as what they hold; nothing of what was deleted is in them afterwards.

    On the store itself, which no server may use then, or with --url by a running server, which goes on answering.
    It needs room for a second copy of the store. The exit code is 0 where it is done, 1 where it is not.
    """
    if url is not None and server is not None:
        raise typer.BadParameter("give one of --store and --url", param_hint="--url")
    from .store.url import is_shared, path_of, without_password  # noqa: PLC0415 - for this command only

    _silence_logs()
    store = None if server is not None else load({"store": url}).store
    place = "the store" if store is None else without_password(store) if is_shared(store) else path_of(store)

    async def work(source: SessionSource) -> int:
        done = await source.vacuum()
        typer.echo(f"{place}: {done.before:,} bytes before, {done.after:,} after")
        return 0

    run_on_source(SourceOptions(server, token_file, store), work)


def _store_path(url: str | None) -> Path:
    """Return the store's file."""
    from .store.url import path_of  # noqa: PLC0415 - for this command only

    _silence_logs()
    return path_of(load({"store": url}).store)


def _silence_logs() -> None:
    """Write no log lines: the command prints a report instead."""
    from .logs import silence  # noqa: PLC0415 - for this command only

    silence()


def _print_report(path: Path, report: Report, *, fault: str, hint: str) -> None:
    """Print a report and exit, with 1 where it has faults, else 0."""
    lines = [f"{path}:", *(f"  {fact}" for fact in report.facts)]
    lines += [f"  {fault}: {one}" for one in report.faults] or [f"  nothing is {fault}"]
    typer.echo("\n".join([*lines, hint] if report.faults else lines))
    raise typer.Exit(1 if report.faults else 0)


app.command("ticket")(print_ticket)

# --- others -----------------------------------------------------------------------------------------------------------


@model.command("install")
def install_model() -> None:
    """Install the embedded model."""
    from .upstream.weights import install  # noqa: PLC0415 - for this command only

    install(report=typer.echo)


@model.command("use")
def use_model(file: Annotated[Path, typer.Argument(help="GGUF file of an instruct model.")]) -> None:
    """Run another model on this machine: sets ASKBOT_EMBEDDED_MODEL in the .env of the current folder.

    Removing that line undoes it.
    """
    from dotenv import set_key  # noqa: PLC0415 - for this command only

    from .upstream.embedded_model import model_of_file  # noqa: PLC0415 - for this command only
    from .upstream.weights import require_engine  # noqa: PLC0415 - for this command only

    require_engine()
    path, dotenv = file.expanduser().absolute(), Path(".env").resolve()
    name, variable = model_of_file(path).name, env_variable("embedded_model")
    try:
        set_key(dotenv, variable, str(path))
    except OSError as error:
        raise ConfigError(f"{dotenv} can't be written ({error.strerror or error}). Set {variable}={path}") from error
    typer.echo(f"{name} answers what is asked of a server that is started here.")
    typer.echo(f"{variable} is set in {dotenv}; remove the line to undo it.")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of all frames."""
    from .dialects.askbot.frames import schema  # noqa: PLC0415 - for this command only

    typer.echo(json.dumps(schema(), indent=2))


def main() -> None:
    """Run the console script. Exits with 2 where settings are wrong, with 130 after Ctrl-C."""
    prepare_streams()
    try:
        app()
    except ConfigError as error:
        _exit(2, str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if notice := take_unwritable():
            with suppress(OSError):
                typer.echo(f"askbot: {notice}", err=True)
        discard_unwritten()


def _exit(code: int, message: str) -> NoReturn:
    with suppress(OSError):
        typer.echo(message, err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
