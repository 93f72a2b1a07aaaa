"""Thousands of conversations from one process: each has a socket of its own, asks one question and proves the answer.

    python examples/load.py --sessions 10000            # starts a server of its own, on this machine
    python examples/load.py --sessions 500 --url ws://127.0.0.1:8765/v1/chat

With a URL, the model of that server answers; ours says what it is asked to, so that every word can be checked too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from askbot_ws import connect
from askbot_ws.client import Chat, Closed
from askbot_ws.errors import AskbotError

AT_ONCE = 100  # connections that are being made
SPARE = 100  # files that are open beside the sockets


@dataclass
class Figures:
    """What was measured; times in seconds."""

    first: list[float] = field(default_factory=list[float])
    done: list[float] = field(default_factory=list[float])
    errors: Counter[str] = field(default_factory=Counter[str])
    connecting: float = 0.0
    asking: float = 0.0
    memory: int = 0

    def table(self) -> str:
        """One line each."""
        proven, sessions = len(self.done), len(self.done) + self.errors.total()
        rows = {
            "sessions": f"{sessions:,}",
            "connected in": f"{self.connecting:.1f} s",
            "answers proven": f"{proven:,} in {self.asking:.1f} s, {proven / self.asking:,.0f} a second",
            "first token": spread(self.first),
            "whole answer": spread(self.done),
            "memory per session": f"{self.memory / max(1, sessions) / 1024:.0f} KiB",
            "errors": ", ".join(f"{count} {code}" for code, count in self.errors.items()) or "none",
        }
        return "\n".join(f"{name:20}{value}" for name, value in rows.items())


def spread(times: Sequence[float]) -> str:
    """The median, and what one in a hundred exceeds."""
    ordered = sorted(times) or [0.0]
    return "p50 {:.0f} ms, p99 {:.0f} ms".format(*(1000 * ordered[len(ordered) * part // 100] for part in (50, 99)))


# --- the server ------------------------------------------------------------------------------------------------------


async def answer(messages: list[dict[str, str]], options: dict[str, object]) -> AsyncIterator[str]:
    """What our server answers: the words of the question, one every 20 ms."""
    del options
    for word in messages[-1]["content"].split():
        yield word + " "
        await asyncio.sleep(0.02)


@contextmanager
def server(sessions: int) -> Generator[str]:
    """A server on this machine that keeps nothing and limits nobody; its URL."""
    command = [sys.executable, "-m", "askbot_ws.cli", "serve", "--port", "0", "--upstream", "load:answer"]
    command += ["--store", "memory:", "--no-limits", "--max-turns", str(sessions), "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent) as process:
        try:
            lines = process.stdout or ()
            yield next(line.split()[1] for line in lines if line.strip().startswith("socket"))
        finally:
            process.terminate()


def allow(sockets: int) -> None:
    """As many files as that needs. Ends the program where it may not have them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < sockets + SPARE:
        sys.exit(
            f"{sockets} sessions need {sockets + SPARE} open files, and this process may have {most}: "
            "raise the hard limit (ulimit -Hn), or ask for fewer --sessions"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (sockets + SPARE, most))


# --- the clients -----------------------------------------------------------------------------------------------------


async def converse(chat: Chat, question: str, *, echo: bool, figures: Figures) -> None:
    """One question. Iterating proves the answer: it raises where it is not the one that was given."""
    begun, first, text = time.perf_counter(), 0.0, ""
    try:
        async for piece in chat.ask(question):
            first = first or time.perf_counter() - begun
            text += piece
        if echo and text.split() != question.split():
            raise Closed("other words came than were said")
    except AskbotError as error:
        figures.errors[error.code] += 1
    else:
        figures.first.append(first)
        figures.done.append(time.perf_counter() - begun)


async def measure(url: str, *, sessions: int, rate: float, words: int, echo: bool) -> Figures:
    """All of them: connect, then ask, `rate` of them a second."""
    figures, before, begun = Figures(), memory(), time.perf_counter()
    doors = asyncio.Semaphore(AT_ONCE)

    async def enter(stack: AsyncExitStack) -> Chat:
        async with doors:
            return await stack.enter_async_context(connect(url))

    async with AsyncExitStack() as stack:
        chats = await asyncio.gather(*(enter(stack) for _ in range(sessions)))
        figures.connecting, figures.memory = time.perf_counter() - begun, memory() - before
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number, chat in enumerate(chats):
                await asyncio.sleep(begun + number / rate - time.perf_counter())
                question = " ".join(f"{number}.{word}" for word in range(words))
                tasks.create_task(converse(chat, question, echo=echo, figures=figures))
        figures.asking = time.perf_counter() - begun
    return figures


def memory() -> int:
    """The most bytes that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Measure and print; 1 where there were errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=250, help="questions a second")
    parser.add_argument("--words", type=int, default=20, help="of each answer; one comes every 20 ms")
    parser.add_argument("--url", help="a server that runs already")
    given = parser.parse_args()
    allow(given.sessions)
    gc.set_threshold(50_000, 20, 100)  # else the collector looks at all sessions again and again: half of the time
    task = {"sessions": given.sessions, "rate": given.rate, "words": given.words}
    if given.url:
        figures = uvloop.run(measure(given.url, **task, echo=False))
    else:
        with server(given.sessions) as url:
            figures = uvloop.run(measure(url, **task, echo=True))
    print(figures.table())
    return 1 if figures.errors else 0


if __name__ == "__main__":
    sys.exit(main())
