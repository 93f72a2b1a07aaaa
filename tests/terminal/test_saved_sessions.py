"""Saved sessions: which sessions were used from this machine, and what becomes of damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from askbot_ws.terminal import saved_sessions
from askbot_ws.terminal.saved_sessions import SavedSessions, write_private


def no_error(text: str) -> None:
    raise AssertionError(text)


def sessions_of(url: str, file: Path | None) -> SavedSessions:
    return SavedSessions(url, file, on_error=no_error)


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_each_server_has_its_own_conversations(tmp_path: Path) -> None:
    """Known by its URL; credentials are not written down."""
    file = tmp_path / "below" / "places.json"
    one, other = (
        sessions_of("wss://me:secret@a.example/v1/chat?key=secret", file),
        sessions_of("ws://a.example:99", file),
    )
    one.save("s1", question="First?")
    one.save("s2", question="Second\n question?")
    other.save("s3", question="Third?")
    one.save("s1", question="Something else?")

    assert [(saved.session, saved.title) for saved in sessions_of("https://a.example/", file).all()] == [
        ("s1", "First?"),
        ("s2", "Second question?"),
    ]
    assert (one.latest_id(), other.latest_id(), sessions_of("ws://b.example", file).latest_id()) == ("s1", "s3", None)
    one.remove("s1")
    assert (one.latest_id(), one.title("s1"), other.title("s3")) == ("s2", None, "Third?")
    assert "secret" not in file.read_text()
    assert mode(file) == 0o600


def test_servers_that_differ_by_their_paths_are_different_servers(tmp_path: Path) -> None:
    """What one has, the other doesn't."""
    file = tmp_path / "places.json"
    one, other = sessions_of("wss://a.example/one/v1/chat", file), sessions_of("wss://a.example/two/v1/chat", file)
    one.save("s1", question="First?")
    other.save("s2", question="Second?")
    other.remove("s1")

    assert (one.latest_id(), other.latest_id()) == ("s1", "s2")
    assert sessions_of("wss://a.example", file).latest_id() is None


def test_conversations_that_an_earlier_version_has_saved_are_found(tmp_path: Path) -> None:
    """By host and port, for the default path; they can be used and removed."""
    file = tmp_path / "places.json"
    file.write_text(
        json.dumps(
            [
                {"server": "127.0.0.1:8765", "session": "s1", "title": "First?", "at": 1.0},
                {"server": "a.example:None", "session": "s2", "title": "Second?", "at": 2.0},
            ]
        )
    )
    sessions = sessions_of("ws://127.0.0.1:8765/v1/chat", file)
    assert (sessions.latest_id(), sessions_of("wss://a.example", file).latest_id()) == ("s1", "s2")
    assert sessions_of("ws://127.0.0.1:8765/team", file).latest_id() is None

    sessions.save("s1", question="Another?")
    assert [saved.title for saved in sessions.all()] == ["First?"]
    sessions.remove("s1")
    assert sessions.all() == []


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are left out."""
    monkeypatch.setattr(saved_sessions, "MAX_SESSIONS", 2)
    sessions = sessions_of("ws://a", tmp_path / "places.json")
    for session in ("s1", "s2", "s3"):
        sessions.save(session, question="?")

    assert [saved.session for saved in sessions.all()] == ["s3", "s2"]


@pytest.mark.parametrize("content", [b"", b"{", b'[{"server": 1}]', b"\xff"])
def test_a_file_that_cannot_be_understood_is_replaced(tmp_path: Path, content: bytes) -> None:
    """It counts as empty; nobody is asked."""
    file = tmp_path / "places.json"
    file.write_bytes(content)
    sessions = sessions_of("ws://a", file)

    assert sessions.all() == []
    sessions.save("s", question="?")
    assert sessions_of("ws://a", file).latest_id() == "s"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_private(tmp_path / "folder", b"data")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
