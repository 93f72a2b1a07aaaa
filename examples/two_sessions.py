"""A bot that talks to two sessions on one connection: what one says, the other is asked about.

python examples/two_sessions.py "Is tea better than coffee?" --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from askbot_ws import connect


async def main(topic: str, *, url: str, rounds: int) -> None:
    """Let two conversations argue. What they said is kept: their names are printed at the end."""
    async with connect(url) as begun:  # a conversation is kept from its first question on
        said = (await begun.ask(f"In one sentence: {topic}")).text
    async with connect(url) as one, one.session(begun.id or "") as other:
        for number in range(rounds):
            speaker, name = (one, "one") if number % 2 == 0 else (other, "other")
            print(f"\n{name}: ", end="")
            said = "".join([await shown(text) async for text in speaker.ask(f"Answer in one sentence: {said}")])
        print(f"\n\n{one.id} {other.id}")


async def shown(text: str) -> str:
    """Print it as it comes."""
    print(text, end="", flush=True)
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topic")
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/chat")
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    try:
        asyncio.run(main(given.topic, url=given.url, rounds=given.rounds))
    except KeyboardInterrupt:
        sys.exit(130)
