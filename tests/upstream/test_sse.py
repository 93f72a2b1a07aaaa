"""The decoder: the same facts, however the bytes are cut, and no way to make it fall."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.errors import ContextTooLong, UpstreamError, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable
from askbot_ws.events import Usage
from askbot_ws.upstream import ThinkingText, sse
from askbot_ws.upstream.sse import BLANK_LINE, MAX_EVENT_BYTES, ChatStreamDecoder

DONE = b"data: [DONE]\n\n"


def event(chunk: object) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode(errors="surrogatepass")


def chunk(text: str | None = None, *, finish: str | None = None, **facts: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None} | facts)


def feed(decoder: ChatStreamDecoder, data: bytes) -> Sequence[str]:
    """What a piece of the body says, decoded as CompletionAttempt does."""
    text = decoder.match_template(data)
    return decoder.feed(data) if text is None else [text]


def decoded(*pieces: bytes) -> tuple[str, ChatStreamDecoder]:
    """The answer, without the reasoning."""
    decoder = ChatStreamDecoder()
    found = [text for piece in pieces for text in feed(decoder, piece)]
    return answer_of([*found, *decoder.flush()]), decoder


def answer_of(pieces: Iterable[str]) -> str:
    return "".join(piece for piece in pieces if not isinstance(piece, ThinkingText))


def facts(decoder: ChatStreamDecoder) -> tuple[object, ...]:
    told = decoder.completion
    error = told.error and (type(told.error), str(told.error.__cause__))
    return decoder.is_over, told.finish_reason, told.model, told.usage, error


TYPICAL = (
    chunk("", model="m-1")
    + chunk("Héllo ")
    + b": a comment\n\n"
    + chunk("wörld 🙂\r\n")
    + chunk(finish="stop")
    + event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    + DONE
)


def test_a_typical_stream_gives_its_text_and_its_facts() -> None:
    """What the provider said, named and counted."""
    text, decoder = decoded(TYPICAL)

    assert text == "Héllo wörld 🙂\r\n"
    assert facts(decoder) == (True, "stop", "m-1", Usage(input_tokens=3, output_tokens=2), None)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_cut_after_every_byte_it_is_the_same(line_end: bytes) -> None:
    """Inside UTF-8 characters, and between the halves of a line end."""
    stream = TYPICAL.replace(b"\n", line_end)
    text, decoder = decoded(*(bytes([byte]) for byte in stream))

    assert text == "Héllo wörld 🙂\r\n"
    assert facts(decoder) == facts(decoded(TYPICAL)[1])


lines = st.sampled_from(
    [
        *TYPICAL.split(b"\n"),
        b"",
        b"data",
        b"data:",
        b"data: ",
        b"data:{}",
        b"data: 1",
        b"data: {",
        b"event: error",
        b"id: 1",
        b"\xef\xbb\xbfdata: {}",
        b"\xff\xfe",
        b'data: {"choices":',
        b'data: [{"delta":{"content":"two lines"}}]}',
        b'data: {"error":{"message":"no","code":500}}',
    ]
)


@given(
    stream=st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"]))),
    cuts=st.lists(st.integers(0, 2_000)),
)
def test_any_bytes_cut_anywhere_give_the_same_facts(stream: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """Sense and nonsense, every line end, every cut."""
    body = b"".join(line + end for line, end in stream)
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    whole_text, whole = decoded(body)
    cut_text, cut = decoded(*(body[start:end] for start, end in pairwise(places)))

    assert cut_text == whole_text
    assert facts(cut) == facts(whole)


KEYS = ["choices", "delta", "content", "refusal", "finish_reason", "usage", "model", "error", "code", "message", "text"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
)


@given(json_values)
def test_no_json_makes_it_fall(value: object) -> None:
    """A wrong shape is a fact like any other."""
    _, decoder = decoded(event(value), chunk("after"))

    assert decoder.completion.error is None or isinstance(decoder.completion.error, UpstreamError)
    facts(decoder)


@given(st.binary())
def test_no_bytes_make_it_fall(data: bytes) -> None:
    """Nor does what is not JSON, nor UTF-8."""
    decoder = ChatStreamDecoder()
    decoder.feed(data)
    decoder.feed(BLANK_LINE)
    facts(decoder)


def alike(text: Any, **facts: Any) -> bytes:
    """A chunk as OpenAI writes it: they differ in their text only."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None} | facts
    return event({"id": "chatcmpl-7", "created": 7, "model": "m", "choices": [choice], "usage": None})


