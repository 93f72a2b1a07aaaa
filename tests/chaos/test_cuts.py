"""Connections that are cut in every place that there is, one after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from askbot_ws.testing import ScriptedUpstream, Step, serving

from ..process import KEY, NotReadyError, Story, askbot, reading
from ..provider import Provider
from .checking_client import Lost
from .proxy import Kind, Order, Watch, after_token, proxied

TOKENS = 40
WORDS = [f"word{number}✨ " for number in range(TOKENS)]


@pytest.mark.parametrize("cut", range(1, TOKENS + 1))
async def test_a_cut_after_any_token_loses_none(cut: int) -> None:
    """The n-th token arrives, and nothing after it; whoever comes back gets the next one, and not the n-th again."""
    taken = [asyncio.Event() for _ in WORDS]  # the model says a word when the one before it has been read
    script: list[Step] = [step for pair in zip(WORDS, taken, strict=True) for step in pair]
    watches = [after_token(cut)]
    story, tokens = Story(), [0]

    def watch() -> Watch:
        return watches.pop() if watches else lambda _: None

    async def read(url: str, *, asks: bool) -> None:
        async with reading(url, story) as reader:
            if asks:
                await reader.ask("Count?", id="q")
            while not story.turns or story.last.done is None:
                if (await reader.next())["type"] == "token":
                    taken[tokens[0]].set()
                    tokens[0] += 1

    async with serving(ScriptedUpstream(script)) as server, proxied(server.port, watch=watch) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/chat"
        with pytest.raises(ConnectionClosed):
            await read(url, asks=True)
        assert story.last.answer == "".join(WORDS[:cut])
        await read(url, asks=False)

    assert story.last.answer == "".join(WORDS)
    assert (story.last.reason, tokens[0]) == ("stop", TOKENS)


async def test_a_cut_after_any_byte_from_the_server_loses_nothing() -> None:
    """In its handshake, in a frame's head, inside a character: an answer in few frames, and every place in them."""
    words = ["Yes ", "✨ no"]
    size = 1100  # bytes of such a conversation: the handshake is 200 of them
    broken = 0

    async def converse(port: int, after: int) -> bool:
        story, was_broken = Story(), False
        for attempt in range(4):
            async with proxied(port) as proxy:
                if attempt == 0:
                    proxy.hurt_next(Order(Kind.CUT, after))
                try:
                    async with reading(f"ws://127.0.0.1:{proxy.port}/v1/chat", story) as reader:
                        if story.asked("q") is None:
                            await reader.ask("Well?", id="q")
                        while not story.turns or story.last.done is None:
                            await reader.next()
                except NotReadyError:
                    assert not story.head
                    story = Story()  # nothing was asked there
                    continue
                except Lost:
                    was_broken = True
                    continue
                assert (story.last.answer, len(story.turns)) == ("".join(words), 1)
                return was_broken
        raise AssertionError(f"no end after a cut at {after}")

    for begin in range(1, size, 100):
        async with serving(ScriptedUpstream(*[words] * 200)) as server:
            places = range(begin, min(begin + 100, size))
            broken += sum(await asyncio.gather(*(converse(server.port, place) for place in places)))
    assert broken > size // 2


async def test_a_provider_cut_after_any_byte_ends_the_turn_with_what_it_said(tmp_path: Path) -> None:
    """In its head, inside an event or a character: the text is a beginning of the answer."""
    question, whole = "say:Grüße, 안녕 🙂!", "Grüße, 안녕 🙂!"
    ends = list[tuple[str | None, int]]()
    async with Provider(key=KEY) as provider, proxied(int(provider.url.split(":")[2].split("/")[0])) as proxy:
        upstream = f"http://127.0.0.1:{proxy.port}/v1"
        with askbot(tmp_path, "--no-limits", "--retries", "0", upstream=upstream) as server:
            place = 1
            while not ends or ends[-1][0] != "stop":
                place += 7
                proxy.close()  # a new connection for each, or the provider's bytes would not be counted from its first
                proxy.hurt_next(Order(Kind.CUT, place))
                async with reading(server.url) as reader:
                    turn = await reader.answer(f"note:{place} {question}")
                proxy.heal()
                assert whole.startswith(turn.answer)
                assert turn.reason == "error" or turn.answer == whole
                ends.append((turn.reason, len(turn.answer)))
    print(f"{len(ends)} places in {place} bytes")
    assert {length for _, length in ends} >= {0, len("Grüße,"), len("Grüße, 안녕"), len(whole)}
    assert [length for _, length in ends] == sorted(length for _, length in ends)
