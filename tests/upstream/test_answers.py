"""What providers send, byte by byte, and what becomes of it: over both transports."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
import structlog

from askbot_ws.errors import UpstreamStalled
from tests.upstream.byte_server import (
    DONE,
    TRANSPORTS,
    ByteServer,
    Outcome,
    Script,
    ask,
    delta,
    event,
    opened,
    response,
    stream,
)

STOP = delta("stop") + DONE


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


async def outcome_of(transport: str, script: Script, *, requests: int = 1, **settings: float) -> Outcome:
    """What becomes of a question that is answered by this script, after so many requests."""
    async with ByteServer(script) as server, opened(server, transport, **settings) as upstream:
        outcome = await ask(upstream)
    assert len(server.posts) == requests
    return outcome


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["stop", "null"])
async def test_text_that_still_comes_after_a_finish_is_part_of_the_answer(transport: str, finish: object) -> None:
    """Some servers put a finish into every chunk: each piece of text renews the wait for what follows."""
    chunks = [step for number in range(10) for step in (delta(finish, content=str(number)), 0.05)]
    outcome = await outcome_of(transport, stream(*chunks, STOP), usage_timeout=0.25)

    assert (outcome.text, outcome.end) == ("0123456789", "stop")


async def test_reasoning_after_a_finish_renews_the_wait_too(transport: str) -> None:
    """And what it leads to is part of the answer."""
    chunks = [step for number in range(6) for step in (delta("stop", reasoning_content=str(number)), 0.1)]
    outcome = await outcome_of(transport, stream(*chunks, delta(content="Yes"), STOP), usage_timeout=0.3)

    assert (outcome.thinking, outcome.text) == ("012345", "Yes")


async def test_what_follows_a_finish_without_text_does_not_renew_the_wait(transport: str) -> None:
    """Comments and empty chunks: the answer is complete."""
    tail = [step for _ in range(40) for step in (b": ping\n\n", 0.05, delta(), 0.05)]
    outcome = await outcome_of(transport, stream(delta(content="Yes"), delta("stop"), *tail), usage_timeout=0.2)

    assert (outcome.text, outcome.end) == ("Yes", "stop")


async def test_an_error_after_text_that_contradicts_the_finish_is_an_error(transport: str) -> None:
    """A finish in every chunk says nothing of the end."""
    chunks = [delta("stop", content="a"), delta("stop", content="b"), event({"error": {"message": "boom"}})]
    outcome = await outcome_of(transport, stream(*chunks))

    assert (outcome.text, outcome.end) == ("ab", "upstream_unavailable")


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        ("model_length", "length"),
        ({"type": "length"}, "length"),
        ("SAFETY", "refused"),
        ("error_finish", "upstream_unavailable"),
        ("network_error", "upstream_unavailable"),
        ("finito", "stop"),
    ],
)
async def test_a_bad_end_is_told_as_one(transport: str, finish: object, end: str) -> None:
    """By any of its names (test_finish_reasons.py has more); what nobody knows is a stop."""
    outcome = await outcome_of(transport, stream(delta(content="so far"), delta(finish), DONE))

    assert (outcome.text, outcome.end) == ("so far", end)


@pytest.mark.parametrize(
    ("finish", "logged"), [("Finito", "finito"), ("Is this my secret?", "a text"), ("x" * 99, "a text")]
)
async def test_an_unknown_finish_is_logged_once(transport: str, finish: str, logged: str) -> None:
    """As a word; what is no name may be anybody's text."""
    with structlog.testing.capture_logs() as logs:
        await outcome_of(transport, stream(delta(content="a"), delta(finish), DONE))

    (line,) = [line for line in logs if line["event"] == "upstream_finish_assumed"]
    assert line["finish"] == logged


# --- shapes of text --------------------------------------------------------------------------------------------------


SHAPES: list[tuple[Any, str]] = [
    (1, "1"),
    (0, "0"),
    (-2.5, "-2.5"),
    (True, "true"),
    (["a", "b"], "ab"),
    ([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}, {"text": "c"}], "abc"),
    ([{"type": "text", "text": {"value": "a", "annotations": []}}], "a"),
    ({"type": "text", "text": "a"}, "a"),
    ({"parts": [{"text": "a"}, {"text": "b"}]}, "ab"),
    ([{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "a"}], "a"),
]


@pytest.mark.parametrize(("content", "text"), SHAPES)
async def test_text_of_any_shape_is_text(transport: str, content: object, text: str) -> None:
    """A number, parts, an object."""
    outcome = await outcome_of(transport, stream(delta(content="<"), delta(content=content), STOP))

    assert (outcome.text, outcome.end) == (f"<{text}", "stop")


