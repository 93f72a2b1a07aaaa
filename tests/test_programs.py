"""programs.py: what `make setup` says on a machine that lacks browsers and servers, and what it leaves there."""

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
    programs.install([programs.CHROMIUM])
    assert all(f"`apt-get install {program.packages[0]}`" in program.how_to_get() for program in programs.PROGRAMS)


def test_a_program_is_found_by_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu's Firefox is `firefox`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "firefox"
    path.touch(mode=0o755)
    assert programs.FIREFOX.path() == str(path)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian that has Valkey and not Redis: a file with what its programs were called with, a line each."""
    calls = tmp_path / "calls"
    scripts = {
        "sudo": 'shift; exec "$@"',
        "apt-get": f'echo "apt-get $*" >> {calls}; case "$*" in *redis-server) exit 100;; esac',
        "service": f'echo "service $*" >> {calls}',
        "update-rc.d": f'echo "update-rc.d $*" >> {calls}',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return calls


def test_a_server_that_was_installed_does_not_stay_running(called: Path) -> None:
    """Debian starts Redis on port 6379 and nginx on port 80, now and with the machine; tests start their own."""
    programs.install([programs.REDIS, programs.XVFB])

    apt = "apt-get install -y -qq --no-install-recommends"
    assert called.read_text().splitlines() == [
        "apt-get update -qq",
        f"{apt} redis-server",
        f"{apt} valkey-server",
        "service valkey-server stop",
        "update-rc.d valkey-server disable",
        f"{apt} xvfb",
    ]


def test_a_server_that_was_there_is_left_alone(
    called: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may use it. For a cluster, nothing else is installed, and what is still missing is said."""
    for name in ("valkey-server", "nginx"):
        (tmp_path / name).touch(mode=0o755)
    assert programs.main(["cluster"]) == 0
    assert not called.exists()

    (tmp_path / "valkey-server").unlink()
    assert programs.main(["cluster"]) == 1
    assert "redis-server is missing." in capsys.readouterr().err
    assert not any("chromium" in line for line in called.read_text().splitlines())
