"""`askbot serve --workers 2` with a store that they share: a real Redis, the command line as people type it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import askbot_ws

from ..ports import free_port
from ..process import command, environment, eventually
from ..redis_server import RedisServer
from .test_workers import UPSTREAM, Served


def get(server: Served, path: str, *, method: str = "GET") -> Any:
    """What a page of any worker says."""
    page = server.url.replace("ws://", "http://").replace("/v1/chat", path)
    with urllib.request.urlopen(urllib.request.Request(page, method=method), timeout=20) as response:
        return json.load(response)


async def test_answers_survive_a_rolling_restart_and_any_worker_administers_all(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Whoever is told to come back finds the session at another worker, with the text where it was."""
    (tmp_path / "slow.py").write_text(UPSTREAM)
    given = command("--workers", "2", "--store", redis.url, "--upstream", "slow:answer", "--drain", "10s")
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(  # noqa: ASYNC220 - it is started once
            [sys.executable, *given[1:]],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            told = [await asyncio.to_thread(process.stdout.readline) for _ in range(6)]
            assert told[5] == "  workers 2\n", (tmp_path / "log").read_text()
            server = Served(process, tmp_path, told[2].split()[1])
            chats = [await askbot_ws.connect(server.url) for _ in range(6)]
            asked = [chat.ask("1.5?") for chat in chats]
            process.send_signal(signal.SIGUSR2)
            answers = [(await each).answer for each in asked]
            await eventually(lambda: bool(server.lines("rolling_restart_finished")), limit=60)
            again = [(await chat.ask("0?")).answer for chat in chats]
            await asyncio.gather(*(chat.close() for chat in chats))

            assert answers == again == ["Just so."] * 6
            for _ in range(4):  # of both workers, most likely
                found = await asyncio.to_thread(get, server, "/v1/admin/sessions")
                assert len(found["sessions"]) == 6
            gone = await asyncio.to_thread(get, server, "/v1/admin/sessions?anonymous=true", method="DELETE")
            assert gone["sessions"] == 6
            for _ in range(4):
                assert (await asyncio.to_thread(get, server, "/v1/admin/sessions"))["sessions"] == []
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: process.poll() is not None)
            assert process.returncode == 0
        finally:
            process.kill()


def test_a_store_that_is_away_at_the_start_is_no_wrong_setting(tmp_path: Path) -> None:
    """Systemd starts it again, which it does not after exit code 2."""
    given = [*command("--upstream", "embedded", "--store", f"redis://:s3cret@127.0.0.1:{free_port()}"), "--workers"]
    ends = [
        subprocess.run(
            [*given, str(workers)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for workers in (1, 2)
    ]

    assert [each.returncode for each in ends] == [1, 1]
    assert all("can't be reached: Connection refused." in each.stderr for each in ends)
    assert not any("s3cret" in each.stderr + each.stdout for each in ends)
