"""A provider that is slow, silent or enormous: the turn ends as it should, and nobody takes the silence for an end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from askbot_ws.testing import ScriptedUpstream, Step, serving

from ..process import ProviderProcess, Story, address, askbot, reading

TOKENS = 30


async def test_a_stall_after_any_token_ends_the_turn_with_the_text_so_far(
    tmp_path: Path, provider: ProviderProcess
) -> None:
    """All places at once, before the first token and after the last one too."""
    with askbot(tmp_path, "--stall-timeout", "1s", "--retries", "0", upstream=provider.url) as server:

        async def stalls(after: int) -> None:
            async with reading(server.url) as reader:
                turn = await reader.answer(f"tokens:{TOKENS} stall after:{after} note:point")
                assert turn.done
                assert (turn.reason, turn.done["error"]["code"]) == ("error", "upstream_stalled")
                assert turn.answer == "".join(f"word{number} " for number in range(after))

        await asyncio.gather(*(stalls(after) for after in range(TOKENS + 1)))


async def test_a_token_now_and_then_keeps_connection_and_turn_alive() -> None:
    """Fewer than the heartbeat has beats: pages see `alive` in between, and the turn ends well."""
    pauses: list[Step] = [step for number in range(4) for step in (0.5, f"word{number} ")]
    async with (
        serving(ScriptedUpstream(pauses), heartbeat=0.15, reader_timeout=1) as server,
        reading(address(server.port)) as reader,
    ):
        turn = await reader.answer("Slowly?")
        kinds = [frame["type"] for frame in reader.frames]

    assert (turn.reason, turn.answer) == ("stop", "word0 word1 word2 word3 ")
    assert "alive" in kinds[kinds.index("token") : -1]


async def test_a_megabyte_arrives_whole_for_who_comes_late_and_who_comes_back(
    tmp_path: Path, provider: ProviderProcess
) -> None:
    """An answer of 1 MB: for its reader, for one who lost the connection in it, and for one who comes afterwards."""
    whole = "".join(f"word{number} " for number in range(110_000))
    story = Story()
    assert len(whole) > 1_000_000
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            await reader.ask("burst:110000")
            await reader.until(lambda _: story.head > 100_000, 30)
            reader.cut()
        async with reading(server.url, story) as back:
            if not story.last.done:
                await back.until("done", 60)
        late = Story(session=story.session)
        async with reading(server.url, late) as other:
            await other.until("done", 30)

    assert story.last.answer == late.last.answer == whole
    assert story.last.reason == "stop"
