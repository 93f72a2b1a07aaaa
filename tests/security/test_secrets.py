"""Secrets: how much there is to guess, and that they are compared in constant time."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from hmac import compare_digest
from pathlib import Path

import pytest

from askbot_ws.auth import static_keys, tickets
from askbot_ws.auth.key_file import KEY_PATTERN, add_key, make_key
from askbot_ws.auth.static_keys import StaticKeys
from askbot_ws.core.session_id import fork_session_id, new_session_id
from askbot_ws.errors import Unauthorized
from askbot_ws.store.memory import MemoryStore

DRAWN = 2_000
SECRET = "x" * 32


def bits_that_vary(drawn: list[bytes]) -> int:
    """How many bits are 1 in about half of what was drawn: those that have to be guessed."""
    ones = [sum(data[place // 8] >> place % 8 & 1 for data in drawn) for place in range(len(drawn[0]) * 8)]
    return sum(0.4 < one / len(drawn) < 0.6 for one in ones)


def test_a_session_has_128_bits_to_guess() -> None:
    """Of 22 characters; so has the session that a fork makes, to who does not know the one that is forked."""
    drawn = [new_session_id() for _ in range(DRAWN)]
    forked = [fork_session_id(None, session, "f") for session in drawn]
    for ids in (drawn, forked):
        assert len(set(ids)) == DRAWN
        assert all(re.fullmatch("[0-9A-Za-z_-]{22}", id) for id in ids)
        assert bits_that_vary([urlsafe_b64decode(id + "==") for id in ids]) == 128


def test_a_key_has_256_bits_to_guess_besides_its_id() -> None:
    """The id is no secret: logs and lists have it."""
    keys = [make_key("alice", now=0.0) for _ in range(DRAWN)]

    assert all(KEY_PATTERN.fullmatch(made.text) for made in keys)
    assert bits_that_vary([urlsafe_b64decode(made.text[16:] + "=") for made in keys]) == 256


def test_a_ticket_has_a_name_of_128_bits_and_a_signature_of_256() -> None:
    """Nobody can make one, nor spend another's without having it."""
    made = [tickets.make_ticket("alice", secret=SECRET).text.split(".") for _ in range(DRAWN)]
    names = [json.loads(urlsafe_b64decode(payload + "==="))["id"] for payload, _ in made]

    assert bits_that_vary([urlsafe_b64decode(name + "==") for name in names]) == 128
    assert bits_that_vary([urlsafe_b64decode(signature + "=") for _, signature in made]) == 256


class Compared:
    """Counts comparisons in constant time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, a: str | bytes, b: str | bytes) -> bool:
        self.count += 1
        assert len(a) == len(b), "what is compared is of one length"
        return compare_digest(_to_bytes(a), _to_bytes(b))


def _to_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


async def test_keys_are_found_by_id_and_compared_by_hash_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison for a right, a wrong and an unknown key: the time tells none from another."""
    compared = Compared()
    monkeypatch.setattr(static_keys, "compare_digest", compared)
    made, unknown = make_key("alice", now=0.0), make_key("bob", now=0.0)
    add_key(tmp_path / "keys", made.key)
    keys = StaticKeys(tmp_path / "keys")
    wrong = made.text[:16] + unknown.text[16:]

    for number, text in enumerate((made.text, wrong, unknown.text), 1):
        if text == made.text:
            assert await keys.authenticate(text) is not None
        else:
            with pytest.raises(Unauthorized, match="no such key"):
                await keys.authenticate(text)
        assert compared.count == number


async def test_signatures_of_tickets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything that the ticket says is read."""
    compared = Compared()
    monkeypatch.setattr("askbot_ws.auth.tickets.hmac.compare_digest", compared)
    accepts = tickets.Tickets(SECRET, MemoryStore())
    payload, signature = accepts.make("alice").text.split(".")
    swapped = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BA")

    with pytest.raises(Unauthorized):
        await accepts.redeem(f"{payload}.{swapped}")
    assert compared.count == 1
    await accepts.redeem(f"{payload}.{signature}")
    assert compared.count == 2
