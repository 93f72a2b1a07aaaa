"""Killed and told to end: what the clients saw is there afterwards, and is proven."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from ..ports import free_port
from ..process import (
    KEY,
    Askbot,
    Json,
    ProviderProcess,
    Story,
    address,
    askbot,
    command,
    environment,
    eventually,
    reading,
)
from ..seeds import seed

SEED = seed(1)


# --- kill -9 ---------------------------------------------------------------------------------------------------------


async def watch(url: str, story: Story, question: str) -> None:
    """Ask, and read until the server dies."""
    try:
        async with reading(url, story) as reader:
            await reader.ask(question, id="the question")
            await reader.rest(30)
    except (OSError, EOFError, InvalidMessage, ConnectionClosed):
        pass  # it died during the handshake, or in the middle of a frame


async def resume(url: str, story: Story, question: str) -> None:
    """Come back; ask again under the same id, as a client does that isn't sure; then go on."""
    async with reading(url, story) as reader:
        await reader.ask(question, id="the question")
        await reader.until(lambda _: (turn := story.asked("the question")) is not None and turn.done is not None)
        await reader.answer("say:And after that?")


@pytest.mark.parametrize("round", range(3))
async def test_a_kill_takes_nothing_back(tmp_path: Path, provider: ProviderProcess, round: int) -> None:
    """During 50 answers: all that any client saw is there, each turn ends `interrupted` with its exact text.

    What is asked again under its id is not asked the provider again; and the conversations go on, with what was
    said before the crash.
    """
    chance = random.Random(SEED + round)
    moment = chance.uniform(0.05, 1.2)
    print(f"seed {SEED}, round {round}: killed after {moment:.3f} s")
    questions = [f"tokens:2000 rate:50 note:kill-{SEED}-{round}-{number}" for number in range(50)]
    stories = [Story() for _ in questions]

    with askbot(tmp_path, upstream=provider.url) as server:
        watching = [
            asyncio.create_task(watch(server.url, story, question))
            for story, question in zip(stories, questions, strict=True)
        ]
        await eventually(lambda: any(story.turns for story in stories))
        await asyncio.sleep(moment)
        server.signal(signal.SIGKILL)
        await server.ended()
        await asyncio.gather(*watching)
    seen = {story.session: story.last.answer for story in stories if story.turns}
    known = [index for index, story in enumerate(stories) if story.session and story.turns]
    assert known
    asked_before = provider.questions()

    with askbot(tmp_path, upstream=provider.url) as server:
        await asyncio.gather(*(resume(server.url, stories[index], questions[index]) for index in known))
        for index in known:
            turn = stories[index].asked("the question")
            assert turn
            assert turn.reason == "interrupted"
            assert turn.answer.startswith(seen[stories[index].session])
        await fresh_reader_sees_the_same(server, [stories[index] for index in known])

    asked = provider.chats()
    for index in known:
        assert asked_before[questions[index]] <= 1
        again = [one["body"]["messages"] for one in asked if one["body"]["messages"][-1]["content"] == questions[index]]
        assert len(again) == asked_before[questions[index]], "it was asked twice"
        turn = stories[index].asked("the question")
        follow_ups = [
            one["body"]["messages"]
            for one in asked
            if {"role": "user", "content": questions[index]} in one["body"]["messages"][:-1]
        ]
        if turn and turn.answer:
            assert [messages[-2:] for messages in follow_ups] == [
                [{"role": "assistant", "content": turn.answer}, {"role": "user", "content": "say:And after that?"}]
            ]


async def fresh_reader_sees_the_same(server: Askbot, stories: list[Story]) -> None:
    """A second device, which was not there."""
    for story in stories[:10]:
        async with reading(server.url, Story(session=story.session)) as reader:
            await reader.until(lambda _, reader=reader, story=story: reader.story.head == story.head)  # type: ignore[misc]
            assert [(turn.text, turn.answer, turn.reason) for turn in reader.story.turns.values()] == [
                (turn.text, turn.answer, turn.reason) for turn in story.turns.values()
            ]


