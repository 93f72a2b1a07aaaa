"""`askbot chat`, as people use it: in a terminal, without one, and again the next day."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from askbot_ws.client import connect
from askbot_ws.terminal.commands import COMMANDS
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

from ..client.test_chat import ANSWER, running
from ..client.test_chat import Server as Liar
from ..command import ASKBOT, call, variables
from ..process import askbot
from .tty import ALT_ENTER, CTRL_C, CTRL_D, ENTER, TAB, UP, terminal


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}"


def questions(upstream: ScriptedUpstream) -> list[str]:
    """What the model was shown of the user's, the last time."""
    return [message.text for message in upstream.prompts[-1].messages if message.role == "user"]


# --- a conversation --------------------------------------------------------------------------------------------------


async def test_a_conversation_in_the_terminal(tmp_path: Path) -> None:
    """Ask, stop, ask again, begin anew, leave."""
    upstream = ScriptedUpstream(["Wait", 60.0], ["Be", "cause."], ["Third."])
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.shows("scripted · /help")
        shown.type("Why?", ENTER)
        await shown.shows("Wait")
        shown.type(CTRL_C)
        await shown.shows("(the answer was stopped)")
        await shown.prompts()
        shown.type("/retry", ENTER)
        await shown.shows("Because.")
        await shown.prompts()
        shown.type("/new", ENTER)
        await shown.prompts()
        shown.type("And ✨?", ENTER)
        await shown.shows("Third.")
        await shown.prompts()
        shown.type(CTRL_C)
        assert await shown.ended() == 0

    assert upstream.stopped == 1
    assert questions(upstream) == ["And ✨?"]
    assert b"\x1b[6n" not in shown.raw  # to ask where the cursor is would be a round trip for each prompt


@pytest.mark.parametrize("keys", [CTRL_D, CTRL_C, f"/quit{ENTER}", f"/exit{ENTER}"])
@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
async def test_there_are_many_ways_to_leave(keys: str, kind: str, tmp_path: Path) -> None:
    """All are good ones: the exit code is 0, and the next thing on the screen has a line of its own."""
    async with serving() as server, terminal("chat", url_of(server), folder=tmp_path, TERM=kind) as shown:
        await shown.prompts()
        shown.type(keys)
        assert await shown.ended() == 0
        assert shown.screen.cursor.x == 0


async def test_ctrl_c_stops_the_answer_that_is_shown_and_no_other(tmp_path: Path) -> None:
    """Another device's may run before it in the same conversation."""
    stopped = asyncio.Event()
    upstream = ScriptedUpstream(["One."], ["Theirs", stopped, " goes on."], ["Mine", 60.0])
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("First?", ENTER)
        await shown.shows("One.")
        await shown.prompts()
        session = json.loads((tmp_path / "askbot-ws" / "places.json").read_text())[0]["session"]
        async with connect(url_of(server), session=session) as chat:
            theirs = chat.ask("Theirs?")
            while theirs.turn is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            shown.type("Mine?", ENTER)
            await shown.shows("Mine?")
            while not any(turn.question == "Mine?" for turn in chat.view.turns):
                await chat.changed.wait()
            await asyncio.sleep(0.5)  # until the terminal has read that too: it shows nothing yet
            shown.type(CTRL_C)
            stopped.set()
            answer = await theirs
        assert (answer.text, answer.reason) == ("Theirs goes on.", "stop")
        await shown.shows("(the answer was stopped)")
        await shown.prompts()


STUCK = """
import asyncio

async def answer(*_):
    yield "Wait"
    await asyncio.Event().wait()
"""


async def test_a_second_ctrl_c_leaves_a_server_that_does_not_answer(tmp_path: Path) -> None:
    """The first asks it to stop; whoever can't wait for that, goes."""
    (tmp_path / "mine.py").write_text(STUCK)
    with askbot(tmp_path, "--upstream", "mine:answer", upstream="http://127.0.0.1:1", PYTHONPATH=".") as server:
        async with terminal("chat", server.url, folder=tmp_path) as shown:
            await shown.prompts()
            shown.type("Why?", ENTER)
            await shown.shows("Wait")
            server.signal(signal.SIGSTOP)
            shown.type(CTRL_C)
            await asyncio.sleep(0.2)  # two that come at once are one
            assert shown.process.returncode is None
            shown.type(CTRL_C)
            assert await shown.ended() == 0
            server.signal(signal.SIGCONT)


