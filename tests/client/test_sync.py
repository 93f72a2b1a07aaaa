"""The client without asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import askbot_ws
from askbot_ws.client import Closed
from askbot_ws.client.sync import Chat, connect
from askbot_ws.errors import QuestionEmpty, SessionNotFound

from ..process import ROOT, Askbot, askbot, environment
from .test_chat import ANSWER, Server, running
from .upstream import long


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Askbot]:
    """A process of its own: these tests block."""
    flags = ["--upstream", "tests.client.upstream:answer", "--no-limits", "--store", "memory:"]
    folder = tmp_path_factory.mktemp("sync")
    with askbot(folder, *flags, upstream="http://127.0.0.1:9/v1", PYTHONPATH=str(ROOT)) as server:
        yield server


def eventually(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 15
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def ends(server: Askbot, session: str | None) -> list[str]:
    """How the turns of a session ended."""
    return [line["reason"] for line in server.lines() if line["event"] == "turn_ended" and line["session"] == session]


def test_an_answer_comes_in_pieces_and_as_a_whole(server: Askbot) -> None:
    """Iterate, have the answer, or both."""
    with connect(server.url) as chat:
        stream = chat.ask("long:100")
        assert "".join(stream) == long(100)
        answer = stream.answer()
        assert (answer.text, answer.reason, answer.turn) == (long(100), "stop", stream.turn)
        assert chat.ask("says:hello").answer().text == "hello"


def test_a_conversation_can_do_what_the_other_form_can(server: Askbot) -> None:
    """Retry, edit, history, cancel, forget, and a second session."""
    with connect(server.url) as chat:
        first = chat.ask("says:one").answer()
        assert chat.retry(temperature=0.5).answer().text == "one"
        edited = chat.edit(first.turn, "says:two", max_tokens=5).answer()
        assert [turn.answer for turn in chat.turns] == ["two"]
        assert [turn.turn for turn in chat.history(before=1000, limit=1).turns] == [edited.turn]
        waiting = chat.ask("wait:")
        chat.cancel()
        assert waiting.answer().reason == "cancelled"
        stopped = chat.ask("wait:")
        stopped.cancel()
        assert stopped.answer().reason == "cancelled"
        with connect(server.url) as other:
            other.ask("says:three").answer()
            with chat.session(other.id or "") as there:
                assert [turn.answer for turn in there.turns] == ["three"]
        with chat.session() as new:
            assert new.id not in {None, chat.id}
            assert new.ask("says:new").answer().text == "new"
        chat.forget()
        with pytest.raises(SessionNotFound):
            chat.ask("says:four")


def test_errors_are_raised_where_they_are_asked_for(server: Askbot) -> None:
    """As in the other form."""
    with pytest.raises(Closed, match="no answer from"):
        connect("ws://127.0.0.1:1")
    with pytest.raises(SessionNotFound):
        connect(server.url, session="nowhere")
    with connect(server.url) as chat, pytest.raises(QuestionEmpty):
        list(chat.ask(""))
    with pytest.raises(Closed):
        chat.ask("says:more")
    chat.close()


def test_an_answer_without_thinking_has_none(server: Askbot) -> None:
    """The loop ends where the answer begins."""
    with connect(server.url) as chat:
        stream = chat.ask("says:hello")
        assert list(stream.thinking()) == []
        assert (stream.answer().text, stream.answer().thinking) == ("hello", "")


async def test_thinking_is_read_before_the_answer() -> None:
    """Leaving its loop does not stop the answer."""

    def read(url: str) -> tuple[str, str, str]:
        with connect(url) as chat:
            stream = chat.ask("Why?")
            for _ in stream.thinking():
                break
            thinking = "".join(stream.thinking())
            return thinking, "".join(stream), stream.answer().thinking

    async with running(Server(thoughts=("Hm", ". So."))) as scripted:
        assert await asyncio.to_thread(read, scripted.url) == ("Hm. So.", ANSWER, "Hm. So.")


def test_leaving_a_loop_stops_the_answer(server: Askbot) -> None:
    """At once, and the conversation goes on."""
    with connect(server.url) as chat:
        for text in chat.ask("wait:some"):
            assert text == "some"
            break
        eventually(lambda: ends(server, chat.id) == ["cancelled"])
        assert chat.ask("says:hello").answer().text == "hello"


def test_leaving_the_conversation_leaves_no_thread(server: Askbot) -> None:
    """Nor does forgetting to."""
    with connect(server.url) as chat:
        assert [thread.name for thread in threading.enumerate()].count("askbot") == 1
    assert "askbot" not in [thread.name for thread in threading.enumerate()]
    chat = connect(server.url)
    assert isinstance(chat, Chat)
    del chat
    gc.collect()
    assert "askbot" not in [thread.name for thread in threading.enumerate()]


async def test_it_works_where_a_loop_is_running_already(server: Askbot) -> None:
    """As in a notebook."""
    assert asyncio.get_running_loop()
    with askbot_ws.connect_sync(server.url) as chat:
        assert list(chat.ask("says:hello")) == ["hello"]


def test_the_callback_can_not_use_the_conversation(server: Askbot) -> None:
    """It would wait for itself."""
    errors, chats = list[RuntimeError](), list[Chat]()

    def told(state: str) -> None:
        try:
            for chat in chats:
                chat.cancel()
        except RuntimeError as error:
            errors.append(error)

    with connect(server.url, on_state=told) as chat:
        chats.append(chat)
    assert "on_state" in str(errors[0])


PROGRAM = """
import sys
from askbot_ws.client.sync import connect

with connect(sys.argv[1]) as chat:
    print(chat.id, flush=True)
    {wait}
"""
WAITS = {
    "in the loop": 'for text in chat.ask("wait:some"): print(text, flush=True)',
    "in the loop's body": 'for text in chat.ask("wait:some"): print(text, flush=True); __import__("time").sleep(30)',
    "for the answer": 'stream = chat.ask("wait:some"); print("waits", flush=True); stream.answer()',
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_stops_the_answer_and_leaves(server: Askbot, wait: str) -> None:
    """The server knows, the program ends as interrupted programs do, and says nothing else."""
    program = PROGRAM.format(wait=wait)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, server.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout
        session = process.stdout.readline().strip()
        assert process.stdout.readline()
        time.sleep(0.2)  # it begins to wait
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)

    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1
    eventually(lambda: ends(server, session) == ["cancelled"])
