"""Session documents: sessions as a table for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, set_cell_size

from .events import TurnRecord
from .http.admin import AdminSession, SessionTurns
from .http.admin import session_turns as codec
from .logs import CONTROLS

MAX_USER_CELLS = 16
MIN_TITLE_CELLS = 12


def table(sessions: Sequence[AdminSession], *, width: int) -> str:
    """Return one line for each session, below a heading, each at most `width` cells unless the ids are longer."""
    users = [_one_line(each.user or "-") for each in sessions]
    id_cells = max([len("SESSION"), *(len(each.session) for each in sessions)])
    user_cells = min(MAX_USER_CELLS, max([len("USER"), *map(cell_len, users)]))
    heading = f"{'SESSION':<{id_cells}}  {'USER':<{user_cells}}  {'UPDATED':<16}  TURNS  "
    title_cells = max(MIN_TITLE_CELLS, width - len(heading))
    lines = [heading + "TITLE"]
    for each, user in zip(sessions, users, strict=True):
        title = _fit(_one_line(each.title or each.question), title_cells)
        cells = set_cell_size(_fit(user, user_cells), user_cells)
        lines.append(f"{each.session:<{id_cells}}  {cells}  {_minute(each.updated)}  {each.turns:>5}  {title}".rstrip())
    return "\n".join(lines)


def markdown(session: AdminSession, turns: Sequence[TurnRecord]) -> str:
    """Return a session as Markdown: all its turns, replaced ones too, with the questions quoted."""
    parts = [f"# {_one_line(session.title or session.question)}"]
    facts = {"Session": f"`{session.session}`", "User": _one_line(session.user) if session.user else "nobody"}
    facts |= {"Created": _second(session.created), "Updated": _second(session.updated)}
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    for turn in turns:
        replaced = f" (instead of {turn.replaces})" if turn.replaces else ""
        parts.append(f"## {turn.turn}: {_second(turn.created)}{replaced}")
        parts.append("\n".join(f"> {line}".rstrip() for line in turn.text.splitlines() or [""]))
        parts.append(turn.answer.strip())
        if turn.reason != "stop":
            parts.append(f"*({turn.reason or 'not ended'})*")
    return "\n\n".join(part for part in parts if part) + "\n"


def to_json(session: AdminSession, turns: Sequence[TurnRecord]) -> dict[str, Any]:
    """Return a session as a JSON object, with all its turns as a `history` frame has them."""
    whole = SessionTurns(session=session, turns=[*turns], more=None)
    found: dict[str, Any] = codec.dump_python(whole, mode="json", by_alias=True)
    facts: dict[str, Any] = found["session"]
    return facts | {"turns": found["turns"]}


def entry(session: AdminSession) -> dict[str, Any]:
    """Return a session of a list as a JSON object."""
    found = to_json(session, ())
    return found | {"turns": session.turns}


def dump(value: object) -> str:
    """Return a value as JSON that people can read."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def now() -> str:
    """Return the time, as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    return CONTROLS.sub("", " ".join(text.split()))


def _fit(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _second(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
