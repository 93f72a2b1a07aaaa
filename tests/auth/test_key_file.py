"""The file of static keys, and the keys in it."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
import time
from pathlib import Path

import pytest
import structlog

from askbot_ws.auth.key_file import KEY_PATTERN, add_key, hash_key, make_key, read_keys, remove_key
from askbot_ws.auth.static_keys import CredentialChange, StaticKeys
from askbot_ws.errors import ConfigError, Unauthorized


def _add_keys(path: Path, name: str) -> None:
    for number in range(10):
        add_key(path, make_key(f"{name}-{number}", now=0.0).key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def test_a_key_has_256_bits_and_only_its_hash_is_kept(path: Path) -> None:
    """Whoever reads the file can't connect; only its owner reads it."""
    made = [make_key("alice", now=time.time(), rights=["tickets"], role="gold", expires=2e9) for _ in range(20)]
    add_key(path, made[0].key)

    assert len({each.text for each in made}) == len({each.key.id for each in made}) == 20
    assert all(KEY_PATTERN.fullmatch(each.text) and len(each.text.split("_", 2)[2]) == 43 for each in made)
    line = json.loads(path.read_text())
    assert line["hash"] == hash_key(made[0].text)
    assert made[0].text.split("_", 2)[2] not in path.read_text()
    assert (line["user"], line["rights"], line["role"], line["expires"]) == (
        "alice",
        ["tickets"],
        "gold",
        "2033-05-18T03:33:20.000Z",
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == {made[0].key.id: made[0].key}


def test_two_writers_at_once_lose_nothing(path: Path) -> None:
    """Each replaces the whole file, one after the other."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_keys, args=(path, name)) for name in ("a", "b", "c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(20)

    users = {key.user for key in read_keys(path).values()}
    assert users == {f"{name}-{number}" for name in "abc" for number in range(10)}


def test_comments_and_unknown_fields_survive(path: Path) -> None:
    """People and later versions write into the file too."""
    kept, gone = make_key("kept", now=0.0).key, make_key("gone", now=0.0).key
    add_key(path, kept)
    line = json.loads(path.read_text()) | {"note": "of a later version"}
    path.write_text(f"# the backend's\n\n{json.dumps(line)}\n")
    path.chmod(0o640)

    add_key(path, gone)
    assert remove_key(path, gone.id) == gone
    assert remove_key(path, gone.id) is None

    assert path.read_text() == f"# the backend's\n\n{json.dumps(line)}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert {each.name for each in path.parent.iterdir()} == {"keys.jsonl", ".keys.jsonl.lock"}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"id": "short", "hash": "00", "user": "a"}',
        '{"id": "123456789012", "hash": "%s", "user": ""}' % ("0" * 64),
        '{"id": "123456789012", "hash": "%s", "user": "a", "rights": ["root"]}' % ("0" * 64),
        '{"id": "123456789012", "hash": "%s", "user": "a", "expires": "soon"}' % ("0" * 64),
    ],
)
def test_a_wrong_line_is_told_by_its_number(path: Path, line: str) -> None:
    """And with nothing of what it has."""
    path.write_text(f"# one\n{line}\n")

    with pytest.raises(ConfigError, match=r"ASKBOT_KEYS: .*keys.jsonl, line 2: ") as told:
        read_keys(path)
    assert "0" * 64 not in str(told.value)


def test_a_file_that_is_not_there_is_told_with_the_command_that_makes_it(path: Path) -> None:
    """At the start of a server, for example."""
    with pytest.raises(ConfigError, match="askbot key new --user NAME --keys"):
        StaticKeys(path)


async def test_a_changed_file_is_noticed_within_a_second(path: Path) -> None:
    """By one look at it, at most one a second, and only when somebody comes."""
    clock, changes = [0.0], list[CredentialChange]()
    first, second = make_key("alice", now=0.0), make_key("bob", now=0.0)
    add_key(path, first.key)
    keys = StaticKeys(path, clock=lambda: clock[0])
    keys.on_change = changes.append

    add_key(path, second.key)
    with pytest.raises(Unauthorized):
        await keys.authenticate(second.text)
    clock[0] = 1.0
    accepted = await keys.authenticate(second.text)
    assert accepted is not None
    assert accepted.user == "bob"
    remove_key(path, first.key.id)
    clock[0] = 2.0
    with pytest.raises(Unauthorized):
        await keys.authenticate(first.text)

    assert changes == [CredentialChange(revoked=frozenset({f"key:{first.key.id}"}))]


def test_what_is_done_to_the_file_leaves_an_audit_line_for_each_key(path: Path) -> None:
    """By the key's id, which opens nothing."""
    stays, goes, comes = (make_key(user, now=0.0, rights=["metrics"]) for user in ("alice", "bob", "carol"))
    add_key(path, stays.key)
    add_key(path, goes.key)
    keys = StaticKeys(path)
    remove_key(path, goes.key.id)
    add_key(path, comes.key)
    path.write_text(path.read_text().replace('"metrics"', '"admin"', 1))

    with structlog.testing.capture_logs() as lines:
        keys.reload()
        keys.reload()

    assert {(line["event"], line["credential"], line["user"]) for line in lines} == {
        ("key_revoked", f"key:{goes.key.id}", "bob"),
        ("key_added", f"key:{comes.key.id}", "carol"),
        ("key_changed", f"key:{stays.key.id}", "alice"),
    }
    assert [line["rights"] for line in lines if line["event"] == "key_changed"] == [["admin"]]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes of this kind")
async def test_a_pipe_is_no_key_file(path: Path) -> None:
    """Reading one waits for whoever writes to it, and the server would with it."""
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular file"):
        read_keys(path)


async def test_a_file_that_becomes_unusable_keeps_the_keys(path: Path) -> None:
    """A half-written file locks nobody out."""
    clock, made = [0.0], make_key("alice", now=0.0)
    add_key(path, made.key)
    keys = StaticKeys(path, clock=lambda: clock[0])

    for clock[0], change in ((1.0, lambda: path.write_text("{")), (2.0, path.unlink)):
        change()
        assert await keys.authenticate(made.text) is not None
    with pytest.raises(ConfigError):
        keys.reload()


def test_half_of_a_file_that_is_written_in_place_revokes_no_key(path: Path) -> None:
    """It counts a second after it was last written; one that is replaced counts at once."""
    clock, stays, goes = [0.0], make_key("alice", now=0.0), make_key("bob", now=0.0)
    for each in (stays, goes):
        add_key(path, each.key)
    keys, whole = StaticKeys(path, clock=lambda: clock[0]), path.read_text()

    for clock[0], written in ((1.0, ""), (2.0, whole)):
        path.write_text(written)
        keys.reload_if_changed()
        assert keys.has_key(goes.key.credential)

    path.write_text(whole.splitlines()[0] + "\n")
    a_second_ago = time.time() - 1
    os.utime(path, (a_second_ago, a_second_ago))
    keys.reload_if_changed()
    assert not keys.has_key(goes.key.credential)
    assert remove_key(path, stays.key.id)
    clock[0] = 3.0
    keys.reload_if_changed()
    assert not keys.has_key(stays.key.credential)


async def test_a_key_is_refused_after_its_expiry(path: Path) -> None:
    """To the moment; another secret of a known id never was accepted."""
    now, made = [99.0], make_key("alice", now=0.0, expires=100.0)
    add_key(path, made.key)
    keys = StaticKeys(path, now=lambda: now[0])

    accepted = await keys.authenticate(made.text)
    assert accepted is not None
    assert accepted.expires == 100.0
    with pytest.raises(Unauthorized, match="no such key"):
        await keys.authenticate(made.text[:-4] + ("AAAA" if made.text[-4:] != "AAAA" else "BBBB"))
    now[0] = 100.0
    with pytest.raises(Unauthorized, match="expired"):
        await keys.authenticate(made.text)
    assert await keys.authenticate("ak_short_key") is None
