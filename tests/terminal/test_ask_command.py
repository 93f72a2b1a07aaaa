"""`askbot ask`, as scripts call it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from askbot_ws.cli import app
from askbot_ws.client import Damaged
from askbot_ws.dialects.askbot.frames import Cancel
from askbot_ws.errors import ContextTooLong
from askbot_ws.events import Usage
from askbot_ws.terminal import ask_command
from askbot_ws.terminal.ask_command import AskOptions
from askbot_ws.terminal.output import ExitCode
from askbot_ws.testing import (
    Close,
    Cut,
    Receive,
    Refuse,
    Script,
    ScriptedLog,
    ScriptedServer,
    ScriptedUpstream,
    serving,
)
from askbot_ws.upstream import Ending

from ..client.test_chat import ANSWER, running
from ..client.test_chat import Server as Liar
from ..command import ASKBOT, call, variables
from .tty import CTRL_C, terminal

GUIDE = Path(__file__).parents[2] / "docs" / "terminal.md"


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}"


async def as_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the one object."""
    code, out, _ = await call("ask", *arguments, "--json")
    assert out.count("\n") == 1
    told: dict[str, Any] = json.loads(out)
    return code, told


# --- text ------------------------------------------------------------------------------------------------------------


async def test_an_answer_goes_to_stdout() -> None:
    """And nothing else; 0 says that it is whole."""
    async with serving(ScriptedUpstream(["Be", "cause."])) as server:
        assert await call("ask", "Why?", "--url", url_of(server)) == (0, "Because.\n", "")


async def test_what_is_piped_in_is_the_question_or_follows_it() -> None:
    """`git diff | askbot ask "What changed?" -`."""
    upstream = ScriptedUpstream(["One."], ["Two."])
    async with serving(upstream) as server:
        assert (await call("ask", "--url", url_of(server), stdin="Why?\n"))[0] == 0
        assert (await call("ask", "What changed?", "-", "--url", url_of(server), stdin="+ a line\n"))[0] == 0

    assert [prompt.messages[-1].text.strip() for prompt in upstream.prompts] == ["Why?", "What changed?\n\n+ a line"]


async def test_a_pipe_gets_the_text_as_it_is_and_a_terminal_what_is_harmless(tmp_path: Path) -> None:
    """A file may want every byte; a terminal must not be steered."""
    async with serving(ScriptedUpstream(["a\x1b[2Jb"], ["a\x1b[2Jb"])) as server:
        assert (await call("ask", "Why?", "--url", url_of(server)))[1] == "a\x1b[2Jb\n"
        async with terminal("ask", "Why?", "--url", url_of(server), folder=tmp_path) as shown:
            assert await shown.ended() == 0
            await shown.shows("a[2Jb")


# --- thinking --------------------------------------------------------------------------------------------------------

THOUGHTS = ("Hm.\n", "Why \x1b[2J?")


async def test_thinking_is_left_out_unless_it_is_asked_for() -> None:
    """Then it goes to stderr: stdout is the answer, whatever is asked for."""
    async with running(Liar(thoughts=THOUGHTS)) as server:
        assert await call("ask", "Why?", "--url", server.url) == (0, ANSWER + "\n", "")
        assert await call("ask", "Why?", "--url", server.url, "--thinking") == (
            0,
            ANSWER + "\n",
            "".join(THOUGHTS) + "\n",
        )
        code, told = await as_json("Why?", "--url", server.url)
        assert (code, told["thinking"], told["text"]) == (0, "".join(THOUGHTS), ANSWER)


async def test_thinking_is_dim_on_a_terminal_and_does_not_steer_it(tmp_path: Path) -> None:
    """Before the answer, on lines of its own."""
    async with (
        running(Liar(thoughts=THOUGHTS)) as server,
        terminal("ask", "Why?", "--url", server.url, "--thinking", folder=tmp_path) as shown,
    ):
        assert await shown.ended() == 0
        await shown.shows(f"Hm.\nWhy [2J?\n{ANSWER}")
        assert b"\x1b[2mHm." in shown.raw


async def test_a_time_limit_in_the_middle_of_thinking_reports_what_there_was() -> None:
    """And stops the answer at the server."""
    async with running(server := Liar(thoughts=THOUGHTS, thinks_on=True)):
        code, told = await as_json("Why?", "--url", server.url, "--timeout", "1")
        assert (code, told["text"], told["thinking"]) == (124, "", "".join(THOUGHTS))
    assert any(isinstance(frame, Cancel) for frame in server.received)


async def test_thinking_in_the_middle_of_an_answer_is_shown_too() -> None:
    """After the answer, whose lines it would break, unless it comes in one moment with what is thought before it."""
    async with running(Liar(thoughts=THOUGHTS, afterthought="Done.")) as server:
        whole = "".join(THOUGHTS)
        code, out, err = await call("ask", "Why?", "--url", server.url, "--thinking")
        assert (code, out) == (0, ANSWER + "\n")
        assert err in {f"{whole}Done.\n", f"{whole}\nDone.\n"}
        assert (await as_json("Why?", "--url", server.url))[1]["thinking"] == whole + "Done."


