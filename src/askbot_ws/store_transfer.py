"""Store transfer: copies and checks stores of any kind, for `askbot store`; they are opened as by a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, NoReturn, TypeVar

import typer

from .errors import ConfigError, StoreError
from .store import Store
from .store.audit import Report
from .store.copying import SettableClock, check_sessions, copy_sessions
from .store.url import is_shared, make_store, path_of, without_password

T = TypeVar("T")


def check_shared_store(url: str) -> NoReturn:
    """Check all sessions of a store that nodes may be using; exits with 1 where something is wrong, else 0."""

    async def work() -> Report:
        async with AsyncExitStack() as stack:
            return await check_sessions(await _opened(stack, make_store(url, fsync=False)))

    _finish(url, _run(work()))


def copy_all(source_url: str, target_url: str) -> NoReturn:
    """Copy all sessions of a store to another one and check both; exits with 1 where they differ or have faults."""
    if not is_shared(source_url) and not path_of(source_url).is_file():
        raise ConfigError(f"there is no store {path_of(source_url)}; name another one.")
    clock = SettableClock()

    async def work() -> tuple[int, Report, Report]:
        async with AsyncExitStack() as stack:
            source = await _opened(stack, make_store(source_url, fsync=False))
            target = await _opened(stack, make_store(target_url, fsync=False, wall_clock=clock))
            copied = await copy_sessions(source, target, clock)
            return copied, await check_sessions(source), await check_sessions(target)

    try:
        copied, before, after = _run(work())
    except KeyboardInterrupt:
        typer.echo(f"the copy was broken off: {_shown(target_url)} may have a part of it; empty it.", err=True)
        raise
    typer.echo(f"{_shown(source_url)}: {copied} sessions copied")
    if before.facts != after.facts:
        after.faults += [f"the store that was copied has {fact}" for fact in before.facts]
    after.faults += [f"the store that was copied: {fault}" for fault in before.faults]
    _finish(target_url, after)


async def _opened(stack: AsyncExitStack, store: Store) -> Store:
    await store.open()
    stack.push_async_callback(store.close)
    return store


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except StoreError as error:
        raise ConfigError(f"the store can't be used: {error.__cause__ or error}") from error


def _finish(url: str, report: Report) -> NoReturn:
    """Print a report and exit."""
    lines = [f"{_shown(url)}:", *(f"  {fact}" for fact in report.facts)]
    lines += [f"  wrong: {fault}" for fault in report.faults] or ["  nothing is wrong"]
    typer.echo("\n".join(lines))
    raise typer.Exit(1 if report.faults else 0)


def _shown(url: str) -> str:
    return without_password(url) if is_shared(url) else str(path_of(url))
