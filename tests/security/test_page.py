"""docs/security.md: what it says is done has a test, and that test exists."""

from __future__ import annotations

import ast
import re

from ..process import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
ROWS = [row.split("|")[1:-1] for row in re.findall(r"^\| (?!point|---).*\|$", PAGE, flags=re.MULTILINE)]


def test_every_point_names_tests_that_exist() -> None:
    """By their file and their name."""
    assert len(ROWS) > 30
    for point, _, tests in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w*)`", tests)
        assert named, point
        for file, name in named:
            tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
            functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert name in functions, (point, file, name)
