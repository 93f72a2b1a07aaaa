"""SECURITY.md and docs/security.md: what they name exists."""

from __future__ import annotations

import ast
import re

import yaml

from ..process import ROOT

DOCUMENTS = (ROOT / "SECURITY.md", ROOT / "docs/security.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
POINT = re.compile(r"^\| (?!point |---)([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def missing(text: str) -> list[str]:
    """Which of the tests that a text names there are not."""
    return [f"{path}::{name}" for path, name in NAMED.findall(text) if name not in functions(path)]


def functions(path: str) -> set[str]:
    """The tests of a file; none where there is no such file."""
    file = ROOT / path
    body = ast.parse(file.read_text("utf-8")).body if file.exists() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    """And every point of the sheet names one."""
    points = POINT.findall(DOCUMENTS[1].read_text("utf-8"))

    assert len(points) > 30
    assert [point for point, _, tests in points if not NAMED.search(tests)] == []
    assert [name for path in DOCUMENTS for name in missing(path.read_text("utf-8"))] == []


def test_a_test_that_is_not_there_is_found() -> None:
    """By its file, and by its name."""
    assert missing("`tests/nowhere.py::test_a` `tests/security/test_documents.py::test_b`") == [
        "tests/nowhere.py::test_a",
        "tests/security/test_documents.py::test_b",
    ]
    assert missing("`tests/security/test_documents.py::test_a_test_that_is_not_there_is_found`") == []


def test_the_workflow_audits_what_is_pinned() -> None:
    """At each push and each week."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    audit = workflow["jobs"]["audit"]

    assert "if" not in audit
    assert any(re.match("pip-audit .*constraints.txt", step.get("run", "")) for step in audit["steps"])
    assert {"push", "schedule"} <= {*workflow[True]}  # `on` is a truth value in YAML 1.1
