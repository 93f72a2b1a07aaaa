"""The states of the page and of the element: axe looks at all of them (test_axe.py), and all are drawn (pictures.py).

One that an answer brings about is a line in `CONVERSATION`, with the steps of the answer; any other is a function.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from playwright.async_api import Locator, expect

from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.events import Usage
from askbot_ws.testing import ScriptedUpstream, Step, serving
from askbot_ws.upstream import Ending, ThinkingText

from .breakable_proxy import BreakableProxy
from .sockets import SOCKETS
from .tab import IMPATIENT, Json, Tab, Tabs
from .test_element import BOT, Bot, Shop, shop
from .test_sign_in import SECRET, token

QUESTION = "Which colours are in sunlight?"
LATER = "And then?"  # it waits for something: nobody knows when it is its turn
ANSWER = """\
# Colours

See [this](https://example.org/), **that**, ~~those~~ and `these`. Planck's law[^1]: \\(E = h\\nu\\), in full

$$B_\\nu = \\frac{2h\\nu^3}{c^2} \\frac{1}{e^{h\\nu/kT} - 1}$$

- one
  - inner
- two

1. three
2. four

- [x] seen
- [ ] heard

> A quote.

```python
def scattered(nm: float, name="blue") -> float:  # by Rayleigh
    return (700 / nm) ** 4
```

| colour | nm |
|---|--:|
| blue | 450 |
| red | 700 |

---

[^1]: Of 1900.
"""
KOREAN = "햇빛에는 **모든 색**이 들어 있습니다. 파란빛은 사방으로 흩어지고, 붉은빛은 거의 그대로 지나갑니다.\n"
LONG_QUESTION = "\n".join(f"{n:>2}  def scattered_{n}(nm: float) -> float: return (700 / nm) ** {n}" for n in range(60))
TOO_LONG = "The sky is blue, as everybody knows, and red in the evening. " * 1700  # 100 KB
EMPTY_LIST = "localStorage.setItem('askbot.list', '[]'), dispatchEvent(new Event('storage'))"  # as another tab does
FOREVER = 3600.0  # seconds: the answer goes no further
USAGE = Usage(input_tokens=120, output_tokens=41)


class StageUpstream(ScriptedUpstream):
    """The scripts are for what is asked and answered in view: a question of the state before does not take one."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Play the next script, or answer nothing at all."""
        if prompt.messages[-1].text == LATER:
            return Ending("stop", usage=None)
        return await super().stream(prompt, on_text)


@dataclass
class Stage:
    """The page or the element, with what answers it."""

    place: Tab | Bot
    upstream: ScriptedUpstream
    proxy: BreakableProxy
    is_over: bool = False  # it goes on after a reload only

    @property
    def tab(self) -> Tab:
        """Where it is."""
        return self.place if isinstance(self.place, Tab) else self.place.tab

    @property
    def field(self) -> Locator:
        """Where questions are typed."""
        return self.place.question if isinstance(self.place, Tab) else self.place.part("field")

    async def begin(self) -> None:
        """An empty conversation, whatever was there before."""
        if self.proxy.is_down:
            self.proxy.is_down = False
            await self.tab.page.context.set_offline(offline=False)
        if self.is_over:
            self.is_over = False
            await self.tab.page.unroute_all()
            await self.tab.page.evaluate("sessionStorage.clear()")
            await self.tab.page.reload()
        for _ in range(2):  # what is open, and what it was opened in
            await self.tab.page.keyboard.press("Escape")
        if isinstance(self.place, Tab):
            await self.place.connected()
            await self.tab.page.locator("#new").click()
            await expect(self.place.turns).to_have_count(0)
            await self.tab.page.evaluate(EMPTY_LIST)
        else:
            await self.place.part("fresh").click()
            await expect(self.place.part("turn")).to_have_count(0)
        await self.field.fill("")

    async def identify(self, user: str | None, *, sign_in: str | None = None) -> None:
        """Load the page as somebody to whom the server says that this user is signed in; until `begin`."""
        identity = {"user": user, "authentication": True, "anonymous": False, "sign_in": sign_in, "sign_out": "/out"}
        await self.tab.page.route("**/v1/identity", lambda route: route.fulfill(json=identity))
        if user:
            kept = f"JSON.stringify({{ token: '{token(user)}', since: Date.now() }})"
            await self.tab.page.evaluate(f"sessionStorage.setItem('askbot.token /', {kept})")
        await self.tab.page.reload()
        self.is_over = True

    async def ask(self, *steps: Step, text: str = QUESTION) -> None:
        """Ask what is answered so."""
        self.upstream.scripts[:] = [steps]
        await self.place.ask(text)

    async def reaches(self, status: str) -> None:
        """Wait until the last turn has this status."""
        if isinstance(self.place, Tab):
            await expect(self.place.last).to_have_attribute("data-status", status)
        else:
            await expect(self.place.last).to_have_attribute("part", f"turn {status}")

    async def open_list(self) -> None:
        """Show the list of conversations, where it is not at the side."""
        if await self.tab.page.locator("#menu").is_visible():
            await self.tab.page.locator("#menu").click()
        await expect(self.tab.page.locator("#search")).to_be_visible()


State: TypeAlias = Callable[[Stage], Awaitable[None]]


def asked(*steps: Step, until: str = "ended", text: str = QUESTION) -> State:
    """A question was asked and is answered so; its turn has reached a status."""

    async def show(stage: Stage) -> None:
        await stage.ask(*steps, text=text)
        await stage.reaches(until)

    return show


async def empty(stage: Stage) -> None:
    """Nothing was asked."""
    await expect(stage.field).to_be_visible()


async def queued(stage: Stage) -> None:
    """A question waits behind another."""
    await stage.ask("One", FOREVER)
    await stage.place.shows("One")
    await stage.place.ask(LATER)
    await stage.reaches("waiting")


async def thinking_open(stage: Stage) -> None:
    """What is thought is seen while it goes on."""
    await stage.ask(ThinkingText("Sunlight is white, so it has all of them.\nWhich are named?"), FOREVER)
    await stage.reaches("thinking")
    await stage.tab.page.get_by_text("Thinking…").or_(stage.tab.page.get_by_text("생각하는 중…")).first.click()


async def stopped(stage: Stage) -> None:
    """The user stopped the answer."""
    await stage.ask("Half an", FOREVER)
    await stage.place.shows("Half an")
    await stage.field.press("Escape")
    await stage.reaches("ended")


async def interrupted(stage: Stage) -> None:
    """The server went away in the answer; its log says so."""
    await stage.ask("Half an", FOREVER)
    await stage.place.shows("Half an")
    token = next(frame for frame in reversed(stage.tab.got) if frame["type"] == "token")
    proof = {"chars": len("Half an"), "sha256": hashlib.sha256(b"Half an").hexdigest()}
    done: Json = {name: token[name] for name in ("session", "turn")} | {
        "type": "done", "seq": token["seq"] + 1, "reason": "interrupted", "model": "scripted", "usage": None,
        "timing": {"queued": 0, "first_token": 10, "total": 20}, "check": proof,
    }  # fmt: skip
    await stage.tab.page.evaluate(
        "(done) => sockets.at(-1).onmessage(new MessageEvent('message', { data: JSON.stringify(done) }))", done
    )
    await stage.reaches("ended")


async def offline(stage: Stage) -> None:
    """The network is gone in the answer, and a question waits for it."""
    await stage.ask("Half an", FOREVER)
    await stage.place.shows("Half an")
    await stage.tab.page.context.set_offline(offline=True)
    stage.proxy.is_down = True
    stage.proxy.cut()
    await stage.place.ask(LATER)
    await stage.tab.page.get_by_text(LATER).first.wait_for()


async def signed_out(stage: Stage) -> None:
    """The server takes no token any more."""
    await stage.ask("One.")
    await stage.reaches("ended")
    stage.is_over = True
    await stage.tab.page.evaluate("refuse()")


async def too_long(stage: Stage) -> None:
    """A draft that no server takes."""
    await stage.field.fill(TOO_LONG)


async def writing(stage: Stage) -> None:
    """A draft of several lines, under an answer that is written."""
    await stage.ask("One", FOREVER)
    await stage.place.shows("One")
    await stage.field.fill("And which of them\nis the brightest?")


async def editing(stage: Stage) -> None:
    """An earlier question is put differently."""
    await asked("One.")(stage)
    await asked("Two.")(stage)
    first = stage.tab.turns.first
    await first.hover()
    await first.locator("[data-do=edit]").click()
    await expect(first.locator("form.edit textarea")).to_be_visible()


async def listed(stage: Stage) -> None:
    """Conversations are listed, and searched."""
    await asked("One.", text="Colours?")(stage)
    await stage.open_list()
    await stage.tab.page.locator("#search").fill("colour")


async def nothing_found(stage: Stage) -> None:
    """A search without a match."""
    await asked("One.")(stage)
    await stage.open_list()
    await stage.tab.page.locator("#search").fill("xyzzy")
    await expect(stage.tab.page.locator("#none")).to_be_visible()


async def menu(stage: Stage) -> None:
    """What can be done with a conversation."""
    await asked("One.")(stage)
    await stage.open_list()
    await stage.tab.page.locator("[data-do=more]").first.click()
    await expect(stage.tab.page.locator("[data-do=rename]").first).to_be_visible()


async def renaming(stage: Stage) -> None:
    """A title is changed."""
    await menu(stage)
    await stage.tab.page.locator("[data-do=rename]").first.click()
    await expect(stage.tab.page.locator("form.rename")).to_be_visible()


async def confirming(stage: Stage) -> None:
    """A dialog asks before a conversation is deleted."""
    await menu(stage)
    await stage.tab.page.locator("[data-do=delete]").first.click()
    await expect(stage.tab.page.locator("#confirm")).to_be_visible()


async def edit_too_long(stage: Stage) -> None:
    """It is put differently at a length that no server takes."""
    await editing(stage)
    await stage.tab.page.locator("form.edit textarea").fill(TOO_LONG)


async def asking_again(stage: Stage) -> None:
    """A dialog says what leaves the conversation when an earlier question is asked again."""
    await asked("One.")(stage)
    await asked("Two.")(stage)
    await stage.tab.turns.first.hover()
    await stage.tab.turns.first.locator("[data-do=retry]:visible").click()
    await expect(stage.tab.page.locator("#confirm")).to_be_visible()


async def asked_again(stage: Stage) -> None:
    """What has left the conversation can be taken back."""
    await asking_again(stage)
    stage.upstream.scripts[:] = [["One again."]]
    await stage.tab.page.locator("#confirm-yes").click()
    await expect(stage.tab.page.locator("#undo")).to_be_visible()
    await stage.reaches("ended")


async def details(stage: Stage) -> None:
    """When a question was asked, and what it took."""
    await asked("One.", Ending("stop", usage=USAGE))(stage)
    await stage.tab.turns.last.locator(".about summary").click()


async def sign_in(stage: Stage) -> None:
    """Nothing can be done without a key."""
    await stage.identify(None)
    await expect(stage.tab.page.locator("#key")).to_be_focused()


async def sign_in_elsewhere(stage: Stage) -> None:
    """Nothing can be done without signing in on another page."""
    await stage.identify(None, sign_in="/login")
    await expect(stage.tab.page.locator("#sign-in-link")).to_be_focused()


async def key_unknown(stage: Stage) -> None:
    """It is no key that the server knows."""
    await sign_in(stage)
    await stage.tab.page.locator("#key").fill("wrong")
    await stage.tab.page.locator("#sign-in-submit").click()
    await expect(stage.tab.page.locator("#sign-in-error")).not_to_be_empty()


async def sign_in_again(stage: Stage) -> None:
    """Somebody who was signed in has to sign in again, in the middle of a question."""
    await stage.identify("anna@example.org")
    await stage.ask("One.")
    await stage.reaches("ended")
    await stage.field.fill("And which of them\nis the brightest?")
    await stage.tab.page.unroute_all()
    await stage.tab.page.evaluate("refuse()")
    await expect(stage.tab.page.locator("#sign-in")).to_be_visible()


async def signed_in(stage: Stage) -> None:
    """The list of a user, who had conversations before they signed in."""
    await asked("One.", text="Colours?")(stage)
    await stage.identify("anna@example.org")
    await stage.place.ask("Which are in it?")
    await stage.reaches("ended")
    await stage.open_list()
    await expect(stage.tab.page.locator("#take-along")).to_be_visible()


async def noticed(stage: Stage) -> None:
    """Something was refused."""
    await asked("One.")(stage)
    await stage.tab.page.evaluate("document.getElementById('notice').textContent = 'Too many questions are waiting.'")


CONVERSATION: dict[str, State] = {
    "empty": empty,
    "waiting": asked(FOREVER, until="waiting"),
    "queued": queued,
    "thinking": asked(ThinkingText("Which are there?"), FOREVER, until="thinking"),
    "thinking-open": thinking_open,
    "answering": asked("Sunlight has **all", FOREVER, until="answering"),
    "answering-markdown": asked(ANSWER, FOREVER, until="answering"),
    "ended": asked(ANSWER, Ending("stop", usage=USAGE)),
    "thought": asked(ThinkingText("Which are there?"), "All of them.", Ending("stop", usage=USAGE)),
    "ended-korean": asked(KOREAN, text="햇빛에는 어떤 색이 있나요?"),
    "error": asked(UpstreamUnavailable()),
    "broken-off": asked("Half an", UpstreamUnavailable()),
    "cut-off": asked("Half an", Ending("length", usage=USAGE)),
    "refused": asked("I can't say.", Ending("refused", usage=None)),
    "stopped": stopped,
    "interrupted": interrupted,
    "offline": offline,
    "signed-out": signed_out,
    "long-question": asked("One.", text=LONG_QUESTION),
    "writing": writing,
    "too-long": too_long,
}
"""By their names; of the page and of the element."""

PAGE: dict[str, State] = CONVERSATION | {
    "edit": editing,
    "list": listed,
    "nothing-found": nothing_found,
    "menu": menu,
    "rename": renaming,
    "dialog": confirming,
    "edit-too-long": edit_too_long,
    "retry-dialog": asking_again,
    "retried": asked_again,
    "details": details,
    "notice": noticed,
    "sign-in-elsewhere": sign_in_elsewhere,
    "key-unknown": key_unknown,
    "sign-in-again": sign_in_again,
    "signed-in": signed_in,
}
ELEMENT = CONVERSATION


@asynccontextmanager
async def page_stage(tabs: Tabs, **options: Any) -> AsyncGenerator[Stage]:
    """The page, in a new browser context."""
    upstream = StageUpstream()
    async with (
        serving(upstream, jwt_secret=SECRET, allow_anonymous=True) as server,
        BreakableProxy.start(server.port) as proxy,
    ):
        tab = await tabs.open(proxy.port, "/healthz", script=SOCKETS + IMPATIENT, **options)
        anybody = {"user": None, "authentication": False, "anonymous": True}  # until `ensureIdentity`
        await tab.page.context.route("**/v1/identity", lambda route: route.fulfill(json=anybody))
        await tab.page.goto(f"http://127.0.0.1:{proxy.port}/")
        yield Stage(tab, upstream, proxy)


@asynccontextmanager
async def element_stage(tabs: Tabs, body: str = BOT, **options: Any) -> AsyncGenerator[Stage]:
    """The element on somebody's page, in a new browser context."""
    upstream = StageUpstream()
    async with shop(tabs, upstream) as place, BreakableProxy.start(place.port) as proxy:
        shown = Shop(tabs, place.place, proxy.port)
        yield Stage(await shown.open(body, script=SOCKETS + IMPATIENT, **options), upstream, proxy)