# --- JSON ------------------------------------------------------------------------------------------------------------


async def test_json_has_all_there_is_to_know() -> None:
    """One object, with the wire's words and milliseconds; with its session, the next question goes on."""
    usage = Usage(input_tokens=3, output_tokens=2)
    upstream = ScriptedUpstream(["Be", "cause.", Ending("stop", usage=usage)], ["Still."], model="m")
    async with serving(upstream) as server:
        code, told = await as_json("Why?", "--url", url_of(server))
        again = await as_json("Really?", "--url", url_of(server), "--session", told["session"])

    assert code == 0
    timing, session = told.pop("timing"), told.pop("session")
    assert told == {
        "text": "Because.", "thinking": "", "turn": "t1", "reason": "stop", "model": "m", "error": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }  # fmt: skip
    assert all(isinstance(timing[name], int) for name in ("queued", "first_token", "total"))
    assert (again[0], again[1]["text"], again[1]["session"]) == (0, "Still.", session)
    assert [message.text for message in upstream.prompts[-1].messages][-3:] == ["Why?", "Because.", "Really?"]


async def test_json_tells_of_every_failure_too() -> None:
    """Whatever happens, there is one object, and the exit code is the same as without."""
    upstream = ScriptedUpstream(["So ", ContextTooLong()], ["So", 60.0])
    async with serving(upstream) as server:
        code, told = await as_json("1?", "--url", url_of(server))
        assert (code, told["text"], told["reason"], told["error"]["code"]) == (1, "So ", "error", "context_too_long")
        code, told = await as_json("2?", "--url", url_of(server), "--timeout", "1")
        assert (code, told["text"], told["reason"], told["error"]["code"]) == (124, "So", None, "timeout")
        code, told = await as_json("3?", "--url", url_of(server), "--session", "gone")
        assert (code, told["text"], told["error"]["code"]) == (4, "", "session_not_found")
    code, told = await as_json("4?", "--url", "ws://127.0.0.1:1")
    assert (code, told["session"], told["error"]["code"]) == (3, None, "closed")


# --- options ---------------------------------------------------------------------------------------------------------


