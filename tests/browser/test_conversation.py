"""A conversation on the page: asking, stopping, asking differently, in several tabs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, Step, serving

from ..process import session_of
from .tab import Tab, Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_is_seen_while_it_is_written(tabs: Tabs) -> None:
    """Piece by piece, not when it is complete."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream = ScriptedUpstream(["The sky ", gates[0], "is blue", gates[1], " because."], model="sky-1")
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await expect(tab.page.locator("#model")).to_have_text("sky-1")
        await tab.ask("Why is the sky blue?")
        await tab.shows("The sky")
        await expect(tab.last).to_have_attribute("data-status", "answering")
        gates[0].set()
        await tab.shows("The sky is blue")
        await expect(tab.last).to_have_attribute("data-status", "answering")
        gates[1].set()
        await tab.answered("The sky is blue because.")

        assert await tab.questions() == ["Why is the sky blue?"]
        await expect(tab.question).to_have_value("")
        await expect(tab.stop).to_be_hidden()


async def test_a_follow_up_is_asked_with_what_was_said_before(tabs: Tabs) -> None:
    """The second question goes to the model with the first and its answer."""
    upstream = ScriptedUpstream(["Paris."], ["Two million."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("What is the capital of France?")
        await tab.answered("Paris.")
        await tab.ask("How many live there?")
        await expect(tab.turns).to_have_count(2)
        await tab.answered("Two million.")

    assert [message.text for message in upstream.prompts[-1].messages][-3:] == [
        "What is the capital of France?",
        "Paris.",
        "How many live there?",
    ]


async def test_a_suggested_question_is_asked_by_a_click(tabs: Tabs) -> None:
    """The page that has nothing to show yet says what it is for."""
    async with serving(ScriptedUpstream(["Paris."])) as server:
        tab = await tabs.open(server.port)
        await tab.button("What is the capital of France?").click()
        await tab.answered("Paris.")
        await expect(tab.page.locator("#empty")).to_be_hidden()


@pytest.mark.parametrize("by", ["button", "Escape"])
async def test_an_answer_can_be_stopped(tabs: Tabs, by: str) -> None:
    """The provider stops too, what was written stays, and the next question is answered."""
    upstream = ScriptedUpstream(["One two", asyncio.Event(), " three"], ["Hello."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Count!")
        await tab.shows("One two")
        if by == "button":
            await tab.stop.click()
        else:
            await tab.page.keyboard.press("Escape")
        await tab.answered("One two", reason="cancelled")
        await expect(tab.last.locator(".badge")).to_have_text("Stopped")
        await expect(tab.stop).to_be_hidden()
        assert upstream.stopped == 1

        await tab.ask("Hello?")
        await expect(tab.turns).to_have_count(2)
        await tab.answered("Hello.")


async def test_a_question_can_be_asked_again(tabs: Tabs) -> None:
    """The new answer takes the old one's place, after a reload too."""
    async with serving(ScriptedUpstream(["Heads."], ["Tails."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Heads or tails?")
        await tab.answered("Heads.")
        await tab.button("Ask again").click()
        await expect(tab.answer).to_have_text("Tails.")
        await tab.ended()
        await tab.page.reload()
        await tab.answered("Tails.")

        assert await tab.questions() == ["Heads or tails?"]
        assert await tab.answers() == ["Tails."]


async def test_a_question_can_be_put_differently(tabs: Tabs) -> None:
    """It is edited where it stands; what came after it goes, and the model is not shown what was replaced."""
    upstream = ScriptedUpstream(["Paris."], ["Two million."], ["Rome."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("The capital of France?")
        await tab.answered("Paris.")
        await tab.ask("How big is it?")
        await expect(tab.turns).to_have_count(2)
        await tab.ended()

        first = tab.turns.first
        await first.hover()
        await first.locator("[data-do=edit]").click()
        field = tab.page.get_by_role("textbox", name="The question", exact=True)
        await expect(field).to_be_focused()
        await field.fill("The capital of Italy?")
        await field.press("Enter")
        await expect(tab.turns).to_have_count(1)
        await tab.answered("Rome.")
        await expect(tab.question).to_be_focused()

        assert await tab.questions() == ["The capital of Italy?"]
    assert "France" not in "".join(message.text for message in upstream.prompts[-1].messages)


async def test_an_edit_can_be_left(tabs: Tabs) -> None:
    """By Escape and by its button: nothing is asked, and the focus is where it was."""
    async with serving(ScriptedUpstream(["Paris."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("The capital of France?")
        await tab.answered("Paris.")
        for leave in ("Escape", "Cancel"):
            await tab.button("Edit the question").click()
            await tab.page.keyboard.type("??")
            if leave == "Escape":
                await tab.page.keyboard.press("Escape")
            else:
                await tab.button("Cancel").click()
            await expect(tab.button("Edit the question")).to_be_focused()

        assert await tab.questions() == ["The capital of France?"]
        assert tab.asked() == ["The capital of France?"]


async def test_an_answer_and_its_code_can_be_copied(tabs: Tabs) -> None:
    """The answer as it was written, Markdown and all; of the code only the code."""
    text = "Say **hello**:\n\n```python\nprint('hello')\n```\n"
    async with serving(ScriptedUpstream([text])) as server:
        tab = await tabs.open(server.port, permissions=["clipboard-read", "clipboard-write"])
        await tab.ask("How?")
        await tab.ended()
        for name, copied in (("Copy the answer", text), ("Copy the code", "print('hello')")):
            await tab.button(name).click()
            await expect(tab.announce).to_have_text("Copied")
            assert await tab.page.evaluate("navigator.clipboard.readText()") == copied


async def test_code_that_is_selected_is_copied_line_by_line(tabs: Tabs) -> None:
    """Its colours and its lines add nothing to it."""
    code = "def f():\n    # One.\n\n    # Two.\n\n    return 1"
    async with serving(ScriptedUpstream([f"```python\n{code}\n```\n"])) as server:
        tab = await tabs.open(server.port, permissions=["clipboard-read", "clipboard-write"])
        await tab.ask("How?")
        await tab.ended()
        await expect(tab.answer.locator(".line")).to_have_count(6)
        await tab.answer.locator("code").evaluate("(code) => getSelection().selectAllChildren(code)")
        await tab.page.keyboard.press("Control+C")
        assert await tab.page.evaluate("navigator.clipboard.readText()") == code


async def test_copying_works_where_there_is_no_clipboard(tabs: Tabs) -> None:
    """An origin without TLS has none."""
    script = "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
    async with serving(ScriptedUpstream(["Paris."])) as server:
        tab = await tabs.open(server.port, script=script)
        await tab.ask("Where?")
        await tab.answered("Paris.")
        await tab.button("Copy the answer").click()
        await tab.question.focus()
        await tab.page.keyboard.press("Control+V")
        await expect(tab.question).to_have_value("Paris.")


async def test_a_new_conversation_is_empty(tabs: Tabs) -> None:
    """Nothing of the other one is shown or sent to the model, after a reload either."""
    upstream = ScriptedUpstream(["Paris."], ["Hello."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("The capital of France?")
        await tab.answered("Paris.")
        await tab.button("New conversation").click()
        await expect(tab.turns).to_have_count(0)
        await expect(tab.page.locator("#empty")).to_be_visible()
        await expect(tab.question).to_be_focused()
        await tab.ask("Hello?")
        await tab.answered("Hello.")
        await tab.page.reload()
        await tab.answered("Hello.")

        assert await tab.questions() == ["Hello?"]
    assert "France" not in "".join(message.text for message in upstream.prompts[-1].messages)


async def test_a_failed_answer_says_why_and_can_be_tried_again(tabs: Tabs) -> None:
    """What had arrived stays until then."""
    async with serving(ScriptedUpstream(["Half an", UpstreamUnavailable()], ["A whole answer."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Well?")
        await tab.answered("Half an", reason="error")
        await expect(tab.last.locator(".badge")).to_have_text("It broke off. The model cannot be reached.")
        await tab.button("Ask again").click()
        await expect(tab.answer).to_have_text("A whole answer.")
        await tab.ended()


async def test_a_refused_question_is_given_back(tabs: Tabs) -> None:
    """The error is shown, and nothing that was typed is lost."""
    async with serving(ScriptedUpstream([asyncio.Event()]), max_waiting=1) as server:
        tab = await tabs.open(server.port)
        for place, question in enumerate(("First?", "Second?")):
            await tab.ask(question)
            await expect(tab.turns).to_have_count(place + 1)
            await expect(tab.last).to_have_attribute("data-status", "waiting")
        await tab.ask("Third?")
        await expect(tab.page.get_by_role("alert")).to_have_text("Too many questions are waiting.")
        await expect(tab.question).to_have_value("Third?")
        await expect(tab.turns).to_have_count(2)  # it is drawn a frame later
        assert await tab.questions() == ["First?", "Second?"]


async def test_two_tabs_show_the_same_at_the_same_time(tabs: Tabs) -> None:
    """Whoever asks, both read along while the answer is written."""
    gates = [asyncio.Event(), asyncio.Event()]
    scripts: list[list[Step]] = [["One ", gates[0], "two."], ["Three ", gates[1], "four."]]
    async with serving(ScriptedUpstream(*scripts)) as server:
        one = await tabs.open(server.port)
        await one.connected()
        two = await tabs.beside(one.page.context, server.port)
        await two.connected()
        for place, (asking, text) in enumerate(((one, "One two."), (two, "Three four."))):
            await asking.ask(f"Question {place}?")
            for tab in (one, two):
                await expect(tab.turns).to_have_count(place + 1)
                await tab.shows(text.split()[0])
                await expect(tab.last).to_have_attribute("data-status", "answering")
            gates[place].set()
            for tab in (one, two):
                await tab.answered(text)

        assert await one.answers() == await two.answers() == ["One two.", "Three four."]
        assert await one.questions() == await two.questions() == ["Question 0?", "Question 1?"]


async def test_a_tab_stops_what_another_asked(tabs: Tabs) -> None:
    """The session is one."""
    async with serving(ScriptedUpstream(["One", asyncio.Event()])) as server:
        one = await tabs.open(server.port)
        await one.connected()
        two = await tabs.beside(one.page.context, server.port)
        await one.ask("Count!")
        await two.shows("One")
        await two.stop.click()
        for tab in (one, two):
            await tab.answered("One", reason="cancelled")


async def test_korean_is_asked_and_answered(tabs: Tabs) -> None:
    """And emoji: `seq` counts code points, JavaScript UTF-16."""
    question, answer = "하늘은 왜 파란가요? 🌤️", "빛이 흩어지기 때문이에요 👩‍🚀✨."
    async with serving(ScriptedUpstream(list(answer))) as server:
        tab = await tabs.open(server.port, locale="ko-KR")
        await tab.ask(question)
        await tab.answered(answer)

        assert await tab.questions() == [question]
        assert [frame for frame in tab.sent if frame["type"] == "history"] == []  # nothing had to be repaired


async def composing(tab: Tab, command: str, **how: Any) -> None:
    """What an input method does."""
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send(f"Input.{command}", how)  # pyright: ignore[reportUnknownMemberType]


async def test_the_enter_that_ends_a_syllable_does_not_send(tabs: Tabs) -> None:
    """With an input method, as for Korean or Japanese, Enter first takes over what is composed."""
    async with serving(ScriptedUpstream(["네."])) as server:
        tab = await tabs.open(server.port)
        await tab.connected()
        await tab.question.focus()
        await composing(tab, "imeSetComposition", text="안녕", selectionStart=2, selectionEnd=2)
        await tab.page.evaluate(
            """() => {
                const press = (more) => document.activeElement.dispatchEvent(
                    new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...more }));
                press({ isComposing: true });
                press({ keyCode: 229 });  // as Safari says it
            }"""
        )
        await composing(tab, "insertText", text="안녕")
        await expect(tab.question).to_have_value("안녕")
        await expect(tab.turns).to_have_count(0)

        await tab.question.press("Enter")
        await tab.answered("네.")
        assert tab.asked() == ["안녕"]


async def test_the_enter_that_ends_a_syllable_sends_neither_an_edit_nor_a_name(tabs: Tabs) -> None:
    """Wherever Enter keeps what was typed, the input method comes first."""
    async with serving(ScriptedUpstream(["네."], ["아니요."])) as server:
        tab = await tabs.open(server.port, locale="ko-KR")
        await tab.ask("안녕?")
        await tab.answered("네.")
        await tab.button("“안녕?” 더보기").click()
        for name, field in (("이름 바꾸기", "대화 제목"), ("질문 수정", "고칠 질문")):
            await tab.button(name).click()
            box = tab.page.get_by_role("textbox", name=field, exact=True)
            await expect(box).to_be_focused()
            await tab.page.keyboard.press("End")
            await composing(tab, "imeSetComposition", text="네", selectionStart=1, selectionEnd=1)
            await tab.page.evaluate(
                """() => document.activeElement.dispatchEvent(new KeyboardEvent(
                    "keydown", { key: "Enter", bubbles: true, cancelable: true, isComposing: true }))"""
            )
            await composing(tab, "insertText", text="네")
            await expect(box).to_have_value("안녕?네")
            await box.press("Enter")
            await expect(box).to_have_count(0)
        await expect(tab.turns).to_have_count(1)
        await expect(tab.answer).to_have_text("아니요.")
        assert [frame["text"] for frame in tab.sent if frame["type"] == "edit"] == ["안녕?네"]
        await expect(tab.page.locator("#sessions .title")).to_have_text("안녕?네")


async def test_shift_and_enter_break_the_line(tabs: Tabs) -> None:
    """And the question is shown with its lines."""
    async with serving(ScriptedUpstream(["Two lines."])) as server:
        tab = await tabs.open(server.port)
        await tab.question.focus()
        await tab.page.keyboard.type("One")
        await tab.page.keyboard.press("Shift+Enter")
        await tab.page.keyboard.type("two")
        await tab.page.keyboard.press("Enter")
        await tab.answered("Two lines.")
        assert await tab.questions() == ["One\ntwo"]


async def test_nothing_is_asked_with_an_empty_field(tabs: Tabs) -> None:
    """Blanks are nothing, too."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await tab.connected()
        await tab.ask("  \n ")
        await expect(tab.button("Send")).to_be_disabled()
        await tab.ask("Now.")
        await tab.answered("You asked: Now.")
        assert tab.asked() == ["Now."]


async def test_earlier_turns_are_shown_on_demand(tabs: Tabs) -> None:
    """A long conversation begins with its newest turns; the others come above them, each once."""
    questions = [f"Question {place}." for place in range(60)]
    async with serving() as server:
        tab = await tabs.open(server.port, f"/?session={await session_of(server.port, questions)}")
        await expect(tab.turns).to_have_count(50)
        await tab.button("Show earlier").click()
        await expect(tab.turns).to_have_count(60)
        await expect(tab.page.locator("#earlier")).to_be_hidden()
        assert await tab.questions() == questions


async def test_what_one_reads_stays_in_place_when_earlier_turns_come_above_it(tabs: Tabs) -> None:
    """However high they turn out to be."""
    frames = "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
    questions = [f"Question {place}." + "\nAnd more." * (place % 7) for place in range(60)]
    async with serving() as server:
        tab = await tabs.open(server.port, f"/?session={await session_of(server.port, questions)}")
        await expect(tab.turns).to_have_count(50)
        await tab.connected()
        await tab.page.mouse.move(640, 400)
        await tab.page.mouse.wheel(0, -100_000)
        await expect(tab.button("Show earlier")).to_be_in_viewport()
        await tab.page.evaluate(frames)
        first = tab.turns.filter(has_text="Question 10.").first
        before = await first.bounding_box()
        await tab.button("Show earlier").click()
        await expect(tab.turns).to_have_count(60)
        await tab.page.evaluate(frames)
        after = await first.bounding_box()
        assert before
        assert after
        assert abs(before["y"] - after["y"]) < 60  # the button that is gone was as high
