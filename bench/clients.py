"""`python -m bench.clients`: what a token costs our clients, beside a client that only parses frames and appends text.

Microseconds of processor time, the medians of three rounds: for 200,000 frames that are given to askbot.js as a socket
would, and for 10,000 that the Python client gets from a real one, all at once, as does the client beside it, which is
websockets and json.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from askbot_ws import connect

from . import report
from .figures import GOALS, OURS, Results
from .targets import HERE, NODE_BINARY, ROOT

JS_TOKENS = 200_000
PYTHON_TOKENS = 10_000
ROUNDS = 3
WORDS = (" the", " answer", ",", " of", " 한국", "\n", " token", "s", " long", "er", " 🙂")
SESSION, TURN = "kX3vN0cTq1m8yZ4wR7bLpA", "Jm2sD9fHk6gQ5tVx"
SUBPROTOCOL = Subprotocol("askbot.v1")


def words(tokens: int) -> list[str]:
    """Return an answer's slices."""
    return [WORDS[number % len(WORDS)] for number in range(tokens)]


def frames(tokens: int, ask: str | None = None) -> list[str]:
    """Return `ready`, and the events of one answer to the question `ask`, as a server sends them."""
    seq, answer = 1, "".join(words(tokens))
    ready = {"type": "ready", "session": SESSION, "seq": 0, "from": 0, "resumed": False, "protocol": SUBPROTOCOL}
    limits = {"frame_bytes": 1_048_576, "question_chars": 8000, "waiting_turns": 8}
    question = {"id": ask, "text": "Why?", "created": "2026-01-02T03:04:05.678Z"}
    told = [ready | {"server": "bench", "model": "m", "limits": limits}, _event("question", seq, question)]
    for text in words(tokens):
        seq += len(text)
        told.append(_event("token", seq, {"text": text}))
    check = {"chars": len(answer), "sha256": hashlib.sha256(answer.encode()).hexdigest()}
    timing = {"queued": 0, "first_token": 1, "total": 2}
    end = {"reason": "stop", "model": "m", "usage": None, "timing": timing, "check": check}
    told.append(_event("done", seq + 1, end))
    return [json.dumps(frame, ensure_ascii=False, separators=(",", ":")) for frame in told]


def _event(kind: str, seq: int, rest: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "session": SESSION, "seq": seq, "turn": TURN, **rest}


def measure(results: Results) -> None:
    """Add what both clients cost."""
    measure_javascript(results)
    results.add(OURS, "clients", {"errors": 0, **_python()})


def measure_javascript(results: Results) -> None:
    """Add what askbot.js costs: a measurement of two seconds."""
    results.add(OURS, "clients", {"errors": 0, **_javascript()})


def _javascript() -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\n".join(frames(JS_TOKENS)))
        file.flush()
        command = (NODE_BINARY, str(HERE / "clients.js"), file.name)
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _python() -> dict[str, float]:
    times: dict[str, list[float]] = {"python_parse_us": [], "python_client_us": []}
    with _server() as url:
        for _ in range(ROUNDS):
            times["python_parse_us"].append(asyncio.run(_time_of(_parse, url)))
            times["python_client_us"].append(asyncio.run(_time_of(_converse, url)))
    return {name: statistics.median(values) for name, values in times.items()}


async def _time_of(read: Callable[[str], Awaitable[str]], url: str) -> float:
    before = time.process_time()
    answer = await read(url)
    took = time.process_time() - before
    if answer != "".join(words(PYTHON_TOKENS)):
        raise RuntimeError("it is another answer")
    return took * 1e6 / PYTHON_TOKENS


async def _converse(url: str) -> str:
    async with connect(url) as chat:
        return (await chat.ask("Why?")).text


async def _parse(url: str) -> str:
    parts: list[str] = []
    async with open_socket(url, subprotocols=[SUBPROTOCOL]) as socket:
        await socket.send(json.dumps({"type": "ask", "text": "Why?"}))
        async for data in socket:
            frame = json.loads(data)
            if frame["type"] == "token":
                parts.append(frame["text"])
            elif frame["type"] == "done":
                break
    return "".join(parts)


@contextmanager
def _server() -> Generator[str]:
    """Run `_serve` in another process, whose time does not count, and return its URL."""
    command = (sys.executable, "-m", "bench.clients", "--serve")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no pipe")
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.kill()


async def _serve() -> None:
    """Answer each question by the same answer, and print the port."""
    ready, _, *events = frames(PYTHON_TOKENS)

    async def answer(socket: ServerConnection) -> None:
        await socket.send(ready)
        ask = json.loads(await socket.recv())
        await socket.send(frames(0, ask.get("id"))[1])
        for event in events:
            await socket.send(event)
        await socket.wait_closed()

    async with serve(answer, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(port, flush=True)
        await server.serve_forever()


def main() -> int:
    """Measure and print; 1 where a client takes more than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().serve:
        asyncio.run(_serve())
        return 0
    results = Results()
    measure(results)
    goals = [goal for goal in GOALS if goal.value(results) is not None]
    for goal in goals:
        print(f"{goal.verdict(results):18} {report.number(goal.value(results)):>8} {goal.unit:12} {goal.name}")
    for text, client, parsing in report.CLIENTS:
        ours, theirs = (report.number(results.middle(OURS, f"clients.{name}")) for name in (client, parsing))
        print(f"       {text}: {ours} µs a token, {theirs} µs to parse")
    return 0 if all(goal.met(results, goal.must) for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
