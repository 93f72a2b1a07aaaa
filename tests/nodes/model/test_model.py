"""Two nodes, all orders of a few steps: lease, fence, append, follow and takeover, with the real classes and scripts.

Only the order is the model's: when Redis executes a call, when its reply and the messages arrive, when a provider says
something. Without the fence, the head check, or the read after subscribing, some order breaks a promise; so the model
sees what they are for.
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Generator
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from askbot_ws.store.redis import log_loader, scripts, session_scripts
from askbot_ws.store.redis.log_loader import LogLoader
from tests.redis_server import RedisServer

from .scenarios import SCENARIOS
from .stepped_redis import stepped
from .steps import BrokenOrder, explore

AT_MOST = 2000

FENCE = r"if meta\[1\] ~= ARGV\[1\] then\n  return 0\nend\n"
HEAD_CHECK = r"(?s)if meta\[2\] ~= ARGV\[2\] then\n.*?\nend\n"
SUBSCRIBES = "        await self._subscriptions.subscribe(keys.followers)\n"
CHECKS = "        self._check_exists(session, load)\n"


@pytest.fixture(autouse=True)
def _stepped() -> Generator[None]:
    with stepped():
        yield


@pytest.fixture
def scripts_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Path]:
    """A copy of the scripts that the nodes use in this test."""
    shutil.copytree(Path(scripts.__file__).with_name("scripts"), tmp_path / "scripts")
    monkeypatch.setattr(scripts, "files", MagicMock(return_value=tmp_path))
    _forget_scripts()
    yield tmp_path / "scripts"
    _forget_scripts()


def _forget_scripts() -> None:
    scripts.load_script.cache_clear()
    session_scripts.session_script.cache_clear()
    session_scripts.confirmed_script.cache_clear()


def _edit(script: Path, removed: str) -> None:
    source, count = re.subn(removed, "", script.read_text())
    assert count == 1
    script.write_text(source)


@pytest.mark.parametrize("name", SCENARIOS)
def test_promises_hold_in_all_orders(redis: RedisServer, name: str) -> None:
    """Each reader is shown all that is stored, and nothing else, in order and once; each turn ends once."""
    assert explore(lambda: SCENARIOS[name](redis), at_most=AT_MOST) > 5


def test_without_the_fence_a_promise_is_broken(redis: RedisServer, scripts_without: Path) -> None:
    """What an owner appends after another node took over is stored."""
    for name in ("append.lua", "commit.lua"):
        _edit(scripts_without / name, FENCE)

    with pytest.raises(BrokenOrder, match=r"without an end|shown up to|takes|twice"):
        explore(lambda: SCENARIOS["text is late"](redis), at_most=AT_MOST)


def test_without_the_head_check_a_promise_is_broken(redis: RedisServer, scripts_without: Path) -> None:
    """What is appended again, as its reply was lost, is not taken for stored."""
    for name in ("append.lua", "commit.lua"):
        _edit(scripts_without / name, HEAD_CHECK)

    with pytest.raises(BrokenOrder, match=r"(?s)stored up to .*whose reply is lost"):
        explore(lambda: SCENARIOS["losing a reply"](redis), at_most=AT_MOST)


def test_a_follower_that_reads_before_it_subscribes_misses_something(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended in between; no message tells of it, and no read has it."""
    source = textwrap.dedent(inspect.getsource(LogLoader._load))  # pyright: ignore[reportPrivateUsage]
    subscribes, checks = textwrap.dedent(SUBSCRIBES), textwrap.dedent(CHECKS)
    assert subscribes in source
    assert checks in source
    later = source.replace(f"        {subscribes}", "").replace(f"        {checks}", f"        {subscribes}")
    found: dict[str, object] = {}
    exec(compile(later, "<edited>", "exec"), log_loader.__dict__, found)
    monkeypatch.setattr(LogLoader, "_load", found["_load"])

    with pytest.raises(BrokenOrder, match="stored up to"):
        explore(lambda: SCENARIOS["following"](redis), at_most=AT_MOST)
