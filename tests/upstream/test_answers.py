"""What providers send, byte by byte, and what becomes of it: over both transports."""

from __future__ import annotations

import pytest

from tests.upstream.byte_server import DONE, TRANSPORTS, ByteServer, Outcome, Script, ask, delta, opened, stream


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


async def outcome_of(transport: str, script: Script, *, requests: int = 1, **settings: float) -> Outcome:
    """What becomes of a question that is answered by this script; asked so many times."""
    async with ByteServer(script) as server, opened(server, transport, **settings) as upstream:
        outcome = await ask(upstream)
    assert len(server.posts) == requests
    return outcome


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["stop", "null", "None"])
async def test_text_that_still_comes_after_a_finish_is_part_of_the_answer(transport: str, finish: str) -> None:
    """Some servers put a finish into every chunk: each piece of text renews the wait for what follows."""
    chunks = [step for number in range(10) for step in (delta(finish, content=str(number)), 0.1)]
    outcome = await outcome_of(transport, stream(*chunks, delta("stop"), DONE), usage_timeout=0.3)

    assert (outcome.text, outcome.end) == ("0123456789", "stop")
