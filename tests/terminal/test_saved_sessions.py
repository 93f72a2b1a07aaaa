"""What is remembered on this machine, and what becomes of damaged memories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from askbot_ws.terminal import recall, saved_sessions
from askbot_ws.terminal.files import write_private
from askbot_ws.terminal.recall import Recall
from askbot_ws.terminal.saved_sessions import Places


def silent(text: str) -> None:
    raise AssertionError(text)


def at(url: str, file: Path | None) -> Places:
    return Places(url, file, tell=silent)


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_each_server_has_its_own_conversations(tmp_path: Path) -> None:
    """Known by its host and port; credentials are not written down."""
    file = tmp_path / "below" / "places.json"
    one, other = at("wss://me:secret@a.example/v1/chat?key=secret", file), at("ws://a.example:99", file)
    one.keep("s1", question="First?")
    one.keep("s2", question="Second\n question?")
    other.keep("s3", question="Third?")
    one.keep("s1", question="Something else?")

    assert [(place.session, place.title) for place in at("https://a.example", file).all()] == [
        ("s1", "First?"),
        ("s2", "Second question?"),
    ]
    assert (one.last(), other.last(), at("ws://b.example", file).last()) == ("s1", "s3", None)
    one.drop("s1")
    assert (one.last(), one.title("s1"), other.title("s3")) == ("s2", None, "Third?")
    assert "secret" not in file.read_text()
    assert mode(file) == 0o600


def test_only_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are left out."""
    monkeypatch.setattr(saved_sessions, "MOST", 2)
    held = at("ws://a", tmp_path / "places.json")
    for session in ("s1", "s2", "s3"):
        held.keep(session, question="?")

    assert [place.session for place in held.all()] == ["s3", "s2"]


@pytest.mark.parametrize("content", [b"", b"{", b'[{"server": 1}]', b"\xff"])
def test_a_file_that_cannot_be_understood_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """It is but a memory."""
    file = tmp_path / "places.json"
    file.write_bytes(content)
    held = at("ws://a", file)

    assert held.all() == []
    held.keep("s", question="?")
    assert at("ws://a", file).last() == "s"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_private(tmp_path / "folder", b"data")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_questions_come_back_newest_first(tmp_path: Path) -> None:
    """With their lines; what is none is passed over."""
    file = tmp_path / "questions.jsonl"
    Recall(file).store_string("One\n✨?")
    with file.open("a") as lines:
        lines.write('{\n7\n"Two?"\n')

    assert [*Recall(file).load_history_strings()] == ["Two?", "One\n✨?"]
    assert mode(file) == 0o600
    file.write_bytes(b"\xff")
    assert [*Recall(file).load_history_strings()] == []


def test_the_file_of_questions_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept."""
    monkeypatch.setattr(recall, "MOST", 2)
    file = tmp_path / "questions.jsonl"
    for number in range(5):
        Recall(file).store_string(f"{number}?")

    assert [*Recall(file).load_history_strings()] == ["4?", "3?"]
    assert [json.loads(line) for line in file.read_text().splitlines()] == ["3?", "4?"]
    assert mode(file) == 0o600
