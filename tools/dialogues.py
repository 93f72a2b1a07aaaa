"""The dialogues that the tests play, as examples: every frame as it was really sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from askbot_ws import __version__
from reference import causes

ROOT = Path(__file__).parents[1]
MANUAL = ROOT / "docs/protocol.md"
FENCE = "```dialogue"
SESSION = "q3Zt8rVw5hT0cAeK2mJx9g"
LOG = "Yb0nD4sQkWf1"

Json: TypeAlias = dict[str, Any]


def blocks(text: str) -> Iterator[str]:
    """The dialogues in a page, in order."""
    for part in text.split(FENCE)[1:]:
        yield part.partition("\n")[2].partition("```")[0]


def lines(text: str) -> Iterator[Json]:
    """A dialogue's objects; on a page, one may take several lines."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        line, end = decoder.raw_decode(rest)
        yield line
        rest = rest[end:].strip()


def frames(mark: str) -> Iterator[Json]:
    """All frames of clients (`>`) or of the server (`<`), with values where the dialogues have names.

    Without those that no server of this version says.
    """
    files = sorted((ROOT / "tests/wire").glob("*.jsonl"))
    for text in [*blocks(MANUAL.read_text("utf-8")), *(file.read_text("utf-8") for file in files)]:
        dialogue = list(lines(text))
        if "clients_only" in dialogue[0]:
            continue
        names = _names(dialogue)
        for line in dialogue:
            if mark in line:
                yield _filled(line[mark], names)


def _names(dialogue: list[Json]) -> dict[str, str]:
    """A turn is named by the place of its question, a log by the session's own."""
    told = [line["<"] for line in dialogue if "<" in line]
    turns = {frame["turn"]: f"t{frame['seq']}" for frame in told if frame["type"] == "question"}
    return turns | {frame["log"]: LOG for frame in told if "log" in frame}


def _filled(value: Any, names: dict[str, str], told: str = "") -> Any:  # noqa: ANN401 - JSON
    """`told` is what `$any` stands for here."""
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType] - as tests/test_wire.py has it
        return [_filled(one, names) for one in parts]
    if isinstance(value, dict):
        frame = cast(Json, value)
        words = {"server": f"askbot-ws/{__version__}", "message": _words(frame), "log": LOG}
        return {key: _filled(one, names, words.get(key, "")) for key, one in frame.items()}
    if isinstance(value, str) and value.startswith("$"):
        return told if value == "$any" else names.get(value, SESSION)
    return value


def _words(frame: Json) -> str:
    return causes()[frame["code"]].default if "code" in frame else ""
