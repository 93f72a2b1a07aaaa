"""What several test files share."""

from __future__ import annotations

import gc
import os
import pkgutil
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import structlog
from coverage import Coverage
from hypothesis import settings

import askbot_ws

from .process import ProviderProcess, provider_process
from .redis_server import RedisServer, redis_server
from .seeds import CHOSEN

settings.register_profile("fixed", derandomize=True, deadline=None)  # the same examples each time
settings.register_profile("nightly", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("fixed" if CHOSEN is None else "nightly")

# A program that has not configured structlog gets tracebacks with all local variables: slow, and thousands of lines.
structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let programs in the background ignore Ctrl-C

COVERAGE = pytest.StashKey[Coverage | None]()
"""Where a worker's coverage is while it is stopped."""

SLOW = (
    "attack/",
    "auth/test_server.py",
    "browser/",
    "chaos/",
    "client/test_faults.py",
    "client/test_guide.py",
    "client/test_slow.py",
    "client/test_sync.py",
    "clients/",
    "cluster/",
    "http/test_ai_completion.py",
    "nodes/",
    "package/",
    "security/test_strangers.py",
    "server/",
    "store/redis/",
    "store/test_contract.py",
    "store/test_maintenance",
    "store/test_sqlite_crashes.py",
    "store/test_sqlite_damage.py",
    "store/test_sqlite_flush.py",
    "store/test_sqlite_model.py",
    "terminal/",
    "test_bench.py",
    "test_cli",
    "test_completeness.py",
    "test_deploy.py",
    "test_docs.py",
    "test_embedding.py",
    "test_example_fastapi.py",
    "test_fork_server.py",
    "test_operations.py",
    "test_protocol.py",
    "test_readme.py",
    "test_samples.py",
    "test_scale.py",
    "test_telemetry.py",
    "test_wire.py",
    "upstream/test_answers.py",
    "upstream/test_api_config.py",
    "upstream/test_embedded",
    "upstream/test_openai.py",
    "upstream/test_sse_standard.py",
    "walk/",
)
"""Paths in tests/, or their beginnings, that `make test-fast` leaves out: whole servers, processes, the browser."""


PATIENT = (
    "core/test_context.py",
    "core/test_log_tail.py",
    "core/test_session.py",
    "core/test_turn.py",
    "client/test_reconnecting.py",
    "client/test_requests.py",
    "client/test_view.py",
    "store/test_sqlite_model.py",
    "terminal/test_markdown.py",
    "terminal/test_markdown_screen.py",
    "upstream/test_answer_filter.py",
    "upstream/test_sse.py",
    "upstream/test_sse_standard.py",
    "test_completeness.py",
    "test_config.py",
    "test_docs.py",
    "test_docstrings.py",
    "test_frames.py",
    "test_kubernetes.py",
    "test_operations.py",
    "test_samples.py",
    "test_scale.py",
    "nodes/model/test_model.py",
)
"""Files in tests/ that `make test` runs with what the others leave of the processor, in this order.

They compute, and nothing in them depends on how long that takes.
"""

BESIDE_TIMED = (
    "package/test_node.py",
    "package/test_package.py",
    "store/test_contract.py",
    "walk/test_walk.py",
)
"""Files in tests/ that `make test` runs with what the timed tests leave of the processor.

They need little disk, and what limits them is tens of seconds. The first ones take longest, and are begun first.
"""

SEPARATE = {"patient": PATIENT, "beside_timed": BESIDE_TIMED}
"""Files that have a run of their own in `make test`, by its mark."""

UNMEASURED = (
    "attack/",
    "auth/test_server.py",
    "browser/",
    "chaos/",
    "client/test_faults.py",
    "client/test_guide.py",
    "client/test_reconnecting.py",
    "client/test_renewal.py",
    "client/test_slow.py",
    "client/test_view.py",
    "clients/",
    "cluster/",
    "core/test_fair_queue.py",
    "core/test_log_tail.py",
    "core/test_session.py",
    "core/test_turn.py",
    "hub/test_session_copier.py",
    "nodes/model/",
    "nodes/test_limits.py",
    "package/",
    "security/test_strangers.py",
    "server/test_connections.py",
    "server/test_floods.py",
    "server/test_frames.py",
    "server/test_garbage.py",
    "server/test_log_privacy.py",
    "server/test_readers.py",
    "server/test_thinking.py",
    "server/test_upstream_faults.py",
    "server/test_workers_redis.py",
    "store/redis/test_copying.py",
    "store/test_contract.py",
    "store/test_maintenance_backup.py",
    "store/test_maintenance_repair.py",
    "store/test_sqlite_crashes.py",
    "store/test_sqlite_flush.py",
    "store/test_sqlite_forget.py",
    "store/test_sqlite_model.py",
    "terminal/test_ask_command.py",
    "terminal/test_chat_command.py",
    "terminal/test_guide.py",
    "terminal/test_leaving.py",
    "terminal/test_markdown.py",
    "terminal/test_markdown_screen.py",
    "terminal/test_plain_terminal.py",
    "test_bench.py",
    "test_completeness.py",
    "test_deploy.py",
    "test_frames.py",
    "test_kubernetes.py",
    "test_operations.py",
    "test_readme.py",
    "test_scale.py",
    "test_wire.py",
    "upstream/test_answers.py",
    "upstream/test_api_config.py",
    "upstream/test_openai.py",
    "upstream/test_provider_errors.py",
    "upstream/test_request_format.py",
    "upstream/test_sse_standard.py",
    "upstream/test_transports.py",
    "walk/",
)
"""Paths in tests/, or their beginnings, in whose tests no coverage is measured: what they run, others run too."""

LONGEST = (
    "test_attack.py",
    "test_readers.py",
    "test_long.py",
    "test_soak.py",
    "test_axe.py",
    "test_chat_command.py",
    "test_embedded.py",
    "test_crash.py",
    "test_leaving.py",
    "test_connections.py",
    "test_react.py",
    "test_upstream_faults.py",
    "test_unsent.py",
    "test_faults.py",
    "test_element.py",
    "test_slow_readers.py",
    "test_sign_in.py",
    "test_floods.py",
    "test_workers.py",
)
"""Files that are begun early, so that no worker is still at one when the others have ended.

Some of them wait for the most part (the soak, connections, faults, slow readers, floods): those are not begun one after
the other, as a machine with less to do is waste.
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file whose tests `make test-fast` or a part of `make test` leaves out: all workers would do that."""
    if not collection_path.is_relative_to(Path(__file__).parent):
        return None
    path = _path_in_tests(collection_path) + "/" * collection_path.is_dir()
    match config.option.markexpr:
        case "not slow":
            is_left_out = path.startswith(SLOW)
        case "not timed and not patient and not beside_timed":
            is_left_out = any(path in files for files in SEPARATE.values())
        case mark if mark in SEPARATE:
            is_left_out = path not in SEPARATE[mark] and not collection_path.is_dir()
        case _:
            is_left_out = False
    return is_left_out or None


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow or has a run of its own, and order the files."""
    for item in items:
        path = _path_in_tests(item.path)
        if path.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        for mark, files in SEPARATE.items():
            if path in files:
                item.add_marker(mark)
    if files := SEPARATE.get(config.option.markexpr, ()):
        places = {file: place for place, file in enumerate(files)}
        items.sort(key=lambda item: places.get(_path_in_tests(item.path), len(places)))
    elif hasattr(config, "workerinput"):
        interleave_folders(items)


def _path_in_tests(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).as_posix()


def interleave_folders(items: list[pytest.Item]) -> None:
    """Order by file, from all folders in turn: those of one folder want the same of the machine, a browser each.

    Those of `LONGEST` are spread over the first half, the first of them at the beginning.
    """
    files = [*dict.fromkeys(item.path for item in items)]
    order: dict[Path, float] = {}
    for folder in {file.parent for file in files}:
        siblings = [file for file in files if file.parent == folder]
        order |= {file: n / len(siblings) for n, file in enumerate(siblings)}
    order |= {file: LONGEST.index(file.name) / len(LONGEST) / 2 - 0.01 for file in files if file.name in LONGEST}
    items.sort(key=lambda item: order[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One seed for all that draws, Hypothesis too; collect tests without the garbage collector and without coverage.

    Each would add half to the time. Of the package, what runs when it is imported is measured before, by one worker.
    """
    if CHOSEN is not None and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = CHOSEN
    gc.disable()  # until all tests are there
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    config.stash[COVERAGE] = Coverage.current() if worker else None
    if coverage := config.stash[COVERAGE]:
        if worker["workerid"] == "gw0":
            for module in pkgutil.walk_packages(askbot_ws.__path__, "askbot_ws."):
                if not module.name.endswith("__main__"):
                    import_module(module.name)
        coverage.stop()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exempt the tests themselves from garbage collection: there are half a million objects, and they stay."""
    gc.freeze()
    gc.enable()
    if coverage := session.config.stash[COVERAGE]:
        coverage.start()


def pytest_report_header() -> str:
    """With which seeds it runs."""
    return "seeds: fixed" if CHOSEN is None else f"seed: {CHOSEN} (again: ASKBOT_TEST_SEED={CHOSEN})"


@pytest.fixture(scope="session", autouse=True)
def uncovered() -> Iterator[None]:
    """Measure no coverage in the processes that tests start, except for those of tests/command.py: it slows them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage sets it, for the workers of pytest-xdist
        yield


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure no coverage in the tests of `UNMEASURED`, nor in their processes: it takes up to half of their time.

    Once for a file: coverage looks at each module that is imported when it is started, which takes 10 ms.
    """
    coverage = Coverage.current() if _path_in_tests(request.path).startswith(UNMEASURED) else None
    if coverage is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_RUN", raising=False)  # tests/command.py looks for it
        coverage.stop()
        yield
        coverage.start()
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # which `start` has set again, see `uncovered`


@pytest.fixture(scope="module", autouse=True)
def logging_unconfigured() -> Iterator[None]:
    """End what the tests of a file set up of structlog: commands and embedded servers do, in this process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def provider() -> Iterator[ProviderProcess]:
    """One scripted provider, as a process of its own; questions that count are told apart by their text."""
    with provider_process() as provider:
        yield provider


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """One redis-server for all tests."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(redis_process: RedisServer) -> RedisServer:
    """The same server, empty."""
    redis_process.flush()
    return redis_process
