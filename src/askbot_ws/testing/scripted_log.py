"""ScriptedLog: the frames of one session's log, with the right positions and proofs, for the scripts of a server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .scripted_connection import ScriptedConnection

Fields = dict[str, Any]

CREATED = "2026-01-02T03:04:05.678Z"
LIMITS = {"frame_bytes": 1_048_576, "question_chars": 8000, "waiting_turns": 8}
TIMING = {"queued": 0, "first_token": 1, "total": 2}  # milliseconds


@dataclass(slots=True)
class _Turn:
    id: str
    start: int
    question: Fields
    text: str = ""
    done: Fields = field(default_factory=dict[str, Any])
    seq: int = 0


class ScriptedLog:
    """One session's log as it grows, and the frames that tell of it.

    Each method returns a frame to be put into a script of a `ScriptedServer`, and those of events also move the log's
    head: so call them in the order in which the log has them. Every method takes further fields as keywords, which
    replace its own: `log.token("late", seq=3)`, `log.done(check=None)`. What is replaced in a frame does not change the
    log.

    Attributes:
        session: The session's id.
        log: The id of this history; give another one, and the same `session`, for a history that the server lost.
        head: The position after the last event.
        events: The frames of all events, oldest first.

    Example:
        ```python
        log = ScriptedLog()
        script = [log.ready(), Receive("ask"), log.question(), log.token("Because."), log.done()]
        ```
    """

    def __init__(self, session: str = "s1", log: str = "l1") -> None:
        """Make an empty log.

        Args:
            session: The session's id.
            log: The id of this history.
        """
        self.session = session
        self.log = log
        self.head: int = 0
        self.events: list[Fields] = []
        self._starts: list[int] = []  # the positions before the events
        self._turns: dict[str, _Turn] = {}
        self._title: str | None = None

    # --- frames that are not logged ----------------------------------------------------------------------------------

    def ready(self, **fields: object) -> Fields:
        """Return `ready`, with the log's head as `seq` and as `from`: nothing follows but what is new.

        By default its `user` and `expires` are null, as for an anonymous client: see `expires_in`.

        Args:
            **fields: Fields in place of these; `from_` is the field `from`.

        Returns:
            The frame.
        """
        from_ = fields.pop("from_", self.head)
        return {
            "type": "ready",
            "session": self.session,
            "seq": self.head,
            "from": from_,
            "resumed": self.head > 0,
            "protocol": "askbot.v1",
            "server": "scripted",
            "model": "scripted",
            "limits": LIMITS,
            "models": ["scripted"],
            "log": self.log,
            "title": self._title,
            "user": None,
            "expires": None,
        } | fields

    def resume(self, **fields: object) -> Callable[[ScriptedConnection], list[Fields]]:
        """Return a step that does what a server does for a client that comes back: `ready`, and what it has missed.

        That are the events of this log, as far as it has come now, after the `after` of the client's URL; all of them
        where the client comes without one, or from another history.

        Args:
            **fields: Further fields of `ready`, or other ones.

        Returns:
            The step.
        """
        begun = {"seq": self.head, "resumed": self.head > 0, "title": self._title}
        head = self.head
        events = [*zip(self._starts, self.events, strict=True)]

        def step(connection: ScriptedConnection) -> list[Fields]:
            query = connection.query
            after = int(query.get("after", 0))
            known = query.get("session") == self.session and query.get("log", self.log) == self.log and after <= head
            begin = after if known else 0
            missed = [_cut_slice(event, start, begin) for start, event in events if event["seq"] > begin]
            return [self.ready(**begun | {"from": begin} | fields), *missed]

        return step

    def history(self, *turns: str, **fields: object) -> Fields:
        """Return `history` with turns of this log, as far as they have come now.

        Args:
            *turns: Their ids; by default all turns.
            **fields: Fields in place of its own; by default `id` is that of the request, and `more` is false.

        Returns:
            The frame.
        """
        records = [self._record(self._turns[id]) for id in turns or self._turns]
        return {
            "type": "history",
            "session": self.session,
            "id": "$history.id",
            "turns": records,
            "more": False,
        } | fields

    def authorized(self, **fields: object) -> Fields:
        """Return `authorized`, the answer to an `auth`.

        Args:
            **fields: Fields in place of its own; by default `id` is that of the `auth`, `user` is `alice`, and
                `expires` null: see `expires_in`.

        Returns:
            The frame.
        """
        return {"type": "authorized", "id": "$auth.id", "user": "alice", "expires": None} | fields

    def sessions(self, *logs: ScriptedLog, **fields: object) -> Fields:
        """Return `sessions`, a page of the user's sessions.

        Args:
            *logs: Those of the sessions, the newest first; by default this one.
            **fields: Fields in place of its own; by default `id` is that of the request, and `more` is null.

        Returns:
            The frame.
        """
        summaries = [each.summary() for each in logs or (self,)]
        return {"type": "sessions", "id": "$sessions.id", "sessions": summaries, "more": None} | fields

    def summary(self, **fields: object) -> Fields:
        """Return what `sessions` says of this session, as far as its log has come now.

        Args:
            **fields: Fields in place of its own.

        Returns:
            The JSON object.
        """
        first = next((str(turn.question["text"]) for turn in self._turns.values()), "")
        return {
            "session": self.session,
            "title": self._title or first,
            "created": CREATED,
            "updated": CREATED,
            "turns": len(self._turns),
            "seq": self.head,
            "running": any(not turn.done for turn in self._turns.values()),
        } | fields

    def error(self, code: str, **fields: object) -> Fields:
        """Return `error`.

        Args:
            code: The code.
            **fields: Further fields, such as `id="$ask.id"` or `retry_after` in milliseconds.

        Returns:
            The frame. By default it is not retryable, and names neither a frame nor a session.
        """
        return {"type": "error", "code": code, "message": f"{code}.", "retryable": False, "retry_after": None} | fields

    # --- events ------------------------------------------------------------------------------------------------------

    def question(self, text: str = "$ask.text", **fields: object) -> Fields:
        """Log a `question`, which begins a turn; the turns have the ids `t1`, `t2` and so on.

        Args:
            text: The question; by default that of the `ask` which the script has received.
            **fields: Fields in place of its own; by default `id` is that of the `ask`.

        Returns:
            The frame.
        """
        turn = str(fields.get("turn", f"t{len(self._turns) + 1}"))
        event = {"type": "question", "turn": turn, "id": "$ask.id", "text": text, "created": CREATED} | fields
        self._turns[turn] = _Turn(turn, self.head, event)
        return self._log(event, 1)

    def token(self, text: str, **fields: object) -> Fields:
        """Log a `token`.

        Args:
            text: A piece of the answer.
            **fields: Fields in place of its own; by default `turn` is the last turn.

        Returns:
            The frame.
        """
        turn = self._turn_of(fields)
        turn.text += text
        return self._log({"type": "token", "turn": turn.id, "text": text} | fields, len(text))

    def thinking(self, text: str, **fields: object) -> Fields:
        """Log a `thinking`.

        Args:
            text: A piece of the reasoning.
            **fields: Fields in place of its own; by default `turn` is the last turn.

        Returns:
            The frame.
        """
        turn = self._turn_of(fields)
        return self._log({"type": "thinking", "turn": turn.id, "text": text} | fields, len(text))

    def done(self, reason: str = "stop", **fields: object) -> Fields:
        """Log a `done`, with the proof of the turn's text.

        Args:
            reason: How the turn ends.
            **fields: Fields in place of its own; by default `turn` is the last turn.

        Returns:
            The frame.
        """
        turn = self._turn_of(fields)
        check = {"chars": len(turn.text), "sha256": hashlib.sha256(turn.text.encode()).hexdigest()}
        turn.done = {"reason": reason, "model": "scripted", "usage": None, "timing": TIMING, "check": check}
        return self._log({"type": "done", "turn": turn.id} | turn.done | fields, 1)

    def title(self, text: str = "$title.text", **fields: object) -> Fields:
        """Log a `title`; `ready` has it from then on.

        Args:
            text: The title; empty: the session has none. By default that of the `title` which the script has received.
            **fields: Fields in place of its own.

        Returns:
            The frame.
        """
        self._title = text or None
        return self._log({"type": "title", "text": text} | fields, 1)

    def event(self, type: str, **fields: object) -> Fields:
        """Log an event of a type that clients need not know; it moves the head by 1.

        Args:
            type: Its type.
            **fields: Its fields.

        Returns:
            The frame.
        """
        return self._log({"type": type} | fields, 1)

    def answer(self, *pieces: str, reason: str = "stop", text: str = "$ask.text", id: str = "$ask.id") -> list[Fields]:
        """Log a whole turn: its question, its answer and its end.

        Args:
            *pieces: The pieces of the answer.
            reason: How it ends.
            text: The question; by default that of the `ask` which the script has received.
            id: The id of the question; by default that of the `ask`.

        Returns:
            The frames.
        """
        return [self.question(text, id=id), *(self.token(piece) for piece in pieces), self.done(reason)]

    # --- forks -------------------------------------------------------------------------------------------------------

    def fork(self, turn: str, session: str = "s2") -> ScriptedLog:
        """Return the log of the session that a `fork` makes: this turn, and those before it that it does not replace.

        It has the title of this log, if there is one.

        Their questions should have texts of their own: a placeholder means the newest frame there, too.

        Args:
            turn: The turn's id.
            session: The new session's id.

        Returns:
            A log with these turns, under new ids.

        Example:
            ```python
            log = ScriptedLog()
            asked: Script = [log.ready(), Receive("ask"), *log.answer("Because.")]
            new = log.fork("t1")
            server = ScriptedServer([*asked, Receive("fork"), new.ready(id="$fork.id", from_=0), *new.events])
            ```
        """
        forked = ScriptedLog(session, self.log)
        forked._title = self._title
        for number, id in enumerate(self._shown_until(turn), start=1):
            for event in [event for event in self.events if event.get("turn") == id]:
                forked._copy(event, f"t{number}")
        if self._title is not None:
            forked.title(self._title)
        return forked

    def _shown_until(self, turn: str) -> list[str]:
        """Return a turn, and before it those that the model was shown for it."""
        shown: list[str] = []
        for id, each in self._turns.items():
            replaced = each.question.get("replaces")
            shown = [*(shown[: shown.index(replaced)] if replaced in shown else shown), id]
            if id == turn:
                break
        return shown

    def _copy(self, event: Fields, turn: str) -> None:
        left_out = {"session", "seq", "id", "replaces"} if event["type"] == "question" else {"session", "seq"}
        fields = {name: value for name, value in event.items() if name not in left_out} | {"turn": turn}
        match fields["type"]:
            case "question":
                self._turns[turn] = _Turn(turn, self.head, fields)
                self._log(fields, 1)
            case "token" | "thinking":
                (self.token if fields["type"] == "token" else self.thinking)(**fields)
            case _:
                self.done(**fields)

    def _log(self, event: Fields, length: int) -> Fields:
        self._starts.append(self.head)
        self.head += length
        frame = {"session": self.session, "seq": self.head} | event
        self.events.append(frame)
        if turn := self._turns.get(event.get("turn", "")):
            turn.seq = self.head
        return frame

    def _turn_of(self, fields: Mapping[str, object]) -> _Turn:
        return self._turns[str(fields.get("turn") or next(reversed(self._turns)))]

    def _record(self, turn: _Turn) -> Fields:
        """Return a turn as a history page has it."""
        question = {name: turn.question.get(name) for name in ("turn", "id", "text", "replaces", "created", "options")}
        ended = dict.fromkeys(("reason", "model", "usage", "timing", "check", "error")) | turn.done
        return question | {"answer": turn.text, "from": turn.start, "seq": turn.seq} | ended


def expires_in(seconds: float) -> str:
    """Return the time in so many seconds, as `ready` and `authorized` have it in `expires`.

    Args:
        seconds: From now on, by this machine's clock.

    Returns:
        The time, in RFC 3339.

    Example:
        ```python
        log = ScriptedLog()
        script = [log.ready(user="alice", expires=expires_in(5)), Receive("auth"), log.authorized()]
        ```
    """
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut_slice(event: Fields, start: int, after: int) -> Fields:
    """Return an event without the text of it that is not after a position."""
    return event | {"text": event["text"][after - start :]} if start < after and "text" in event else event