async def test_being_terminated_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """In the middle of an answer, when keys don't show."""
    async with (
        serving(ScriptedUpstream(["Wait", 60.0])) as server,
        terminal("chat", url_of(server), folder=tmp_path) as shown,
    ):
        before = shown.modes()
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("Wait")
        assert shown.modes() != before
        shown.process.send_signal(signal.SIGTERM)
        assert await shown.ended() == 0
        assert shown.modes() == before


async def test_no_server_and_no_session_have_exit_codes_of_their_own(tmp_path: Path) -> None:
    """As with `askbot ask`."""
    assert (await call("chat", "ws://127.0.0.1:1"))[0] == 3
    async with serving() as server, terminal("chat", url_of(server), "--session", "gone", folder=tmp_path) as shown:
        assert await shown.ended() == 4
        await shown.shows("askbot: There is no such session.")


async def test_a_lost_connection_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """While somebody types, above what is typed."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    store = f"sqlite:///{tmp_path}/a.db"
    async with serving(port=port, store=store) as server:
        context = terminal("chat", url_of(server), folder=tmp_path)
        shown = await context.__aenter__()
        await shown.prompts()
        shown.type("One?", ENTER)
        await shown.shows("You asked: One?")
        await shown.prompts()
        shown.type("Tw")
        await shown.prompts("> Tw")
    try:
        await shown.shows("(the connection is lost; trying again)")
        await shown.prompts("> Tw")
        async with serving(port=port, store=store):
            await shown.shows("(back)")
            shown.type("o?", ENTER)
            await shown.shows("You asked: Two?")
    finally:
        await context.__aexit__(None, None, None)


# --- thinking --------------------------------------------------------------------------------------------------------

THOUGHTS = ("Hm.\n", "Why \x1b[2J?")


async def test_thinking_is_one_line_and_can_be_shown(tmp_path: Path) -> None:
    """It says how long it goes on, then how long it took; /thinking shows the text, harmless."""
    async with running(Liar(thoughts=THOUGHTS)) as server, terminal("chat", server.url, folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("/thinking", ENTER)
        await shown.shows("Nothing was shown of what the model thought.")
        shown.type("Why?", ENTER)
        await shown.shows(f"thought for 1 s (/thinking shows it)\n{ANSWER}")
        await shown.prompts()
        assert "thinking…" not in shown.text
        shown.type("/thinking", ENTER)
        await shown.shows("Hm.\nWhy [2J?")


async def test_the_seconds_are_counted_while_a_model_thinks(tmp_path: Path) -> None:
    """Ctrl-C stops it."""
    async with (
        running(server := Liar(thoughts=THOUGHTS, thinks_on=True)),
        terminal("chat", server.url, folder=tmp_path) as shown,
    ):
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("thinking…")
        await shown.shows("thinking… 1 s")
        shown.type(CTRL_C)
        await shown.shows("thought for ", "(the answer was stopped)")
        await shown.prompts()
        assert "thinking…" not in shown.text
        assert b"\x1b[2mthinking\xe2\x80\xa6" in shown.raw


async def test_a_pipe_gets_nothing_of_thinking() -> None:
    """Neither the line nor the text."""
    async with running(Liar(thoughts=THOUGHTS)) as server:
        code, out, err = await call("chat", server.url, stdin="Why?\n")

    assert (code, ANSWER in out) == (0, True)
    assert not {"thinking", "thought", "Hm."} & set((out + err).replace("/", " ").split())


async def test_thinking_that_runs_already_is_shown_to_go_on(tmp_path: Path) -> None:
    """As its answer would be."""
    async with running(server := Liar(thoughts=THOUGHTS, thinks_on=True)), connect(server.url) as chat:
        chat.ask("Why?")
        async with terminal("chat", server.url, "--session", "s", folder=tmp_path) as shown:
            await shown.shows("> Why?", "thinking… 1 s")
            shown.type(CTRL_C)
            await shown.shows("thought for ", "(the answer was stopped)")


# --- typing ----------------------------------------------------------------------------------------------------------


async def test_questions_may_have_many_lines(tmp_path: Path) -> None:
    """By Alt+Enter, by a backslash at the end, by pasting; a slash may begin one behind a space."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("a", ALT_ENTER, "b\\", ENTER, "c", ENTER)
        await shown.shows("You asked: a")
        await shown.prompts()
        shown.paste("d\r\n  e\rf")
        await shown.shows("f")
        shown.type(ENTER)
        await shown.shows("You asked: d")
        await shown.prompts()
        shown.type(" /etc/hosts?", ENTER)
        await shown.shows("You asked: /etc/hosts?")

    assert questions(upstream) == ["a\nb\nc", "d\n  e\nf", "/etc/hosts?"]