odd_chunks = st.sampled_from(
    [
        alike(None),
        alike(7),
        alike(["a"]),
        alike([{"type": "text", "text": "a part"}]),
        alike("cut", finish_reason="length"),
        alike("no", delta={"content": "", "refusal": "I won't"}),
        alike("", delta={"content": "x", "tool_calls": [{"function": {"arguments": "content"}}]}),
        alike("m").replace(b'"m"', b'"n"', 1),
        alike("?").replace(b"chatcmpl-7", b"chatcmpl-8"),
        alike('x"},"logprobs":null,"finish_reason":"stop"}],"usage":null}'),
        alike("x").replace(b'"x"', b'"x","content":"y"'),
        alike("x").replace(b'"x"', b'"x" "y"'),
        alike("x").replace(b'"x"', b'"\\ud83d"'),
        alike("x").replace(b'"x"', b'"\\ude00"'),
        alike("x").replace(b'"x"', b'"a\nb"'),
        alike("x").replace(b'"x"', b""),
        alike("x").replace(b"null}\n\n", b'{"prompt_tokens":1,"completion_tokens":2}}\n\n'),
        event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        event({"error": {"message": "no"}}),
        b": a comment\n\n",
        DONE,
    ]
)


texts = st.text(max_size=5) | st.sampled_from(["m", "chatcmpl-7", "content", "a", "b"])


