"""tools/docstrings.py: what a public docstring lacks is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .process import ROOT

PROGRAM = """
import ast, inspect, json, sys
from docstrings import missing
from public_api import Docstring
node = ast.parse(sys.stdin.read()).body[0]
print(json.dumps(list(missing("f", node, Docstring.parse(inspect.cleandoc(ast.get_docstring(node) or ""))))))
"""


def faults(function: str) -> list[str]:
    """What the check says of a function."""
    checked = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT / "tools",
        input=function,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(checked.stdout)
    return found


def test_a_whole_docstring_passes() -> None:
    """Lists of parameters, types, asterisks and lines that go on included."""
    assert (
        faults('''
def f(self, a: int, *rest: str, b: str = "", **more: object) -> int:
    """Add.

    Args:
        a: The first, in units
            that take two lines.
        *rest: The others.
        b (str): A name.
        **more: Not used.

    Returns:
        The sum.

    Raises:
        ValueError: If there is none.
    """
    if not rest:
        raise ValueError("none")
    return a
''')
        == []
    )


def test_what_is_missing_is_named() -> None:
    """Parameters, results and errors; those of functions inside are theirs."""
    assert faults('''
def f(a: int, b: int) -> int:
    """Add.

    Args:
        a: The first.
        c: No parameter.
    """
    def inner() -> None:
        raise KeyError("not ours")
    if a:
        raise ValueError("ours")
    return b
''') == ["f: Args lacks b", "f: Args has c, which it does not take", "f: has no Returns", "f: Raises lacks ValueError"]


def test_generators_say_what_they_yield() -> None:
    """Context managers too."""
    assert faults('''
async def f():
    """Count."""
    yield 1
''') == ["f: has no Yields"]


def test_a_property_is_read_like_a_field() -> None:
    """Its first line says what it is."""
    assert (
        faults('''
@property
def f(self) -> int:
    """The number."""
    return 1
''')
        == []
    )


MODULE = '''
from __future__ import annotations

from typing import TypeAlias

__all__ = ["Alias", "Described", "Former", "Reader", "add", "undocumented"]

Alias: TypeAlias = int | str
Described: TypeAlias = int | str
"""A number, or its name."""


class Reader:
    """Reads."""

    def read(self, limit: int) -> None:
        """Read.

        Args:
            limit: In bytes.
        """


Former = Reader


def add(first: int, second: int) -> int:
    """Add.

    Args:
        first: A number.
    """
    return first + second


def undocumented() -> None:
    pass
'''


def check(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """Run the check, as `make check` does, on a module of this source."""
    (folder / "sample_api.py").write_text(module, "utf-8")
    return subprocess.run(
        [sys.executable, ROOT / "tools/docstrings.py", "sample_api"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_the_check_fails_where_a_public_docstring_is_incomplete(tmp_path: Path) -> None:
    """Those of aliases too, also where what they stand for has one."""
    checked = check(tmp_path, MODULE)

    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        "sample_api.Alias: has no docstring",
        "sample_api.Former: has no docstring",
        "sample_api.add: Args lacks second",
        "sample_api.add: has no Returns",
        "sample_api.undocumented: has no docstring",
    ]


def test_the_check_passes_where_all_are_complete(tmp_path: Path) -> None:
    """With nothing printed."""
    whole = MODULE.replace(
        '["Alias", "Described", "Former", "Reader", "add", "undocumented"]', '["Described", "Reader"]'
    )

    checked = check(tmp_path, whole)

    assert (checked.returncode, checked.stdout) == (0, "")