async def test_what_is_typed_during_an_answer_waits_for_the_prompt(tmp_path: Path) -> None:
    """It does not show in the middle of the answer."""
    more = asyncio.Event()
    async with (
        serving(ScriptedUpstream(["One ", more, "two."])) as server,
        terminal("chat", url_of(server), folder=tmp_path) as shown,
    ):
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("One")
        shown.type("Next")
        more.set()
        await shown.prompts("> Next")
        assert "One two." in shown.text


async def test_questions_are_remembered_where_only_their_user_can_read_them(tmp_path: Path) -> None:
    """Over runs, commands apart."""
    async with serving() as server:
        for keys in (["One?", ENTER], [UP, UP, "!", ENTER]):
            async with terminal("chat", url_of(server), folder=tmp_path) as shown:
                await shown.prompts()
                shown.type(*keys)
                await shown.shows("You asked: One?")
                await shown.prompts()
                shown.type("/model", ENTER, CTRL_D)
                assert await shown.ended() == 0

    files = {file.name: file for file in (tmp_path / "askbot-ws").iterdir()}
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
    assert [json.loads(line) for line in files["questions.jsonl"].read_text().splitlines()] == ["One?", "One?!"]
    assert [place["title"] for place in json.loads(files["places.json"].read_text())] == ["One?"]


