"""Log tail: the newest part of a session's log, in memory.

Adjacent slices of one type and turn are merged into one event; the newest are kept as plain strings until then, so a
token costs little more than its text. What lies before `start` is in the store only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

from ..events import Done, Event, LaterEvent, TextSlice, Thinking, Token
from .summary import LogSummary

Slice = TypeVar("Slice", bound=TextSlice)

SLICE_BYTES = 32 * 1024  # bytes of text in one frame, at most
MAX_TOKEN_CHARS = SLICE_BYTES // 4  # code points that fit into a slice, whatever they are
MAX_MERGED_CHARS = 2048  # code points up to which a kept slice is extended: each extension copies it
MAX_PENDING_TEXTS = 16  # strings that are joined at once: one by one, each would make an event


def utf8_size(text: str) -> int:
    """Return the length of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class LogTail:
    """The events of one session in (start, head], oldest first."""

    __slots__ = (
        "_events",
        "_pending_answer",
        "_pending_texts",
        "_pending_thinking",
        "head",
        "history",
        "session",
        "start",
        "summary",
    )

    def __init__(
        self,
        session: str,
        *,
        start: int = 0,
        history: str = "",
        user: str | None = None,
        summary: LogSummary | None = None,
    ) -> None:
        """Make a log that begins after `start`.

        Args:
            session: The session's id.
            start: The position up to which the events are in the store only.
            history: `ready.log` on the wire: an id of the stored history, which changes where the store lost any.
            user: Who made the session.
            summary: The summary as of `start`, which has the user; None: the session begins here.
        """
        self.session: str = session
        self.history: str = history
        self.start: int = start
        self.summary: LogSummary = summary or LogSummary(user)  # as of the head
        self.head: int = start
        self._events: list[Event] = []  # all but the pending texts
        self._pending_texts: list[str] = []  # the newest slices of one type and turn, up to the head
        self._pending_answer: str = ""  # the turn of the pending texts, where they are of its answer
        self._pending_thinking: str = ""  # the turn of the pending texts, where they are of its reasoning

    @property
    def user(self) -> str | None:
        """Who made the session; None: an anonymous client did."""
        return self.summary.user

    @property
    def events(self) -> list[Event]:
        """All events in memory, oldest first."""
        self._join_pending()
        return self._events

    def append(self, event: Event) -> None:
        """Append the event that follows the head. Raises `ValueError` for any other: there is a second writer."""
        if event.start != self.head:
            raise ValueError(f"the log is at {self.head}, the event begins at {event.start}")
        self.append_if_new(event)

    def append_if_new(self, event: Event) -> None:
        """Append the event that follows the head, unchecked; does nothing with one that is here already."""
        seq = event.seq
        if seq <= self.head:
            return
        if type(event) is Token:
            texts = self._pending_texts
            if event.turn != self._pending_answer or len(texts) >= MAX_PENDING_TEXTS:
                self._join_pending()
                self._pending_answer, self._pending_thinking = event.turn, ""
            texts.append(event.text)
        elif type(event) is Thinking:
            texts = self._pending_texts
            if event.turn != self._pending_thinking or len(texts) >= MAX_PENDING_TEXTS:
                self._join_pending()
                self._pending_answer, self._pending_thinking = "", event.turn
            texts.append(event.text)
        else:
            self._join_pending()
            self._events.append(event)
            self.summary.add(event)
        self.head = seq

    def _join_pending(self) -> None:
        """Make the pending texts one event, merged with the slice before it where that is short."""
        if not self._pending_texts:
            return
        kind, turn = (Token, self._pending_answer) if self._pending_answer else (Thinking, self._pending_thinking)
        last = self._events[-1] if self._events else None
        if isinstance(last, kind) and last.turn == turn and len(last.text) < MAX_MERGED_CHARS:
            self._pending_texts.insert(0, last.text)
            self._events.pop()
        text = "".join(self._pending_texts)
        self._events.append(kind(session=self.session, turn=turn, seq=self.head, text=text))
        self._pending_texts.clear()

    def read(self, *, after: int, limit: int = SLICE_BYTES) -> list[Event]:
        """Return the events after `after`, merged, up to about `limit` bytes of text; empty at the head.

        Raises `ValueError` where `after` is before `start`: that part is in the store.
        """
        return merge(self.events_after(after), after=after, limit=limit)

    def events_after(self, after: int) -> list[Event]:
        """Return the kept events whose `seq` is beyond `after`. Raises `ValueError` where that is before `start`."""
        if after < self.start:
            raise ValueError(f"the log in memory begins at {self.start}, after {after}")
        events = self.events
        return events[bisect_right(events, after, key=_seq_of) :]

    def read_merged(self, *, after: int, limit: int | None = None) -> list[Event]:
        """Return the events after `after`, merged as by `read`, up to the head or to about `limit` bytes.

        At least one slice is returned where there is any. Raises `ValueError` where `after` is before `start`.
        """
        found: list[Event] = []
        room = limit
        while after < self.head and (room is None or room > 0):
            part = self.read(after=after)
            found += part
            after = part[-1].seq
            if room is not None:
                room -= sum(wire_size(event) for event in part)
        return found

    def trim(self, *, keep: int, until: int) -> None:
        """Remove the oldest events, none beyond the `seq` `until`, so that at most `keep` bytes of those remain."""
        total = 0
        events = self.events
        for index in range(len(events) - 1, -1, -1):
            event = events[index]
            total += wire_size(event)
            if total > keep and event.seq <= until:
                self.start = event.seq
                del events[: index + 1]
                return


