"""Providers that fail, each in its way: the turn ends as it should, its text is kept, the session goes on."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from askbot_ws.logs import hash_session

from ..process import KEY, Askbot, Json, ProviderProcess, Reader, Story, askbot, reading

THEIR_WORDS = "internal-host-7.provider.example says: account 4711 of jane"  # what a provider's error may hold


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Iterator[Askbot]:
    folder = tmp_path_factory.mktemp("askbot")
    with askbot(folder, "--stall-timeout", "0.5s", "--max-question", "200000", upstream=provider.url) as server:
        yield server


class Case:
    """What a script leads to."""

    def __init__(self, script: str, *, reason: str = "error", code: str | None = None, answer: str = "") -> None:
        self.script = script
        self.reason = reason
        self.code = code
        self.answer = answer


FIVE = "word0 word1 word2 word3 word4 "
CASES = {
    "a stall": Case("tokens:9 stall after:5", code="upstream_stalled", answer=FIVE),
    "a stall before the first token": Case("tokens:9 stall", code="upstream_stalled"),
    "a reset": Case("tokens:9 cut after:5", code="upstream_unavailable", answer=FIVE),
    "a quiet close": Case("tokens:9 cut:fin after:5", code="upstream_unavailable", answer=FIVE),
    "a quiet close of an unframed body": Case(
        "tokens:9 cut:fin after:5 framing:close", code="upstream_unavailable", answer=FIVE
    ),
    "a malformed event": Case("tokens:9 malformed after:5", code="upstream_unavailable", answer=FIVE),
    "an error in the stream": Case("tokens:9 error after:5", code="upstream_unavailable", answer=FIVE),
    "a rate limit in the stream": Case(
        "tokens:9 error code:rate_limit_exceeded after:5", code="upstream_rate_limited", answer=FIVE
    ),
    "no finish": Case("tokens:5 no-finish", code="upstream_unavailable", answer=FIVE),
    "no finish, and no end either": Case("tokens:5 no-finish no-done", code="upstream_unavailable", answer=FIVE),
    "no [DONE]": Case("tokens:5 no-done", reason="stop", answer=FIVE),
    "a body that doesn't end": Case("tokens:5 linger", reason="stop", answer=FIVE),
    "too long": Case("tokens:5 finish:length", reason="length", answer=FIVE),
    "filtered": Case("tokens:5 finish:content_filter", reason="refused", answer=FIVE),
    "a bad request": Case(f"status:400 say:{THEIR_WORDS}", code="upstream_rejected"),
    "a wrong key": Case(f"status:401 say:Incorrect API key: {KEY}", code="upstream_rejected"),
    "no such model": Case(f"status:404 say:{THEIR_WORDS}", code="upstream_rejected"),
    "a context that is too long": Case("context", code="context_too_long"),
    "a rate limit that lasts": Case(f"status:429 retry-after:99 say:{THEIR_WORDS}", code="upstream_rate_limited"),
    "no money left": Case("status:429 code:insufficient_quota", code="upstream_rejected"),
    "a rate limit that passes": Case("tokens:5 status:429 retry-after:0 times:1", reason="stop", answer=FIVE),
    "a server error that passes": Case("tokens:5 status:500 times:1", reason="stop", answer=FIVE),
    "a server error that lasts": Case(f"status:503 retry-after:0 say:{THEIR_WORDS}", code="upstream_unavailable"),
    "a hang-up that passes": Case("tokens:5 hangup times:1", reason="stop", answer=FIVE),
    "nothing": Case("empty", reason="stop"),
    "blanks": Case("whitespace", reason="stop", answer=" \n\n\t"),
    "halves of an emoji": Case("surrogates", reason="stop", answer="a smile \U0001f600 in two halves"),
    "byte by byte": Case("say:Grüße, 안녕 🙂! bytes:1", reason="stop", answer="Grüße, 안녕 🙂! bytes:1"),
    "single bytes": Case("bytes:1 tokens:5", reason="stop", answer=FIVE),
    "other line ends, in pieces": Case("crlf bytes:3 tokens:5", reason="stop", answer=FIVE),
    "all at once": Case("framing:length tokens:5", reason="stop", answer=FIVE),
    "a thought first": Case("reasoning tokens:5", reason="stop", answer=FIVE),
}


def nobody_else_sees(raw: list[str], log: str) -> None:
    """The provider's words and our key stay with us, and the key stays out of the log too."""
    for text in (text for text in raw if '"type":"question"' not in text):
        assert THEIR_WORDS[:20] not in text
        assert KEY not in text
        assert "The script says so" not in text
        assert "127.0.0.1" not in text
    assert KEY not in log


