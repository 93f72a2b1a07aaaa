"""examples/fastapi_app.py, as its first lines say: a real uvicorn, a question over the socket."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .process import ROOT, environment, reading

STARTED = re.compile(r"Uvicorn running on (http://[^ ]+)")


@contextmanager
def application(folder: Path) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """The application's address, and its process."""
    start = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "fastapi_app:app", "--port", "0"]
    variables = environment(CHAT_PORT="0")
    with subprocess.Popen(start, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process), process
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    told = ""
    for line in process.stderr:
        told += line
        if found := STARTED.search(line):
            return found[1]
    raise AssertionError(told)


def request(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as response:
        return json.load(response)


async def test_conversations_and_routes_share_a_process(tmp_path: Path) -> None:
    """What is put by a route is told in an answer; on SIGTERM both end, and the line with 1012."""
    with application(tmp_path) as (address, process):
        async with reading(request(f"{address}/chat")["url"]) as reader:
            assert (await reader.answer("How many apples are there?")).answer == "There are 3 apples. "
            request(f"{address}/stock/plums?count=7", "PUT")
            assert (await reader.answer("And pears, or plums?")).answer == "There are no pears. There are 7 plums. "
            assert (await reader.answer("Why?")).answer == "I know about apples, pears, plums."
            process.send_signal(signal.SIGTERM)
            assert await reader.rest() == 1012
        assert process.wait(20) in (0, -signal.SIGTERM), "uvicorn ends itself by the signal that it got"
    assert (tmp_path / "shop.db").exists()
