"""The Makefile lists its targets, and whatever names one (workflows, pages, hooks) names one that exists."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .process import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
FORGE = sorted(path for path in (ROOT / ".github").rglob("*.yml"))
NAMING = [*FORGE, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / ".pre-commit-config.yaml", ROOT / ".ci/run"]


def test_without_a_target_it_lists_all() -> None:
    """Each with what it does."""
    listed = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == TARGETS
    assert all(re.fullmatch(r"make [a-z-]+ +\S.*", line) for line in listed.splitlines())


def test_no_target_is_taken_for_a_file() -> None:
    """`docs` and `bench` are folders."""
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS


@pytest.mark.parametrize(
    ("system", "own", "chosen"),
    [
        ("(3, 11)", "(3, 11)", "system"),
        ("(3, 11)", "(3, 12)", "python3"),
        ("", "(3, 11)", "python3"),  # it has no ensurepip, or there is none
        ("", "", "python3"),
    ],
)
def test_the_systems_python_is_chosen_where_it_is_of_the_same_version(
    tmp_path: Path, system: str, own: str, chosen: str
) -> None:
    """Which is told by what either prints."""
    for name, version in (("system", system), ("python3", own)):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{version}'\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    outer = {"PYTHON", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"}  # of a `make test PYTHON=…` that runs this
    environ = {name: value for name, value in os.environ.items() if name not in outer}
    environ |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SYSTEM_PYTHON": str(tmp_path / "system")}
    command = ["make", "--silent", "--eval", "chosen:; @echo $(PYTHON)", "chosen"]
    told = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout

    assert Path(told.strip()).name == chosen


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_targets_that_are_named_exist(path: Path) -> None:
    """In commands; prose may speak of making something."""
    text = path.read_text("utf-8")
    named = re.findall(r"(?:`|run: |entry: |^(?:time )?)make ([a-z-]+)", text, flags=re.MULTILINE)
    assert [target for target in named if target not in TARGETS] == []


@pytest.mark.parametrize("path", FORGE, ids=lambda path: path.name)
def test_what_the_forge_reads_can_be_read(path: Path) -> None:
    """It would pass over what it can't."""
    told: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    jobs: dict[str, Any] = told.get("jobs", {})
    steps: list[dict[str, object]] = [step for job in jobs.values() for step in job["steps"]]

    assert told
    assert [step for step in steps if ("run" in step) == ("uses" in step)] == []
