"""What a run came to: every session read again, every question counted, every log line looked at."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping

from ..process import ROOT, Story, reading
from .ledger import BrokenError, Ledger
from .provider import ASKED, TAG, Request, requests
from .talker import Lost, Talker
from .world import World

RETRIES = 2  # before the first token, as is the default


async def reread(made: World, talkers: list[Talker], ledger: Ledger) -> None:
    """A reader that was not there sees what the others saw."""
    for talker in talkers:
        if talker.broken:
            continue
        for line in talker.lines:
            fresh = Story(session=line.story.session)
            if not line.story.head:
                continue
            try:
                async with reading(made.direct, fresh) as reader:
                    while fresh.head < line.story.head:
                        await reader.next(20)
            except (*Lost, AssertionError) as error:
                talker.breaks(BrokenError("lost", f"{fresh.session} is not to be read to {line.story.head}: {error!r}"))
                break
            _same(talker, line.story, fresh, ledger)


def _same(talker: Talker, told: Story, fresh: Story, ledger: Ledger) -> None:
    for turn, again in zip(told.turns.values(), fresh.turns.values(), strict=False):
        if (turn.turn, turn.id, turn.text, turn.answer) != (again.turn, again.id, again.text, again.answer):
            talker.breaks(BrokenError("lost", f"{told.session} was {turn}, and is {again}"))
            return
        if turn.reason != again.reason:
            if again.reason != "interrupted":
                talker.breaks(BrokenError("wrong", f"{told.session} {turn.turn}: {turn.done}, then {again.done}"))
            turn.done = again.done
            ledger.replaced += 1
    if len(told.turns) != len(fresh.turns) or told.head != fresh.head:
        talker.breaks(BrokenError("lost", f"{told.session}: {len(told.turns)} turns to {told.head}, then {fresh.head}"))


def judge(made: World, talkers: list[Talker], ledger: Ledger) -> None:
    for line in made.faults_of_ours():
        ledger.breaks(BrokenError("wrong", line))
    for end in made.server.exits:
        if not end.fine:
            ledger.breaks(BrokenError("wrong", f"the server ended with {end.code} after {end.age:.1f} s"))
    ledger.restarts = made.server.starts
    asked: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests(made.record):
        asked[request.note].append(request)
    for talker in talkers:
        ledger.sessions += 1
        ledger.readers += len(talker.lines)
        ledger.turns += len(talker.story.turns)
        ledger.ends.update(turn.reason or "open" for turn in talker.story.turns.values())
        _asked_once(talker, asked, ledger)


def keep(made: World, ledger: Ledger) -> None:
    """What is needed to understand it."""
    kept = ROOT / "test-artefacts" / f"chaos-{ledger.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("askbot.log", "provider.log", "record.jsonl"):
        if (made.folder / name).exists():
            shutil.copy(made.folder / name, kept)
    (kept / "broken.txt").write_text("\n".join(str(error) for error in ledger.broken))
    print(f"the logs are in {kept}")


def _asked_once(talker: Talker, asked: Mapping[str, list[Request]], ledger: Ledger) -> None:
    """No question is asked again upstream once any of its answer is in the log, nor more often than retries allow."""
    turns: Counter[str] = Counter()
    used: defaultdict[str, list[str]] = defaultdict(list)
    for turn in talker.story.turns.values():
        match = ASKED.fullmatch(turn.text)
        if match is None:
            ledger.tokens += len(turn.answer.split())
            continue
        turns[match[3]] += 1
        if tag := TAG.match(turn.answer):
            used[match[3]].append(tag[1])
            ledger.tokens += turn.answer.count(" ")
    for note, count in turns.items():
        tags = [request.tag for request in asked.get(note, [])]
        if len(tags) > count * (1 + RETRIES) or len(set(used[note])) != len(used[note]):
            ledger.breaks(BrokenError("doubled", f"{note} is {count} turns, and was asked {len(tags)} times"))
        if count == 1 and used[note] and tags[-1] != used[note][0]:
            ledger.breaks(BrokenError("doubled", f"{note} was asked again after the first token of its answer: {tags}"))
        if not set(used[note]) <= set(tags):
            ledger.breaks(BrokenError("wrong", f"{note} was answered by nobody: {used[note]}"))
    for text, moment in talker.nowhere:
        match = ASKED.fullmatch(text)
        if match and any(request.at < moment for request in asked.get(match[3], [])):
            ledger.breaks(BrokenError("lost", f"{match[3]} was asked upstream, and its session is gone"))
