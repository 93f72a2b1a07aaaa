"""Seeds of what the tests draw: fixed in what everybody runs, so that it passes or fails each time.

`ASKBOT_TEST_SEED=draw` draws one for the whole run, Hypothesis included, and the head of pytest's report says which;
`ASKBOT_TEST_SEED=N` is that one again. `make test SEED=…` sets it.
"""

from __future__ import annotations

import os
import random

_given = os.environ.get("ASKBOT_TEST_SEED", "")
CHOSEN: int | None = random.randrange(2**32) if _given == "draw" else int(_given) if _given else None
"""The seed of the whole run, None where each test has its own."""


def seeds(*fixed: int) -> list[int]:
    """The seeds that a test is run with."""
    return [*fixed] if CHOSEN is None else [CHOSEN]


def seed(fixed: int) -> int:
    """The seed that a test is run with."""
    return seeds(fixed)[0]