@given(st.lists(texts.map(alike) | odd_chunks, max_size=20), st.booleans())
def test_what_was_learned_of_a_chunk_changes_nothing(chunks: list[bytes], spaced: bool) -> None:  # noqa: FBT001
    """Chunks that differ in their text only are read by their text only: text and facts are those of reading it all."""
    body = b"".join(chunks)
    body = body if spaced else body.replace(b": ", b":").replace(b", ", b",").replace(b"data:", b"data: ")
    learned, unlearned = ChatStreamDecoder(), ChatStreamDecoder()
    text = answer_of([*learned.feed(body), *learned.finish()])
    singly = ChatStreamDecoder()
    assert text == answer_of(piece for event in body.split(BLANK_LINE) for piece in feed(singly, event + BLANK_LINE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "MAX_TEMPLATE_ATTEMPTS", 0)
        assert text == answer_of([*unlearned.feed(body), *unlearned.finish()])
    assert facts(learned) == facts(singly) == facts(unlearned)


def test_a_text_that_stands_elsewhere_too_is_not_mistaken() -> None:
    """What is around the first place where it stands is not what is around the text."""
    text, _ = decoded(alike("m"), alike("m"), alike("m").replace(b'"m"', b'"n"', 1), alike("x"))

    assert text == "mmmx"


@pytest.mark.parametrize("end", [DONE, event({"error": {"message": "no"}}), b"data: {nonsense\n\n"])
def test_what_is_over_stays_over(end: bytes) -> None:
    """However well what follows is known."""
    text, decoder = decoded(*(alike(word) for word in "abc"), end, alike("d"), alike("e"))

    assert text == "abc"
    assert decoder.is_over


def test_a_chunk_like_the_one_before_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes a token cheap."""
    chunks = [alike(f"{number} ") for number in range(100)]
    loads, read = orjson.loads, 0

    def count(data: bytes) -> object:
        nonlocal read
        read += len(data)
        return loads(data)

    monkeypatch.setattr(orjson, "loads", count)
    text, _ = decoded(*chunks)

    assert text == "".join(f"{number} " for number in range(100))
    assert read < 10 * max(map(len, chunks))


def test_a_field_that_changes_now_and_then_is_learned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the time: most chunks are still not read whole."""
    chunks = [alike(f"{number} ").replace(b'"created": 7', b'"created": %d' % (number // 10)) for number in range(300)]
    loads, read = orjson.loads, 0

    def count(data: bytes) -> object:
        nonlocal read
        read += len(data)
        return loads(data)

    monkeypatch.setattr(orjson, "loads", count)
    text, _ = decoded(*chunks)

    assert text == "".join(f"{number} " for number in range(300))
    assert read < 100 * max(map(len, chunks))


@pytest.mark.parametrize("field", ["usage", "reasoning"])
def test_a_chunk_that_has_more_than_text_is_always_read(field: str) -> None:
    """However often it comes."""
    if field == "usage":
        chunks = [chunk("a", usage={"prompt_tokens": 1, "completion_tokens": 1}) for _ in range(4)]
        other = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 9}})
        decoder = decoded(*chunks, other, chunks[0])[1]
        assert decoder.completion.usage == Usage(input_tokens=1, output_tokens=1)
    else:
        both = event({"choices": [{"delta": {"content": "a", "reasoning": "hm"}}]})
        decoder = ChatStreamDecoder()
        assert [len(decoder.feed(both)) for _ in range(4)] == [2, 2, 2, 2]


def test_several_events_in_a_read_are_one_text() -> None:
    """What arrived together leaves together."""
    assert ChatStreamDecoder().feed(chunk("a") + chunk("b") + chunk("c")) == ["abc"]


def test_data_on_several_lines_is_joined() -> None:
    """As the standard says, between other fields and comments."""
    text, _ = decoded(b': hi\ndata: {"choices":\nid: 1\ndata:[{"delta":{"content":"a"}}]}\n\n')

    assert text == "a"


def test_half_surrogates_come_through() -> None:
    """Escaped halves, as some servers send; whoever joins the pieces has the whole."""
    text, decoder = decoded(
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude42"}}]}\n\n',
    )

    assert text == "\ud83d\ude42"
    assert decoder.completion.error is None


def test_a_last_event_without_its_blank_line_counts() -> None:
    """Some servers close right behind it."""
    decoder = ChatStreamDecoder()

    assert decoder.feed(chunk("a", finish="stop")[:-2]) == []
    assert decoder.finish() == ["a"]
    assert decoder.completion.finish_reason == "stop"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "refused"),
        ("tool_calls", "stop"),
        ("eos", "stop"),
        ("", None),
        (None, None),
    ],
)
def test_each_finish_has_its_reason(finish: str | None, reason: str | None) -> None:
    """What nobody knows is a stop."""
    assert decoded(chunk("a", finish=finish))[1].completion.finish_reason == reason


def test_a_finish_that_is_a_failure_is_an_error() -> None:
    """Some servers have no other way to say it."""
    decoder = decoded(chunk("a", finish="error"))[1]

    assert decoder.completion.finish_reason is None
    assert isinstance(decoder.completion.error, UpstreamUnavailable)


def test_a_refusal_is_text_and_a_reason() -> None:
    """The user sees what the model says, and that it refused."""
    text, decoder = decoded(
        event({"choices": [{"delta": {"content": None, "refusal": "I can't "}}]}),
        event({"choices": [{"delta": {"refusal": "do that."}}]}),
        chunk(finish="stop"),
    )

    assert (text, decoder.completion.finish_reason) == ("I can't do that.", "refused")


def test_reasoning_is_told_from_the_answer() -> None:
    """It comes in order, as what it is."""
    said = {"choices": [{"delta": {"reasoning_content": "hm", "content": "Yes"}}]}
    pieces = ChatStreamDecoder().feed(event(said))

    assert [(type(piece), piece) for piece in pieces] == [(ThinkingText, "hm"), (str, "Yes")]


