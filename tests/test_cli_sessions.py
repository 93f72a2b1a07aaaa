"""`askbot sessions` and `askbot store vacuum`, on a running server and on the store once it has stopped."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from askbot_ws.cli import app
from askbot_ws.errors import ConfigError

from .command import ASKBOT, call, variables
from .process import Askbot, askbot, provider_process, reading
from .users import make_key

TITLE = "reasoning say:second question of alice \x1b]0;owned\x07 한국어 제목이 팔십 칸에 들어가지 않는다 \u202e\x9b31m"


@dataclass
class Managed:
    """A server with sessions of alice and of nobody, and what administers it."""

    server: Askbot
    folder: Path
    admin: str = ""
    alice: str = ""
    ids: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def environment(self) -> dict[str, str]:
        """What names the server, the store and the administrator's key."""
        store = f"sqlite:///{self.folder / 'askbot.db'}"
        return {"ASKBOT_URL": self.server.url, "ASKBOT_STORE": store, "ASKBOT_TOKEN": self.admin}

    @property
    def store(self) -> str:
        return self.environment["ASKBOT_STORE"]

    def sessions(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run `askbot sessions` in this process, which is quicker."""
        return self.run("sessions", *arguments, **environ)

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run a command; returns its exit code, and what it wrote."""
        result = CliRunner().invoke(app, arguments, env=self.environment | environ)
        if isinstance(result.exception, ConfigError):  # `main` prints it
            return 2, result.stdout, f"{result.exception}"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    async def hold(self, name: str, question: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else None
        async with reading(self.server.url, additional_headers=headers) as reader:
            await reader.answer(question)
            self.ids[name] = reader.story.session or ""


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """One server for all tests of this module; they run in order, and the last ones stop it."""
    folder = tmp_path_factory.mktemp("sessions")

    async def prepare(managed: Managed) -> None:
        await managed.hold("hers", "the first question of alice", managed.alice)
        await managed.hold("titled", TITLE, managed.alice)
        await managed.hold("nobodys", "the question that nobody has asked")

    admin = make_key(folder / "keys.toml", "root", "--may", "admin")
    alice = make_key(folder / "keys.toml", "alice")
    with (
        provider_process() as provider,
        askbot(
            folder, "--keys", "keys.toml", "--allow-anonymous", "--tokens-per-day", "9999999", upstream=provider.url
        ) as server,
    ):
        managed = Managed(server, folder, admin, alice)
        asyncio.run(prepare(managed))
        yield managed


async def test_the_list_fits_a_terminal_and_does_nothing_to_it(managed: Managed) -> None:
    """80 columns, the newest first, and a title's control characters are not in it."""
    code, out, err = await call("sessions", "list", cwd=managed.folder, **managed.environment)

    assert (code, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading.split() == ["SESSION", "USER", "UPDATED", "TURNS", "TITLE"]
    assert [line.split()[0] for line in lines] == [managed.ids[name] for name in ("nobodys", "titled", "hers")]
    assert [line.split()[1] for line in lines] == ["-", "alice", "alice"]

    assert max(map(cell_len, lines)) <= 80
    assert not any(control in out for control in ("\x1b", "\x07", "\x9b", "\u202e"))


def test_filters_limits_and_json(managed: Managed) -> None:
    """By user, by nobody, by age."""
    for arguments, names in (
        (["--user", "alice"], ["titled", "hers"]),
        (["--anonymous"], ["nobodys"]),
        (["--idle", "30d"], []),
        (["--all"], ["nobodys", "titled", "hers"]),
        (["--limit", "1"], ["nobodys"]),
    ):
        code, out, _ = managed.sessions("list", "--json", *arguments)
        found = json.loads(out)
        assert code == 0
        assert [each["session"] for each in found["sessions"]] == [managed.ids[name] for name in names]
        assert found["more"] is (arguments[0] == "--limit")


def test_a_session_is_shown(managed: Managed) -> None:
    """As Markdown, and as JSON."""
    code, out, _ = managed.sessions("show", managed.ids["hers"])
    assert code == 0
    assert out.startswith("# the first question of alice\n")
    assert "- User: alice" in out
    assert "> the first question of alice" in out
    code, out, _ = managed.sessions("show", "--json", managed.ids["hers"])
    assert json.loads(out)["turns"][0]["text"] == "the first question of alice"
    code, out, err = managed.sessions("show", "none")
    assert (code, out) == (1, "")
    assert "no such session" in err


def test_all_of_a_person_is_exported(managed: Managed) -> None:
    """In a file that nobody else may read, and that is not overwritten; or on stdout."""
    file = managed.folder / "alice.json"
    code, _, err = managed.sessions("export", "--user", "alice", "--output", str(file))

    assert (code, err) == (0, f"2 sessions exported to {file}.\n")
    assert file.stat().st_mode & 0o777 == 0o600
    whole = json.loads(file.read_text("utf-8"))
    assert next(iter(whole["usage"].values())) > 0
    found = whole["sessions"]
    assert {each["session"] for each in found} == {managed.ids["hers"], managed.ids["titled"]}
    assert {each["turns"][0]["text"] for each in found} == {
        "the first question of alice",
        TITLE,
    }
    code, _, err = managed.sessions("export", "--user", "alice", "--output", str(file))
    assert code == 2
    assert "exists already" in err
    code, out, _ = managed.sessions("export", "--user", "alice", "--format", "markdown")
    assert code == 0
    assert out.count("\n> ") == 3  # two questions, and what was thought
    assert "Reasoning:\n\n> " in out
    assert "| day (UTC) | tokens |" in out
    code, _, _ = managed.sessions("export", managed.ids["hers"], "none", "--output", str(managed.folder / "half.json"))
    assert code == 1
    assert not (managed.folder / "half.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delete", "--user", "alice"], "--yes"),
        (["delete", "--yes"], "give either ids"),
        (["delete", "--yes", "x", "--user", "alice"], "give either ids"),
        (["export"], "give either ids"),
        (["delete", "--yes", "--anonymous", "--usage"], "it goes with --user"),
        (["list", "--user", "a", "--anonymous"], "--anonymous"),
        (["list", "--idle", "soon"], "--idle"),
        (["list", "--url", "ftp://x"], "--url"),
        (["list", "--url", "localhost:1", "--store", "sqlite:///none.db"], "--url"),
        (["list", "--store", "STORE"], "in use by another askbot process"),
        (["list", "--store", "sqlite:///none.db"], "there is no store"),
    ],
)
def test_a_wrong_command_line_changes_nothing(managed: Managed, arguments: list[str], said: str) -> None:
    """Exit code 2, and what to do instead."""
    code, out, err = managed.sessions(*[managed.store if each == "STORE" else each for each in arguments])

    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert not (managed.folder / "none.db").exists()