async def test_kills_one_after_the_other_add_up(tmp_path: Path, provider: ProviderProcess) -> None:
    """Three servers die on one conversation, also right after they came back: it has three interrupted turns."""
    story = Story()
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    for number in range(3):
        with askbot(tmp_path, upstream=provider.url) as server:
            async with reading(server.url, story) as reader:
                await reader.ask(f"tokens:2000 rate:200 note:{number}")
                await reader.until("token")
                await asyncio.sleep(chance.uniform(0, 0.1))
                server.signal(signal.SIGKILL)
                await reader.rest()
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            await reader.answer("say:Done.")

    assert [turn.reason for turn in story.turns.values()] == ["interrupted"] * 3 + ["stop"]


async def test_questions_that_waited_are_interrupted_too(tmp_path: Path, provider: ProviderProcess) -> None:
    """They were in the log, so each has an end; nobody asks them on their own account."""
    story = Story()
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            for number in range(3):
                await reader.ask(f"tokens:2000 rate:100 note:waited-{SEED}-{number}")
            await reader.until(lambda _: len(story.turns) == 3)
            await reader.until("token")
            server.signal(signal.SIGKILL)
            await reader.rest()
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            await reader.until(lambda _: all(turn.done for turn in story.turns.values()))

    assert [turn.reason for turn in story.turns.values()] == ["interrupted"] * 3
    asked = provider.questions()
    assert [asked[f"tokens:2000 rate:100 note:waited-{SEED}-{number}"] for number in range(3)] == [1, 0, 0]


# --- told to end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_told_to_end_lets_answers_end(
    tmp_path: Path, provider: ProviderProcess, number: signal.Signals
) -> None:
    """`going_away` at once, new questions and new connections are refused, running answers end; 1012, exit code 0."""
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as reader, reading(server.url) as idle:
            await reader.ask("tokens:50 rate:40", id="q1")
            await reader.until("token")
            server.signal(number)
            assert await idle.next() == {"type": "going_away", "reconnect_after": 500}
            assert (await reader.until("going_away"))["reconnect_after"] == 20_000  # whoever has an answer stays for it
            await reader.ask("say:too late", id="q2")
            await reader.ask("tokens:50 rate:40", id="q1")  # the same once more, for which there is no refusal
            error = await reader.until("error")
            assert (error["code"], error["retryable"], error["id"]) == ("overloaded", True, "q2")
            with pytest.raises((OSError, InvalidStatus)):
                async with reading(server.url):
                    pass
            assert await reader.rest() == 1012
            assert await idle.rest() == 1012
        assert await server.ended() == 0

    assert [turn.reason for turn in reader.story.turns.values()] == ["stop"]
    assert len(reader.story.last.answer.split()) == 50


async def test_a_second_signal_ends_at_once(tmp_path: Path, provider: ProviderProcess) -> None:
    """Whoever presses Ctrl-C twice means it; the text so far is kept all the same."""
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as reader:
            await reader.ask("tokens:2000 rate:50")
            await reader.until("token")
            server.signal(signal.SIGTERM)
            await reader.until("going_away")
            begun = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await reader.rest() == 1012
        assert await server.ended() == 1
        assert time.monotonic() - begun < 2

    assert reader.story.last.reason == "interrupted"


async def test_an_answer_that_takes_too_long_is_cut(tmp_path: Path, provider: ProviderProcess) -> None:
    """After the limit; its turn ends as `interrupted`, questions that waited too, and the provider stops."""
    question = f"tokens:2000 rate:50 note:drain-{SEED}"
    with askbot(tmp_path, "--drain", "0.5s", upstream=provider.url) as server:
        async with reading(server.url) as reader:
            await reader.ask(question)
            await reader.ask("say:Me too?")
            await reader.until("token")
            server.signal(signal.SIGTERM)
            begun = time.monotonic()
            assert await reader.rest() == 1012
            assert 0.4 < time.monotonic() - begun < 3
        assert await server.ended() == 0

    assert [turn.reason for turn in reader.story.turns.values()] == ["interrupted", "interrupted"]
    [request] = [one for one in provider.chats() if one["body"]["messages"][-1]["content"] == question]
    assert request["left"]


