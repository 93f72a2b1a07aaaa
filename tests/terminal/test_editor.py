"""Editor: the history of questions, and what becomes of a damaged file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from askbot_ws.terminal import editor
from askbot_ws.terminal.editor import QuestionHistory


def test_questions_come_back_newest_first(tmp_path: Path) -> None:
    """With their lines; what is none is passed over."""
    file = tmp_path / "questions.jsonl"
    QuestionHistory(file).store_string("One\n✨?")
    with file.open("a") as lines:
        lines.write('{\n7\n"Two?"\n')

    assert [*QuestionHistory(file).load_history_strings()] == ["Two?", "One\n✨?"]
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"\xff")
    assert [*QuestionHistory(file).load_history_strings()] == []


def test_the_file_of_questions_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept."""
    monkeypatch.setattr(editor, "MAX_QUESTIONS", 2)
    file = tmp_path / "questions.jsonl"
    for number in range(5):
        QuestionHistory(file).store_string(f"{number}?")

    assert [*QuestionHistory(file).load_history_strings()] == ["4?", "3?"]
    assert [json.loads(line) for line in file.read_text().splitlines()] == ["3?", "4?"]
    assert file.stat().st_mode & 0o777 == 0o600
