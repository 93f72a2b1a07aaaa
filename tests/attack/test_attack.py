"""Some seconds of an attack: `make attack` is an hour of it. And what would be found, is."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ..seeds import seed
from .attacker import Attacker, BrokenPromiseError
from .final_checks import MB, Size, check_log, check_measured, check_sizes
from .honest_user import Measured
from .run import attack
from .target import Target

SIZE = Size(memory=80 * MB, fds=30, clients=0)
GOOD = Measured(first_tokens=[0.01] * 100, round_trips=[0.01] * 100)
TARGET = Target(port=1, key="ak_x", anonymous=False, sessions=("s",), canaries=("canary1",))


@pytest.mark.timed  # its latencies are not to be told from what other tests on the same cores cause
@pytest.mark.timeout(90)
async def test_a_stranger_harms_nobody(tmp_path: Path) -> None:
    """No traceback, no 5xx but 503, no growth, no secret in the log; honest users get what they should."""
    outcome = await attack(tmp_path, "small limits", 4, seed=seed(1))
    print(outcome)

    assert outcome.findings == []
    assert outcome.counts.total() > 50
    assert len(outcome.measured.first_tokens) > 10


@pytest.mark.parametrize(
    ("after", "finding"),
    [
        (replace(SIZE, memory=99 * MB, fds=33), ""),
        (replace(SIZE, memory=101 * MB), "memory has grown from 80.0 MB to 101.0 MB"),
        (replace(SIZE, fds=34), "not given back"),
        (replace(SIZE, clients=1), "not given back"),
    ],
)
def test_what_grows_is_found(after: Size, finding: str) -> None:
    """Memory by 20 MB, descriptors and connections."""
    assert [found[: len(finding)] for found in check_sizes(SIZE, after)] == ([finding] if finding else [])


@pytest.mark.parametrize(
    ("measured", "finding"),
    [
        (GOOD, ""),
        (replace(GOOD, first_tokens=[0.01] * 90 + [1.5] * 10), "first token: 1.50 s"),
        (replace(GOOD, round_trips=[0.01] * 90 + [2.5] * 10), "round trip: 2.50 s"),
        (replace(GOOD, broken=["alice: AssertionError()"]), "alice"),
        (Measured(), "not answered at all"),
    ],
)
def test_what_honest_users_suffer_is_found(measured: Measured, finding: str) -> None:
    """A wrong answer, a late one, or none."""
    found = check_measured(measured)
    assert [finding in each for each in found] == ([True] if finding else [])


def test_refusals_of_honest_users_are_found() -> None:
    """Some are allowed: the server is full."""
    measured = Measured(first_tokens=[0.01] * 100, round_trips=[0.01] * 100)
    measured.busy["question"] = 15
    assert check_measured(measured) == []
    measured.busy["handshake"] = 1
    assert "were refused" in check_measured(measured)[0]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (json.dumps({"event": "connection_closed", "level": "info"}), None),
        (json.dumps({"event": "x", "level": "error"}), '"level": "error"'),
        (json.dumps({"event": "x", "level": "warning", "exception": "ValueError"}), "ValueError"),
        ("Exception ignored in: <x>", "no line of a log"),
        (json.dumps({"event": "x", "level": "info", "user": "word-1"}), "has the secret"),
    ],
)
def test_what_a_log_must_not_have_is_found(tmp_path: Path, line: str, finding: str | None) -> None:
    """Errors, tracebacks, what Python prints by itself, and secrets."""
    log = tmp_path / "askbot.log"
    log.write_text(f"{line}\n")
    found = check_log(log, ["word-0", "word-1"])
    assert [finding in each for each in found] == [True] if finding else found == []


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 Internal Server Error\r\n",
        b"HTTP/1.0 502 Bad Gateway\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nroot:x:0:0:root",
        b'{"type":"token","text":"canary1"}',
    ],
)
def test_what_no_response_may_have_is_found(received: bytes) -> None:
    """Faults of the server, files of the machine, and words of others; 503 is no fault."""
    attacker = Attacker(TARGET, random.Random(1))
    attacker.inspect(b"HTTP/1.1 503 Service Unavailable\r\n")
    with pytest.raises(BrokenPromiseError):
        attacker.inspect(received)