@pytest.mark.parametrize("name", CASES)
async def test_a_turn_ends_as_its_provider_did(server: Askbot, name: str) -> None:
    """With reason, code and the text so far; the client learns what to do, not what the provider said."""
    case = CASES[name]
    async with reading(server.url) as reader:
        turn = await reader.answer(f"note:{name.replace(' ', '-')} {case.script}", limit=20)
        assert turn.done
        error: Json = turn.done.get("error", {})
        assert (turn.reason, error.get("code"), turn.answer) == (case.reason, case.code, case.answer)
        after = await reader.answer("say:Well again.")
        assert (after.reason, after.answer) == ("stop", "Well again.")

    nobody_else_sees(reader.raw, server.log.read_text())


async def test_a_rate_limit_says_when_again(server: Askbot) -> None:
    """In milliseconds, as all times on the wire."""
    async with reading(server.url) as reader:
        turn = await reader.answer("status:429 retry-after:99 note:when")

    assert turn.done
    assert turn.done["error"]["retry_after"] == 99_000
    assert turn.done["error"]["retryable"] is True


async def test_a_retry_after_a_fault_is_a_new_turn(server: Askbot) -> None:
    """The broken answer is replaced, and not shown to the model."""
    async with reading(server.url) as reader:
        await reader.answer("tokens:9 cut after:5 times:1 note:retried")
        await reader.send(type="retry")
        await reader.until("done")

    first, second = reader.story.turns.values()
    assert (first.reason, first.answer) == ("error", FIVE)
    assert (second.reason, second.replaces) == ("stop", first.turn)
    assert len(second.answer.split()) == 9


async def test_a_flood_arrives_whole(server: Askbot) -> None:
    """A hundred thousand tokens as fast as they go: in slices, of which none is larger than a slice."""
    async with reading(server.url) as reader:
        begun = time.monotonic()
        turn = await reader.answer("burst:100000", limit=60)
        print(f"{time.monotonic() - begun:.1f} s, {len(reader.frames)} frames")

    assert turn.answer == "".join(f"word{number} " for number in range(100_000))
    assert turn.reason == "stop"


async def test_a_long_question_makes_no_difference(server: Askbot) -> None:
    """It arrives at the provider as it was asked."""
    text = "note:long " + "lang ✨ " * 20_000
    async with reading(server.url) as reader:
        turn = await reader.answer("say:" + text, limit=20)

    assert turn.answer == text


async def test_a_cancel_stops_the_provider(server: Askbot, provider: ProviderProcess) -> None:
    """It closes the request, so nobody pays for what nobody reads."""
    question = f"tokens:2000 rate:100 note:cancelled-{time.time()}"
    async with reading(server.url) as reader:
        await reader.ask(question)
        await reader.until("token")
        await reader.send(type="cancel")
        assert (await reader.until("done"))["reason"] == "cancelled"
        await asyncio.sleep(0.2)
        requests = await asyncio.to_thread(provider.chats)

    [request] = [one for one in requests if one["body"]["messages"][-1]["content"] == question]
    assert request["left"]
    assert request["tokens"] < 200


async def test_a_provider_that_is_away_is_told_and_comes_back(tmp_path: Path, provider: ProviderProcess) -> None:
    """The server lives without it: questions end with an error, and `readyz` says so."""
    with askbot(tmp_path, "--retries", "0", upstream="http://127.0.0.1:9/v1") as server:
        async with reading(server.url) as reader:
            turn = await reader.answer("Anybody there?")
            assert turn.done
            assert turn.done["error"]["code"] == "upstream_unavailable"
            nobody_else_sees(reader.raw, server.log.read_text())
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, reader.story) as reader:
            assert (await reader.answer("say:Here I am.")).answer == "Here I am."


