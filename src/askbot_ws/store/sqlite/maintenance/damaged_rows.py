"""Damaged rows: reads events from rows of the tables, which may be damaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ....events import Event, Question, Title, decode_event
from ..tables import NO_TURN

EVENT_COLUMNS = "seq, turn, type, ask, body"
SLICE_TYPES = ("token", "thinking")  # whose body is the text, not the frame


def decode_row(session: str, row: Sequence[Any]) -> Event | None:
    """The event in a row of `EVENT_COLUMNS`; None where the row is not one of this session's, or damaged."""
    seq, turn, kind, ask, body = row
    try:
        if kind in SLICE_TYPES:
            body = json.dumps({"type": kind, "session": session, "turn": turn, "seq": seq, "text": body})
        event = decode_event(body)
    except (TypeError, ValidationError):
        return None
    id = event.id if isinstance(event, Question) else None
    its_turn = NO_TURN if isinstance(event, Title) else event.turn
    same = (event.session, event.seq, its_turn, event.type, id) == (session, seq, turn, kind, ask)
    return event if same else None
