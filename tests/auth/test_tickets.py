"""One-time tickets."""

from __future__ import annotations

import re
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

import askbot_ws
from askbot_ws.auth.tickets import Tickets, kept_secret, make_ticket
from askbot_ws.errors import ConfigError, Overloaded, StoreError, Unauthorized
from askbot_ws.store.memory import MemoryStore

SECRET = "x" * 32
NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(SECRET, MemoryStore(), now=clock)


async def test_a_ticket_opens_what_it_says_once(tickets: Tickets) -> None:
    """The user, one session, reading only, a role, and when the connection ends."""
    ticket = tickets.make("alice", session="s-1", read_only=True, expires=600, role="gold")

    assert re.fullmatch(r"[\w.-]+", ticket.text), "it is safe in a URL"
    principal = await tickets.redeem(ticket.text)
    assert (principal.user, principal.session, principal.read_only) == ("alice", "s-1", True)
    assert (principal.role, principal.expires, principal.rights) == ("gold", NOW + 600, frozenset())
    with pytest.raises(Unauthorized, match="used"):
        await tickets.redeem(ticket.text)


async def test_a_ticket_is_valid_for_thirty_seconds(tickets: Tickets, clock: Clock) -> None:
    """Whoever finds it in a log later can't use it."""
    first, second = tickets.make("alice"), tickets.make("alice")
    clock.now += 29.9
    await tickets.redeem(first.text)
    clock.now += 0.1
    with pytest.raises(Unauthorized, match="expired"):
        await tickets.redeem(second.text)


async def test_a_changed_ticket_is_not_valid(tickets: Tickets) -> None:
    """Nor one that is signed with another secret, nor no ticket at all; a valid one is not used up by them."""
    ticket = tickets.make("alice", expires=60)
    payload, _, signature = ticket.text.partition(".")
    other = urlsafe_b64encode(urlsafe_b64decode(payload + "==").replace(b"alice", b"admin")).decode().rstrip("=")
    stranger = make_ticket("alice", secret="y" * 32, now=lambda: NOW)
    for text in (f"{other}.{signature}", payload, f"{payload}.", ".", "", stranger.text, "é.é", "\udcff", "a" * 9000):
        with pytest.raises(Unauthorized, match="not valid"):
            await tickets.redeem(text)
    await tickets.redeem(ticket.text)


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        ("user", {"user": ""}),
        ("user", {"user": "a\0"}),
        ("session", {"session": "a/b"}),
        ("expires", {"expires": 0}),
        ("expires", {"expires": 86_401}),
        ("expires", {"expires": float("nan")}),
        ("role", {"role": ""}),
        ("secret", {"secret": "short"}),
    ],
)
def test_a_wrong_ticket_is_not_made(fault: str, arguments: dict[str, Any]) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=f"^{fault}: "):
        askbot_ws.make_ticket(**{"user": "alice", "secret": SECRET} | arguments)


async def test_a_ticket_that_cannot_be_recorded_is_not_accepted() -> None:
    """It could be used twice. That is no fault of the ticket's, so the client may come again."""

    class Full:
        async def spend(self, name: str, *, expires: float) -> bool:
            raise StoreError

    tickets = Tickets(SECRET, Full())
    with pytest.raises(Overloaded):
        await tickets.redeem(tickets.make("alice").text)


def test_the_secret_is_kept_beside_the_key_file(tmp_path: Path) -> None:
    """So that a restart, and `askbot ticket`, have the same; where it can't be kept, each process has its own."""
    secret = kept_secret(tmp_path / "keys.jsonl")
    path = tmp_path / "keys.jsonl.ticket-secret"

    assert len(secret) >= 43
    assert kept_secret(tmp_path / "keys.jsonl") == secret == path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    path.write_text("")
    with pytest.raises(ConfigError, match="has no secret"):
        kept_secret(tmp_path / "keys.jsonl")
    assert kept_secret(tmp_path / "nowhere" / "keys") != kept_secret(tmp_path / "nowhere" / "keys")
