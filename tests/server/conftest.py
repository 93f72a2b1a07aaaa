"""Each way by which connections come, in its turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from .transports import Way, made


@pytest.fixture(
    params=[(kind, loop) for kind in ("tcp", "tls", "unix") for loop in ("asyncio", "uvloop")], ids="-".join
)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """A test that takes it runs six times."""
    kind, loop = request.param
    return made(kind, loop, tmp_path)
