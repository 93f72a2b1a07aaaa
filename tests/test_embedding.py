"""Embedding: the server inside another program, which stays its own."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

import askbot_ws
from askbot_ws.config import Settings
from askbot_ws.embedding import AnswerFunction
from askbot_ws.errors import ConfigError
from askbot_ws.logs import use_host_logging
from askbot_ws.testing import ScriptedUpstream

from .process import KEY, ROOT, ProviderProcess, Reader, Story, environment, reading


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


async def echo(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    """What was said last, word by word."""
    for word in messages[-1]["content"].split():
        yield word + " "


async def test_a_function_answers() -> None:
    """With the conversation so far, and the options that the question gives."""
    told: list[tuple[list[dict[str, str]], dict[str, Any]]] = []

    async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
        told.append((messages, options))
        yield "Yes."

    async with askbot_ws.serve(answer, port=0, store="memory:") as server, reading(server.url) as reader:
        await reader.answer("One?")
        turn = await reader.answer("Two?", temperature=0.5)

    assert (turn.answer, turn.reason) == ("Yes.", "stop")
    messages, options = told[1]
    assert [message["content"] for message in messages] == ["One?", "Yes.", "Two?"]
    assert options["temperature"] == 0.5


async def test_an_upstream_answers() -> None:
    """Whatever speaks the protocol, for those who need more than text."""
    upstream = ScriptedUpstream(["Hello."], model="mine")
    async with askbot_ws.serve(upstream, port=0, store="memory:") as server, reading(server.url) as reader:
        assert (await reader.answer("Who?")).answer == "Hello."
        assert reader.frames[0]["model"] == "mine"


async def test_without_a_function_a_model_is_asked(provider: ProviderProcess) -> None:
    """The one that the settings name; the key is given as a keyword, too."""
    model = {"openai_api_key": KEY, "openai_base_url": provider.url, "model": "scripted-1"}
    async with askbot_ws.serve(port=0, store="memory:", **model) as server, reading(server.url) as reader:
        turn = await reader.answer("count 3 embedded")

    assert (turn.reason, bool(turn.answer)) == ("stop", True)
    assert provider.questions()["count 3 embedded"] == 1


async def test_a_cancel_closes_the_function_where_it_stands() -> None:
    """What it holds is let go."""
    closed = asyncio.Event()

    async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
        try:
            yield "One, "
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with askbot_ws.serve(answer, port=0, store="memory:") as server, reading(server.url) as reader:
        await reader.ask("Count?")
        await reader.until("token")
        await reader.send(type="cancel")
        assert (await reader.until("done"))["reason"] == "cancelled"
        await asyncio.wait_for(closed.wait(), 5)


async def test_the_function_has_a_name() -> None:
    """Its own, or the one that is set."""
    for settings, name in (({}, "tests.test_embedding:echo"), ({"model": "echo-1"}, "echo-1")):
        async with (
            askbot_ws.serve(echo, port=0, store="memory:", **settings) as server,
            reading(server.url) as reader,
        ):
            assert reader.frames[0]["model"] == name


async def test_two_servers_in_one_program_know_nothing_of_each_other() -> None:
    """Each has its own port, store and function."""
    async with (
        askbot_ws.serve(echo, port=0, store="memory:") as one,
        askbot_ws.serve(ScriptedUpstream(["No."]), port=0, store="memory:") as other,
        reading(one.url) as here,
        reading(other.url) as there,
    ):
        assert (await here.answer("Yes?")).answer == "Yes? "
        assert (await there.answer("Yes?")).answer == "No."
        assert one.port != other.port


async def test_conversations_are_kept_from_one_start_to_the_next(tmp_path: Path) -> None:
    """With a store that keeps them."""
    store, story = f"sqlite:///{tmp_path}/askbot.db", Story()
    async with askbot_ws.serve(echo, port=0, store=store) as server, reading(server.url, story) as reader:
        await reader.answer("One?")
    async with askbot_ws.serve(echo, port=0, store=store) as server, reading(server.url, story) as reader:
        assert reader.frames[0]["resumed"]
        assert (await reader.answer("Two?")).answer == "Two? "


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_lets_answers_end() -> None:
    """And tells the clients, which then read the end and are closed with 1012."""
    go_on = asyncio.Event()
    server = askbot_ws.serve(ScriptedUpstream(["One, ", go_on, "two."]), port=0, store="memory:")
    running = await server.__aenter__()
    async with reading(running.url) as reader:
        await reader.ask("Count?")
        await reader.until("token")
        leaving = asyncio.create_task(server.__aexit__(None, None, None))
        await reader.until("going_away")
        go_on.set()
        assert await reader.rest() == 1012
        assert (reader.story.last.answer, reader.story.last.reason) == ("One, two.", "stop")
        await leaving


async def test_a_program_that_is_cancelled_drains_too(tmp_path: Path) -> None:
    """Ctrl-C in `asyncio.run` is a cancel. With `drain=0` nobody waits; the text so far is kept."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def program() -> None:
        async with askbot_ws.serve(
            ScriptedUpstream(["One, ", asyncio.Event()]), port=0, store="memory:", drain=0
        ) as server:
            listening.set_result(server.url)
            await server.serve_forever()

    task = asyncio.create_task(program())
    async with reading(await listening) as reader:
        await reader.ask("Count?")
        await reader.until("token")
        task.cancel()
        assert await reader.rest() == 1012
        assert (reader.story.last.answer, reader.story.last.reason) == ("One, ", "interrupted")
    with pytest.raises(asyncio.CancelledError):
        await task


# --- faults ----------------------------------------------------------------------------------------------------------


async def refused(answer: AnswerFunction | ScriptedUpstream | None = None, **settings: object) -> list[str]:
    """What is said of these settings."""
    with pytest.raises(ConfigError) as caught:
        await askbot_ws.serve(answer, **settings).__aenter__()
    return str(caught.value).splitlines()