def test_text_in_parts_is_text() -> None:
    """As Mistral's reasoning models send it, beside what they think."""
    parts: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]

    assert decoded(event({"choices": [{"delta": {"content": parts}}]}))[0] == "ab"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ({"error": {"message": "boom", "type": "server_error", "code": None}}, UpstreamUnavailable),
        ({"error": {"message": "slow down", "type": "rate_limit_error"}}, UpstreamRateLimited),
        ({"error": {"message": "no", "code": 429}}, UpstreamRateLimited),
        ({"error": {"message": "no", "code": 502}}, UpstreamUnavailable),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, UpstreamRejected),
        ({"error": {"message": "no", "code": "context_length_exceeded"}}, ContextTooLong),
        ({"error": {"message": "the request exceeds the available context size", "code": 400}}, ContextTooLong),
        ({"error": "out of memory"}, UpstreamUnavailable),
        ({"object": "error", "message": "no", "code": 400}, UpstreamRejected),
    ],
)
def test_an_error_in_the_stream_is_an_error_with_the_text_before_it(
    said: dict[str, Any], cause: type[UpstreamError]
) -> None:
    """In any of the shapes that servers use; what follows counts no more."""
    text, decoder = decoded(chunk("a") + event(said) + chunk("b"), chunk("c"))

    assert text == "a"
    assert type(decoder.completion.error) is cause


@pytest.mark.parametrize(
    "data", [b"{", b'{"choices":[1]}', b'{"choices":{"a":1}}', b'{"choices":[{"delta":{"content":"lo']
)
def test_a_malformed_event_is_an_error_with_the_text_before_it(data: bytes) -> None:
    """And nothing of it is repeated: it may be somebody's answer."""
    text, decoder = decoded(chunk("a") + b"data: " + data + b"\n\n" + chunk("b"))

    assert text == "a"
    assert isinstance(decoder.completion.error, UpstreamUnavailable)
    assert decoder.completion.error.message == "The model's answer broke off."


def test_nesting_without_end_is_malformed() -> None:
    """It costs no stack."""
    depth = 100_000

    assert decoded(b"data: " + b"[" * depth + b"]" * depth + b"\n\n")[1].completion.error is not None


@pytest.mark.parametrize("line_end", [b"", b"\n\n"])
def test_an_event_without_end_is_an_error(line_end: bytes) -> None:
    """Memory has a bound."""
    decoder = ChatStreamDecoder()
    decoder.feed(b"data: ")
    for _ in range(MAX_EVENT_BYTES // 65_536):
        decoder.feed(b"x" * 65_536)
    decoder.feed(line_end)

    assert isinstance(decoder.completion.error, UpstreamUnavailable)


def test_after_done_nothing_counts() -> None:
    """[DONE] is the end."""
    assert decoded(DONE + chunk("late"), chunk("later"))[0] == ""


@pytest.mark.parametrize(
    "usage",
    [
        [],
        "many",
        {"prompt_tokens": 1},
        *({"prompt_tokens": count, "completion_tokens": 1} for count in (-1, 2**53, 10**30, True, 1.5, "1", None)),
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    ],
)
def test_usage_that_makes_no_sense_is_none(usage: object) -> None:
    """It is not worth an answer."""
    assert decoded(event({"choices": [], "usage": usage}))[1].completion.usage is None


@pytest.mark.parametrize(
    ("model", "expected"),
    [("m\ud800", "m\ufffd"), ("\ude00m", "\ufffdm"), ("m" * 1000, "m" * 200), (7, None), (["m"], None), ("", None)],
)
def test_the_model_is_a_name_that_the_log_can_keep(model: object, expected: str | None) -> None:
    """One that can't be encoded would stop its session's log."""
    assert (
        decoded(b"data: " + json.dumps({"model": model, "choices": []}).encode() + b"\n\n")[1].completion.model
        == expected
    )


def test_what_an_error_says_is_well_formed_and_capped() -> None:
    """It is in the server's log."""
    said = {"error": {"code": "c\ud800" * 1000, "message": "m\ud800" * 10_000}}
    error = decoded(b"data: " + json.dumps(said).encode() + b"\n\n")[1].completion.error

    assert error is not None
    assert len(str(error.__cause__)) == 2000
    assert str(error.__cause__).encode()
