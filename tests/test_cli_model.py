"""`askbot model use`: remembers a model in the folder's .env, where the next server finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from askbot_ws.cli import app
from askbot_ws.config import load
from askbot_ws.errors import ConfigError

from .upstream.gguf_files import write_gguf


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_is_remembered_in_the_folder(folder: Path) -> None:
    """A server that is started there runs it; what else .env says stays, a former model does not."""
    (folder / ".env").write_text("# ours\nASKBOT_PORT=9000\nASKBOT_EMBEDDED_MODEL=gone.gguf\nexport OTHER='x'")
    write_gguf(folder / "it's a model.gguf")

    result = CliRunner().invoke(app, ["model", "use", "it's a model.gguf"])

    assert result.exit_code == 0, result.output
    assert f"ASKBOT_EMBEDDED_MODEL is set in {folder}/.env; remove the line to undo it." in result.output
    settings = load({}, {}, folder)
    assert (settings.embedded_model, settings.port) == (folder / "it's a model.gguf", 9000)
    lines = (folder / ".env").read_text().splitlines()
    assert [line.split("=")[0] for line in lines] == ["# ours", "ASKBOT_PORT", "ASKBOT_EMBEDDED_MODEL", "export OTHER"]


def test_the_first_setting_makes_the_file(folder: Path) -> None:
    """And a link to one is followed, not replaced."""
    (folder / "shared.env").touch()
    (folder / ".env").symlink_to("shared.env")

    assert CliRunner().invoke(app, ["model", "use", str(write_gguf(folder / "model.gguf"))]).exit_code == 0

    assert (folder / ".env").is_symlink()
    assert load({}, {}, folder).embedded_model == folder / "model.gguf"


def test_what_is_no_model_is_refused_and_nothing_is_written(folder: Path) -> None:
    """The next server would not start."""
    (folder / "model.gguf").write_bytes(b"<html>")

    for name in ("model.gguf", "missing.gguf"):
        result = CliRunner().invoke(app, ["model", "use", name])
        assert isinstance(result.exception, ConfigError)

    assert not (folder / ".env").exists()
