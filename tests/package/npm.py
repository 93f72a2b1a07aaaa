"""Node and npm, as `make setup` installs them, and a project somewhere else that uses our package."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ..process import ROOT, Json, environment

BIN = Path(sys.executable).parent
CLIENT = ROOT / "client"
MODULES = ROOT / "tests/js/node_modules"  # what the tests need from npm
EXAMPLE = ROOT / "examples/react"


def needs(*paths: Path) -> None:
    """Fail, not skip, where something was not installed."""
    for path in paths:
        if not path.exists():
            pytest.fail(f"{path.relative_to(ROOT)} is missing: `make setup` installs it", pytrace=False)


@asynccontextmanager
async def started(*command: str | Path, folder: Path = ROOT, **environ: str) -> AsyncGenerator[Process]:
    """A program of `.venv/bin`, or below `folder`, until the block ends."""
    variables = environment(PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", **environ)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder, env=variables, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # npm leaves what it started
        await process.communicate()


async def outcome(*command: str | Path, folder: Path = ROOT, limit: float = 60, **environ: str) -> tuple[int, str, str]:
    """A program's exit code, and what it wrote."""
    async with started(*command, folder=folder, **environ) as process, asyncio.timeout(limit):
        out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def run(*command: str | Path, folder: Path = ROOT, limit: float = 60, **environ: str) -> str:
    """What a program wrote; its end is a good one."""
    code, out, errors = await outcome(*command, folder=folder, limit=limit, **environ)
    assert code == 0, out + errors
    return out


async def packed(folder: Path) -> tuple[Path, Json]:
    """The tarball that would be published, and what npm says of it; it is made once, in the folder of the first."""
    if not _PACKED:
        (said,) = json.loads(await run("npm", "pack", "--json", "--pack-destination", folder, folder=CLIENT))
        _PACKED.append((folder / said["filename"], said))
    return _PACKED[0]


_PACKED: list[tuple[Path, Json]] = []


async def project(folder: Path) -> Path:
    """A project in which our package is installed as from the registry, beside React."""
    needs(MODULES / "react")
    tarball, _ = await packed(folder)
    modules = folder / "node_modules"
    modules.mkdir()
    await run("tar", "-xzf", tarball, folder=modules)
    (modules / "package").rename(modules / "askbot-ws")
    for name in ("react", "react-dom", "ws", "@types"):
        (modules / name).symlink_to(MODULES / name)
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    return folder


Pages = dict[str, str]


async def built(root: Path, folder: Path, mode: str = "production") -> Pages:
    """What vite makes of a web project, by path."""
    needs(EXAMPLE / "node_modules/vite")
    vite = EXAMPLE / "node_modules/vite/bin/vite.js"
    flags = ("--outDir", folder, "--emptyOutDir", "--logLevel", "warn", "--mode", mode)
    await run("node", vite, "build", root, *flags, NODE_ENV=mode)
    return _pages(folder)


async def built_once(root: Path, mode: str = "production") -> Pages:
    """The same, made for the first test that wants it."""
    if (root, mode) not in _BUILT:
        with TemporaryDirectory() as folder:
            _BUILT[root, mode] = await built(root, Path(folder), mode)
    return _BUILT[root, mode]


_BUILT: dict[tuple[Path, str], Pages] = {}


def _pages(folder: Path) -> Pages:
    pages = {f"/{path.relative_to(folder)}": path.read_text() for path in folder.rglob("*") if path.is_file()}
    return pages | {"/": pages["/index.html"]}
