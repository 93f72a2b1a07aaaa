"""Store commands: `askbot store`: what keeps the sessions is checked, repaired, copied or made smaller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_options import TokenFileOption
from .config import load
from .lazy_commands import make_typer
from .session_commands import ServerOption, SourceOptions, StoreOption, run_on_source

if TYPE_CHECKING:
    from .session_source import SessionSource
    from .store.audit import Report

store = make_typer(help="Check, repair or copy the file that keeps the sessions.")


@store.command("check")
def check_store(url: StoreOption = None) -> None:
    """Check whether the store is sound; a server may run meanwhile.

    The exit code is 0 where it is, 1 where something is wrong, 2 where it can't be opened.
    """
    from .store.sqlite.maintenance.check import check  # noqa: PLC0415 - for this command only
    from .store.url import is_shared, path_of  # noqa: PLC0415 - for this command only

    store_url = _store_url(url)
    if is_shared(store_url):
        from .store_transfer import check_shared_store  # noqa: PLC0415 - for this command only

        check_shared_store(store_url)
    path = path_of(store_url)
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
    from .store_transfer import copy_all  # noqa: PLC0415 - for this command only

    copy_all(_store_url(source), _store_url(target))


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

    store = None if server is not None else _store_url(url)
    place = "the store" if store is None else without_password(store) if is_shared(store) else path_of(store)

    async def work(source: SessionSource) -> int:
        done = await source.vacuum()
        typer.echo(f"{place}: {done.before:,} bytes before, {done.after:,} after")
        return 0

    run_on_source(SourceOptions(server, token_file, store), work)


def _store_url(url: str | None) -> str:
    """Return the store's URL: this one, or what the settings say. Nothing is logged from now on."""
    from .logs import silence  # noqa: PLC0415 - for this command only

    silence()
    return load({"store": url}).store


def _store_path(url: str | None) -> Path:
    """Return the store's file."""
    from .store.url import path_of  # noqa: PLC0415 - for this command only

    return path_of(_store_url(url))


def _print_report(path: Path, report: Report, *, fault: str, hint: str) -> None:
    """Print a report and exit, with 1 where it has faults, else 0."""
    lines = [f"{path}:", *(f"  {fact}" for fact in report.facts)]
    lines += [f"  {fault}: {one}" for one in report.faults] or [f"  nothing is {fault}"]
    typer.echo("\n".join([*lines, hint] if report.faults else lines))
    raise typer.Exit(1 if report.faults else 0)