async def test_every_fault_is_told_at_once() -> None:
    """By its keyword; also what is no setting here."""
    first, *faults = await refused(echo, port="x", colour="red", sotre="memory:", log_level="info", upstream="auto")

    assert first == "askbot can't start: 5 settings are wrong."
    told = "\n".join(faults)
    for words in (
        "colour: there is no such keyword.",
        "sotre: there is no such keyword. Did you mean store?",
        "log_level: there is no such keyword.",
        "upstream: there is no such keyword.",
        "'x', as the keyword port: ",
    ):
        assert words in told


async def test_what_is_no_function_is_refused() -> None:
    """Before anybody asks it something."""

    async def forgot_to_yield(messages: list[dict[str, str]], options: dict[str, Any]) -> str:
        return "Yes."

    wrong: Any = forgot_to_yield
    (line,) = await refused(wrong, port=0, store="memory:")
    assert "is not an async generator function" in line


async def test_a_port_that_is_taken_is_told() -> None:
    """As the same error."""
    async with askbot_ws.serve(echo, port=0, store="memory:") as server:
        (line,) = await refused(echo, port=server.port, store="memory:")
    assert "can't listen" in line


async def test_nothing_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor from the folder: both are the program's own."""
    monkeypatch.setenv("ASKBOT_PORT", "1")
    monkeypatch.setenv("ASKBOT_NONSENSE", "1")
    (tmp_path / ".env").write_text("ASKBOT_PERSONA=Pirate\n")
    (tmp_path / "askbot.toml").write_text("host = 7\n")
    monkeypatch.chdir(tmp_path)
    async with askbot_ws.serve(echo, port=0, store="memory:") as server, reading(server.url) as reader:
        assert server.port != 1
        assert (await reader.answer("Hello?")).answer == "Hello? "


async def test_a_key_goes_to_no_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is read would be an error here; nothing is asked before a question."""
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    async with askbot_ws.serve(port=0, store="memory:", openai_api_key="sk-mine", model="gpt-mine") as server:
        assert server.port


# --- the host stays its own ------------------------------------------------------------------------------------------


async def test_the_signals_of_the_program_are_its_own() -> None:
    """Those that `askbot serve` handles."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with askbot_ws.serve(echo, port=0, store="memory:"):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def talk(reader: Reader) -> None:
    await reader.answer("Hello?")
    reader.cut()


async def test_lines_go_to_the_logging_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """By its levels and handlers, under our names, with the facts in the message."""
    handlers = logging.getLogger().handlers[:]
    with caplog.at_level(logging.INFO, logger="askbot_ws"):
        async with askbot_ws.serve(echo, port=0, store="memory:") as server, reading(server.url) as reader:
            assert logging.getLogger().handlers == handlers
            await talk(reader)

    (line,) = [record for record in caplog.records if record.message.startswith("turn_ended")]
    assert line.name.startswith("askbot_ws.")
    assert "reason=stop" in line.message


def test_the_key_is_masked_in_the_logging_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """A provider may repeat it in its error."""
    use_host_logging(Settings(openai_api_key=SecretStr("sk-secret")))
    with caplog.at_level(logging.WARNING, logger="askbot_ws"):
        structlog.get_logger("askbot_ws.upstream").warning("upstream_failed", said="bad key sk-secret")

    assert [record.message for record in caplog.records] == ["upstream_failed said='bad key …'"]


async def test_a_program_with_structlog_of_its_own_keeps_it() -> None:
    """Our lines are events there."""
    lines: list[Any] = []

    def keep(_: object, __: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    async with askbot_ws.serve(echo, port=0, store="memory:") as server, reading(server.url) as reader:
        await talk(reader)

    assert "turn_ended" in [line["event"] for line in lines]


def test_a_program_without_any_logging_hears_nothing(tmp_path: Path) -> None:
    """Its stdout is its own; and uvloop is not loaded."""
    program = """
import asyncio, json, sys
import askbot_ws
from websockets.asyncio.client import connect

async def answer(messages, options):
    yield "Yes."

async def main():
    async with askbot_ws.serve(answer, port=0, store="memory:") as server:
        async with connect(server.url, proxy=None) as socket:
            await socket.send(json.dumps({"type": "ask", "text": "Well?"}))
            while json.loads(await socket.recv())["type"] != "done":
                pass
    assert "uvloop" not in sys.modules
    print("done")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_what_takes_long_to_import_is_imported_late() -> None:
    """`import askbot_ws` alone costs nothing."""
    program = "import sys, askbot_ws; print(json.dumps([name for name in sys.modules if '.' in name]))"
    out = subprocess.run([sys.executable, "-c", f"import json; {program}"], capture_output=True, text=True, check=True)
    assert [name for name in json.loads(out.stdout) if name.startswith("askbot_ws.")] == []
    assert set(askbot_ws.__all__) >= {"connect", "serve"}
    with pytest.raises(AttributeError):
        _ = askbot_ws.nothing


async def test_the_program_that_embeds_the_server_answers(tmp_path: Path) -> None:
    """docs/embedding.md, as it stands; Ctrl-C ends it."""
    text = (ROOT / "docs/embedding.md").read_text("utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert "port=8765" in program
    (tmp_path / "shop.py").write_text(program.replace("port=8765", "port=0"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "shop.py", stdout=PIPE, stderr=PIPE, cwd=tmp_path, env=environment()
    )
    try:
        assert process.stdout
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("askbot chat ws://")
        async with reading(line.split()[-1]) as reader:
            assert (await reader.answer("How many apples?")).answer == "There are 3 apples. "
            process.send_signal(2)
            assert await reader.rest() == 1012
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
