"""The embedded model, with the real model: what it promises, and what happens when its process does not live."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import ConfigError, ContextTooLong, UpstreamUnavailable
from askbot_ws.events import Options
from askbot_ws.upstream import embedded, weights
from askbot_ws.upstream.embedded import EmbeddedUpstream
from askbot_ws.upstream.embedded_model import SMOLLM2, SYSTEM_PROMPT, model_of_file

from .gguf_files import write_gguf

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def upstream() -> AsyncIterator[EmbeddedUpstream]:
    """One child for all tests; one that kills it leaves another behind."""
    upstream = EmbeddedUpstream(temperature=0.0)
    await upstream.open()
    yield upstream
    await upstream.close()


def prompt(*texts: str, options: Options | None = None, system: str = SYSTEM_PROMPT) -> Prompt:
    """Questions and answers in turn, the last one the question."""
    turns = [Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts)]
    return Prompt.of([Message("system", system), *turns], options or Options())


async def answer(upstream: EmbeddedUpstream, *texts: str) -> str:
    pieces: list[str] = []
    await upstream.stream(prompt(*texts, options=Options(max_tokens=60)), pieces.append)
    return "".join(pieces)


def nobody(text: str) -> None:
    """Reads it."""


async def until(condition: Callable[[], bool], *, limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110  what it waits for is another process
            await asyncio.sleep(0.01)


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_it_knows_the_capital_of_france(upstream: EmbeddedUpstream) -> None:
    """Real answers, without a key or a network; under the name of what answered, with the usage."""
    pieces: list[str] = []

    ending = await upstream.stream(prompt("What is the capital of France?"), pieces.append)

    assert "Paris" in "".join(pieces)
    assert len(pieces) > 1
    assert (ending.reason, ending.model) == ("stop", "SmolLM2-135M-Instruct")
    assert ending.usage is not None
    assert ending.usage.output_tokens > 1


async def test_a_question_is_answered_from_what_was_said_before(upstream: EmbeddedUpstream) -> None:
    """A conversation, not single questions."""
    said = await answer(upstream, "My cat's name is Turing.")

    assert "Turing" in await answer(upstream, "My cat's name is Turing.", said, "What is my cat's name?")


async def test_the_question_s_own_options_win(upstream: EmbeddedUpstream) -> None:
    """docs/protocol.md, "Ask again, ask differently": another model's name changes nothing."""
    options = Options(model="gpt-5", max_tokens=5)

    ending = await upstream.stream(prompt("Why is the sky blue?", options=options), nobody)

    assert ending.reason == "length"
    assert ending.model == upstream.model
    assert ending.usage is not None
    assert ending.usage.output_tokens == 5


async def test_the_limit_and_the_temperature_of_the_settings_hold() -> None:
    """For questions that name none."""
    upstream = EmbeddedUpstream(temperature=0.0, max_tokens=5)
    await upstream.open()
    try:
        answers: list[list[str]] = [[], []]
        for pieces in answers:
            ending = await upstream.stream(prompt("Why is the sky blue?"), pieces.append)
            assert ending.reason == "length"
            assert ending.usage is not None
            assert ending.usage.output_tokens == 5
        assert "".join(answers[0]) == "".join(answers[1])
    finally:
        await upstream.close()


async def test_an_answer_that_repeats_itself_ends_there_and_the_model_stops() -> None:
    """Complete, instead of going on to its limit; the model is made to by a grammar."""
    upstream = EmbeddedUpstream(replace(SMOLLM2, sampling={"grammar": 'root ::= ("A: No.\\n")+'}))
    await upstream.open()
    try:
        pieces: list[str] = []
        ending = await upstream.stream(prompt("Why is the sky blue?"), pieces.append)
        child = psutil.Process(upstream.pid)
        await asyncio.sleep(0.2)
        before = sum(child.cpu_times()[:2])
        await asyncio.sleep(0.5)
        assert sum(child.cpu_times()[:2]) - before < 0.1
    finally:
        await upstream.close()

    assert (ending.reason, ending.model) == ("stop", upstream.model)
    assert "".join(pieces) == "No.\nA: No.\nA: No.\nA: No.\n"


async def test_a_prompt_that_does_not_fit_is_too_long(upstream: EmbeddedUpstream) -> None:
    """So that the hub drops older turns and tries again."""
    with pytest.raises(ContextTooLong):
        await upstream.stream(prompt("hello " * (SMOLLM2.window_tokens + 1)), nobody)


async def test_a_prompt_within_the_budget_fits() -> None:
    """`context_tokens` is what the hub may use, be it all that the model has: here less, as reading takes long."""
    upstream = EmbeddedUpstream(replace(SMOLLM2, window_tokens=512, context_tokens=512))
    words = "hello " * (upstream.context_tokens - 200)  # the system prompt takes less than the rest
    await upstream.open()
    try:
        ending = await upstream.stream(prompt(words, options=Options(max_tokens=1)), nobody)
    finally:
        await upstream.close()

    assert ending.usage is not None
    assert upstream.context_tokens - 200 < ending.usage.input_tokens <= upstream.context_tokens


async def test_more_questions_than_slots_are_all_answered(upstream: EmbeddedUpstream) -> None:
    """The others wait."""
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(answer(upstream, "What is the capital of France?")) for _ in range(5)]

    assert all("Paris" in task.result() for task in answers)


# --- the child -------------------------------------------------------------------------------------------------------


