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
from functools import partial

import pytest

import askbot_ws
from askbot_ws.client import Closed
from askbot_ws.client.sync import Chat, connect
from askbot_ws.errors import QuestionEmpty, SessionNotFound, TurnNotFound
from askbot_ws.logs import hash_session

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
    return [
        line["reason"]
        for line in server.lines()
        if line["event"] == "turn_ended" and line["session"] == hash_session(session or "")
    ]


def test_an_answer_comes_in_pieces_and_as_a_whole(server: Askbot) -> None:
    """Iterate, have the answer, or both."""
    with connect(server.url) as chat:
        stream = chat.ask("long:100")
        assert "".join(stream) == long(100)
        answer = stream.answer()
        assert (answer.text, answer.reason, answer.turn) == (long(100), "stop", stream.turn)
        assert chat.ask("says:hello").answer().text == "hello"


def test_a_conversation_can_do_what_the_other_form_can(server: Askbot) -> None:
    """Retry, edit, history, cancel, forget, a second session, and a fork."""
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
        with chat.fork(edited.turn) as fork:
            assert [turn.answer for turn in fork.turns] == ["two"]
            assert fork.ask("says:five").answer().text == "five"
        with pytest.raises(TurnNotFound):
            chat.fork("t999")
        assert chat.models == fork.models
        assert chat.ask("says:six", model=chat.models[0]).answer().text == "six"
        chat.forget()
        with pytest.raises(SessionNotFound):
            chat.ask("says:four")


def test_what_is_read_of_a_conversation_does_not_change_meanwhile(server: Askbot) -> None:
    """The view and the turns are copies, as the conversation goes on in another thread."""
    with connect(server.url) as chat:
        before, turns = chat.view, chat.turns
        stream = chat.ask("says:hello")
        assert stream.answer().id == stream.id
        assert (before.turns, turns, before.model) == ([], [], chat.view.model)
        assert [(turn.question, turn.answer, turn.status) for turn in chat.view.turns] == [
            ("says:hello", "hello", "ended")
        ]
        assert (chat.state, chat.view.session) == ("open", chat.id)
    assert chat.state == "closed"


def test_leaving_the_block_of_an_answer_stops_it(server: Askbot) -> None:
    """As in the other form."""
    with connect(server.url) as chat:
        with chat.ask("wait:") as stream:
            pass
        assert stream.answer().reason == "cancelled"
        with chat.ask("says:all") as stream:
            assert stream.answer().reason == "stop"


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


# --- threads and processes -------------------------------------------------------------------------------------------


def outcomes_of(call: Callable[[], object], threads: int) -> list[object]:
    """What a call returns or raises in each of many threads; fails where one does not end."""
    found = list[object]()
    begin = threading.Barrier(threads)

    def run() -> None:
        begin.wait()
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            found.append(error)

    started = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
    return found


def test_every_call_in_another_thread_ends_where_the_conversation_is_closed(server: Askbot) -> None:
    """With its result or `Closed`, whenever it was made."""
    for _ in range(10):
        chat = connect(server.url)
        others: list[Callable[[], object]] = [partial(turns_of, chat), chat.history, partial(ask_and_wait, chat)]
        calls = iter([chat.close, *others * 8])
        for outcome in outcomes_of(partial(call_next, calls), 25):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, Closed), outcome


def ask_and_wait(chat: Chat) -> object:
    return chat.ask("wait:").answer()


def turns_of(chat: Chat) -> object:
    return chat.turns


def call_next(calls: Iterator[Callable[[], object]]) -> object:
    return next(calls)()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_calls_end_where_the_event_loop_has_died(server: Askbot) -> None:
    """As by a function that raises SystemExit in its thread."""

    def told(state: str) -> None:
        if state == "waiting":
            raise SystemExit

    with connect(server.url, on_state=told) as chat:
        waiting = list[object]()
        thread = threading.Thread(target=lambda: waiting.append(outcome_of(chat.ask("wait:").answer)), daemon=True)
        thread.start()
        eventually(lambda: bool(chat.turns))
        end_connection(chat)
        thread.join(10)
        eventually(lambda: "askbot" not in [thread.name for thread in threading.enumerate()])
        assert isinstance(waiting[0], Closed)
        with pytest.raises(Closed):
            chat.history()