@pytest.mark.parametrize("choice", [{"text": "a"}, {"delta": "a"}, {"delta": {}, "text": "a"}])
async def test_text_outside_of_a_delta_is_text(transport: str, choice: dict[str, Any]) -> None:
    """As the older API has it."""
    body = [event({"choices": [choice | {"finish_reason": None}]})] * 3
    outcome = await outcome_of(transport, stream(*body, STOP))

    assert (outcome.text, outcome.end) == ("aaa", "stop")


def completion(content: object, *, finish: object = "stop", **fields: object) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("finish", ["stop", None, "length"])
async def test_an_answer_that_is_not_streamed_is_an_answer(
    transport: str, kind: str, indent: int | None, finish: str | None
) -> None:
    """A message, as bare JSON, however it is written: asked once."""
    body = json.dumps(completion("Yes\nindeed", reasoning_content="hm", finish=finish), indent=indent).encode()
    outcome = await outcome_of(transport, response(200, b"\n\n\n", body, kind=kind))

    assert (outcome.thinking, outcome.text, outcome.end) == ("hm", "Yes\nindeed", finish or "stop")
    assert outcome.ending
    assert outcome.ending.model == "m-1"
    assert outcome.ending.usage


async def test_a_message_counts_once_and_only_where_no_text_came(transport: str) -> None:
    """Some servers repeat the whole text at the end, or in every chunk."""
    whole, deltas = event(completion("ab", reasoning="hm")), [delta(reasoning="hm"), delta(content="a")]
    repeated = await outcome_of(transport, stream(*deltas, delta(content="b"), whole, DONE))
    alone = await outcome_of(transport, stream(whole, whole, DONE))

    assert (repeated.thinking, repeated.text) == (alone.thinking, alone.text) == ("hm", "ab")


@pytest.mark.parametrize("finish", [None, "stop"])
async def test_a_stream_of_messages_is_an_answer(transport: str, finish: str | None) -> None:
    """Pieces, or all of the text so far, as some servers send it; without a finish it is broken off."""
    pieces, whole = ["Yes", " and", " no"], ["Yes", "Yes and", "Yes and no"]
    for texts in (pieces, whole):
        messages = [event({"choices": [{"message": {"content": text, "reasoning": "hm"}}]}) for text in texts]
        outcome = await outcome_of(transport, stream(*messages, delta(finish), DONE))

        assert (outcome.thinking, outcome.text) == ("hm", "Yes and no")
        assert outcome.end == finish or (finish is None and outcome.end == "upstream_unavailable")


# --- unknown events --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "junk",
    [
        *(b": keepalive", b"keepalive", b"ping", b"1", b"null", b"true", b'"a"', b"[]", b"[1]", b"", b"[keepalive]"),
        *(b'{"type":"ping"}', b'{"id":"x","choices":[]}', b'{"choices":null}', b"{}", b'{"x_groq":{"id":"1"}}'),
        *(b'{"choices":[null]}', b'{"code":200,"message":"success"}', b'{"code":"0","msg":"ok"}'),
    ],
)
async def test_an_unknown_event_is_passed_over(transport: str, junk: bytes) -> None:
    """Before the text, within and after it: asked once, nothing is lost."""
    noise = b"data: " + junk + b"\n\n"
    body = [noise, delta(content="a"), noise, delta(content="b"), noise, delta("stop"), noise, DONE]
    outcome = await outcome_of(transport, stream(*body))

    assert (outcome.text, outcome.end) == ("ab", "stop")


async def test_events_that_were_passed_over_are_counted_and_logged_once(transport: str) -> None:
    """Without their words."""
    with structlog.testing.capture_logs() as logs:
        await outcome_of(transport, stream(b"data: : ping\n\n", b"data: secret\n\n", delta(content="a"), STOP))

    lines = [line for line in logs if line["event"] == "upstream_events_ignored"]
    assert [line["count"] for line in lines] == [2]
    assert "secret" not in str(logs)