async def test_json_names_the_session_that_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Another one than at first, where that was lost while it was empty."""
    first, second = ScriptedLog(), ScriptedLog("s2", "l2")
    scripts: list[Script] = [
        [first.ready(), Receive("ask"), Cut()],
        [Close(4404)],
        [second.ready(), Receive("ask"), *second.answer("Yes.")],
    ]
    async with ScriptedServer(*scripts) as server:
        assert await ask_command.ask(AskOptions(("Why?",), server.url), timeout=None, as_json=True) == ExitCode.SUCCESS

    report = json.loads(capsys.readouterr().out)
    assert (report["text"], report["session"]) == ("Yes.", "s2")


async def test_another_model_can_be_asked() -> None:
    """One that the server offers."""
    upstream = ScriptedUpstream(["Yes."])
    async with serving(upstream, models="small") as server:
        assert await call("ask", "Why?", "--model", "small", "--url", url_of(server)) == (0, "Yes.\n", "")
        code, out, err = await call("ask", "Why?", "--model", "large", "--url", url_of(server))

    assert upstream.prompts[0].options.model == "small"
    assert (code, out, err) == (1, "", "askbot: This model is not offered here.\n")


# --- exit codes ------------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_not_whole_is_told_by_the_exit_code() -> None:
    """The text so far is on stdout all the same, the reason on stderr."""
    upstream = ScriptedUpstream(["So", Ending("length")], ["So ", ContextTooLong()])
    async with serving(upstream) as server:
        url = url_of(server)
        assert await call("ask", "1?", "--url", url) == (1, "So\n", "askbot: the answer is longer than it may be\n")
        assert await call("ask", "2?", "--url", url) == (1, "So \n", f"askbot: {ContextTooLong.default}\n")
        code, out, err = await call("ask", " x " * 5000, "--url", url)
        assert (code, out) == (1, "")
        assert err.startswith("askbot: The question")


async def test_a_time_limit_stops_the_answer() -> None:
    """124, as `timeout` has it; at the server too."""
    upstream = ScriptedUpstream(["So", 60.0])
    async with serving(upstream) as server:
        code, out, err = await call("ask", "3?", "--url", url_of(server), "--timeout", "1")

    assert (code, out, err) == (124, "So\n", "askbot: no complete answer within 1 s\n")
    assert upstream.stopped == 1


async def test_no_server_and_no_session_are_told_apart() -> None:
    """In words, and by 3 and 4."""
    code, out, err = await call("ask", "Why?", "--url", "ws://127.0.0.1:1")
    assert (code, out) == (3, "")
    assert err.startswith("askbot: There is no answer from ws://127.0.0.1:1")
    assert err.endswith(". Try again later.\n")

    async with serving() as server:
        code, out, err = await call("ask", "Why?", "--session", "gone", "--url", url_of(server))
    assert (code, out, err) == (4, "", "askbot: There is no such session.\n")


@pytest.mark.parametrize(
    ("status", "ending", "retryable", "retry_after"),
    [(503, ": HTTP 503. Try again in 7 s.\n", True, 7000), (404, ": HTTP 404.\n", False, None)],
)
async def test_whether_it_may_work_later_is_told(
    status: int, ending: str, *, retryable: bool, retry_after: int | None
) -> None:
    """In words, and with `--json` as on the wire."""
    async with ScriptedServer([Refuse(status, headers={"Retry-After": "7"})]) as server:
        _, _, err = await call("ask", "Why?", "--url", server.url)
        _, out, _ = await call("ask", "Why?", "--url", server.url, "--json")

    assert err.endswith(ending)
    error = json.loads(out)["error"]
    assert (error["code"], error["retryable"]) == ("closed", retryable)
    assert error["retry_after"] == (retry_after and pytest.approx(retry_after, abs=500))


async def test_an_empty_question_is_not_asked() -> None:
    """That is a fault in the command line."""
    assert (await call("ask", stdin=" \n"))[0] == 2


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
async def test_ctrl_c_stops_the_answer_at_the_server_too(options: list[str]) -> None:
    """The provider stops generating for nobody."""
    upstream = ScriptedUpstream(["So", 60.0])
    async with serving(upstream) as server:
        process = await asyncio.create_subprocess_exec(
            *ASKBOT,
            "ask",
            "Why?",
            *options,
            "--url",
            url_of(server),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=variables(),
        )  # fmt: skip
        assert process.stdout
        assert process.stdin
        process.stdin.close()
        if options:
            while not upstream.prompts:  # noqa: ASYNC110 - nothing is written before the end
                await asyncio.sleep(0.01)
        else:
            assert await asyncio.wait_for(process.stdout.read(2), 10) == b"So"
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, err) == (130, b"")
    assert upstream.stopped == 1


async def test_ctrl_c_on_a_terminal_does_the_same(tmp_path: Path) -> None:
    """The key, not only the signal."""
    upstream = ScriptedUpstream(["So", 60.0])
    async with serving(upstream) as server, terminal("ask", "?", "--url", url_of(server), folder=tmp_path) as shown:
        await shown.shows("So")
        shown.type(CTRL_C)
        assert await shown.ended() == 130

    assert upstream.stopped == 1


async def test_a_pipe_that_nobody_reads_ends_it_quietly() -> None:
    """`askbot ask … | head -1`: no complaint, and the provider stops."""
    closed = asyncio.Event()
    upstream = ScriptedUpstream(["one\n", closed, "two\n", 0.2, "three\n", 60.0])
    async with serving(upstream) as server:
        output, theirs = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *ASKBOT, "ask", "Why?", "--url", url_of(server), stdin=PIPE, stdout=theirs, stderr=PIPE, env=variables()
        )
        os.close(theirs)
        assert process.stdin
        process.stdin.close()
        assert await asyncio.to_thread(os.read, output, 100) == b"one\n"
        os.close(output)
        closed.set()
        _, err = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, err) == (141, b"")
    assert upstream.stopped == 1


async def test_json_that_nobody_reads_ends_quietly_too() -> None:
    """The answer is whole by then."""
    async with serving() as server:
        output, theirs = os.pipe()
        os.close(output)
        process = await asyncio.create_subprocess_exec(
            *ASKBOT, "ask", "Why?", "--json", "--url", url_of(server),
            stdin=DEVNULL, stdout=theirs, stderr=PIPE, env=variables(),
        )  # fmt: skip
        os.close(theirs)
        _, err = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, err) == (141, b"")


async def test_an_answer_that_was_damaged_on_its_way_is_told() -> None:
    """Text that is out can't be taken back; JSON has what was answered."""
    async with running(Liar(wrong=True)) as server:
        code, out, err = await call("ask", "Why?", "--url", server.url)
        assert (code, out.strip("x\n")) == (1, "")
        assert err == f"askbot: {Damaged.default}\n"
        code, told = await as_json("Why?", "--url", server.url)
        assert (code, told["text"], told["error"]) == (0, ANSWER, None)


def test_the_exit_codes_are_documented() -> None:
    """All of them, in the guide and in the help; no others."""
    codes = {str(code.value) for code in ExitCode}
    table = re.findall(r"^\| (\d+) \|", GUIDE.read_text(), flags=re.MULTILINE)
    told = " ".join(CliRunner().invoke(app, ["ask", "--help"], terminal_width=200).output.split())
    sentence = told[told.index("The exit code is") : told.index("In the last three")]

    assert {*table} == codes
    assert {*re.findall(r"\d+", sentence)} == codes