def outcome_of(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        return error


def end_connection(chat: Chat) -> None:
    multiplexer = chat._chat._multiplexer  # pyright: ignore[reportPrivateUsage]
    socket = multiplexer._socket  # pyright: ignore[reportPrivateUsage]
    chat._loop.run_function(socket.abort)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_two_threads_on_one_iterator_are_told_apart(server: Askbot, kind: str) -> None:
    """The second gets an error, and the first is unharmed."""
    with connect(server.url) as chat:
        stream = chat.ask("wait:")
        pieces = stream.thinking() if kind == "thinking" else iter(stream)
        first = list[object]()
        thread = threading.Thread(target=lambda: first.append(outcome_of(lambda: list(pieces))))
        thread.start()
        time.sleep(0.1)
        with pytest.raises(RuntimeError, match=r"another task|already running"):
            next(pieces)
        stream.cancel()
        thread.join(10)
        assert first == [[]]


def test_an_iterator_that_another_thread_closes_ends(server: Askbot) -> None:
    """And the answer is stopped."""
    with connect(server.url) as chat:
        pieces = iter(chat.ask("wait:"))
        threading.Timer(0.1, pieces.close).start()
        assert list(pieces) == []
        eventually(lambda: ends(server, chat.id) == ["cancelled"])


CALLS_AFTER_A_FORK: dict[str, Callable[[Chat], object]] = {
    "ask": lambda chat: chat.ask("Why?"),
    "turns": lambda chat: chat.turns,
    "history": lambda chat: chat.history(),
    "cancel": lambda chat: chat.cancel(),
    "forget": lambda chat: chat.forget(),
    "session": lambda chat: chat.session(),
}


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_calls_in_a_forked_process_say_whose_the_conversation_is(server: Askbot) -> None:
    """Closing it there does nothing, and the parent's goes on."""
    with connect(server.url) as chat:
        stream = chat.ask("says:hello")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said = [outcome_of(partial(call, chat)) for call in CALLS_AFTER_A_FORK.values()]
            said += [outcome_of(stream.answer), outcome_of(lambda: list(stream))]
            chat.close()
            os.write(writer, "\n".join(f"{type(each).__name__}: {each}" for each in said).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            lines = pipe.read().splitlines()
        os.waitpid(child, 0)
        assert len(lines) == 8
        assert all(line.startswith("RuntimeError: ") and "process that opened it" in line for line in lines)
        assert stream.answer().text == "hello"


FORKING = """
import multiprocessing, sys
from askbot_ws.client.sync import connect

def use(chat):
    try:
        chat.ask("Why?")
    except RuntimeError as error:
        print(error, flush=True)

with connect(sys.argv[1]) as chat:
    child = multiprocessing.get_context("fork").Process(target=use, args=(chat,))
    child.start()
    child.join()
    print(child.exitcode, chat.ask("says:hello").answer().text)
"""
LEAVING = """
import sys, threading, time
from askbot_ws import Closed
from askbot_ws.client.sync import connect

chat = connect(sys.argv[1])
pieces = iter(chat.ask("wait:some"))
print(next(pieces), flush=True)
def read():
    try:
        list(pieces)
    except Closed:
        pass

threading.Thread(target=read, daemon=True).start()
time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [(FORKING, ["this conversation belongs to the process that opened it: open one of your own after the fork",
                "0 hello"]), (LEAVING, ["some"])],
    ids=["a fork", "the end of the program"],
)  # fmt: skip
def test_programs_end(server: Askbot, program: str, printed: list[str]) -> None:
    """Those that fork, and those that leave a conversation open."""
    ended = subprocess.run(
        [sys.executable, "-c", program, server.url],
        capture_output=True, text=True, env=environment(), timeout=20, check=False,
    )  # fmt: skip
    assert (ended.stdout.splitlines(), ended.returncode) == (printed, 0), ended.stderr
    assert ended.stderr == ""


def test_closing_in_the_callback_is_an_error_and_changes_nothing(server: Askbot) -> None:
    """The conversation goes on."""
    errors, chats = list[RuntimeError](), list[Chat]()

    def told(_: str) -> None:
        for chat in chats:
            try:
                chat.close()
            except RuntimeError as error:
                errors.append(error)

    with connect(server.url, on_state=told, delay=lambda _: 0.0) as chat:
        chats.append(chat)
        end_connection(chat)
        assert chat.ask("says:hello").answer().text == "hello"
        chats.clear()
    assert "on_state" in str(errors[0])


async def test_a_function_may_return_the_token(server: Askbot) -> None:
    """It is called in the conversation's thread, also one that has to be awaited."""
    threads = list[str]()

    async def fetch() -> str:
        threads.append(threading.current_thread().name)
        return "token"

    with connect(server.url, token=fetch) as chat:
        assert chat.ask("says:hello").answer().text == "hello"
    assert threads == ["askbot"]
