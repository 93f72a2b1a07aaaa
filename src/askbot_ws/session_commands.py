"""Session commands: `askbot sessions`, for administrators: everybody's sessions, of a running server or a store."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TextIO, cast
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

from .command_options import TokenFileOption
from .command_variables import TOKEN_VARIABLE, URL_VARIABLE
from .config import load
from .errors import ConfigError
from .lazy_commands import make_typer
from .setting_types import parse_duration

if TYPE_CHECKING:
    from .http.admin_records import AdminSession
    from .session_source import SessionFilter, SessionSource

DEFAULT_URL = "http://127.0.0.1:8765"
CHAT_PATH = "/v1/chat"
SHOWN_BEFORE_DELETION = 10  # sessions

SESSION_ID = re.compile(r"-[A-Za-z0-9_-]{21}")  # as the server makes them, where it begins like an option


class _IdCommand(TyperCommand):
    """A command with ids of sessions as arguments, which may begin with a hyphen."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
        """Parse the command line; what can only be an id is no option."""
        if "--" not in args and any(map(SESSION_ID.fullmatch, args)):
            args = [each for each in args if not SESSION_ID.fullmatch(each)] + [
                "--",
                *filter(SESSION_ID.fullmatch, args),
            ]
        return super().parse_args(ctx, args)


sessions = make_typer(help="List, show, export or delete everybody's sessions, as an administrator.")

StoreOption = Annotated[
    str | None, typer.Option("--store", help="URL of the store; by default the one that `serve` would use.")
]
StoppedStoreOption = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="URL of a store that no server uses now, instead of --url.")
]
ServerOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="URL of a running server, which is asked with a key that may `admin`."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"URL of the running server [env: {URL_VARIABLE}; default: {DEFAULT_URL}].",
    ),
]
UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Sessions of this user.")]
AnonymousOption = Annotated[bool, typer.Option("--anonymous", help="Sessions that no user owns.")]
IdleOption = Annotated[
    str | None, typer.Option("--idle", metavar="30d", help="Sessions to which nothing was added for so long.")
]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Sessions, by their ids.")]
Format = Literal["json", "markdown"]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where sessions are: at a server's URL, with a token from a file or the environment, or in a store, by its URL."""

    url: str | None
    token_file: str | None
    store: str | None

    @classmethod
    def parse(cls, url: str | None, store: str | None, token_file: str | None) -> SourceOptions:
        """Return the options of a command. Raises BadParameter and `ConfigError`."""
        if store is None:
            return cls(url, token_file, None)
        if url is not None:
            raise typer.BadParameter("give one of --store and --url", param_hint="--url")
        return cls(None, token_file, load({"store": store}).store)


# --- the commands ----------------------------------------------------------------------------------------------------


@sessions.command("list")
def list_sessions(
    user: UserOption = None,
    idle: IdleOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="How many at most.")] = 50,
    url: UrlOption = None,
    store: StoppedStoreOption = None,
    *,
    anonymous: AnonymousOption = False,
    all: Annotated[bool, typer.Option("--all", help="All, however many there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    token_file: TokenFileOption = None,
) -> None:
    """List sessions, those that were used last first; times are those of this machine, with the offset from UTC.

    The exit code is 0, also where there are none; 1 where they can't be read; 2 for a wrong command line.
    """
    chosen = _parse_filter(user, anonymous=anonymous, idle=idle)

    async def work(source: SessionSource) -> int:
        from .session_documents import dump, entry, table  # noqa: PLC0415 - for this command only

        found, more = await _list(source, chosen, limit=None if all else limit)
        if as_json:
            _print(dump({"sessions": [entry(each) for each in found], "more": more}))
        elif found:
            _print(table(found, width=max(80, shutil.get_terminal_size().columns)))
        if more:
            typer.echo(f"(the newest {len(found)}; there are more: --limit N, --all)", err=True)
        if not found:
            typer.echo("There is no such session.", err=True)
        return 0

    run_on_source(SourceOptions.parse(url, store, token_file), work)


@sessions.command("show", cls=_IdCommand)
def show_session(
    session: Annotated[str, typer.Argument(metavar="ID", help="The session's id.")],
    url: UrlOption = None,
    store: StoppedStoreOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of Markdown.")] = False,
    token_file: TokenFileOption = None,
) -> None:
    """Show a session and all its turns, as Markdown or JSON.

    The exit code is 1 where there is no such session, or it can't be read; 2 for a wrong command line.
    """

    async def work(source: SessionSource) -> int:
        from .session_documents import dump, markdown, to_json  # noqa: PLC0415 - for this command only
        from .session_source import read_session  # noqa: PLC0415 - for this command only

        found, turns = await read_session(source, session)
        _print(dump(to_json(found, turns)) if as_json else markdown(found, turns).rstrip("\n"))
        return 0

    run_on_source(SourceOptions.parse(url, store, token_file), work)


@sessions.command("export", cls=_IdCommand)
def export_sessions(
    ids: IdsArgument = None,
    *,
    user: UserOption = None,
    idle: IdleOption = None,
    format: Annotated[Format, typer.Option("--format", help="What to write.")] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="File to write, which must not exist; else stdout.")
    ] = None,
    url: UrlOption = None,
    store: StoppedStoreOption = None,
    anonymous: AnonymousOption = False,
    token_file: TokenFileOption = None,
) -> None:
    """Write sessions with all their turns, for instance all that there is of a person: the tokens used a day, too.

    The exit code is 0 where all are written; 1 where one can't be read, and then there is no file; 2 for a wrong
    command line.
    """
    options = SourceOptions.parse(url, store, token_file)
    chosen = _parse_selection(ids, user, anonymous=anonymous, idle=idle)

    async def work(source: SessionSource) -> int:
        from .session_documents import write_export  # noqa: PLC0415 - for this command only
        from .session_source import SourceError, export_ids  # noqa: PLC0415 - for this command only

        with _output(output) as file:
            records = export_ids(source, ids) if ids else source.export(chosen)
            count = await write_export(file, records, as_json=format == "json")
            if count is None:
                raise SourceError("the export broke off: it is not complete")
        typer.echo(f"{_count(count)} exported{f' to {output}' if output else ''}.", err=True)
        return 0

    run_on_source(options, work)


