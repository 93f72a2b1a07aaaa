"""Codec: events, summaries and messages as bytes, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from ...core.log_tail import suffix_after
from ...core.summary import LogSummary
from ...events import EVENT_TYPES, Event, LaterEvent, TextSlice, Thinking, decode_event, encode_event, make_token

MERGED_PART_BYTES = 64 * 1024  # of the frames in one merged part: what a reader gets at least
UNDECODABLE = (ValueError, KeyError, TypeError)  # is raised for what a later version writes
_SEPARATOR = b"\n"  # which no JSON object has


# --- events ----------------------------------------------------------------------------------------------------------


def join_frames(frames: Sequence[bytes]) -> bytes:
    """Join frames to the value of one entry of a stream."""
    return frames[0] if len(frames) == 1 else _SEPARATOR.join(frames)


def split_frames(joined: bytes) -> list[bytes]:
    """The frames of an entry."""
    return joined.split(_SEPARATOR)


def decode_frame(frame: bytes, *, before: int | None = None) -> Event:
    """Decode a frame that an owner has encoded: text without the validation that `decode_event` does.

    Args:
        frame: The event.
        before: The log's head before it, if that is known; an event of a later version counts as 1 long else.
    """
    fields: dict[str, Any] = orjson.loads(frame)
    kind = fields["type"]
    if kind == "token":
        return make_token(fields["session"], fields["turn"], fields["seq"], fields["text"])
    if kind == "thinking":
        return Thinking(session=fields["session"], turn=fields["turn"], seq=fields["seq"], text=fields["text"])
    if kind in EVENT_TYPES:
        return decode_event(frame)
    seq: int = fields["seq"]
    return LaterEvent(
        session=fields["session"], seq=seq, type=kind, before=seq - 1 if before is None else before, frame=frame
    )


def decode_frames(frames: Iterable[bytes], *, before: int | None = None) -> list[Event]:
    """Decode frames that follow each other; `before` is the log's head before them, if that is known."""
    events: list[Event] = []
    for frame in frames:
        event = decode_frame(frame, before=before)
        events.append(event)
        before = event.seq
    return events


def decode_entries(entries: Iterable[bytes]) -> list[Event]:
    """The events of entries that follow each other, in order."""
    return decode_frames(frame for joined in entries for frame in split_frames(joined))


def part_after(event: Event, position: int) -> Event:
    """What of an event lies after a position that is before its end."""
    return suffix_after(event, after=position) if isinstance(event, TextSlice) and event.start < position else event


def events_after(events: Iterable[Event], position: int) -> list[Event]:
    """The events after a position, the first one cut there."""
    return [part_after(event, position) for event in events if event.seq > position]


def encode_parts(events: Iterable[Event]) -> list[tuple[int, bytes]]:
    """Encode merged events as parts of about `MERGED_PART_BYTES`, each with the `seq` of its last event."""
    parts: list[tuple[int, bytes]] = []
    frames: list[bytes] = []
    size = end = 0
    for event in events:
        frame = encode_event(event)
        if frames and size + len(frame) > MERGED_PART_BYTES:
            parts.append((end, join_frames(frames)))
            frames, size = [], 0
        frames.append(frame)
        size += len(frame) + 1
        end = event.seq
    if frames:
        parts.append((end, join_frames(frames)))
    return parts


# --- summaries -------------------------------------------------------------------------------------------------------


def encode_summary(summary: LogSummary, questions: dict[str, int]) -> bytes:
    """Encode a summary but for the user; `questions` has the `seq` of the question of each turn that has not ended."""
    asked = {turn: (created, questions.get(turn, 0)) for turn, created in summary.asked.items()}
    return orjson.dumps((summary.title, summary.question, summary.created, summary.updated, summary.turns, asked))


def decode_summary(encoded: bytes, user: bytes | None) -> tuple[LogSummary, dict[str, int]]:
    """What `encode_summary` was given."""
    title, question, created, updated, turns, asked = orjson.loads(encoded)
    summary = LogSummary(
        None if user is None else user.decode(),
        title,
        question,
        created,
        updated,
        turns,
        {turn: at for turn, (at, _) in asked.items()},
    )
    return summary, {turn: seq for turn, (_, seq) in asked.items() if seq}


# --- messages --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appended:
    """The owner appended events to the log.

    Attributes:
        start: The log's head before them.
        head: The log's head after them.
        merged: The position up to which the log is merged.
        history: The id of the log's history.
        frames: The events, joined.
    """

    start: int
    head: int
    merged: int
    history: str
    frames: bytes

    def encode(self) -> bytes:
        """The message, as scripts make it."""
        return f"A {self.start} {self.head} {self.merged} {self.history}\n".encode() + self.frames


@dataclass(frozen=True, slots=True)
class Deleted:
    """A node deleted the session."""

    node: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A node became the owner, with this fence, instead of the one that follows this channel."""

    fence: str


Message: TypeAlias = Appended | Deleted | Claimed


def decode_message(data: bytes) -> Message:
    """Decode a message. Raises ValueError."""
    header, _, frames = data.partition(_SEPARATOR)
    match header.decode().split(" "):
        case ["A", start, head, merged, history]:
            return Appended(int(start), int(head), int(merged), history, frames)
        case ["D", node]:
            return Deleted(node)
        case ["C", fence]:
            return Claimed(fence)
        case _:
            raise ValueError("it is no message of this version")
