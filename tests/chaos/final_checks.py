"""Final checks of a run: every session is read again, every question counted, every log line checked."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ..process import ROOT, Story, Told, reading
from .checking_client import CheckingClient, Lost, SessionReader
from .environment import SupervisedProcess
from .provider import ASKED, TAG, Request, requests
from .results import BrokenError, Results

READING = 60.0  # seconds in which a session is read from its beginning
RETRIES = 2  # before the first token, as is the default


async def check_sessions(url: str, clients: list[CheckingClient], results: Results) -> None:
    """Check that a new reader of each session gets, at this server, what the others got."""
    for client in clients:
        for line in client.lines:
            if client.broken or not line.story.head:
                continue
            try:
                async with asyncio.timeout(READING):
                    fresh, is_replaced = await _read_again(url, client, line)
            except (*Lost, AssertionError) as error:
                client.breaks(
                    BrokenError("lost", f"{line.story.session} is not to be read to {line.story.head}: {error!r}")
                )
            else:
                if not is_replaced:
                    _same(client, line.story, fresh, results)
                elif not all(_is_in(turn, fresh) for turn in line.story.turns.values()):
                    client.over("part of a session")


async def _read_again(url: str, client: CheckingClient, line: SessionReader) -> tuple[Story, bool]:
    """A session as it is now, and whether it says that something may be lost: it is shorter, or has another history."""
    while True:
        fresh = Story(session=line.story.session)
        try:
            async with reading(url, fresh) as reader:
                ready = reader.frames[0]
                is_shorter = ready["seq"] < line.story.head
                is_replaced = client.may_lose and (is_shorter or ready["log"] != line.history)
                while fresh.head < (ready["seq"] if is_replaced else line.story.head):
                    await reader.next(20)
                return fresh, is_replaced
        except ConnectionClosed as error:  # a node may open a session anew
            if error.rcvd is None or error.rcvd.code != CloseCode.TRY_AGAIN_LATER:
                raise


def _same(client: CheckingClient, told: Story, fresh: Story, results: Results) -> None:
    for turn, again in zip(told.turns.values(), fresh.turns.values(), strict=False):
        if (turn.turn, turn.id, turn.text, turn.answer) != (again.turn, again.id, again.text, again.answer):
            client.breaks(BrokenError("lost", f"{told.session} was {turn}, and is {again}"))
            return
        if turn.reason != again.reason:
            if again.reason != "interrupted":
                client.breaks(BrokenError("wrong", f"{told.session} {turn.turn}: {turn.done}, then {again.done}"))
            turn.done = again.done
            results.replaced += 1
    if len(told.turns) != len(fresh.turns) or told.head != fresh.head:
        client.breaks(BrokenError("lost", f"{told.session}: {len(told.turns)} turns to {told.head}, then {fresh.head}"))


def check_servers(servers: Sequence[SupervisedProcess], faults: Iterable[str], results: Results) -> None:
    """Check how servers ended, and that their logs have no faults of ours."""
    for line in faults:
        results.breaks(BrokenError("wrong", line))
    for server in servers:
        for end in server.exits:
            if not end.fine:
                results.breaks(BrokenError("wrong", f"the server ended with {end.code} after {end.age:.1f} s"))
        results.restarts += server.starts


def check_questions(record: Path, clients: list[CheckingClient], results: Results) -> None:
    """Count what was said, and check that no question was asked twice."""
    asked: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests(record):
        asked[request.note].append(request)
    for client in clients:
        results.sessions += 1
        results.readers += len(client.lines)
        results.turns += len(client.story.turns)
        results.ends.update(turn.reason or "open" for turn in client.story.turns.values())
        if not (client.may_lose and client.broken):  # what it asked may be lost
            _asked_once(client, asked, results)


def check_replaced(clients: list[CheckingClient], results: Results) -> None:
    """Check that histories which were replaced (`ready.log`) are in those that came, unless something may be lost."""
    for client in clients:
        missing = [
            f"{was.session} was {turn}, and is {line.story.turns.get(turn.turn)}"
            for line in client.lines
            for was in line.replaced
            for turn in was.turns.values()
            if not _is_in(turn, line.story)
        ]
        if missing and client.may_lose:
            client.over("part of a session")
        elif missing and not client.broken:
            client.breaks(BrokenError("lost", missing[0]))


def _is_in(turn: Told, story: Story) -> bool:
    now = story.turns.get(turn.turn)
    return (
        now is not None
        and (now.id, now.text) == (turn.id, turn.text)
        and now.answer.startswith(turn.answer)
        and (turn.reason is None or (turn.reason, turn.answer) == (now.reason, now.answer))
    )


def keep(folder: Path, results: Results, name: str = "chaos") -> None:
    """Keep what is needed to understand it."""
    kept = ROOT / "test-artefacts" / f"{name}-{results.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    for file in (*folder.glob("*.log"), *folder.glob("record.jsonl")):
        shutil.copy(file, kept)
    (kept / "broken.txt").write_text("\n".join(str(error) for error in results.broken))
    print(f"the logs are in {kept}")


def _asked_once(client: CheckingClient, asked: Mapping[str, list[Request]], results: Results) -> None:
    """No question is asked again upstream once any of its answer is in the log, nor more often than retries allow."""
    turns: Counter[str] = Counter()
    used: defaultdict[str, list[str]] = defaultdict(list)
    for turn in client.story.turns.values():
        match = ASKED.fullmatch(turn.text)
        if match is None:
            results.tokens += len(turn.answer.split())
            continue
        turns[match[3]] += 1
        if tag := TAG.match(turn.answer):
            used[match[3]].append(tag[1])
            results.tokens += turn.answer.count(" ")
    for note, count in turns.items():
        tags = [request.tag for request in asked.get(note, [])]
        if len(tags) > count * (1 + RETRIES) or len(set(used[note])) != len(used[note]):
            results.breaks(BrokenError("doubled", f"{note} is {count} turns, and was asked {len(tags)} times"))
        if count == 1 and used[note] and tags[-1] != used[note][0]:
            results.breaks(
                BrokenError("doubled", f"{note} was asked again after the first token of its answer: {tags}")
            )
        if not set(used[note]) <= set(tags):
            results.breaks(BrokenError("wrong", f"{note} was answered by nobody: {used[note]}"))
    for text, moment in client.nowhere:
        match = ASKED.fullmatch(text)
        if match and any(request.at < moment for request in asked.get(match[3], [])):
            results.breaks(BrokenError("lost", f"{match[3]} was asked upstream, and its session is gone"))
