"""Nothing that opens a session can be guessed: how many random bits it has."""

from __future__ import annotations

import base64
import json
import math
import time
from collections import Counter
from collections.abc import Callable

import pytest

from askbot_ws.auth.key_file import make_key
from askbot_ws.auth.tickets import make_ticket
from askbot_ws.core.session_id import new_session_id

SECRET = "a secret of tests that has more than 32 bytes"


def ticket_id() -> str:
    """The part of a ticket that no other ticket has."""
    payload = make_ticket("alice", secret=SECRET).text.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["id"])


@pytest.mark.parametrize(
    ("draw", "bits"),
    [
        (new_session_id, 128),
        (lambda: make_key("alice", now=time.time()).text.split("_", 2)[2], 256),
        (ticket_id, 128),
    ],
    ids=["session", "key", "ticket"],
)
def test_nothing_that_opens_a_session_can_be_guessed(draw: Callable[[], str], bits: int) -> None:
    """As many bits as are promised, measured over all characters of 1,000 of them, and none twice."""
    drawn = [draw() for _ in range(1000)]

    assert len(set(drawn)) == 1000
    assert {len(each) for each in drawn} == {math.ceil(bits / 6)}
    counts = [Counter(characters) for characters in zip(*drawn, strict=True)]
    entropy = sum(-sum(n / 1000 * math.log2(n / 1000) for n in count.values()) for count in counts)
    assert entropy > 0.98 * bits  # a sample of 1,000 shows a little less than there is
