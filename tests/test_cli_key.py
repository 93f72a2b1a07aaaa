"""`askbot key` and `askbot ticket`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askbot_ws.auth.tickets import Tickets, kept_secret
from askbot_ws.cli import app
from askbot_ws.errors import ConfigError
from askbot_ws.store.memory import MemoryStore

from .command import call

run = CliRunner()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASKBOT_KEYS", "keys.jsonl")
    return tmp_path / "keys.jsonl"


def test_a_key_is_made_listed_and_revoked(keys: Path) -> None:
    """It is on stdout once, alone, so that a script can take it; the list has no secret."""
    made = run.invoke(app, ["key", "new", "--user", "alice", "--expires", "90d", "--may", "admin, tickets"])
    key = made.stdout.strip()
    id = key.split("_")[1]
    listed = run.invoke(app, ["key", "list"])

    assert made.exit_code == 0
    assert "only time" in made.stderr
    assert json.loads(keys.read_text())["rights"] == ["admin", "tickets"]
    assert [word in listed.stdout for word in (id, "alice", "admin,tickets")] == [True] * 3
    assert key.split("_", 2)[2] not in listed.stdout + made.stderr + keys.read_text()
    assert run.invoke(app, ["key", "revoke", id]).exit_code == 0
    again = run.invoke(app, ["key", "revoke", key])
    assert (again.exit_code, key in again.output) == (1, False)
    assert keys.read_text() == ""


def test_each_act_leaves_an_audit_line(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, in the format of the server's log: what was made or removed, by its id, and by which account."""
    monkeypatch.setenv("LOGNAME", "operator")
    made = run.invoke(app, ["key", "new", "--user", "alice", "--may", "admin"])
    _, id, secret = made.stdout.strip().split("_", 2)
    ticket = run.invoke(app, ["ticket", "--user", "bob", "--session", "session-of-bob", "--read-only"])
    removed = run.invoke(app, ["key", "revoke", id])

    lines = [json.loads(line) for act in (made, ticket, removed) for line in act.stderr.splitlines() if line[0] == "{"]
    assert [line["event"] for line in lines] == ["key_created", "ticket_issued", "key_removed"]
    assert {line["account"] for line in lines} == {"operator"}
    assert lines[0]["credential"] == lines[2]["credential"] == f"key:{id}"
    assert (lines[0]["rights"], lines[1]["read_only"]) == (["admin"], True)
    assert lines[1]["credential"].startswith("ticket:")
    secrets = (secret, ticket.stdout.strip(), "session-of-bob", "alice")
    assert [secret for secret in secrets if secret in json.dumps(lines)] == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--user", "alice", "--may", "root"], "--may"),
        (["--user", "alice", "--expires", "soon"], "--expires"),
        (["--user", "alice", "--expires", "0"], "--expires"),
        (["--user", ""], "--user"),
        (["--user", "a\nb"], "--user"),
        (["--user", "alice", "--role", ""], "--role"),
    ],
)
def test_a_wrong_key_is_not_made(keys: Path, arguments: list[str], fault: str) -> None:
    """The option is named, and nothing is written."""
    result = run.invoke(app, ["key", "new", *arguments])

    assert (result.exit_code, fault in result.stderr) == (2, True)
    assert not keys.exists()


async def test_a_ticket_is_made_without_a_server(keys: Path) -> None:
    """With the secret beside the keys, which the server reads too."""
    result = run.invoke(app, ["ticket", "--user", "alice", "--session", "s-1", "--read-only", "--expires", "2h"])
    principal = await Tickets(kept_secret(keys), MemoryStore()).redeem(result.stdout.strip())

    assert (principal.user, principal.session, principal.read_only) == ("alice", "s-1", True)
    assert "--expires" in run.invoke(app, ["ticket", "--user", "alice", "--expires", "2d"]).stderr


def test_a_file_of_keys_has_to_be_named(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's guess."""
    monkeypatch.delenv("ASKBOT_KEYS")
    for arguments in (["key", "list"], ["ticket", "--user", "alice"]):
        assert isinstance(run.invoke(app, arguments).exception, ConfigError)


async def test_serve_says_how_to_make_the_file(tmp_path: Path) -> None:
    """That it was told to read, and that is not there."""
    code, _, err = await call("serve", "--port", "0", cwd=tmp_path, ASKBOT_KEYS="none", OPENAI_BASE_URL="http://a/v1")

    assert code == 2
    assert "askbot key new --user NAME --keys" in err
