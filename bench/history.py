"""Sessions with a past, written through the store as the server would have written them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from askbot_ws.core.turn import answer_check, turn_id_of
from askbot_ws.events import Done, Event, Question, Timing, Token, encode_event
from askbot_ws.store.sqlite.store import SQLiteStore


async def write(path: Path, lengths: Sequence[int]) -> list[str]:
    """One session for each number of turns; returns their ids."""
    store = SQLiteStore(path)
    await store.open()
    try:
        return [await _session(store, turns) for turns in lengths]
    finally:
        await store.close()


async def _session(store: SQLiteStore, turns: int) -> str:
    id = secrets.token_urlsafe(16)
    head = store.create(id).head
    for number in range(turns):
        events = _turn(id, head, number)
        outcome = store.append({id: (events, [encode_event(event) for event in events])})
        if failures := outcome if isinstance(outcome, dict) else await outcome:
            raise failures[id]
        head = events[-1].seq
    store.release(id)
    return id


def _turn(session: str, head: int, number: int) -> list[Event]:
    turn, answer = turn_id_of(head + 1), f"This is answer {number}, and it is as long as a short answer is. " * 4
    asked = Question(session=session, seq=head + 1, turn=turn, id=None, text=f"Question {number}?", created=time.time())
    said = Token(session=session, seq=asked.seq + len(answer), turn=turn, text=answer)
    done = Done(
        session=session,
        seq=said.seq + 1,
        turn=turn,
        reason="stop",
        model="bench-model",
        usage=None,
        timing=Timing(queued=0.0, first_token=0.1, total=1.0),
        check=answer_check(answer.encode(), chars=len(answer)),
    )
    return [asked, said, done]
