"""`askbot check`: what a server would need, each fault with what to do; a server that runs is not disturbed."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from askbot_ws.cli import app

from ..ports import free_port
from ..process import KEY, ProviderProcess, askbot, reading
from ..users import make_key


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: ProviderProcess) -> Path:
    """An empty folder, and settings of a provider that answers."""
    monkeypatch.chdir(tmp_path)
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider.url, "ASKBOT_MODEL": "scripted-1", "ASKBOT_PORT": "0"}
    for name, value in (given | {"ASKBOT_STORE": "sqlite:///askbot.db", "NO_PROXY": "127.0.0.1"}).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def checks(result: Result) -> dict[str, tuple[str, str]]:
    """The findings by their part."""
    found: dict[str, Any] = json.loads(result.output)
    assert found["ok"] == (result.exit_code == 0)
    return {each["part"]: (each["status"], each["text"]) for each in found["checks"]}


def test_what_would_be_served_is_said(folder: Path, provider: ProviderProcess) -> None:
    """With one token of the model; nothing is made, and no secret is printed."""
    result = check()
    assert result.exit_code == 0
    assert "it would serve http on 127.0.0.1, port 0, for everybody who can reach it" in result.output
    assert "askbot.db will be made at the first start" in result.output
    assert "scripted-1 answered in" in result.output
    assert result.output.endswith("askbot can serve.\n")
    assert KEY not in result.output
    assert [*folder.iterdir()] == []
    assert provider.requests()[-1]["body"]["max_tokens"] == 1
    asked = len(provider.requests())
    assert checks(check("--json", "--no-upstream"))["upstream"] == ("skipped", "scripted-1: it was not asked")
    assert len(provider.requests()) == asked


async def test_a_server_that_runs_goes_on(folder: Path, provider: ProviderProcess) -> None:
    """Its store is read, and found to be in use, which is fine."""
    with askbot(folder, upstream=provider.url) as server:
        async with reading(server.url) as reader:
            await reader.answer("say:One")
            await asyncio.sleep(0.2)  # until it is in the tables
            status, text = checks(await asyncio.to_thread(check, "--json", "--no-upstream"))["store"]
            assert (status, text) == ("ok", "askbot.db has 1 sessions; a running server uses it, which is fine")
            port = server.http.rpartition(":")[2]
            assert checks(await asyncio.to_thread(check, "--json", "--port", port))["address"][0] == "warning"
            assert (await reader.answer("say:Two")).answer == "Two"


@pytest.mark.parametrize(
    ("environ", "part", "said"),
    [
        ({"ASKBOT_PORT": "99999", "ASKBOT_MAX_TURNS": "x"}, "settings", "2 settings are wrong"),
        ({"ASKBOT_HOST": "192.0.2.1", "ASKBOT_ALLOW_ANONYMOUS": "on"}, "address", "can't be listened on 192.0.2.1"),
        ({"OPENAI_API_KEY": "wrong"}, "upstream", "Set OPENAI_API_KEY to a key of this provider."),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "upstream", "See that the address in OPENAI_BASE_URL is right"),
        ({"ASKBOT_STORE": "sqlite:////proc/askbot.db"}, "store", "can't be written"),
        ({"ASKBOT_STORE": "sqlite:///note.txt"}, "store", "can't be read"),
        ({"ASKBOT_KEYS": "note.txt"}, "authentication", "ASKBOT_KEYS: "),
        ({"ASKBOT_AUTH": "nothing.here:function"}, "authentication", "ASKBOT_AUTH"),
        ({"ASKBOT_CERTFILE": "note.txt", "ASKBOT_KEYFILE": "note.txt"}, "certificate", "ASKBOT_CERTFILE: "),
        ({"ASKBOT_ROLES": json.dumps({"guest": {"models": ["m" * 201]}})}, "roles", "ASKBOT_ROLES: guest.models"),
        ({"ASKBOT_MODELS": "m" * 201}, "upstream", "ASKBOT_MODELS: "),
        ({"ASKBOT_GUARD_FUNCTION": "nothing.here:function"}, "guard", "ASKBOT_GUARD_FUNCTION: "),
        ({"ASKBOT_GUARD_FUNCTION": "json:dumps"}, "guard", "not an async function"),
        ({"ASKBOT_UNIX": "note.txt"}, "address", "is no socket"),
    ],
)
def test_each_fault_is_told_with_its_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], part: str, said: str
) -> None:
    """And the exit code is 1."""
    (folder / "note.txt").write_text("this is a note, and neither a database nor a key\n" * 100)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    result = check("--json", "--retries", "0")

    assert result.exit_code == 1
    status, text = checks(result)[part]
    assert (status, said in text) == ("fault", True), text
    assert "wrong" not in text or part != "upstream"


def test_what_would_surprise_users_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, provider: ProviderProcess
) -> None:
    """A role that there is not, a sign-in that leads nowhere, a guard that fails, a key set that is not there."""
    key = make_key(folder / "keys", "ann", "--role", "guset")
    (folder / "my_guard.py").write_text("async def judge(text, asker):\n    raise ValueError(text)\n")
    for name, value in {
        "ASKBOT_KEYS": "keys",
        "ASKBOT_ROLES": '{"guest": {"max_tokens": 9}}',
        "ASKBOT_SIGN_IN_URL": "https://login.example/",
        "ASKBOT_GUARD_FUNCTION": "my_guard:judge",
        "ASKBOT_GUARD_FAILURE": "open",
        "ASKBOT_JWKS_URL": "http://127.0.0.1:9/keys",
        "ASKBOT_JWT_AUDIENCE": "chat",
    }.items():
        monkeypatch.setenv(name, value)
    before = {*folder.iterdir()}

    result = check()

    assert result.exit_code == 0, result.output
    warnings = [line for line in result.output.splitlines() if line.startswith("warning")]
    for said in ("ASKBOT_ROLES doesn't have", "set ASKBOT_AUTH_COOKIE", "ASKBOT_GUARD_FAILURE", "can't be fetched now"):
        assert any(said in line for line in warnings), said
    assert "guset" in result.output
    assert key not in result.output
    assert {file for file in folder.iterdir() if file.name != "__pycache__"} == before
    monkeypatch.setenv("ASKBOT_GUARD_FAILURE", "closed")
    assert checks(check("--json"))["guard"][0] == "fault"


def test_nodes_without_a_common_ticket_secret_are_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that one has made would be refused by the others, where their key files are not the same one."""
    make_key(folder / "keys", "ann")
    given = ("--keys", "keys", "--no-upstream", "--store", f"redis://127.0.0.1:{free_port()}")

    assert "ASKBOT_TICKET_SECRET is not set" in check(*given).output
    monkeypatch.setenv("ASKBOT_TICKET_SECRET", "x" * 40)
    assert "ASKBOT_TICKET_SECRET" not in check(*given).output


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is full: there is a warning, which is no fault."""
    usage = shutil.disk_usage(".")._replace(free=5 * 1024**2)

    def nearly_full(path: object) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)

    result = check("--no-upstream")

    assert result.exit_code == 0
    assert "warning  store           askbot.db: only 5 MiB are free on its disk" in result.output
