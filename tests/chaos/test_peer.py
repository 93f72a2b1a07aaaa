"""A provider that is not ours: llmock, which breaks what it is told to break, and judges who asked it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..process import Askbot, Json, Story, Told, askbot, environment, reading

WORDS = ["One ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine ", "ten."]
WHOLE = "".join(WORDS)
SAYS: Json = {"type": "reply", "text": WHOLE, "times": None}  # in one chunk a word, after one that only says who speaks
SEED = 20
SESSIONS = 8


@dataclass
class Peer:
    """`llmock serve`."""

    url: str

    async def call(self, path: str, body: Json | None = None) -> Any:
        """Its own API, beside the provider's."""
        return json.loads(await asyncio.to_thread(read, f"{self.url}/_llmock/{path}", body))

    async def faults(self) -> set[str]:
        """What it says that it did, of each kind once."""
        requests = (await self.call("requests"))["requests"]
        return {request["fault"].partition("@")[0] for request in requests if request["fault"]}

    async def findings(self) -> set[str]:
        """What it has against who asked."""
        return {finding["code"] for finding in (await self.call("verdict"))["findings"]}


@contextmanager
def llmock(*flags: str) -> Generator[Peer]:
    """Run it. It has no seed for what it does at random, so it is told what to do."""
    start = [sys.executable, "-m", "llmock.cli", "serve", "--port", "0", *flags]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(start, stdout=quiet, stderr=subprocess.PIPE, env=environment(), text=True) as process:
        try:
            assert process.stderr
            yield Peer(url_of(process.stderr))
        finally:
            process.kill()


def url_of(lines: Iterable[str]) -> str:
    said = ""
    for line in lines:
        said += line
        if url := re.search(r"running on (http://\S+)", line):
            return url[1]
    raise AssertionError(f"llmock did not start: {said}")


