"""Session write: one append to one session, as a call of a script that may be made again unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.log_tail import LogTail
from ...core.summary import LogSummary
from ...events import Done, Event, Question, Thinking, Title, Token
from .codec import Appended, encode_parts, encode_summary, join_frames, part_after
from .keys import SESSIONS_BY_UPDATE, SESSIONS_BY_USE, index_of
from .open_logs import OpenLog
from .scripts import ScriptCall, load_script
from .server_connection import Argument
from .session_scripts import session_script

MAX_UNMERGED_CHARS = 64 * 1024  # of an answer that runs: then it is merged so far


@dataclass(slots=True)
class SessionWrite:
    """One append to one session.

    Attributes:
        open_log: The session.
        events: What is appended, in order.
        fence: With which it is appended.
        start: The stored head that it follows.
        call: What appends it. Its reply is 1 where it is in the log.
        notes: What notes the session in indexes; before the first event of a session, and with later ones.
        merged: The position up to which the log is merged then.
        questions: The `seq` of the question of each turn that has not ended then; None: as before.
        message: What followers are told, where the script does not.
        uncertain: Whether it was sent and its outcome is not known.
    """

    open_log: OpenLog
    events: Sequence[Event]
    fence: str
    start: int
    call: ScriptCall
    notes: Sequence[ScriptCall]
    merged: int
    questions: dict[str, int] | None
    message: Appended | None
    uncertain: bool = False

    @property
    def head(self) -> int:
        """The stored head after it."""
        return self.events[-1].seq

    def apply(self) -> None:
        """Note in memory that it is stored, and add the events to the log there."""
        open_log = self.open_log
        for event in self.events:
            open_log.log.append_if_new(event)
        if open_log.fence != self.fence:
            return  # claimed anew since: what is stored was read then
        open_log.stored, open_log.is_new = True, False
        open_log.head = self.head
        if self.questions is not None:
            open_log.questions = self.questions
        if self.merged != open_log.merged:
            open_log.merged = self.merged
            open_log.trim()


def make_write(
    open_log: OpenLog, events: Sequence[Event], frames: Sequence[bytes], *, base: LogSummary, age: float, publish: bool
) -> SessionWrite:
    """Make the append of events that follow the stored head, at least one.

    Args:
        open_log: The session; it has a fence.
        events: The events.
        frames: The same encoded.
        base: The session's summary at the stored head.
        age: The store's age in seconds.
        publish: Whether the script tells the followers.
    """
    log, start, head, keys = open_log.log, open_log.head, events[-1].seq, open_log.keys
    joined = join_frames(frames)
    fence = open_log.fence or ""
    common = (fence, start, head, joined, int(publish))
    kinds = {*map(type, events)}
    if open_log.stored and kinds <= {Token, Thinking} and head - open_log.merged <= MAX_UNMERGED_CHARS:
        message = None if publish else Appended(start, head, open_log.merged, open_log.log.history, joined)
        call = ScriptCall(load_script("append"), keys[:2], (*common, open_log.followers))
        return SessionWrite(open_log, events, fence, start, call, (), open_log.merged, None, message)

    summary, questions, turns, asks = _fold(base, open_log.questions, events)
    must_merge = Done in kinds or head - open_log.merged > MAX_UNMERGED_CHARS
    must_merge = must_merge and log.start <= open_log.merged  # else a failover has undone what was merged
    parts = encode_parts(_merged_events(open_log, events)) if must_merge else []
    merged = parts[-1][0] if parts else open_log.merged
    told = not kinds.isdisjoint((Question, Done, Title)) or not open_log.stored
    used = not kinds.isdisjoint((Question, Done)) or not open_log.stored
    args: list[Argument] = [
        *common,
        encode_summary(summary, questions) if told else "",
        repr(age) if used else "",
        len(parts),
        len(turns),
        len(asks),
        *(("", "", "") if open_log.stored else (log.history, log.user or "", int(open_log.is_new))),
    ]
    for part in parts:
        args += part
    for turn in turns:
        args += turn
    for ask in asks:
        args += ask
    return SessionWrite(
        open_log,
        events,
        fence,
        start,
        ScriptCall(session_script("commit"), keys, tuple(args))
        if open_log.stored
        else ScriptCall(session_script("create"), keys[:1], tuple(args)),
        _notes(log.session, summary, age) if used else (),
        merged,
        questions,
        None if publish else Appended(start, head, merged, log.history, joined),
    )


def _fold(
    base: LogSummary, unfinished: Mapping[str, int], events: Sequence[Event]
) -> tuple[LogSummary, dict[str, int], list[tuple[int, str]], list[tuple[str, str]]]:
    """The summary and the unfinished turns after these events; what they add to the indexes of turns and of ask ids."""
    summary, questions = replace(base, asked={**base.asked}), {**unfinished}
    turns: list[tuple[int, str]] = []
    asks: list[tuple[str, str]] = []
    for event in events:
        summary.add(event)
        if isinstance(event, Question):
            questions[event.turn] = event.seq
            turns.append((event.seq, f"q{event.turn}"))
            if event.id is not None:
                asks.append((event.id, event.turn))
        elif isinstance(event, Done) and (question := questions.pop(event.turn, None)) is not None:
            turns.append((event.seq, f"d{question}"))
    return summary, questions, turns, asks


def _merged_events(open_log: OpenLog, events: Sequence[Event]) -> Sequence[Event]:
    """All events that are not merged yet, merged."""
    merged = LogTail(open_log.session, start=open_log.merged)
    for event in (*open_log.log.events_after(open_log.merged), *events):
        if event.seq > merged.head:
            merged.append(part_after(event, merged.head))
    return merged.read_merged(after=open_log.merged)


def _notes(session: str, summary: LogSummary, age: float) -> list[ScriptCall]:
    """What notes a session in the indexes."""
    script, updated, of_user = load_script("note"), repr(summary.updated), index_of(summary.user)
    everywhere = (SESSIONS_BY_UPDATE, SESSIONS_BY_USE)
    if summary.user is None:
        return [ScriptCall(script, (*everywhere, of_user), (session, updated, repr(age), updated))]
    return [
        ScriptCall(script, (of_user,), (session, updated)),
        ScriptCall(script, everywhere, (session, updated, repr(age))),
    ]