async def test_a_cancel_stops_the_work(upstream: EmbeddedUpstream) -> None:
    """docs/protocol.md, "Stop an answer": the model stops."""
    began = asyncio.Event()
    long = prompt("Tell me a very long story.", options=Options(max_tokens=3000))
    task = asyncio.create_task(upstream.stream(long, lambda _: began.set()))
    await began.wait()

    task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled()
    child = psutil.Process(upstream.pid)
    await asyncio.sleep(0.2)
    before = sum(child.cpu_times()[:2])
    await asyncio.sleep(0.5)
    assert sum(child.cpu_times()[:2]) - before < 0.1


async def test_a_killed_child_breaks_its_answers_and_the_next_question_is_answered(upstream: EmbeddedUpstream) -> None:
    """A crash of native code takes nothing along but what it was answering; the text so far stands."""
    pieces: list[str] = []
    long = prompt("Tell me a very long story.", options=Options(max_tokens=3000))
    task = asyncio.create_task(upstream.stream(long, pieces.append))
    await until(lambda: len(pieces) > 3)
    first = upstream.pid
    assert first is not None

    with capture_logs() as logs:
        os.kill(first, signal.SIGKILL)
        with pytest.raises(UpstreamUnavailable):
            await task
        assert "Paris" in await answer(upstream, "What is the capital of France?")

    assert upstream.pid not in (None, first)
    died, started = logs
    assert (died["event"], died["death"], died["restart_in_s"]) == ("model_process_exited", "signal 9", 0.5)
    assert (started["event"], started["pid"]) == ("model_process_started", upstream.pid)


async def test_ping_tells_whether_a_child_is_up(upstream: EmbeddedUpstream) -> None:
    """For /readyz: not ready while the child restarts, ready after it."""
    await upstream.ping()
    assert upstream.pid is not None

    os.kill(upstream.pid, signal.SIGKILL)
    await until(lambda: upstream.pid is None)

    with pytest.raises(UpstreamUnavailable):
        await upstream.ping()
    await until(lambda: upstream.pid is not None)
    await upstream.ping()


async def test_a_signal_to_the_whole_group_is_the_parent_s(upstream: EmbeddedUpstream) -> None:
    """Ctrl-C and SIGTERM reach both: the child goes on, so that running answers may end."""
    pid = upstream.pid
    assert pid is not None

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)

    assert "Paris" in await answer(upstream, "What is the capital of France?")
    assert upstream.pid == pid


async def test_closing_ends_the_child_and_is_quick() -> None:
    """Nothing is left running, also where an answer was."""
    upstream = EmbeddedUpstream()
    await upstream.open()
    pid = upstream.pid
    task = asyncio.create_task(answer(upstream, "Tell me a very long story."))
    await asyncio.sleep(0.2)
    started = time.monotonic()

    await upstream.close()

    assert time.monotonic() - started < embedded.EXIT_TIMEOUT_SECONDS
    assert not psutil.pid_exists(pid or 0)
    with pytest.raises(UpstreamUnavailable):
        await task


async def test_the_child_never_outlives_a_killed_parent() -> None:
    """Also where the parent could not say goodbye."""
    script = """
        import asyncio
        from askbot_ws.upstream.embedded import EmbeddedUpstream

        async def main():
            upstream = EmbeddedUpstream()
            await upstream.open()
            print(upstream.pid, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(script), stdout=PIPE)
    assert parent.stdout is not None
    child = psutil.Process(await _first_number(parent.stdout))

    parent.kill()
    await parent.wait()

    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, limit=5.0)


async def _first_number(lines: asyncio.StreamReader) -> int:
    async for line in lines:  # log lines may stand before it
        if line.strip().isdigit():
            return int(line)
    raise AssertionError("the parent did not start")


async def test_nobody_asks_the_child_without_its_key(upstream: EmbeddedUpstream) -> None:
    """Its port is open to every page in a browser on this machine."""
    connections = psutil.Process(upstream.pid).net_connections()
    port = next(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert (await reader.readline()).split()[1] == b"401"
    writer.close()


# --- the start -------------------------------------------------------------------------------------------------------


async def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    """Never an echo in its place."""
    with pytest.raises(ConfigError, match="askbot model install"):
        await EmbeddedUpstream(weights_path=tmp_path / "nothing.gguf").open()


async def test_a_child_that_cannot_load_says_why(tmp_path: Path) -> None:
    """A start that fails is told at the start, with llama.cpp's words first, though it may write them last."""
    broken = replace(SMOLLM2, path=write_gguf(tmp_path / "broken.gguf"))

    with pytest.raises(ConfigError, match=r"does not start: .*(?i:model|gguf)(?s:.*)\nRuntimeError: .*$"):
        await EmbeddedUpstream(broken).open()


async def test_a_child_that_dies_while_it_loads_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code that crashes writes nothing."""
    script = tmp_path / "crashes.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(embedded, "MODEL_PROCESS_SCRIPT", script)

    with pytest.raises(ConfigError, match=r"does not start: signal 9$"):
        await EmbeddedUpstream().open()


async def test_any_instruct_model_in_a_file_answers(tmp_path: Path) -> None:
    """Under the file's name, with the template of the file."""
    found = weights.find_weights()
    assert found is not None
    copy = tmp_path / "somebody's model.gguf"
    copy.symlink_to(found)
    upstream = EmbeddedUpstream(model_of_file(copy), temperature=0.0)
    await upstream.open()
    try:
        pieces: list[str] = []
        ending = await upstream.stream(prompt("What is the capital of France?"), pieces.append)
    finally:
        await upstream.close()

    assert "Paris" in "".join(pieces)
    assert ending.model == "somebody's model"


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    """`CancelledError` always leaves, and takes the child with it."""
    task = asyncio.create_task(EmbeddedUpstream().open())
    children: Callable[[], list[psutil.Process]] = psutil.Process().children
    before = len(children())
    await until(lambda: len(children()) > before)

    task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled()
    assert len(children()) == before
