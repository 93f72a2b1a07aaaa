"""programs.py: what `make setup` says on a machine that has no browsers."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import programs


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no apt, nothing is installed, and nothing fails before it is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    lacking = [program for program in programs.PROGRAMS if not Path(program.names[-1]).is_absolute()]
    assert [program for program in programs.missing() if program in lacking] == lacking
    assert not programs.has_korean_font()
    programs.install(["chromium"])
    assert all(f"`apt-get install {program.package}`" in program.how_to_get() for program in programs.PROGRAMS)


def test_a_program_is_found_by_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu's Firefox is `firefox`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "firefox"
    path.touch(mode=0o755)
    assert programs.FIREFOX.path() == str(path)