@sessions.command("delete", cls=_IdCommand)
def delete_sessions(
    ids: IdsArgument = None,
    user: UserOption = None,
    idle: IdleOption = None,
    url: UrlOption = None,
    store: StoppedStoreOption = None,
    *,
    anonymous: AnonymousOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    usage: Annotated[
        bool, typer.Option("--usage", help="Delete the user's counts of tokens too: today's budget is whole again.")
    ] = False,
    token_file: TokenFileOption = None,
) -> None:
    """Delete sessions for good: their answers end, and whoever reads them is told.

    It asks before, on a terminal; elsewhere it wants --yes. The exit code is 0 where all are deleted, also where there
    are none; 1 where one is not, or the answer is no; 2 for a wrong command line.
    """
    options = SourceOptions.parse(url, store, token_file)
    chosen = _parse_selection(ids, user, anonymous=anonymous, idle=idle)
    _check_usage(user, usage=usage)
    may_ask = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or dry_run or may_ask):
        raise typer.BadParameter("without a terminal to ask on, nothing is deleted without it", param_hint="--yes")

    async def work(source: SessionSource) -> int:
        from .session_documents import table  # noqa: PLC0415 - for this command only

        found = [] if ids or (yes and not dry_run) else await _select(source, chosen)
        names = list(dict.fromkeys(ids or [each.session for each in found]))
        if dry_run:
            _print(table(found, width=80) if found else "\n".join(map(_harmless, names)))
            typer.echo(f"{_count(len(names))} would be deleted.", err=True)
            return 0
        if not yes and not _confirm_deletion(names, found, usage=usage):
            return 1
        return await (_delete(source, names) if ids else _delete_all(source, chosen, usage=usage))

    run_on_source(options, work)


def _check_usage(user: str | None, *, usage: bool) -> None:
    if usage and user is None:
        raise typer.BadParameter("it goes with --user", param_hint="--usage")


def _confirm_deletion(names: list[str], found: list[AdminSession], *, usage: bool) -> bool:
    """Ask on the terminal whether to delete sessions; `found` are those that a filter has selected."""
    from .session_documents import table  # noqa: PLC0415 - for this command only

    if found:
        typer.echo(table(found[:SHOWN_BEFORE_DELETION], width=80), err=True)
    counts = " and the counts of tokens" if usage else ""
    return _confirm(f"Delete {_count(len(names))}{counts} for good?")


