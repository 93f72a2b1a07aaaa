"""Log: the newest part of a session's log, in memory.

Neighbouring slices of one answer are kept as one event, the newest as bare text until then, so a token costs its text
and little more. What lies before `start` is in the store only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ..events import Event, Token

SLICE_BYTES = 32 * 1024  # bytes of text in one frame
MAX_TOKEN_CHARS = SLICE_BYTES // 4  # code points that surely fit into one
MAX_MERGED_CHARS = 2048  # code points up to which neighbours are kept as one: joining on costs a copy each time
MAX_PENDING_TEXTS = 16  # texts that come before they are joined: one by one it would cost a fresh event each time


def utf8_size(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class LogTail:
    """The events in (start, head], oldest first, and what is known of those before."""

    __slots__ = ("_events", "_pending_texts", "_pending_turn", "head", "history", "session", "start")

    def __init__(self, session: str, *, start: int = 0, history: str = "") -> None:
        """`history` names what the store has kept of this session; it is another one where that lost any of it."""
        self.session = session
        self.history = history
        self.start = start
        self.head = start
        self._events: list[Event] = []  # all but the newest text
        self._pending_texts: list[str] = []  # that text as it came, of one turn, up to the head
        self._pending_turn = ""

    @property
    def events(self) -> list[Event]:
        """What is in memory, oldest first."""
        self._join_pending()
        return self._events

    def append(self, event: Event) -> None:
        """Add the event that follows the head. Raises ValueError for any other: then a writer too many is about."""
        if event.start != self.head:
            raise ValueError(f"the log is at {self.head}, the event begins at {event.start}")
        self.append_if_new(event)

    def append_if_new(self, event: Event) -> None:
        """Add an event of which it is known that it follows the head, or stands here already."""
        seq = event.seq
        if seq <= self.head:
            return
        if type(event) is Token:
            texts = self._pending_texts
            if event.turn != self._pending_turn or len(texts) >= MAX_PENDING_TEXTS:
                self._join_pending()
                self._pending_turn = event.turn
            texts.append(event.text)
        else:
            self._join_pending()
            self._events.append(event)
        self.head = seq

    def _join_pending(self) -> None:
        """Make the newest text one event, with that before it where they are neighbours and it is short."""
        if not self._pending_texts:
            return
        last = self._events[-1] if self._events else None
        if type(last) is Token and last.turn == self._pending_turn and len(last.text) < MAX_MERGED_CHARS:
            self._pending_texts.insert(0, last.text)
            self._events.pop()
        text = "".join(self._pending_texts)
        self._events.append(Token(session=self.session, turn=self._pending_turn, seq=self.head, text=text))
        self._pending_texts.clear()

    def read(self, *, after: int, limit: int = SLICE_BYTES) -> list[Event]:
        """What follows `after`, merged, up to about `limit` bytes of text; empty at the head.

        Raises ValueError where `after` is before `start`: that part is in the store.
        """
        return merge(self.events_after(after), after=after, limit=limit)

    def events_after(self, after: int) -> list[Event]:
        """The events, as they are kept, that reach beyond a place. Raises ValueError where it is before `start`."""
        if after < self.start:
            raise ValueError(f"the log in memory begins at {self.start}, after {after}")
        events = self.events
        return events[bisect_right(events, after, key=_seq_of) :]

    def read_slices(self, *, after: int, limit: int | None = None) -> list[Event]:
        """What follows `after`, merged as `read` does it: all of it, or about `limit` bytes of text, at least a slice.

        Raises ValueError where `after` is before `start`.
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

    def evict(self, *, keep: int, until: int) -> None:
        """Forget the oldest events up to the place `until`, so that of those at most `keep` bytes remain."""
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
    """About how many bytes an event has on the wire."""
    match event:
        case Token():
            return utf8_size(event.text)
        case _:
            return 400 if event.type == "done" else 200 + utf8_size(event.text)


def join_tokens(one: Token, other: Token) -> Token:
    """Two neighbouring slices of one answer as one."""
    return Token(session=one.session, turn=one.turn, seq=other.seq, text=one.text + other.text)


def _joined(run: Sequence[Token]) -> Token:
    text = "".join([token.text for token in run])
    return Token(session=run[0].session, turn=run[0].turn, seq=run[-1].seq, text=text)


def suffix_after(token: Token, *, after: int) -> Token:
    """What follows `after` of a slice that contains that place."""
    return Token(session=token.session, turn=token.turn, seq=token.seq, text=token.text[after - token.start :])


def truncate(token: Token, *, limit: int) -> Token:
    """The first part of a slice, at most `limit` bytes of UTF-8, but at least one code point."""
    if utf8_size(token.text) <= limit:
        return token
    text = token.text.encode()[:limit].decode(errors="ignore") or token.text[0]
    return Token(session=token.session, turn=token.turn, seq=token.start + len(text), text=text)


def merge(events: Sequence[Event], *, after: int, limit: int = SLICE_BYTES) -> list[Event]:
    """The events after a place, as a reader gets them: the first one cut, neighbours joined, slices of `limit` bytes.

    Stops at about `limit` bytes in all; the reader comes again for the rest.
    """
    merged: list[Event] = []
    run: list[Token] = []  # neighbours, to be joined at once: joining them one by one would copy quadratically
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
        if type(event) is Token:
            token = suffix_after(event, after=after) if event.start < after else event
            kept = truncate(token, limit=room)
            if utf8_size(kept.text) > room < limit:
                break  # not even one code point fits any more
            if run and run[-1].turn != kept.turn:
                close_run()
            run.append(kept)
            room -= utf8_size(kept.text)
            if kept.seq != token.seq:
                break
        else:
            close_run()
            merged.append(event)
            room -= wire_size(event)
    close_run()
    return merged
