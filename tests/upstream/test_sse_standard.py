"""The decoder gives what the standard and `json.loads` give, over random streams.

    python -m tests.upstream.test_sse_standard --streams 200000

The reference follows "interpreting an event stream" of the HTML standard line by line, on the whole body at once.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest

from askbot_ws.upstream import ThinkingText
from askbot_ws.upstream.sse import ChatStreamDecoder
from tests.seeds import CHOSEN

from .test_sse import feed

FINISHES: dict[object, str | None] = {
    None: None,
    "": None,
    "null": None,
    "stop": "stop",
    "STOP": "stop",
    "length": "length",
    "MAX_TOKENS": "length",
    "content_filter": "refused",
    "eos_token": "stop",
    "error": "error",
}
WORDS = [
    " the",
    "Hello",
    "\n\n",
    " ",
    "é",
    "🙂",
    "\ud83d",
    "\ude42",
    '"',
    "\\",
    "\u2028",
    "a\r\nb",
    "<",
    "data: x",
    "0",
]
TAGGED = ["<think>", "</think>", "<thi", "nk>", "</", "think>", "[THINK]", "[/THINK]", "\n", "hm", "Yes", "<"]
TAGS = {"<think>": "</think>", "[THINK]": "[/THINK]"}


@dataclass
class Told:
    """What a stream says."""

    text: str = ""
    thinking: str = ""
    finish: str | None = None
    model: object = None
    usage: tuple[int, int] | None = None
    failed: bool = False


# --- random streams --------------------------------------------------------------------------------------------------


class StreamMaker:
    """Makes the bytes of one random stream, and cuts them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._words = random.choice([WORDS, WORDS, TAGGED])
        self._line_end = random.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
        self._separators = random.choice([(", ", ": "), (",", ":")])
        self._ascii = random.random() < 0.5
        self._plain = random.random() < 0.5  # mostly chunks that differ in their text only
        self._changes_every = random.choice([1, 3, 1000])

    def pieces(self) -> list[bytes]:
        """The body, cut."""
        events = [self._event(number) for number in range(self._random.randrange(14))]
        if self._random.random() < 0.7:
            events += [self._framed(self._chunk({}, finish=self._random.choice([*FINISHES]))), self._framed("[DONE]")]
        if self._random.random() < 0.2:
            events.insert(0, b"\xef\xbb\xbf")
        body = b"".join(events)
        match self._random.randrange(4):
            case 0:
                return events
            case 1:
                return [bytes([byte]) for byte in body] if len(body) < 3_000 else [body]
            case 2:
                return [body.removesuffix(self._line_end)]
            case _:
                places = sorted(self._random.randrange(len(body) + 1) for _ in range(self._random.randrange(9)))
                return [body[start:end] for start, end in pairwise([0, *places, len(body)])]

    def _event(self, number: int) -> bytes:
        random = self._random
        if self._plain and random.random() < 0.85:
            return self._framed(self._chunk({"content": random.choice(self._words)}, created=number))
        if random.random() < 0.06:
            line = random.choice([b":", b": a comment", b"id: 1", b"foo: 1", b"dataa", b"\xef\xbb\xbfdata: {}"])
            return line + self._line_end * random.randrange(2 if b"{" in line else 1, 4)
        if random.random() < 0.01:
            return b"event: error" + self._line_end + self._framed("boom")
        deltas = [self._text_delta] * 5 + [self._reasoning_delta, self._odd_delta, self._parts_delta]
        chunks = [lambda: self._chunk(random.choice(deltas)())] * 10 + [self._junk, self._finish, self._usage]
        rare = [self._error, self._broken]
        return self._framed(random.choice(rare if random.random() < 0.03 else chunks)())

    def _text_delta(self) -> dict[str, Any]:
        delta = {"content": self._random.choice(self._words)}
        return delta | ({"refusal": self._random.choice(["no", None])} if self._random.random() < 0.05 else {})

    def _reasoning_delta(self) -> dict[str, Any]:
        name = self._random.choice(["reasoning", "reasoning_content"])
        return {name: self._random.choice(WORDS), "content": self._random.choice([None, "", "a"])}

    def _odd_delta(self) -> dict[str, Any]:
        odd: list[Any] = [1, 2.5, True, None, [], {}]
        return {"content": self._random.choice(odd)}

    def _parts_delta(self) -> dict[str, Any]:
        parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": [{"text": "hm"}]}, "b"]
        return {"content": self._random.sample(parts, 2)}

    def _junk(self) -> str:
        return self._random.choice([": ping", "ping", "1", "null", "[]", "", "[1]", '"a"', "{}"])

    def _finish(self) -> str:
        usage = self._random.choice([None, {"prompt_tokens": 1, "completion_tokens": 2}])
        return self._chunk(self._text_delta(), finish=self._random.choice([*FINISHES]), usage=usage)

    def _usage(self) -> str:
        usage = {"prompt_tokens": self._random.choice([3, -1, None]), "completion_tokens": self._random.randrange(9)}
        return self._dumps({"choices": [], "usage": usage, "model": "m-2"})

    def _error(self) -> str:
        return self._dumps({"error": self._random.choice([{"message": "boom"}, "boom", None, {}])})

    def _broken(self) -> str:
        return self._chunk({"content": "a"})[: self._random.randrange(1, 30)]

    def _chunk(self, delta: dict[str, Any], *, finish: object = None, usage: object = None, created: int = 0) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        fields = {"created": created // self._changes_every, "model": "m-1", "choices": [choice], "usage": usage}
        return self._dumps(fields)

    def _dumps(self, value: object) -> str:
        return json.dumps(value, ensure_ascii=self._ascii, separators=self._separators)

    def _framed(self, data: str) -> bytes:
        random = self._random
        lines = [data]
        if self._separators[0] == ", " and random.random() < 0.1:
            lines = data.replace(", ", ",\n").split("\n")  # also inside strings of ours, none of which has that
        prefix = "data:" if random.random() < 0.1 else "data: "
        fields = [prefix + line for line in lines]
        for extra in (": a comment", "id: 7", "event: message", "retry: 3"):
            if random.random() < 0.03:
                fields.insert(random.randrange(len(fields) + 1), extra)
        encoded = [field.encode(errors="surrogatepass") for field in fields]
        return b"".join(field + self._line_end for field in [*encoded, b""])


# --- the reference ---------------------------------------------------------------------------------------------------


def dispatched(body: bytes) -> Iterator[tuple[str, str]]:
    """The standard's events, each with its type and its data. The last one counts without a blank line, too."""
    kind, data = "", ""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in [*re.split("\r\n|\n|\r", text), ""]:
        if not line:
            if data:
                yield kind, data.removesuffix("\n")
            kind, data = "", ""
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "data":
                data += value + "\n"


class Reference:
    """Reads the events by `json.loads`, and the shapes that `StreamMaker` makes."""

    def __init__(self) -> None:
        self.told = Told()
        self._content = ""  # with tags
        self._fields_thinking = ""
        self._refused = False

    def read(self, body: bytes) -> Told:
        told = self.told
        for kind, raw in dispatched(body):
            data = raw.strip()
            if data == "[DONE]" or told.failed:
                break
            if kind == "error":
                told.failed = bool(data)
            elif data:
                self._read_data(data)
        tagged, told.text = without_tags(self._content)
        told.thinking = self._fields_thinking + tagged
        return told

    def _read_data(self, data: str) -> None:
        try:
            chunk: object = json.loads(data)
        except ValueError:
            self.told.failed |= data.startswith("{")
            return
        if isinstance(chunk, dict):
            self._read_chunk(cast(dict[str, Any], chunk))

    def _read_chunk(self, chunk: dict[str, Any]) -> None:
        self.told.model = self.told.model or chunk.get("model")
        if usage := chunk.get("usage"):
            counts = usage["prompt_tokens"], usage["completion_tokens"]
            self.told.usage = counts if counts[0] is not None and counts[0] >= 0 else None
        choices: list[Any] | None = chunk.get("choices")
        if choices:
            self._read_choice(choices[0])
        self.told.failed |= bool(chunk.get("error"))

    def _read_choice(self, choice: dict[str, Any]) -> None:
        delta, told = choice["delta"], self.told
        self._fields_thinking += delta.get("reasoning_content") or delta.get("reasoning") or ""
        self._read_content(delta.get("content"))
        if refusal := delta.get("refusal"):
            self._content += refusal
            self._refused = True
        finish = FINISHES[choice["finish_reason"]]
        if finish == "error":
            told.finish, told.failed = None, True
        elif finish:
            told.finish = "refused" if self._refused else finish

    def _read_content(self, content: Any) -> None:
        if isinstance(content, list):
            for part in cast(list[object], content):
                self._read_part(part)
        elif isinstance(content, str):
            self._content += content
        elif content not in (None, {}):
            self._content += json.dumps(content)

    def _read_part(self, part: Any) -> None:
        if part == "b":
            self._content += "b"
        elif part["type"] == "thinking":
            self._fields_thinking += str(part["thinking"][0]["text"])
        else:
            self._content += str(part["text"])


def without_tags(content: str) -> tuple[str, str]:
    """The reasoning in tags at the beginning of a whole text, and the rest."""
    thinking = ""
    rest, had_tag = content, False
    while True:
        stripped = rest.lstrip()
        opening = next((tag for tag in TAGS if stripped.startswith(tag)), None)
        closing = next((tag for tag in TAGS.values() if stripped.startswith(tag)), None)
        if opening:
            inner, _, rest = stripped.removeprefix(opening).partition(TAGS[opening])
            thinking += inner.lstrip()
        elif closing:
            rest = stripped.removeprefix(closing)
        else:
            return thinking, stripped if had_tag else rest
        had_tag = True


# --- both ------------------------------------------------------------------------------------------------------------


def decoded(pieces: list[bytes]) -> Told:
    decoder = ChatStreamDecoder()
    found = [text for piece in pieces for text in feed(decoder, piece)]
    found += [*decoder.finish(), *decoder.flush()]
    completion = decoder.completion
    usage = completion.usage
    return Told(
        text="".join(piece for piece in found if not isinstance(piece, ThinkingText)),
        thinking="".join(piece for piece in found if isinstance(piece, ThinkingText)),
        finish=completion.finish_reason,
        model=completion.model,
        usage=(usage.input_tokens, usage.output_tokens) if usage else None,
        failed=completion.error is not None,
    )


def check(seed: int) -> Told:
    """Compare the two for one stream. Returns what it says."""
    pieces = StreamMaker(Random(seed)).pieces()
    expected = Reference().read(b"".join(pieces))
    found = decoded(pieces)
    if sorted(expected.thinking) == sorted(found.thinking):
        found.thinking = expected.thinking  # in fields and in tags at the same time: either order
    assert found == expected, f"seed {seed}: {pieces}"
    return expected


@pytest.mark.parametrize("part", range(4))
def test_random_streams_give_what_the_standard_and_json_give(part: int) -> None:
    """However they are cut: text, reasoning, finish, usage, model, and whether they failed."""
    first = (CHOSEN or 0) * 1_000_000 + part * 1_000
    told = [check(seed) for seed in range(first, first + 1_000)]

    assert sum(bool(each.text) for each in told) > 500
    assert sum(bool(each.thinking) for each in told) > 100
    assert sum(each.failed for each in told) > 50
    assert {each.finish for each in told} == {None, "stop", "length", "refused"}


def main() -> None:
    """Compare as many streams as are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    told = [check(seed) for seed in range(given.first, given.first + given.streams)]
    facts = {name: sum(bool(getattr(each, name)) for each in told) for name in ("text", "thinking", "failed", "usage")}
    print(f"{given.streams} streams in {time.monotonic() - began:.0f} s, all equal; with: {facts}")


if __name__ == "__main__":
    main()