def _confirm(question: str) -> bool:
    """Ask on the terminal. Ctrl-C ends the command: asyncio's own handler would cancel what doesn't wait for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    finally:
        signal.signal(signal.SIGINT, before)


async def _delete_all(source: SessionSource, chosen: SessionFilter, *, usage: bool) -> int:
    """Delete the sessions that a filter selects; returns the exit code."""
    deleted = await source.delete_all(chosen, usage=usage)
    typer.echo(f"{_count(deleted.sessions)} deleted.")
    if usage:
        typer.echo(f"Counts of tokens deleted, of {deleted.usage_days} days.")
    elif chosen.user is not None:
        typer.echo("The user's counts of tokens are kept; --usage deletes them too.", err=True)
    return 0


async def _delete(source: SessionSource, names: list[str]) -> int:
    """Delete sessions by their ids; returns the exit code."""
    from .session_source import MissingSessionError, SourceError  # noqa: PLC0415 - for this command only

    missing, deleted = list[str](), 0
    try:
        for name in names:
            try:
                await source.delete(name)
                deleted += 1
            except MissingSessionError:
                missing.append(name)
    except SourceError as error:
        raise SourceError(f"{error}; {deleted} of {_count(len(names))} had been deleted") from error
    typer.echo(f"{_count(deleted)} deleted.")
    if missing:
        typer.echo(f"There is no such session: {', '.join(map(_harmless, missing))}", err=True)
    return 1 if missing else 0


# --- running them ----------------------------------------------------------------------------------------------------


def run_on_source(options: SourceOptions, work: Callable[[SessionSource], Awaitable[int]]) -> NoReturn:
    """Do something with the sessions of a server or of a store; exits with what it returns, or with 1."""
    import asyncio  # noqa: PLC0415 - for these commands only

    from .logs import silence  # noqa: PLC0415 - for these commands only
    from .session_source import SourceError  # noqa: PLC0415 - for these commands only
    from .terminal.output import print_error  # noqa: PLC0415 - for these commands only

    async def run() -> int:
        async with _open_source(options) as source:
            return await work(source)

    silence()
    try:
        code = asyncio.run(run())
    except SourceError as error:
        print_error(str(error))
        code = 1
    raise typer.Exit(code)


@asynccontextmanager
async def _open_source(options: SourceOptions) -> AsyncGenerator[SessionSource]:
    from .session_source import SourceError, server_sessions, stored_sessions  # noqa: PLC0415 - for these commands only
    from .terminal.token_option import TokenOption, TokenUnreadableError  # noqa: PLC0415 - for these commands only

    if options.store is not None:
        async with stored_sessions(options.store) as stored:
            yield stored
        return
    url = _server_url(options.url)
    option = TokenOption(TOKEN_VARIABLE, options.token_file)
    try:
        token = await option.read()
    except TokenUnreadableError as error:
        raise SourceError(str(error)) from None
    text = token() if callable(token) else token
    assert text is None or isinstance(text, str)  # noqa: S101 - a function that reads a file is not asynchronous
    async with server_sessions(url, text, describe_refusal=option.describe_refusal) as served:
        yield served


def _server_url(given: str | None) -> str:
    """Return the `http` or `https` URL before `/v1/…`, of what names a server as for `askbot ask`."""
    from .terminal.server_url import complete_url  # noqa: PLC0415 - for these commands only

    try:
        parts = urlsplit(complete_url(given or os.environ.get(URL_VARIABLE) or DEFAULT_URL))
    except ValueError as error:
        raise typer.BadParameter(f"{error}, like localhost:8765 or https://example.org", param_hint="--url") from None
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.removesuffix(CHAT_PATH).rstrip('/')}"


# --- what is selected ------------------------------------------------------------------------------------------------


def _parse_filter(user: str | None, *, anonymous: bool, idle: str | None) -> SessionFilter:
    """Return the filter of a command line. Raises BadParameter."""
    from .session_source import SessionFilter  # noqa: PLC0415 - for these commands only

    if user is not None and (anonymous or not user):
        raise typer.BadParameter("give a name, or --anonymous", param_hint="--user")
    try:
        seconds = None if idle is None else cast(float, parse_duration(idle))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--idle") from None
    return SessionFilter(user, anonymous, seconds)


def _parse_selection(ids: list[str] | None, user: str | None, *, anonymous: bool, idle: str | None) -> SessionFilter:
    """Return the filter of a command that wants ids or a filter. Raises BadParameter."""
    filtered = user is not None or anonymous or idle is not None
    if bool(ids) == filtered:
        raise typer.BadParameter("give either ids, or some of --user, --anonymous and --idle", param_hint="ID")
    return _parse_filter(user, anonymous=anonymous, idle=idle)


async def _list(source: SessionSource, chosen: SessionFilter, *, limit: int | None) -> tuple[list[AdminSession], bool]:
    """Return the newest `limit` sessions (None: all), and whether there are more."""
    from .http.admin import MAX_SESSIONS  # noqa: PLC0415 - for these commands only

    if limit is None:
        return await _select(source, chosen), False
    found: list[AdminSession] = []
    before: str | None = None
    while len(found) < limit:
        page = await source.list_page(chosen, before=before, limit=min(MAX_SESSIONS, limit - len(found)))
        found += page.sessions
        before = page.more
        if before is None:
            break
    return found, before is not None


async def _select(source: SessionSource, chosen: SessionFilter) -> list[AdminSession]:
    from .session_source import select_sessions  # noqa: PLC0415 - for these commands only

    return await select_sessions(source, chosen)


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def _output(path: Path | None) -> Generator[TextIO]:
    """Open a new file that only its owner may read, which is removed where the block raises; None: stdout.

    Raises `ConfigError` where the file can't be made.
    """
    if path is None:
        yield _Terminal() if sys.stdout.isatty() else sys.stdout
        return
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{path} exists already; an export overwrites nothing, so name another file.") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}.") from None
    try:
        with file:
            yield file
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


class _Terminal(StringIO):
    """Shows what is written to it on stdout, without control characters."""

    def write(self, text: str) -> int:
        """Show a text."""
        return sys.stdout.write(_harmless(text))


def _count(sessions: int) -> str:
    return f"{sessions} session{'' if sessions == 1 else 's'}"


def _print(text: str) -> None:
    """Write a text to stdout: without control characters to a terminal."""
    typer.echo(_harmless(text) if sys.stdout.isatty() else text)


def _harmless(text: str) -> str:
    from .logs import CONTROLS  # noqa: PLC0415 - for these commands only

    return CONTROLS.sub(lambda found: found[0] if found[0] in "\n\t" else "", text)
