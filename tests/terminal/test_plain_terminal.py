"""A terminal that can't move its cursor: lines are read without its own editing, which cuts them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from askbot_ws.testing import ScriptedUpstream, serving

from .tty import CTRL_C, CTRL_D, ENTER, terminal


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}"


def asked(upstream: ScriptedUpstream) -> list[str]:
    """What was asked, the last question of each prompt."""
    return [prompt.messages[-1].text for prompt in upstream.prompts]


@pytest.mark.parametrize("character", ["x", "✨"], ids=["ASCII", "wide"])
async def test_a_line_of_any_length_is_asked_whole(character: str, tmp_path: Path) -> None:
    """The terminal's own editing would keep 4095 bytes; characters are cut nowhere."""
    text, upstream = character * 6_000, ScriptedUpstream(["Yes."])
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path, TERM="dumb") as shown:
        await shown.prompts()
        for at in range(0, len(text), 1000):  # as a pty takes it
            shown.type(text[at : at + 1000])
            await asyncio.sleep(0)
        shown.type(ENTER)
        await shown.shows("Yes.")

    assert asked(upstream) == [text]


async def test_keys_edit_the_line_and_show_it(tmp_path: Path) -> None:
    """Backspace over wide characters, Ctrl-W, Ctrl-U; Ctrl-D ends a line, and alone leaves."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path, TERM="dumb") as shown:
        before = shown.modes()
        await shown.prompts()
        shown.type("all wrong\x15한국\x7f\x7f")
        await shown.prompts(">")
        shown.type("Why not\x17?")
        await shown.prompts("> Why ?")
        shown.type(CTRL_D)
        await shown.shows("You asked: Why ?")
        await shown.prompts()
        shown.type(CTRL_D)
        assert await shown.ended() == 0
        assert (shown.modes(), shown.screen.cursor.x) == (before, 0)

    assert asked(upstream) == ["Why ?"]


async def test_lines_that_are_pasted_are_questions_one_after_another(tmp_path: Path) -> None:
    """What is typed during an answer shows at the next prompt, not in the answer."""
    upstream = ScriptedUpstream(["First", 0.2, " answer."], ["Second answer."])
    async with serving(upstream) as server, terminal("chat", url_of(server), folder=tmp_path, TERM="dumb") as shown:
        await shown.prompts()
        shown.type("One?", ENTER, "Two?", ENTER, "Thr")
        await shown.prompts("> Thr")
        assert "> One?\nFirst answer.\n> Two?\nSecond answer.\n> Thr" in shown.text
        shown.type("ee?", CTRL_C)
        assert await shown.ended() == 0

    assert asked(upstream) == ["One?", "Two?"]


async def test_what_is_typed_is_shown_again_below_a_notice(tmp_path: Path) -> None:
    """Of a connection that is lost."""
    async with serving() as server:
        context = terminal("chat", url_of(server), folder=tmp_path, TERM="dumb")
        shown = await context.__aenter__()
        await shown.prompts()
        shown.type("Why")
        await shown.prompts("> Why")
    try:
        await shown.shows("(the connection is lost; trying again)\n> Why")
    finally:
        await context.__aexit__(None, None, None)


async def test_ctrl_c_in_a_reply_goes_back_to_the_prompt(tmp_path: Path) -> None:
    """As with the editor; at the prompt it leaves."""
    async with serving() as server, terminal("chat", url_of(server), folder=tmp_path, TERM="dumb") as shown:
        await shown.prompts()
        shown.type("/forget", ENTER)
        await shown.prompts("Delete this conversation, everywhere? [y/N]")
        shown.type(CTRL_C)
        await shown.prompts()
        shown.type(CTRL_C)
        assert await shown.ended() == 0
