"""Turn records: whole turns, built from the events of a log, and events built from whole turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from ..events import Done, Event, Question, Step, TextSlice, Thinking, Token, TurnRecord
from .log_tail import MAX_TOKEN_CHARS
from .turn import turn_id_of


def turn_records(events: Iterable[Event]) -> list[TurnRecord]:
    """Return a record of each turn whose question is among the events, in the order of the questions."""
    folds: dict[str, tuple[Question, list[TextSlice], list[Done]]] = {}
    for event in events:
        match event:
            case Question():
                folds[event.turn] = (event, [], [])
            case TextSlice() if event.turn in folds:
                folds[event.turn][1].append(event)
            case Done() if event.turn in folds:
                folds[event.turn][2].append(event)
            case _:
                pass  # of a turn whose question is not among the events
    return [_record(*fold) for fold in folds.values()]


def _record(question: Question, slices: list[TextSlice], dones: list[Done]) -> TurnRecord:
    done = dones[0] if dones else None
    last = done or (slices[-1] if slices else question)
    return TurnRecord(
        turn=question.turn,
        id=question.id,
        text=question.text,
        replaces=question.replaces,
        created=question.created,
        options=question.options,
        answer="".join(part.text for part in slices if isinstance(part, Token)),
        steps=_steps(slices),
        reason=done.reason if done else None,
        model=done.model if done else None,
        usage=done.usage if done else None,
        timing=done.timing if done else None,
        check=done.check if done else None,
        error=done.error if done else None,
        from_=question.start,
        seq=last.seq,
    )


def copy_turn_events(record: TurnRecord, *, session: str, head: int) -> list[Event]:
    """Return the events of a turn that has ended, as a new turn of another session.

    It is whole, but for what has no meaning in another session: the id of its question, and the turn that it replaces.

    Args:
        record: The turn.
        session: The id of the other session.
        head: The head of that session's log, after which the events follow.

    Raises:
        ValueError: The turn has not ended.
    """
    if record.reason is None or record.model is None or record.timing is None or record.check is None:
        raise ValueError(f"turn {record.turn} has not ended")
    turn, seq = turn_id_of(head + 1), head + 1
    events: list[Event] = [
        Question(session=session, seq=seq, turn=turn, text=record.text, created=record.created, options=record.options)
    ]
    for step in record.steps or (Step(type="text", text=record.answer),):
        kind = Thinking if step.type == "thinking" else Token
        for start in range(0, len(step.text), MAX_TOKEN_CHARS):
            text = step.text[start : start + MAX_TOKEN_CHARS]
            seq += len(text)
            events.append(kind(session=session, seq=seq, turn=turn, text=text))
    done = Done(
        session=session,
        seq=seq + 1,
        turn=turn,
        reason=record.reason,
        model=record.model,
        usage=record.usage,
        timing=record.timing,
        check=record.check,
        error=record.error,
    )
    return [*events, done]


def _steps(slices: Sequence[TextSlice]) -> tuple[Step, ...] | None:
    """Return the reasoning and the answer's text in order; None where there is no reasoning."""
    if not any(isinstance(part, Thinking) for part in slices):
        return None
    return tuple(
        Step(type="text" if kind is Token else "thinking", text="".join(part.text for part in parts))
        for kind, parts in groupby(slices, key=type)
    )