@pytest.mark.parametrize(
    "chunk",
    [
        b'event: message\nid: 1\nretry: 5\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data:{"choices":[{"delta":{"content":"a"}}]}\r\n\r\n',
        b'data: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\n',
        b'{"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: [{"choices":[{"delta":{"content":"a"}}]}]\n\n',
        b'data: {"choices":[{"delta":{"content":"a"}}]}\ndata: {"choices":[{"delta":{}}]}\n\n',
    ],
)
async def test_however_an_event_is_framed_it_is_read(transport: str, chunk: bytes) -> None:
    """By the standard, and by proxies."""
    outcome = await outcome_of(transport, stream(chunk, STOP))

    assert (outcome.text, outcome.end) == ("a", "stop")


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b'data: "[DONE]"\n\n', b"data:[DONE]", b"", b"event: done\n\n"])
async def test_whatever_the_last_word_is_the_answer_ends(transport: str, end: bytes) -> None:
    """It had a finish reason."""
    outcome = await outcome_of(transport, stream(delta("stop", content="a"), end))

    assert (outcome.text, outcome.end) == ("a", "stop")


SILENCE = [b": ping\n\n", b":\n", b"\n", b"data: : keepalive\n\n", b"data:\n\n", b'data: {"type":"ping"}\n\n', b": pi"]


@pytest.mark.parametrize("silence", SILENCE)
@pytest.mark.parametrize("start", [[], [delta(content="so far")]])
async def test_comments_alone_are_silence(transport: str, silence: bytes, start: list[bytes]) -> None:
    """They renew no limit: the model said nothing."""
    noise: list[bytes | float] = [step for _ in range(200) for step in (silence, 0.02)]
    outcome = await outcome_of(transport, stream(*start, *noise), stall_timeout=0.3)

    assert isinstance(outcome.error, UpstreamStalled)
    assert outcome.text == ("so far" if start else "")


async def test_comments_in_chunks_of_http_are_silence_too(transport: str) -> None:
    """What frames them arrives apart."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    noise: list[bytes | float] = [step for _ in range(100) for step in (b"8\r\n", 0.01, b": ping\n\n", 0.01, b"\r\n")]
    outcome = await outcome_of(transport, [head, *noise], stall_timeout=0.3)

    assert isinstance(outcome.error, UpstreamStalled)


@pytest.mark.parametrize("sign", [delta(), delta(reasoning="hm"), event({"choices": [], "usage": {"total_tokens": 1}})])
async def test_chunks_are_no_silence(transport: str, sign: bytes) -> None:
    """Even where they have no text: the model works."""
    signs: list[bytes | float] = [step for _ in range(8) for step in (sign, 0.15)]
    outcome = await outcome_of(transport, stream(*signs, delta(content="a"), STOP), stall_timeout=1)

    assert (outcome.text, outcome.end) == ("a", "stop")


async def test_silence_behind_comments_is_a_stall_at_the_same_time(transport: str) -> None:
    """The last comment is no new beginning."""
    began = time.monotonic()
    outcome = await outcome_of(transport, stream(delta(content="a"), 1.5, b": ping\n\n", math.inf), stall_timeout=1.8)

    assert time.monotonic() - began < 3
    assert isinstance(outcome.error, UpstreamStalled)


# --- errors inside a 200 ---------------------------------------------------------------------------------------------

LONG = {"message": "maximum context length is 9 tokens", "code": 400}
NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    "body",
    [
        [json.dumps({"error": LONG}).encode()],
        [json.dumps({"error": LONG}, indent=2).encode()],
        [json.dumps([{"error": LONG}]).encode()],
        [json.dumps(LONG).encode()],
        [json.dumps({"detail": LONG["message"]}).encode()],
        [json.dumps({"error": LONG}).encode() + b"\n"],
        [json.dumps({"error": LONG}).encode() + b"\ndata: [DONE]\n\n"],
        [event({"error": LONG})],
        [event({"object": "error", **LONG})],
        [event(LONG)],
        [b"event: error\n", event(LONG)],
        [b"event: error\ndata: maximum context length is 9 tokens\n\n"],
        [event({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": LONG})],
        [event({"choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": LONG}]})],
        [event({"choices": [{"delta": NOTHING, "finish_reason": "stop", "error": LONG}]})],
        [event({"choices": [{"delta": NOTHING, "finish_reason": "stop"}], "error": LONG})],
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_an_error_inside_a_200_is_an_error_in_any_form(transport: str, kind: str, body: list[bytes]) -> None:
    """A body, an event, a line, a field: the provider's words are judged, and it is asked once."""
    outcome = await outcome_of(transport, response(200, *body, kind=kind))

    assert outcome.end == "context_too_long"


@pytest.mark.parametrize("form", [event({"error": LONG}), json.dumps({"error": LONG}).encode() + b"\n\n"])
async def test_the_text_before_an_error_is_kept(transport: str, form: bytes) -> None:
    """And the question is not asked again."""
    outcome = await outcome_of(transport, stream(delta(content="so far"), form, DONE))

    assert (outcome.text, outcome.end) == ("so far", "context_too_long")


