"""Check the types of the Python programs in the pages, as a user's type checker does: pyright and mypy, both strict.

Each block is a program of its own; one that goes on from the block before it says so by `<!-- continues -->`, a comment
that does not show, on the line before it. The pages of docs/reference have the examples of docstrings (their other
blocks are signatures): parts of programs, which see what `PREAMBLE` has. A block that awaits outside of a function is
checked inside of one.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "client/*.md", "examples/*.md")
LANGUAGES = ("python", "py", "python3")
CONTINUES = re.compile(r"<!--\s*continues\s*-->")
REFERENCE = "docs/reference/"
EXAMPLE = re.compile(r"\*\*Examples?:\*\*")

PREAMBLE = """\
import asyncio as asyncio

import askbot_ws as askbot_ws
from askbot_ws import Closed as Closed, Damaged as Damaged, TimedOut as TimedOut, connect_sync as connect_sync
from askbot_ws.config import load as load
from askbot_ws.errors import *
from askbot_ws.testing import *
from {client} import Chat as Chat, connect as connect

url = "ws://127.0.0.1:8765/v1/chat"
chat: Chat = connect(url)
"""
SYNC_PAGE = "docs/reference/askbot_ws.client.sync.md"
PYRIGHT = {
    "typeCheckingMode": "strict",
    "pythonVersion": "3.11",
    "venvPath": str(ROOT),
    "venv": ".venv",
    "extraPaths": [str(ROOT / "src")],
    "ignore": ["preamble*.py"],
    "reportUnusedVariable": False,  # in a function that the page does not have
    "reportWildcardImportFromLibrary": False,  # of the preamble
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A program in a page."""

    page: str
    line: int  # of the page, before its first one
    code: str

    @property
    def name(self) -> str:
        """The name of its module."""
        return re.sub(r"\W", "_", f"{self.page.removesuffix('.md')}_{self.line + 1}")

    @property
    def preamble(self) -> str | None:
        """The name of the module that has what it sees; None where it is a whole program."""
        if not self.page.startswith(REFERENCE):
            return None
        return "preamble_sync" if self.page == SYNC_PAGE else "preamble"

    @property
    def module(self) -> str:
        """The program as a module, in which each of its lines has the number that it has in the page."""
        code, before = self.code, [""] * self.line
        if self.preamble or _awaits_outside(code):
            code, before[-1] = indent(code, "    "), "async def sample() -> None:"
        if self.preamble:
            before[0] = f"from {self.preamble} import *"
        return "\n".join([*before, code])


# --- finding them ----------------------------------------------------------------------------------------------------


def pages(root: Path = ROOT) -> list[str]:
    """The pages, relative to a folder."""
    return sorted({page.relative_to(root).as_posix() for pattern in PAGES for page in root.glob(pattern)})


def samples(page: str, text: str) -> list[Sample]:
    """The programs in a page."""
    found: list[Sample] = []
    lines = text.splitlines()
    for line, code in _blocks(text):
        before = next((each for each in reversed(lines[: line - 1]) if each.strip()), "")
        if CONTINUES.search(before) and found:
            first = found.pop()
            gap = "\n" * (line - first.line - first.code.count("\n"))
            found.append(replace(first, code=first.code + gap + code))
        elif not page.startswith(REFERENCE) or EXAMPLE.fullmatch(before.strip()):
            found.append(Sample(page, line, code))
    return found


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """The code of each block in Python, with the number of lines before it."""
    for token in MarkdownIt().parse(text):
        if token.type == "fence" and token.map and token.info.split(" ")[0].lower() in LANGUAGES:
            yield token.map[0] + 1, token.content


def _awaits_outside(code: str) -> bool:
    try:
        compile(code, "", "exec")
    except SyntaxError:
        try:
            compile(code, "", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError:
            return False  # pyright tells what is wrong
        return True
    return False


# --- checking them ---------------------------------------------------------------------------------------------------


def faults(found: Iterable[Sample], *, cache: Path) -> list[str]:
    """What pyright and mypy say of the programs, one line each, with the line of the page; `cache` is mypy's."""
    by_name = {sample.name: sample for sample in found}
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
        for sample in by_name.values():
            if sample.preamble:
                client = "askbot_ws.client.sync" if sample.preamble == "preamble_sync" else "askbot_ws.client"
                (folder / f"{sample.preamble}.py").write_text(PREAMBLE.format(client=client))
            (folder / f"{sample.name}.py").write_text(sample.module, "utf-8")
        told = [*_pyright(folder), *_mypy(folder, cache)]
    return [f"{by_name[module].page if module in by_name else module}:{about}" for module, about in told]


def _pyright(folder: Path) -> Iterator[tuple[str, str]]:
    """Each fault: the module, and `line: message`."""
    told = _run("pyright", "--project", str(folder), "--outputjson", cwd=folder)
    for each in json.loads(told)["generalDiagnostics"]:
        if each["severity"] != "information":
            line, rule = each["range"]["start"]["line"] + 1, each.get("rule", "syntax")
            yield Path(each["file"]).stem, f"{line}: {each['message']} (pyright: {rule})"


def _mypy(folder: Path, cache: Path) -> Iterator[tuple[str, str]]:
    config = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache))
    told = _run("mypy", *config, "--no-error-summary", "--no-pretty", ".", cwd=folder)
    for line in told.splitlines():
        if found := re.match(r"([^:]+)\.py:(\d+): error: (.*)", line):
            yield Path(found[1]).name, f"{found[2]}: {found[3]} (mypy)"
        elif ": note: " not in line:
            raise RuntimeError(line)


def _run(module: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", module, *arguments]
    environ = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    ended = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1) or ended.stderr:
        raise RuntimeError(ended.stdout + ended.stderr)
    return ended.stdout


def main() -> int:
    """Print what is wrong with the programs of all pages; returns the exit code."""
    found = [sample for page in pages() for sample in samples(page, (ROOT / page).read_text("utf-8"))]
    wrong = faults(found, cache=ROOT / ".mypy_cache")
    for fault in wrong:
        print(fault)
    print(f"{len(found)} programs in pages, {len(wrong)} faults")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
