"""Session documents: sessions as a table for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size

from .events import Options, Step, TurnRecord
from .http.admin_records import AdminSession, SessionTurns
from .http.admin_records import session_turns as codec
from .http.export import ExportedSession, ExportedTurn, ExportedUsage, ExportEnd, ExportRecord
from .logs import CONTROLS

MAX_USER_CELLS = 10
MIN_TITLE_CELLS = 12


def table(sessions: Sequence[AdminSession], *, width: int) -> str:
    """Return one line for each session, below a heading, each at most `width` cells unless the ids are longer."""
    users = [_one_line(each.user or "-") for each in sessions]
    id_cells = max([len("SESSION"), *(len(each.session) for each in sessions)])
    user_cells = min(MAX_USER_CELLS, max([len("USER"), *map(cell_len, users)]))
    heading = f"{'SESSION':<{id_cells}}  {'USER':<{user_cells}}  {'UPDATED':<22}  TURNS  "
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
        parts.append(_one_line(", ".join(_facts(turn))))
        parts.append(_quote(turn.text))
        parts += [_step(step) for step in turn.steps or (Step(type="text", text=turn.answer),)]
        if turn.reason != "stop":
            parts.append(f"*({turn.reason or 'not ended'}{f': {turn.error.code}' if turn.error else ''})*")
    return "\n\n".join(part for part in parts if part) + "\n"


def _step(step: Step) -> str:
    return "Reasoning:\n\n" + _quote(step.text) if step.type == "thinking" else step.text.strip()


def _facts(turn: TurnRecord) -> list[str]:
    """Return what is known of a turn besides its texts: the model, the options that were chosen, the tokens."""
    options = turn.options or Options()
    chosen = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    facts = [f"model: {turn.model or options.model}"] if turn.model or options.model else []
    facts += [f"{name}: {value}" for name, value in chosen.items() if value is not None]
    return facts + ([f"tokens: {turn.usage.input_tokens} + {turn.usage.output_tokens}"] if turn.usage else [])


def _quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines() or [""])


def _usage_markdown(usage: Mapping[str, int]) -> str:
    rows = [f"| {day} | {tokens} |" for day, tokens in usage.items()]
    return "\n".join(["# Tokens used", "", "| day (UTC) | tokens |", "| --- | --- |", *rows, ""])


async def write_export(file: TextIO, records: AsyncGenerator[ExportRecord], *, as_json: bool) -> int | None:
    """Write an export as JSON or Markdown, session by session; returns how many. None: it has no end.

    The JSON object has `sessions`, each with its `turns`, `usage` (tokens by day), and when it was `exported`.
    """
    sessions, turns = list[AdminSession](), list[TurnRecord]()  # of the sessions, the last is not written yet
    usage: dict[str, int] = {}
    file.write('{"sessions": [\n' if as_json else "")

    def write_last() -> None:
        if sessions:
            separator = (",\n" if as_json else "\n") if len(sessions) > 1 else ""
            file.write(separator + (dump(to_json(sessions[-1], turns)) if as_json else markdown(sessions[-1], turns)))

    async with aclosing(records):
        async for each in records:
            match each:
                case ExportedSession():
                    write_last()
                    sessions = [*sessions[-1:], each.session]
                    turns = []
                case ExportedTurn():
                    turns.append(each.turn)
                case ExportedUsage():
                    usage[each.day] = each.tokens
                case ExportEnd():
                    write_last()
                    end = {"usage": usage, "exported": _rfc_3339(each.exported)}
                    if as_json:
                        file.write("\n],\n" + dump(end).removeprefix("{\n") + "\n")
                    elif usage:
                        file.write("\n" + _usage_markdown(usage))
                    return each.sessions
    return None


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
    """Return a value as JSON that people can read; what steers a terminal is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _rfc_3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    return CONTROLS.sub("", " ".join(text.split()))


def _fit(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M %z")


def _second(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
