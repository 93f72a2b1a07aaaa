"""What several test files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .process import ProviderProcess, provider_process


@pytest.fixture(scope="session")
def provider() -> Iterator[ProviderProcess]:
    """One scripted provider, as a process of its own; questions that count are told apart by their text."""
    with provider_process() as provider:
        yield provider