def read(url: str, body: Json | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as response:
        return str(response.read(), "utf-8")


# --- what goes wrong, and how the turn then ends ---------------------------------------------------------------------


@dataclass
class Case:
    """A question, which asks for a model of its own, as llmock finds by the model what it shall do."""

    name: str
    behaviour: Json
    code: str | None = None  # None: it ends well
    answer: str = WHOLE

    @property
    def model(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def order(self) -> Json:
        return {"times": None, **self.behaviour, "match": {"model": self.model}}

    def holds(self, turn: Told) -> None:
        assert turn.done, self
        told = (turn.reason, turn.done.get("error", {}).get("code"), turn.answer)
        assert told == ("error" if self.code else "stop", self.code, self.answer), self


def of_statuses(number: int) -> list[Case]:
    """Answers that are none; those that pass are asked for again."""

    def fails(status: int, code: str | None, **more: object) -> Case:
        times = "always" if code else "at first"
        answer = "" if code else WHOLE
        return Case(f"{status} {times} {number}", {"type": "fail", "status": status, **more}, code, answer)

    return [
        fails(400, "upstream_rejected"),
        fails(401, "upstream_rejected"),
        fails(404, "upstream_rejected"),
        fails(429, "upstream_rate_limited", retry_after=99),
        fails(429, None, retry_after=0.3, times=1),
        fails(500, "upstream_unavailable", retry_after=0.1),
        fails(503, None, retry_after=0.1, times=2),
    ]


def of_streams(number: int, rng: random.Random) -> list[Case]:
    """Answers that break before their first word, amid their words, and when all is said but the usage."""
    cases: list[Case] = []
    for kind in ("disconnect", "truncate", "stall", "malformed"):
        fault: Json = {"type": "stream_fault", "kind": kind, "stall_seconds": 10}
        code = "upstream_stalled" if kind == "stall" else "upstream_unavailable"
        before, amid, after = rng.randint(0, 1), rng.randint(2, len(WORDS) + 1), len(WORDS) + rng.randint(2, 3)
        retried = Case(f"{kind} early {number}", {**fault, "after_chunks": before, "times": 1})
        given_up = Case(f"{kind} early {number}", {**fault, "after_chunks": before}, code, "")
        cases += [
            given_up if kind == "stall" else retried,
            Case(f"{kind} amid {number}", {**fault, "after_chunks": amid}, code, "".join(WORDS[: amid - 1])),
            Case(f"{kind} late {number}", {**fault, "after_chunks": after}),
        ]
    return cases


def of_patience(number: int) -> list[Case]:
    """Answers that are only slow."""
    return [
        Case(f"late {number}", {"type": "delay", "seconds": 0.3}),
        Case(f"slow {number}", {"type": "slow_first_token", "seconds": 0.3}),
        Case(f"pause {number}", {"type": "stream_fault", "kind": "stall", "stall_seconds": 0.3, "after_chunks": 5}),
    ]


def mixed(rng: random.Random) -> list[Case]:
    """All of it twice, in any order."""
    cases = [
        case for number in (1, 2) for case in (*of_statuses(number), *of_streams(number, rng), *of_patience(number))
    ]
    rng.shuffle(cases)
    return cases


# --- the tests -------------------------------------------------------------------------------------------------------


async def conversation(server: Askbot, cases: Sequence[Case]) -> Story:
    """One session, in which each question ends as it should."""
    async with reading(server.url) as reader:
        for case in cases:
            case.holds(await reader.answer(case.name, limit=20, model=case.model))
    assert [turn.text for turn in reader.story.turns.values()] == [case.name for case in cases]
    return reader.story


async def read_again(server: Askbot, story: Story) -> None:
    """Who comes later is told the same."""
    again = Story(session=story.session)
    async with reading(server.url, again) as reader:
        await reader.until(lambda _: again.head == story.head)
    assert again.turns == story.turns


async def answers_well(server: Askbot, peer: Peer, story: Story) -> None:
    """Once the provider is well, so are we, in an old session too; and nothing went wrong that was not told."""
    await peer.call("reset", {})
    await peer.call("scenario", {"behaviors": [SAYS]})
    async with reading(server.url) as new, reading(server.url, story) as old:
        for reader in (new, old):
            turn = await reader.answer("And now?")
            assert (turn.reason, turn.answer) == ("stop", WHOLE)
    assert await asyncio.to_thread(read, server.http + "/readyz")
    assert "Traceback" not in server.log.read_text()
    assert not [line for line in server.lines() if line["level"] == "error"]


async def test_every_turn_ends_as_its_provider_did_and_the_provider_agrees(tmp_path: Path) -> None:
    """Each fault that llmock has, in places drawn at random: reason, code and text are known, and so is its verdict."""
    cases = mixed(random.Random(SEED))
    models = ",".join(case.model for case in cases)
    with (
        llmock() as peer,
        askbot(tmp_path, "--models", models, upstream=f"{peer.url}/v1", ASKBOT_STALL_TIMEOUT="1s") as server,
    ):
        await peer.call("scenario", {"behaviors": [SAYS, *(case.order for case in cases)]})
        stories = await asyncio.gather(*(conversation(server, cases[number::SESSIONS]) for number in range(SESSIONS)))
        await asyncio.gather(*(read_again(server, story) for story in stories))
        faults, findings = await peer.faults(), await peer.findings()
        await answers_well(server, peer, stories[0])

    streams = {f"stream:{kind}" for kind in ("disconnect", "truncate", "stall", "malformed")}
    assert faults == streams | {f"scenario:{status}" for status in (400, 401, 404, 429, 500, 503)}
    # It can't see that we ended the turn with an error instead of asking again. What it could see is not there: retries
    # too early, in vain, too many or without a pause, and readers that wait for ever.
    assert findings == {"truncated_stream_accepted", "malformed_chunk_ignored", "gave_up"}


async def test_a_quota_is_waited_for_and_then_told(tmp_path: Path) -> None:
    """More questions than llmock grants in a minute: those beyond wait as long as it says, once, and then say so."""
    asked, granted = 24, 18
    with (
        llmock("--rpm", str(granted)) as peer,
        askbot(tmp_path, "--retries", "1", upstream=f"{peer.url}/v1") as server,
    ):
        await peer.call("scenario", {"behaviors": [SAYS]})

        async def asks(number: int) -> Story:
            async with reading(server.url) as reader:
                for text in ("First?", "Second?"):
                    await reader.answer(f"{text} {number}", limit=20)
            return reader.story

        stories = await asyncio.gather(*(asks(number) for number in range(asked // 2)))
        faults, findings = await peer.faults(), await peer.findings()
        await answers_well(server, peer, stories[0])

    turns = [turn for story in stories for turn in story.turns.values() if turn.text != "And now?"]
    assert len(turns) == asked
    assert {turn.answer for turn in turns if turn.reason == "stop"} == {WHOLE}
    errors = [turn.done["error"] for turn in turns if turn.done and turn.reason == "error"]
    assert 0 < len(errors) <= asked - granted
    assert {error["code"] for error in errors} == {"upstream_rate_limited"}
    assert all(0 < error["retry_after"] <= 60_000 / granted for error in errors)
    assert (faults, findings) == ({"ratelimit:requests"}, set())
