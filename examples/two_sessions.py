"""Two sessions on one connection that argue: the answer of one is the question to the other.

python examples/two_sessions.py "Is tea better than coffee?" --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from askbot_ws import connect


async def main(topic: str, *, url: str, rounds: int) -> None:
    """Let two sessions argue, and print their names at the end, with which they can be continued."""
    async with connect(url) as first:  # the server keeps a session from its first question on
        answer = (await first.ask(f"In one sentence: {topic}")).text
    async with connect(url) as one, one.session(first.id or "") as other:
        for number in range(rounds):
            speaker, name = (one, "one") if number % 2 == 0 else (other, "other")
            print(f"\n{name}: ", end="")
            stream = speaker.ask(f"Answer in one sentence: {answer}")
            async for text in stream:
                print(text, end="", flush=True)
            answer = (await stream).text
        print(f"\n\n{one.id} {other.id}")


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
