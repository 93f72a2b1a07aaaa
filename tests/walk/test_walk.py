"""The walk in a short form. `make walk` draws seeds, and walks for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..seeds import seeds
from .walk import Walk


@pytest.mark.parametrize("seed", seeds(11, 12))
async def test_whatever_the_disk_does_sessions_keep_their_promises(seed: int, tmp_path: Path) -> None:
    """With faults of disk, sync and clock, other programs in the file, evictions, forgets, restarts and crashes."""
    walk = Walk(tmp_path, seed)
    await walk.run(8.0)

    assert walk.counts["commands"] > 20
    assert walk.counts["trespasses"] > 0
    assert walk.disk.failed > 0
