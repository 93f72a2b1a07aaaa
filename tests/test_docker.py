"""The container files. No engine is at hand in the tests, so they are parsed and compared with what they name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]  # it has no types

from askbot_ws.config import FIELD_OF_VARIABLE, load

ROOT = Path(__file__).parents[1]


@pytest.fixture
def steps(tmp_path: Path) -> list[tuple[str, str]]:
    """The Dockerfile's instructions."""
    copy = tmp_path / "Dockerfile"  # the parser writes beside what it reads
    copy.write_text((ROOT / "Dockerfile").read_text())
    parsed: Any = DockerfileParser(path=str(tmp_path)).structure
    return [(step["instruction"], step["value"]) for step in parsed if step["instruction"] != "COMMENT"]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_what_the_image_copies_is_there(steps: list[tuple[str, str]]) -> None:
    """A build must not fail for a file that was moved."""
    sources = [name for instruction, value in steps if instruction == "COPY" for name in shlex.split(value)[:-1]]

    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_image_does_not_run_as_root(steps: list[tuple[str, str]]) -> None:
    """Whatever is found in a native library must not own the container."""
    assert [value for instruction, value in steps if instruction == "USER"] == ["askbot"]


def test_the_image_and_compose_set_what_the_server_takes(steps: list[tuple[str, str]]) -> None:
    """Together they make a valid configuration: the server starts with it."""
    image = dict(
        part.split("=", 1) for instruction, value in steps if instruction == "ENV" for part in shlex.split(value)
    )
    given = compose()["services"]["askbot"]["environment"]
    environ = image | {name: "" if str(value).startswith("${") else str(value) for name, value in given.items()}

    settings = load(environ=environ)

    assert set(environ) <= set(FIELD_OF_VARIABLE)
    assert settings.host == "0.0.0.0"
    assert settings.store == "sqlite:////data/askbot.db"


def test_compose_publishes_the_port_on_this_machine_only() -> None:
    """There is no authentication yet, so nobody else may come in."""
    service = compose()["services"]["askbot"]

    assert service["ports"] == ["127.0.0.1:8765:8765"]
    assert service["volumes"] == ["askbot-data:/data"]
    assert "askbot-data" in compose()["volumes"]


def test_the_grace_period_is_longer_than_the_drain() -> None:
    """Else answers are cut that would have been let run."""
    grace = float(compose()["services"]["askbot"]["stop_grace_period"].removesuffix("s"))

    assert grace > load(environ={}).drain


def test_the_image_says_whether_it_is_well(steps: list[tuple[str, str]]) -> None:
    """Orchestrators wait for it."""
    assert any(instruction == "HEALTHCHECK" and "/readyz" in value for instruction, value in steps)
