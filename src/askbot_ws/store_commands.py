"""Store commands: `askbot store`: the file that keeps the sessions is checked, repaired, copied or made smaller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .config import load
from .credential_commands import TokenFileOption
from .session_commands import ServerOption, SourceOptions, StoreOption, run_on_source

if TYPE_CHECKING:
    from .session_source import SessionSource
    from .store.sqlite.maintenance.check import Report

store = typer.Typer(no_args_is_help=True, help="Check, repair or copy the file that keeps the sessions.")


@store.command("check")
def check_store(url: StoreOption = None) -> None:
    """Check whether the store is sound; a server may run meanwhile.

    The exit code is 0 where it is, 1 where something is wrong, 2 where it can't be opened.
    """
    from .store.sqlite.maintenance.check import check  # noqa: PLC0415 - for this command only

    path = _store_path(url)
    _print_report(
        path,
        check(path),
        fault="wrong",
        hint="`askbot store repair` keeps what can be kept; stop the server first.",
    )


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
    path = None if server is not None else _store_path(url)

    async def work(source: SessionSource) -> int:
        done = await source.vacuum()
        typer.echo(f"{path or 'the store'}: {done.before:,} bytes before, {done.after:,} after")
        return 0

    run_on_source(SourceOptions(server, token_file, path), work)


def _store_path(url: str | None) -> Path:
    """Return the store's file."""
    from .logs import silence  # noqa: PLC0415 - for this command only
    from .store.url import path_of  # noqa: PLC0415 - for this command only

    silence()
    return path_of(load({"store": url}).store)


def _print_report(path: Path, report: Report, *, fault: str, hint: str) -> None:
    """Print a report and exit, with 1 where it has faults, else 0."""
    lines = [f"{path}:", *(f"  {fact}" for fact in report.facts)]
    lines += [f"  {fault}: {one}" for one in report.faults] or [f"  nothing is {fault}"]
    typer.echo("\n".join([*lines, hint] if report.faults else lines))
    raise typer.Exit(1 if report.faults else 0)
