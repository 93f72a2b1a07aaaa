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

from askbot_ws import Chat, Closed, connect
from askbot_ws.errors import AskbotError

MAX_CONNECTING = 100  # connections that are being opened at the same time
SPARE_FILES = 100  # files that are open beside the sockets


@dataclass
class Results:
    """What was measured; times in seconds, memory in bytes."""

    first_token: list[float] = field(default_factory=list[float])
    whole_answer: list[float] = field(default_factory=list[float])
    errors: Counter[str] = field(default_factory=Counter[str])
    connecting: float = 0.0
    asking: float = 0.0
    memory: int = 0

    def table(self) -> str:
        """Return the results as text, one a line."""
        proven, sessions = len(self.whole_answer), len(self.whole_answer) + self.errors.total()
        rows = {
            "sessions": f"{sessions:,}",
            "connected in": f"{self.connecting:.1f} s",
            "answers proven": f"{proven:,} in {self.asking:.1f} s, {proven / self.asking:,.0f} a second",
            "first token": percentiles(self.first_token),
            "whole answer": percentiles(self.whole_answer),
            "memory per session": f"{self.memory / max(1, sessions) / 1024:.0f} KiB",
            "errors": ", ".join(f"{count} {code}" for code, count in self.errors.items()) or "none",
        }
        return "\n".join(f"{name:20}{value}" for name, value in rows.items())


def percentiles(times: Sequence[float]) -> str:
    """Return the 50th and the 99th percentile as text, in milliseconds."""
    ordered = sorted(times) or [0.0]
    return "p50 {:.0f} ms, p99 {:.0f} ms".format(*(1000 * ordered[len(ordered) * part // 100] for part in (50, 99)))


# --- the server ------------------------------------------------------------------------------------------------------


async def answer(messages: list[dict[str, str]], options: dict[str, object]) -> AsyncIterator[str]:
    """Answer with the words of the question, one every 20 ms."""
    del options
    for word in messages[-1]["content"].split():
        yield word + " "
        await asyncio.sleep(0.02)


@contextmanager
def server(sessions: int) -> Generator[str]:
    """Run a server that stores nothing on disk and has no limits; yields its URL."""
    command = [sys.executable, "-m", "askbot_ws.cli", "serve", "--port", "0", "--upstream", "load:answer"]
    command += ["--store", "memory:", "--no-limits", "--max-turns", str(sessions), "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent) as process:
        try:
            lines = process.stdout or ()
            yield next(line.split()[1] for line in lines if line.strip().startswith("socket"))
        finally:
            process.terminate()


def raise_file_limit(sockets: int) -> None:
    """Raise the limit of open files to what so many sockets need. Exits where the hard limit is lower."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < sockets + SPARE_FILES:
        sys.exit(
            f"{sockets} sessions need {sockets + SPARE_FILES} open files, and this process may have {most}: "
            "raise the hard limit (ulimit -Hn), or ask for fewer --sessions"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (sockets + SPARE_FILES, most))


# --- the clients -----------------------------------------------------------------------------------------------------


async def ask(chat: Chat, question: str, *, echo: bool, results: Results) -> None:
    """Ask one question, and record how it went. An answer that fails its proof counts as the error `damaged`."""
    begun, first, text = time.perf_counter(), 0.0, ""
    try:
        async for piece in chat.ask(question):
            first = first or time.perf_counter() - begun
            text += piece
        if echo and text.split() != question.split():
            raise Closed("other words came than were said")
    except AskbotError as error:
        results.errors[error.code] += 1
    else:
        results.first_token.append(first)
        results.whole_answer.append(time.perf_counter() - begun)


async def measure(url: str, *, sessions: int, rate: float, words: int, echo: bool) -> Results:
    """Open all sessions, then ask a question in each, `rate` of them a second."""
    results, before, begun = Results(), peak_memory(), time.perf_counter()
    slots = asyncio.Semaphore(MAX_CONNECTING)

    async def open_chat(stack: AsyncExitStack) -> Chat:
        async with slots:
            return await stack.enter_async_context(connect(url))

    async with AsyncExitStack() as stack:
        chats = await asyncio.gather(*(open_chat(stack) for _ in range(sessions)))
        results.connecting, results.memory = time.perf_counter() - begun, peak_memory() - before
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number, chat in enumerate(chats):
                await asyncio.sleep(begun + number / rate - time.perf_counter())
                question = " ".join(f"{number}.{word}" for word in range(words))
                tasks.create_task(ask(chat, question, echo=echo, results=results))
        results.asking = time.perf_counter() - begun
    return results


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Measure, print and return the exit code: 1 where there were errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=250, help="questions a second")
    parser.add_argument("--words", type=int, default=20, help="of each answer; one comes every 20 ms")
    parser.add_argument("--url", help="a server that runs already")
    given = parser.parse_args()
    raise_file_limit(given.sessions)
    gc.set_threshold(50_000, 20, 100)  # else the collector looks at all sessions again and again: half of the time
    task = {"sessions": given.sessions, "rate": given.rate, "words": given.words}
    if given.url:
        results = uvloop.run(measure(given.url, **task, echo=False))
    else:
        with server(given.sessions) as url:
            results = uvloop.run(measure(url, **task, echo=True))
    print(results.table())
    return 1 if results.errors else 0


if __name__ == "__main__":
    sys.exit(main())