def test_who_may_not_is_told_what_to_do(managed: Managed) -> None:
    """Without a key, with a wrong one, with one that lacks the right, and without a server: exit code 1."""
    for token, said in (("", "ASKBOT_TOKEN"), ("ak_wrong", "expired or revoked"), (managed.alice, "--may admin")):
        code, out, err = managed.sessions("list", ASKBOT_TOKEN=token)
        assert (code, out) == (1, "")
        assert said in err
        assert "Traceback" not in err
    code, _, err = managed.sessions("list", "--url", "127.0.0.1:1")
    assert code == 1
    assert "can't be reached" in err


def test_sessions_are_deleted(managed: Managed) -> None:
    """By ids and by user; a dry run deletes nothing."""
    code, out, _ = managed.sessions("delete", "--user", "alice", "--dry-run")
    assert (code, len(out.splitlines())) == (0, 3)
    code, out, err = managed.sessions("delete", "--yes", managed.ids["hers"], "none")
    assert (code, out) == (1, "1 session deleted.\n")
    assert "none" in err
    code, out, err = managed.sessions("delete", "--yes", "--user", "alice")
    assert (code, out) == (0, "1 session deleted.\n")
    assert "--usage" in err
    code, out, _ = managed.sessions("delete", "--yes", "--user", "alice", "--usage")
    assert (code, out) == (0, "0 sessions deleted.\nCounts of tokens deleted, of 1 days.\n")
    assert (managed.sessions("list"))[1].count("\n") == 2


@pytest.mark.parametrize(("typed", "code"), [("\x03", 1), ("y\n", 0)])
def test_a_deletion_asks_on_a_terminal(managed: Managed, typed: str, code: int) -> None:
    """Ctrl-C leaves everything; the exit code is 1 then."""
    pid, terminal = pty.fork()
    if not pid:  # the command, on a terminal
        os.execvpe(ASKBOT[0], [*ASKBOT, "sessions", "delete", "--anonymous"], variables(**managed.environment))
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(terminal, 4096)
    while psutil.Process(pid).status() != psutil.STATUS_SLEEPING:
        time.sleep(0.005)  # a Ctrl-C between Python's prompt and its read is only seen at the next key
    os.write(terminal, typed.encode())

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    os.close(terminal)
    assert b"Delete 1 session for good?" in shown
    found = json.loads(managed.sessions("list", "--json", "--anonymous")[1])["sessions"]
    assert len(found) == code  # 1: it is still there
    if not found:
        asyncio.run(managed.hold("nobodys", "the question that nobody has asked"))


def test_a_running_server_vacuums_its_store(managed: Managed) -> None:
    """With --url; on the store itself, its server is in the way."""
    code, out, _ = managed.run("store", "vacuum", "--url", managed.server.url)
    assert code == 0
    assert "bytes before" in out
    code, _, err = managed.run("store", "vacuum")
    assert code == 2
    assert "--url" in err


def test_all_of_it_works_on_a_stopped_store(managed: Managed) -> None:
    """List, show, delete, and vacuum, after which no file has what was deleted."""
    managed.server.signal(signal.SIGTERM)
    assert managed.server.process.wait(20) == 0
    name = managed.ids["nobodys"]

    code, out, _ = managed.sessions("list", "--store", managed.store)
    assert code == 0
    assert name in out
    code, out, _ = managed.sessions("show", name, "--store", managed.store)
    assert "> the question that nobody has asked" in out
    assert (managed.sessions("delete", name, "--yes", "--store", managed.store))[:2] == (0, "1 session deleted.\n")
    assert (managed.sessions("show", name, "--store", managed.store))[0] == 1
    code, out, _ = managed.run("store", "vacuum")
    assert code == 0
    assert "askbot.db" in out

    files = [file for file in managed.folder.rglob("askbot.db*") if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    assert b"nobody has asked" not in content
    assert (managed.run("store", "check"))[0] == 0
