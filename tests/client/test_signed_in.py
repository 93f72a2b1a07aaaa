"""A signed-in user's conversation with a real server, over credentials that expire in the middle of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import jwt
import pytest

from askbot_ws.auth.tickets import make_ticket
from askbot_ws.client import Chat, State, connect
from askbot_ws.errors import Unauthorized
from askbot_ws.testing import ScriptedUpstream, serving

SECRET = "a secret of at least thirty-two bytes"
LIFETIME_SECONDS = 3
PIECES = [str(number) for number in range(50)]
PAUSE_SECONDS = 0.08  # between two pieces: an answer takes four seconds


def new_token(lifetime: float = LIFETIME_SECONDS, user: str = "alice") -> str:
    return jwt.encode({"sub": user, "exp": time.time() + lifetime}, SECRET)


def new_ticket() -> str:
    return make_ticket("alice", secret=SECRET, expires=LIFETIME_SECONDS).text


class Conversation:
    """One that counts how often it was asked for a credential, and how often it connected."""

    def __init__(self, make: Callable[[], str]) -> None:
        self.make = make
        self.asked = 0
        self.states: list[State] = []

    def credential(self) -> str:
        self.asked += 1
        return self.make()

    async def read(self, chat: Chat) -> str:
        async with chat:
            assert chat.user == "alice"
            return "".join([text async for text in chat.ask("Why?")])


async def test_an_answer_goes_on_over_several_credentials() -> None:
    """Over one connection with a token, over several without a pause with tickets; each piece comes once."""
    upstream = ScriptedUpstream(*([[each for piece in PIECES for each in (PAUSE_SECONDS, piece)]] * 2))
    tokens, tickets = Conversation(new_token), Conversation(new_ticket)
    async with asyncio.timeout(20), serving(upstream, jwt_secret=SECRET, ticket_secret=SECRET) as server:
        texts = await asyncio.gather(
            tokens.read(connect(server.url, token=tokens.credential, on_state=tokens.states.append)),
            tickets.read(connect(server.url, ticket=tickets.credential, on_state=tickets.states.append)),
        )
    assert [*texts] == ["".join(PIECES)] * 2
    assert tokens.states == ["connecting", "open", "closed"]
    assert tokens.asked >= 3
    assert tickets.states[-3:] == ["connecting", "open", "closed"]
    assert "waiting" not in tickets.states
    assert tickets.states.count("open") == tickets.asked >= 2


async def test_a_token_that_can_not_be_renewed_ends_the_conversation() -> None:
    """Once it has expired; the answer that was read so far stays."""
    upstream = ScriptedUpstream(["Be", 60.0, "cause."])
    async with asyncio.timeout(20), serving(upstream, jwt_secret=SECRET) as server:
        token = new_token(1)
        async with connect(server.url, token=token) as chat:
            with pytest.raises(Unauthorized):
                await chat.ask("Why?")
            assert chat.turns[0].answer == "Be"
        with pytest.raises(Unauthorized):
            await connect(server.url, token=token)