async def test_many_connections_are_drained(tmp_path: Path, provider: ProviderProcess) -> None:
    """Sixty answers, one reader that has stopped: all others get their end, and it ends in time."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(askbot(tmp_path, upstream=provider.url))
        readers = [await stack.enter_async_context(reading(server.url)) for _ in range(60)]
        stuck = await stack.enter_async_context(reading(server.url))
        stuck.socket.transport.pause_reading()
        await stuck.ask("burst:200000")
        await asyncio.gather(*(reader.ask("tokens:20 rate:40") for reader in readers))
        await asyncio.gather(*(reader.until("token") for reader in readers))
        server.signal(signal.SIGTERM)
        assert set(await asyncio.gather(*(reader.rest(20) for reader in readers))) == {1012}
        code = await server.ended(15)
        stuck.cut()

    assert all(reader.story.last.reason == "stop" for reader in readers)
    assert code == 0


async def test_a_restarted_server_has_everything(tmp_path: Path, provider: ProviderProcess) -> None:
    """After a quiet end too: the log, its turns in the order in which they were, and what the model was shown."""
    story, told = Story(), list[Json]()
    for number in range(3):
        with askbot(tmp_path, upstream=provider.url) as server:
            async with reading(server.url, story) as reader:
                await reader.answer(f"say:{number} {SEED}")
                await reader.send(type="history")
                told = (await reader.until("history"))["turns"]
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0

    assert [turn["answer"] for turn in told] == [f"{number} {SEED}" for number in range(3)]
    [last] = [one for one in provider.chats() if one["body"]["messages"][-1]["content"] == f"say:2 {SEED}"]
    assert [message["content"] for message in last["body"]["messages"][1:]] == [
        text for number in range(3) for text in (f"say:{number} {SEED}", f"{number} {SEED}")
    ][:-1]


async def test_connections_that_never_said_anything_hold_up_nothing(tmp_path: Path, provider: ProviderProcess) -> None:
    """Half a handshake, or none: scanners and pools of browsers do that."""
    with askbot(tmp_path, upstream=provider.url) as server:
        port = int(server.http.rpartition(":")[2])
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(3)]
        writers[0].write(b"GET /v1/chat HTTP/1.1\r\n")
        await asyncio.sleep(0.1)
        server.signal(signal.SIGTERM)
        assert await server.ended(5) == 0
    for writer in writers:
        writer.close()


async def test_nobody_is_there_to_be_drained(tmp_path: Path, provider: ProviderProcess) -> None:
    """Then it ends at once."""
    with askbot(tmp_path, upstream=provider.url) as server:
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert time.monotonic() - begun < 2
    assert not [line for line in server.lines() if line["level"] in ("error", "warning")]


# --- output that nobody takes ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_server_whose_output_cannot_be_written_serves(tmp_path: Path, provider: ProviderProcess) -> None:
    """Its log is on a full disk: that is no reason not to begin, to answer, or to end well."""
    port = free_port()
    flags = ["--store", "sqlite:///askbot.db", "--model", "scripted-1", "--port", str(port)]
    with voiceless(tmp_path, *flags, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url) as process:
        await eventually(lambda: listens(port))
        async with reading(address(port)) as reader:
            assert (await reader.answer("say:Well.")).answer == "Well."
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None)

    assert process.returncode == 0


@contextmanager
def voiceless(folder: Path, *flags: str, **environ: str) -> Generator[subprocess.Popen[bytes]]:
    """A server whose every word is refused by the disk."""
    with Path("/dev/full").open("w") as full:
        start = command(*flags)
        with subprocess.Popen(start, stdout=full, stderr=full, cwd=folder, env=environment(**environ)) as process:
            try:
                yield process
            finally:
                process.kill()


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