def _seq_of(event: Event) -> int:
    return event.seq


def wire_size(event: Event) -> int:
    """Return about how many bytes an event has on the wire."""
    match event:
        case TextSlice():
            return utf8_size(event.text)
        case Done():
            return 400
        case LaterEvent():
            return len(event.frame)
        case _:
            return 200 + utf8_size(event.text)


def join_slices(one: Slice, other: TextSlice) -> Slice:
    """Join two adjacent slices of one type and turn."""
    return type(one)(session=one.session, turn=one.turn, seq=other.seq, text=one.text + other.text)


def _joined(run: Sequence[Slice]) -> Slice:
    first = run[0]
    text = "".join([part.text for part in run])
    return type(first)(session=first.session, turn=first.turn, seq=run[-1].seq, text=text)


def suffix_after(part: Slice, *, after: int) -> Slice:
    """Return the part after `after` of a slice that contains this position."""
    return type(part)(session=part.session, turn=part.turn, seq=part.seq, text=part.text[after - part.start :])


def truncate(part: Slice, *, limit: int) -> Slice:
    """Return the first part of a slice: at most `limit` bytes of UTF-8, but at least one code point."""
    if utf8_size(part.text) <= limit:
        return part
    text = part.text.encode()[:limit].decode(errors="ignore") or part.text[0]
    return type(part)(session=part.session, turn=part.turn, seq=part.start + len(text), text=text)


def merge(events: Sequence[Event], *, after: int, limit: int = SLICE_BYTES) -> list[Event]:
    """Return the events after `after` for a reader: the first one cut there, adjacent slices of a type and turn joined.

    Stops at about `limit` bytes in all; reading on from the last `seq` gives the rest.
    """
    merged: list[Event] = []
    run: list[Token | Thinking] = []  # adjacent slices, joined at once: one by one would copy quadratically
    room = limit

    def close_run() -> None:
        if run:
            merged.append(run[0] if len(run) == 1 else _joined(run))
            run.clear()

    for event in events:
        if event.seq <= after:
            continue
        if room <= 0:
            break
        if isinstance(event, TextSlice):
            part = suffix_after(event, after=after) if event.start < after else event
            kept = truncate(part, limit=room)
            if utf8_size(kept.text) > room < limit:
                break  # not even one code point fits any more
            if run and (run[-1].turn != kept.turn or type(run[-1]) is not type(kept)):
                close_run()
            run.append(kept)
            room -= utf8_size(kept.text)
            if kept.seq != part.seq:
                break
        else:
            close_run()
            merged.append(event)
            room -= wire_size(event)
    close_run()
    return merged