async def test_a_name_and_a_usage_that_no_log_can_keep_cost_nobody_anything(
    server: Askbot, provider: ProviderProcess
) -> None:
    """A lone surrogate in the model's name, a negative usage and one beyond 2**53: the answer ends well without."""
    async with reading(server.url) as other:
        async with reading(server.url) as reader:
            turn = await reader.answer("oddities say:All the same.")
            assert turn.done
            assert (turn.reason, turn.answer, turn.done["usage"]) == ("stop", "All the same.", None)
            assert turn.done["model"] == "m\ufffd"
            assert (await reader.answer("say:And after?")).answer == "And after?"
        assert (await other.answer("say:And another?")).answer == "And another?"


# --- a user's function -----------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Askbot]:
    """A server with a function that does what it must not."""
    shutil.copy(Path(__file__).with_name("faulty_function.py"), tmp_path)
    with askbot(
        tmp_path, "--upstream", "faulty_function:answer", "--drain", "1s", upstream="http://127.0.0.1:9/v1"
    ) as server:
        yield server


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("raise a cancellation", "upstream_unavailable"),
        ("cancel yourself", "upstream_unavailable"),
        ("cancel a task of yours", "upstream_unavailable"),
        ("leave the generator", "upstream_unavailable"),
        ("leave the program", "upstream_unavailable"),
        ("interrupt the program", "upstream_unavailable"),
        ("yield bytes", "upstream_unavailable"),
        ("complain", "upstream_rate_limited"),
    ],
)
async def test_whatever_a_function_does_its_turn_ends_and_the_session_goes_on(
    faulty: Askbot, act: str, code: str
) -> None:
    """With `done`, reason `error` and the text so far; other sessions, and the server, notice nothing."""
    async with reading(faulty.url) as reader, reading(faulty.url) as other:
        turn = await reader.answer(act, limit=10)
        assert turn.done
        assert (turn.reason, turn.done["error"]["code"], turn.answer) == ("error", code, "Well, ")
        assert (await reader.answer("fine", limit=10)).answer == "Well, fine"
        assert (await other.answer("fine", limit=10)).answer == "Well, fine"

    faulty.signal(signal.SIGTERM)
    assert await faulty.ended() == 0
    assert not [line for line in faulty.lines() if line["level"] == "error"]


@pytest.mark.parametrize("act", ["ignore it", "ignore it and talk", "stop badly"])
async def test_a_function_that_a_cancel_does_not_end_holds_up_neither_its_session_nor_the_drain(
    faulty: Askbot, act: str
) -> None:
    """The turn ends at once; what is asked next is answered within the limit, and the server ends as ever."""
    async with reading(faulty.url) as reader:
        await reader.ask(act)
        await reader.until("token")
        await reader.send(type="cancel")
        assert (await reader.until("done", 2))["reason"] == "cancelled"
        assert (await reader.answer("fine", limit=10)).answer == "Well, fine"
        await reader.ask(act)
        await reader.until("token")
        faulty.signal(signal.SIGTERM)
        assert await faulty.ended(15) == 0


async def test_no_question_and_no_answer_is_in_the_log(server: Askbot) -> None:
    """Nor in a traceback, whatever goes wrong; what a turn was like is, in one line."""
    story = Story()
    async with reading(server.url, story) as reader:
        await asked_in_all_ways(reader)
    log = server.log.read_text()

    assert "marzipan" not in log
    ended = [
        line
        for line in server.lines()
        if line["event"] == "turn_ended" and line["session"] == hash_session(story.session or "")
    ]
    assert [line["reason"] for line in ended] == [turn.reason for turn in story.turns.values()]
    assert not [line for line in server.lines() if line["level"] == "error"]


async def asked_in_all_ways(reader: Reader) -> None:
    await reader.answer("say:A marzipan secret.")
    await reader.answer("error after:1 say:marzipan and more", limit=20)
    await reader.answer("malformed after:1 say:marzipan and more", limit=20)
    await reader.answer("status:400 note:marzipan", limit=20)
    await reader.answer("stall after:1 say:marzipan and more", limit=20)
    await reader.socket.send('{"type":"ask","text":"marzipan"')
    await reader.send(type="ask", text="marzipan", temperature=9)
    await reader.send(type="edit", turn="marzipan", text="marzipan")
    for _ in range(3):
        await reader.until("error")