async def test_an_error_field_that_says_nothing_is_no_error(transport: str) -> None:
    """Some servers always send it."""
    errors: list[Any] = [None, "", False, {}]
    chunks = [event({"error": error, "choices": [{"delta": {"content": "a"}}]}) for error in errors]
    outcome = await outcome_of(transport, stream(*chunks, STOP))

    assert (outcome.text, outcome.end) == ("aaaa", "stop")


# --- reasoning -------------------------------------------------------------------------------------------------------


def cut(text: str, *, size: int) -> list[bytes]:
    return [delta(content=text[start : start + size]) for start in range(0, len(text), size)]


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning_content": "hm", "content": None},
        {"reasoning": "hm", "content": ""},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": None}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}, {"type": "reasoning.encrypted"}]},
        {"reasoning_content": "", "reasoning": "hm"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}], "reasoning_content": "hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": [{"type": "reasoning", "text": "hm"}]},
        {"content": [{"text": "hm", "thought": True}]},
    ],
)
async def test_reasoning_is_told_from_the_answer(transport: str, fields: dict[str, Any]) -> None:
    """In whatever field it comes, once, in order."""
    outcome = await outcome_of(transport, stream(delta(**fields), delta(content="Yes"), STOP))

    assert outcome.pieces == ["hm", "Yes"]
    assert (outcome.thinking, outcome.text, outcome.end) == ("hm", "Yes", "stop")


@pytest.mark.parametrize(
    ("said", "thinking", "text"),
    [
        ("<think>\nhm < 3 </thin\n</think>\n\nYes <think>no</think>", "hm < 3 </thin\n", "Yes <think>no</think>"),
        ("\n<think>hm</think>Yes", "hm", "Yes"),
        ("<thinking>hm</thinking>Yes", "hm", "Yes"),
        ("<thought>hm</thought>Yes", "hm", "Yes"),
        ("[THINK]hm[/THINK]Yes", "hm", "Yes"),
        ("<think>\n\n</think>\n\nYes", "", "Yes"),
        ("</think>\n\nYes", "", "Yes"),
        ("<think>a</think>\n<think>b</think>\nYes", "ab", "Yes"),
        ("<think>cut in the mid", "cut in the mid", ""),
        ("<think>cut in a tag</thi", "cut in a tag</thi", ""),
        ("  \n Yes", "", "  \n Yes"),
        (" \n ", "", " \n "),
        ("<thin ice>", "", "<thin ice>"),
        ("<thi", "", "<thi"),
        ("< think>Yes", "", "< think>Yes"),
        ("The tag <think> begins it.</think>", "", "The tag <think> begins it.</think>"),
    ],
)
async def test_reasoning_in_tags_is_told_from_the_answer_wherever_it_is_cut(
    transport: str, said: str, thinking: str, text: str
) -> None:
    """At the beginning only; the blanks around it are no one's."""
    sizes = [1, 2, 3, 5, 7, 100]
    async with (
        ByteServer(*(stream(*cut(said, size=size), STOP) for size in sizes)) as server,
        opened(server, transport) as upstream,
    ):
        outcomes = [await ask(upstream) for _ in sizes]

    found = [(outcome.thinking, outcome.text, outcome.end) for outcome in outcomes]
    assert found == [(thinking, text, "stop")] * len(sizes)


async def test_nothing_is_asked_again_after_reasoning(transport: str) -> None:
    """It has been shown."""
    outcome = await outcome_of(transport, stream(delta(reasoning="hm"), event({"error": {"message": "boom"}})))

    assert (outcome.thinking, outcome.end) == ("hm", "upstream_unavailable")


# --- chunks whose fields change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 10])
async def test_a_field_that_changes_now_and_then_changes_nothing(transport: str, every: int) -> None:
    """The time, the padding that OpenAI adds, the usage so far."""
    words = [f"{number} " for number in range(40)]
    chunks = [
        event(
            {
                "created": number // every,
                "obfuscation": "x" * (number % 7),
                "choices": [{"delta": {"content": word}, "finish_reason": None}],
                "usage": {"prompt_tokens": 1, "completion_tokens": number} if every == 10 else None,
            }
        )
        for number, word in enumerate(words)
    ]
    outcome = await outcome_of(transport, stream(*chunks, STOP))

    assert outcome.text == "".join(words)
    assert outcome.ending
    assert (outcome.ending.usage is None) == (every != 10)