async def test_nothing_is_remembered_where_nobody_wants_it(tmp_path: Path) -> None:
    """`--no-history`: neither questions nor sessions."""
    async with serving() as server, terminal("chat", url_of(server), "--no-history", folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("One?", ENTER)
        await shown.shows("You asked: One?")
        await shown.prompts()
        shown.type(UP)
        await shown.prompts("> One?")
        shown.type(ENTER)
        await shown.prompts()

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - no need to wait for it


async def test_commands_are_completed(tmp_path: Path) -> None:
    """By Tab; where there are several, they are listed."""
    async with serving() as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("/ret", TAB)
        await shown.prompts("> /retry")
        shown.type("\x15/", TAB)
        await shown.shows(*(f"/{name}" for name in COMMANDS))


# --- commands --------------------------------------------------------------------------------------------------------


async def test_the_commands_are_told(tmp_path: Path) -> None:
    """Each; what is none is said, not asked."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path, rows=40) as shown:
        await shown.prompts()
        shown.type("/help", ENTER)
        await shown.shows(*(f"/{name} {argument}".strip() for name, (argument, _) in COMMANDS.items()))
        await shown.prompts()
        shown.type("/retyr", ENTER)
        await shown.shows("There is no /retyr. Did you mean /retry?")

    assert upstream.prompts == []


async def test_a_question_can_be_asked_otherwise(tmp_path: Path) -> None:
    """The last one, or an earlier one by its number; what is left as it is, is asked again."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        for question in ("One?", "Two?"):
            shown.type(question, ENTER)
            await shown.shows(f"You asked: {question}")
            await shown.prompts()
        shown.type("/edit", ENTER)
        await shown.prompts("edit> Two?")
        shown.type("!", ENTER)
        await shown.shows("You asked: Two?!")
        await shown.prompts()
        assert questions(upstream) == ["One?", "Two?!"]
        shown.type("/edit 1", ENTER)
        await shown.prompts("edit> One?")
        shown.type(CTRL_C)
        await shown.prompts()
        shown.type("/edit 1", ENTER)
        await shown.prompts("edit> One?")
        shown.type("!", ENTER)
        await shown.shows("You asked: One?!")
        await shown.prompts()
        assert questions(upstream) == ["One?!"]
        shown.type("/edit 7", ENTER)
        await shown.shows("There is no question 7 here.")


async def test_history_shows_what_was_asked_and_answered(tmp_path: Path) -> None:
    """With the numbers that /edit takes, without what was replaced."""
    async with (
        serving(ScriptedUpstream(["Uno."], ["Due."], ["Tre."])) as server,
        terminal("chat", url_of(server), folder=tmp_path, rows=40) as shown,
    ):
        await shown.prompts()
        shown.type("/history", ENTER)
        await shown.shows("Nothing was asked yet.")
        for question in ("One?", "Two?", "/retry"):
            await shown.prompts()
            shown.type(question, ENTER)
        await shown.shows("Tre.")
        await shown.prompts()
        shown.type("/history", ENTER)
        await shown.shows("1> One?\nUno.\n\n2> Two?\nTre.")
        await shown.prompts()
        shown.type("/history 1", ENTER)
        await shown.shows("/history 1\n2> Two?\nTre.")


async def test_another_model_can_be_chosen(tmp_path: Path) -> None:
    """For all questions from then on; one that is not offered is told of."""
    upstream = ScriptedUpstream()
    async with (
        serving(upstream, models="small") as server,
        terminal("chat", url_of(server), folder=tmp_path) as shown,
    ):
        for keys, told in (
            ("/model", "* scripted\n  small\nscripted is asked."),
            ("/model small", "small is asked. (/model scripted goes back.)"),
            ("One?", "You asked: One?"),
            ("/model SMAL", "There is no model SMAL here. Did you mean small? /model lists all."),
            ("/model", "  scripted\n* small\nsmall is asked."),
            ("Two?", "You asked: Two?"),
            ("/model scripted", "/model scripted\nscripted is asked."),
            ("Three?", "You asked: Three?"),
        ):
            await shown.prompts()
            shown.type(keys, ENTER)
            await shown.shows(told)

    assert [prompt.options.model for prompt in upstream.prompts] == ["small", "small", None]


async def test_a_conversation_can_be_taken_along(tmp_path: Path) -> None:
    """As Markdown; a file that is there already is left alone."""
    mine = tmp_path / "mine.md"
    async with (
        serving(ScriptedUpstream(["Be", "cause."], ["So", Ending("length")])) as server,
        terminal("chat", url_of(server), folder=tmp_path, columns=200) as shown,
    ):
        for keys, told in (
            ("Why?", "Because."),
            ("How?", "(the answer is longer than it may be)"),
            (f"/export {mine}", "has it: 2 questions)"),
            (f"/export {mine}", "File exists)"),
        ):
            await shown.prompts()
            shown.type(keys, ENTER)
            await shown.shows(told)

    assert mine.read_text() == "# Why?\n\n> Why?\n\nBecause.\n\n> How?\n\nSo\n\n*(length)*\n"


async def test_an_answer_that_was_damaged_on_its_way_is_shown_as_it_was_given(tmp_path: Path) -> None:
    """Its proof tells, and the server still has it."""
    async with running(Liar(wrong=True)) as server, terminal("chat", server.url, folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows(f"xxx\n\n(this is not what was answered; that is:)\n{ANSWER}")


# --- again the next day ----------------------------------------------------------------------------------------------


async def test_the_last_conversation_goes_on(tmp_path: Path) -> None:
    """With a reminder of where it was left; `--new` begins another, /sessions has them all."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        for arguments, question, told in (
            ([], "One?", "scripted"),
            ([], "Two?", "Going on with: One? (/new begins another)\n\n> One?\nYou asked: One?"),
            (["--new"], "Three?", "scripted"),
        ):
            async with terminal("chat", url_of(server), *arguments, folder=tmp_path) as shown:
                await shown.prompts()
                await shown.shows(told)
                shown.type(question, ENTER)
                await shown.shows(f"You asked: {question}")
                await shown.prompts()
                shown.type(CTRL_D)
                assert await shown.ended() == 0
        assert questions(upstream) == ["Three?"]

        async with terminal("chat", url_of(server), folder=tmp_path) as shown:
            await shown.shows("Going on with: Three?")
            await shown.prompts()
            shown.type("/sessions", ENTER)
            await shown.shows("  1* ", "  2  ", "  Three?\n", "  One?\n")
            await shown.prompts("number>")
            shown.type("2", ENTER)
            await shown.shows("Going on with: One?")
            await shown.prompts()
            shown.type("Four?", ENTER)
            await shown.shows("You asked: Four?")
            await shown.prompts()
            assert questions(upstream) == ["One?", "Two?", "Four?"]
            shown.type("/sessions 9", ENTER)
            await shown.shows("There is no conversation 9.")


async def test_a_long_conversation_has_all_its_numbers(tmp_path: Path) -> None:
    """Further back than the server tells at once."""
    async with serving() as server:
        async with connect(url_of(server)) as chat:
            for number in range(1, 56):
                await chat.ask(f"{number}?")
            session = chat.id or ""
        async with terminal("chat", url_of(server), "--session", session, folder=tmp_path) as shown:
            await shown.prompts()
            shown.type("/history 1", ENTER)
            await shown.shows("55> 55?")
            await shown.prompts()
            shown.type("/edit 2", ENTER)
            await shown.prompts("edit> 2?")
            shown.type(ENTER)
            await shown.prompts()
            shown.type("/history", ENTER)
            await shown.shows("1> 1?", "2> 2?")


async def test_an_answer_that_is_still_given_is_shown_from_its_beginning(tmp_path: Path) -> None:
    """Whoever comes back in the middle of it misses nothing, and may stop it."""
    upstream = ScriptedUpstream(["One ", "two ", 60.0])
    async with serving(upstream) as server:
        async with terminal("chat", url_of(server), folder=tmp_path) as shown:
            await shown.prompts()
            shown.type("Why?", ENTER)
            await shown.shows("One two")
            shown.process.kill()
            await shown.ended()
        async with terminal("chat", url_of(server), folder=tmp_path) as shown:
            await shown.shows("Going on with: Why?", "One two")
            shown.type(CTRL_C)
            await shown.shows("(the answer was stopped)")
            await shown.prompts()

    assert upstream.stopped == 1


async def test_a_conversation_can_be_gone(tmp_path: Path) -> None:
    """Forgotten here, everywhere; or lost by the server, which is no reason not to talk to it."""
    async with serving() as server:
        port = server.port
        async with terminal("chat", url_of(server), folder=tmp_path) as shown:
            await shown.prompts()
            for answer, told in (("n", "> "), ("y", "(it is deleted)")):
                shown.type("One?", ENTER)
                await shown.shows("You asked: One?")
                await shown.prompts()
                shown.type("/forget", ENTER)
                await shown.prompts("Delete this conversation, everywhere? [y/N]")
                shown.type(answer, ENTER)
                await shown.prompts()
                assert told in shown.text
            shown.type("/sessions", ENTER)
            await shown.shows("None was held from here yet.")
            await shown.prompts()
            shown.type("Two?", ENTER)
            await shown.shows("You asked: Two?")
    async with serving(port=port) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.shows("(the conversation is not there any more; this is a new one)")
        await shown.prompts()
        shown.type("Three?", ENTER)
        await shown.shows("You asked: Three?")


async def test_a_question_that_was_refused_leaves_no_conversation_behind(tmp_path: Path) -> None:
    """The server keeps nothing of it either."""
    async with serving(max_question=5) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        shown.type("Too long?", ENTER)
        await shown.shows("(The question has 9 characters")
        await shown.prompts()
        shown.type("/sessions", ENTER)
        await shown.shows("None was held from here yet.")


async def test_a_folder_that_cannot_be_written_is_no_reason_not_to_talk(tmp_path: Path) -> None:
    """It is told once."""
    (tmp_path / "askbot-ws").write_text("not a folder")
    async with serving() as server, terminal("chat", url_of(server), folder=tmp_path, columns=200) as shown:
        for question in ("One?", "Two?"):
            await shown.prompts()
            shown.type(question, ENTER)
            await shown.shows(f"You asked: {question}")
        await shown.prompts()
        assert shown.text.count("can't be remembered") == 1


# --- what it looks like ----------------------------------------------------------------------------------------------


async def test_markdown_is_rendered_while_it_grows(tmp_path: Path) -> None:
    """Each block stands there once; what grows costs little more than its bytes."""
    words = [f"word{number:03} " for number in range(300)]
    steps = [step for word in words for step in (word, 0.003)]
    upstream = ScriptedUpstream(["It is **bold**.\n\n```python\n", "x = 1\n", "```\n\n", *steps, "\n\n- end"])
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path) as shown:
        await shown.prompts()
        before = len(shown.raw)
        shown.type("Why?", ENTER)
        await shown.shows(" • end\n\n>")

        assert "It is bold.\n\n```python\nx = 1\n```\n\nword000" in shown.text
        assert shown.text.split()[-303:-3] == [word.strip() for word in words]
        assert len(shown.raw) - before < 2 * sum(map(len, words))
        shown.type(CTRL_D)
        await shown.ended()


async def test_styles_are_the_terminals_own(tmp_path: Path) -> None:
    """Bold is bold."""
    async with (
        serving(ScriptedUpstream(["Not so **very** bold."])) as server,
        terminal("chat", url_of(server), folder=tmp_path) as shown,
    ):
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("Not so very bold.")
        assert shown.bold("very")
        assert not shown.bold("Not so")


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b2J**a**&#27;[1J[l](http://x/\x1b]8;;y\x07)`\x1b[3J`\n\n```\x1b[H\n\x1b[2Jcode\r\x08\n```"


@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
async def test_answers_do_not_steer_the_terminal(kind: str, tmp_path: Path) -> None:
    """They come from a model, and what that has read, nobody knows."""
    async with (
        serving(ScriptedUpstream([HOSTILE], model="m\x1b[2J")) as server,
        terminal("chat", url_of(server), folder=tmp_path, TERM=kind) as shown,
    ):
        await shown.prompts()
        before = len(shown.raw)
        shown.type("Why?", ENTER)
        await shown.shows("code", "/help")
        await shown.prompts()
        written = shown.raw[before:].decode()

    for harm in ("\x1b]", "\x07", "\x1b[2J", "\x1b[1J", "\x1b[3J", "\x1b[H", "\x9b", "code\r\x08"):
        assert harm not in written


async def test_a_narrow_terminal_that_changes_its_width_keeps_every_word(tmp_path: Path) -> None:
    """In the middle of an answer too."""
    more = asyncio.Event()
    async with (
        serving(ScriptedUpstream(["one two three four five ", more, "six seven eight"])) as server,
        terminal("chat", url_of(server), folder=tmp_path, columns=30, rows=8) as shown,
    ):
        await shown.prompts()
        shown.type("Why?", ENTER)
        await shown.shows("one two three four five")
        shown.resize(16, 8)
        more.set()
        await shown.shows("one two three\nfour five six\nseven eight")


async def test_a_dumb_terminal_gets_plain_text(tmp_path: Path) -> None:
    """Lines in, text out, a backslash for further lines; with `--plain` any terminal is one."""
    upstream = ScriptedUpstream(["**So.**"], ["**So.**"])
    async with serving(upstream) as server:
        for arguments, kind in (([], "dumb"), (["--plain", "--new"], "xterm-256color")):
            async with terminal("chat", url_of(server), *arguments, folder=tmp_path, TERM=kind) as shown:
                await shown.prompts()
                shown.type("Why\\", ENTER, "so?", ENTER)
                await shown.shows("**So.**")
                await shown.prompts()
                shown.type(CTRL_D)
                assert await shown.ended() == 0
            assert questions(upstream) == ["Why\nso?"]


async def test_a_pipe_that_nobody_reads_ends_a_conversation_quietly() -> None:
    """As with `askbot ask`."""
    async with serving() as server:
        output, theirs = os.pipe()
        os.close(output)
        process = await asyncio.create_subprocess_exec(
            *ASKBOT, "chat", url_of(server), stdin=PIPE, stdout=theirs, stderr=PIPE, env=variables()
        )
        os.close(theirs)
        _, err = await asyncio.wait_for(process.communicate(b"One?\n"), 10)

    assert process.returncode == 141
    assert b"Traceback" not in err


async def test_a_conversation_can_be_piped_in(tmp_path: Path) -> None:
    """A line is a question; nothing is remembered of it."""
    async with serving() as server:
        lines = "One?\n/forget\ny\nTwo?\\\n"
        code, out, err = await call("chat", url_of(server), stdin=lines, XDG_DATA_HOME=str(tmp_path))

    assert code == 0
    assert "(it is deleted)" in err
    assert "You asked: One?" in out
    assert "You asked: Two?" in out
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - no need to wait for it
