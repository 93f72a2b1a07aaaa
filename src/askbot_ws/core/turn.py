"""Turn: one question being answered.

A machine without I/O: it is told what happened and when (seconds of any steady clock).

    WAITING --start--> ANSWERING --end--> ENDED      (end is legal from WAITING too: a cancel)
    WAITING <--its end could not be logged-- ENDED   (where it had not begun)

It keeps the answer as UTF-8: the proof of the answer is made of that, and a byte a letter is the least it can cost.
What is too long to be shown to the model again is not kept: the proof goes on without it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from ..errors import TurnNotFound
from ..events import Check, Options, Timing
from .text import SURROGATE


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes | bytearray, /) -> None:
        """Take more."""

    def copy(self) -> Hash:
        """Another one that has taken the same."""
        ...

    def hexdigest(self) -> str:
        """The hash of all that was taken."""
        ...


class TurnState(Enum):
    """Where a turn stands."""

    WAITING = auto()
    ANSWERING = auto()
    ENDED = auto()


ANSWERING = TurnState.ANSWERING  # looked at for each token, and an attribute of an Enum costs ten times as much


def turn_id_of(seq: int) -> str:
    """The name of the turn whose question has this `seq`: a place in the log is a name that is never given twice."""
    return f"t{seq}"


def seq_of(turn: str) -> int:
    """The `seq` of a turn's question. Raises `TurnNotFound` for what can't be a turn's name."""
    if not re.fullmatch("t[1-9][0-9]{0,15}", turn):
        raise TurnNotFound
    return int(turn[1:])


def answer_check(answer: bytes | bytearray, *, chars: int) -> Check:
    """The proof of an answer, given in UTF-8 and with its length in code points."""
    return Check(chars=chars, sha256=hashlib.sha256(answer).hexdigest())


@dataclass(slots=True, eq=False)
class TurnMachine:
    """A question, and what there is of its answer."""

    seq: int  # the question's place
    question: str
    asked_at: float
    options: Options = Options()
    replaces: str | None = None
    state: TurnState = TurnState.WAITING
    started_at: float | None = None
    first_token_at: float | None = None
    chars: int = 0
    answer: bytearray = field(default_factory=bytearray)  # the rest of it, where there is a `beginning`
    stored_hash: Hash | None = None  # the proof of what was stored and not kept
    pending_surrogate: str = ""  # the first half of a surrogate pair, until the other comes
    id: str = field(init=False)  # its name on the wire

    def __post_init__(self) -> None:
        self.id = turn_id_of(self.seq)

    def start(self, *, now: float) -> None:
        """The model is being asked."""
        if self.state is not TurnState.WAITING:
            raise ValueError(f"a turn that is {self.state.name} can't start")
        self.state = TurnState.ANSWERING
        self.started_at = now

    def add_text(self, piece: str, now: float) -> str:
        """Take a piece from the upstream; returns what is to be logged of it.

        Empty where there is nothing, or where the turn has ended: a cancel and the upstream's text may cross.
        """
        if self.state is not ANSWERING or not piece:
            return ""
        if self.pending_surrogate or not piece.isascii():
            piece = self._join_surrogates(piece)
            if not piece:
                return ""
        self.answer += piece.encode()  # first, or bytes in the place of a text would count in the proof
        self.chars += len(piece)
        if self.first_token_at is None:
            self.first_token_at = now
        return piece

    def flush_surrogate(self, *, now: float) -> str:
        """The upstream has said all: a half surrogate that still waits becomes U+FFFD, to be logged."""
        if not self.pending_surrogate:
            return ""
        self.pending_surrogate = ""
        return self.add_text("\ufffd", now)

    def _join_surrogates(self, piece: str) -> str:
        """Join the halves of surrogate pairs, also over two pieces; what has no other half becomes U+FFFD."""
        if not self.pending_surrogate and not SURROGATE.search(piece):
            return piece
        piece = self.pending_surrogate + piece
        self.pending_surrogate = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            self.pending_surrogate, piece = piece[-1], piece[:-1]
        joined = piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return SURROGATE.sub("\ufffd", joined)

    def release_stored_text(self) -> None:
        """All of the text so far is stored, and need not be kept."""
        self.stored_hash = self.stored_hash or hashlib.sha256()
        self.stored_hash.update(self.answer)
        self.answer = bytearray()

    def roll_back(self, *, chars: int) -> None:
        """The last `lost` code points could not be logged: they were never there."""
        self.pending_surrogate = ""
        if chars:
            text = self.answer.decode()
            self.answer = bytearray(text[: len(text) - chars].encode())
            self.chars -= chars

    def end(self) -> bool:
        """End it. False where it had ended: a cancel and the upstream's own end may cross, the first one wins."""
        if self.state is TurnState.ENDED:
            return False
        self.state = TurnState.ENDED
        return True

    def requeue(self) -> None:
        """Its end could not be logged, and it had not begun: it has not ended."""
        if self.started_at is not None:
            raise ValueError("a turn that has begun can't wait again")
        self.state = TurnState.WAITING

    def check(self) -> Check:
        """The proof of the answer so far."""
        if self.stored_hash is None:
            return answer_check(self.answer, chars=self.chars)
        whole = self.stored_hash.copy()
        whole.update(self.answer)
        return Check(chars=self.chars, sha256=whole.hexdigest())

    def timing(self, *, now: float) -> Timing:
        """How long it took, from the question's arrival."""
        return Timing(
            queued=(now if self.started_at is None else self.started_at) - self.asked_at,
            first_token=None if self.first_token_at is None else self.first_token_at - self.asked_at,
            total=now - self.asked_at,
        )
