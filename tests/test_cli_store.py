"""`askbot store`, as people call it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from askbot_ws.cli import app
from askbot_ws.errors import ConfigError

from .redis_server import RedisServer
from .store.valid_stores import execute, make_turns, write_store


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound store, which the settings name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASKBOT_STORE", "sqlite:///a.db")
    path = tmp_path / "a.db"
    asyncio.run(write_store(path, make_turns("s", turns=2)))
    return path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["store", *arguments])


def test_a_sound_store_is_called_sound(path: Path) -> None:
    """In plain words, with exit code 0."""
    result = call("check")

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "a.db:",
        "  schema version 4 of 4",
        "  sessions: 1, events: 6",
        "  journal segments: 0, events in them that are in no table yet: 0",
        "  turns: 2, 0 of them without an end; positions: 30",
        "  nothing is wrong",
    ]


def test_a_store_is_copied_to_redis_and_checked(path: Path, redis: RedisServer) -> None:
    """And back; a copy to one that has sessions is refused, and so is what files alone can do."""
    held = ["  sessions: 1", "  turns: 2, 0 of them without an end; positions: 30", "  nothing is wrong"]

    for source, target, named in (("sqlite:///a.db", redis.url, redis.url), (redis.url, "sqlite:///b.db", "b.db")):
        result = call("copy", source, target)
        assert result.exit_code == 0
        assert result.output.splitlines()[-4:] == [f"{named}:", *held]
    result = call("check", "--store", redis.url)
    assert (result.exit_code, result.output.splitlines()) == (0, [f"{redis.url}:", *held])
    assert call("vacuum", "--store", redis.url).exit_code == 0

    for arguments, fault in (
        (("copy", "sqlite:///a.db", redis.url), "has sessions"),
        (("copy", "sqlite:///c.db", redis.url), "there is no store c.db"),
        (("backup", "d.db", "--store", redis.url), "keeps no file here"),
        (("check", "--store", "unix:///nowhere.sock"), "ASKBOT_STORE"),
    ):
        with pytest.raises(ConfigError, match=fault):
            raise call(*arguments).exception or AssertionError


def test_a_copy_that_is_broken_off_is_no_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: whoever did it is told that a part may be there, and with which the store passes every check."""

    async def broken_off(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("askbot_ws.store_transfer.copy_sessions", broken_off)

    result = call("copy", "sqlite:///a.db", "sqlite:///b.db")

    assert result.exit_code != 0
    assert "the copy was broken off: b.db may have a part of it; empty it." in result.output


def test_a_fault_is_named_repaired_and_gone(path: Path) -> None:
    """Exit code 1, what helps, and then 0 again; what was lost costs `repair` its 0, too."""
    execute(path, "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")

    result = call("check")
    assert result.exit_code == 1
    assert "wrong: session s: its head is said to be at" in result.output
    assert "`askbot store repair` keeps what can be kept" in result.output
    result = call("repair")
    assert result.exit_code == 1
    assert "lost: session s: kept up to" in result.output
    assert "before-repair" in result.output
    assert call("check").exit_code == 0
    assert call("repair").exit_code == 0


def test_a_copy_is_made(path: Path) -> None:
    """Of another store than the settings' where one is named."""
    assert call("backup", "copy.db").exit_code == 0
    assert call("check", "--store", "sqlite:///copy.db").exit_code == 0
    assert call("backup", "again.db", "--store", f"sqlite:///{path}").exit_code == 0
    with closing(sqlite3.connect("again.db")) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("s",)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--store", "sqlite:///none.db"], "there is no store none.db"),
        (["repair", "--store", "sqlite:///none.db"], "there is no store none.db"),
        (["backup", "copy.db", "--store", "sqlite:///none.db"], "there is no store none.db"),
        (["backup", "a.db"], "a.db exists already"),
        (["check", "--store", "memory:"], "memory: keeps no file"),
        (["repair", "--store", "redis://:secret@host"], "back it up with Redis' own means, or copy it"),
        (["check", "--store", "a.db"], "--store: 'a.db', on the command line"),
    ],
)
def test_what_cannot_be_opened_is_told_by_name(path: Path, arguments: list[str], said: str) -> None:
    """`main` prints it and exits with 2; nothing is made."""
    before = {file.name for file in path.parent.iterdir()}

    result = call(*arguments)

    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert {file.name for file in path.parent.iterdir()} == before
