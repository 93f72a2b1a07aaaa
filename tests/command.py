"""`askbot` as a process."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASKBOT = [sys.executable, "-m", "askbot_ws.cli"]


def variables(**more: str) -> dict[str, str]:
    """Its environment: ours; where coverage is measured, it measures itself too."""
    measured = {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(ROOT / ".coverage")}
    return os.environ | (measured if "COVERAGE_RUN" in os.environ else {}) | more


async def call(
    *arguments: str, stdin: str | None = None, cwd: Path | None = None, **environ: str
) -> tuple[int, str, str]:
    """Run `askbot` with these; returns the exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *ASKBOT, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=cwd, env=variables(**environ)
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode() if stdin is not None else b""), 20)
    return process.returncode or 0, out.decode(), err.decode()
