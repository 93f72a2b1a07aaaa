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
from .text import HALF


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


class State(Enum):
    """Where a turn stands."""

    WAITING = auto()
    ANSWERING = auto()
    ENDED = auto()


ANSWERING = State.ANSWERING  # looked at for each token, and an attribute of an Enum costs ten times as much


def turn_at(seq: int) -> str:
    """The name of the turn whose question has this `seq`: a place in the log is a name that is never given twice."""
    return f"t{seq}"


def place_of(turn: str) -> int:
    """The `seq` of a turn's question. Raises `TurnNotFound` for what can't be a turn's name."""
    if not re.fullmatch("t[1-9][0-9]{0,15}", turn):
        raise TurnNotFound
    return int(turn[1:])


def proof(answer: bytes | bytearray, *, chars: int) -> Check:
    """The proof of an answer, given in UTF-8 and with its length in code points."""
    return Check(chars=chars, sha256=hashlib.sha256(answer).hexdigest())


@dataclass(slots=True, eq=False)
class Turn:
    """A question, and what there is of its answer."""

    seq: int  # the question's place
    question: str
    asked: float
    options: Options = Options()
    replaces: str | None = None
    state: State = State.WAITING
    started: float | None = None
    first_token: float | None = None
    chars: int = 0
    answer: bytearray = field(default_factory=bytearray)  # the rest of it, where there is a `beginning`
    beginning: Hash | None = None  # the proof of what was stored and not kept
    half: str = ""  # the first half of a surrogate pair, until the other comes
    id: str = field(init=False)  # its name on the wire

    def __post_init__(self) -> None:
        self.id = turn_at(self.seq)

    def start(self, *, now: float) -> None:
        """The model is being asked."""
        if self.state is not State.WAITING:
            raise ValueError(f"a turn that is {self.state.name} can't start")
        self.state = State.ANSWERING
        self.started = now

    def text(self, piece: str, now: float) -> str:
        """Take a piece from the upstream; returns what is to be logged of it.

        Empty where there is nothing, or where the turn has ended: a cancel and the upstream's text may cross.
        """
        if self.state is not ANSWERING or not piece:
            return ""
        if self.half or not piece.isascii():
            piece = self._whole(piece)
            if not piece:
                return ""
        self.answer += piece.encode()  # first, or bytes in the place of a text would count in the proof
        self.chars += len(piece)
        if self.first_token is None:
            self.first_token = now
        return piece

    def flush(self, *, now: float) -> str:
        """The upstream has said all: a half surrogate that still waits becomes U+FFFD, to be logged."""
        if not self.half:
            return ""
        self.half = ""
        return self.text("\ufffd", now)

    def _whole(self, piece: str) -> str:
        """Join the halves of surrogate pairs, also over two pieces; what has no other half becomes U+FFFD."""
        if not self.half and not HALF.search(piece):
            return piece
        piece = self.half + piece
        self.half = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            self.half, piece = piece[-1], piece[:-1]
        joined = piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return HALF.sub("\ufffd", joined)

    def settle(self) -> None:
        """All of the text so far is stored, and need not be kept."""
        self.beginning = self.beginning or hashlib.sha256()
        self.beginning.update(self.answer)
        self.answer = bytearray()

    def rewind(self, *, lost: int) -> None:
        """The last `lost` code points could not be logged: they were never there."""
        self.half = ""
        if lost:
            text = self.answer.decode()
            self.answer = bytearray(text[: len(text) - lost].encode())
            self.chars -= lost

    def end(self) -> bool:
        """End it. False where it had ended: a cancel and the upstream's own end may cross, the first one wins."""
        if self.state is State.ENDED:
            return False
        self.state = State.ENDED
        return True

    def wait_again(self) -> None:
        """Its end could not be logged, and it had not begun: it has not ended."""
        if self.started is not None:
            raise ValueError("a turn that has begun can't wait again")
        self.state = State.WAITING

    def check(self) -> Check:
        """The proof of the answer so far."""
        if self.beginning is None:
            return proof(self.answer, chars=self.chars)
        whole = self.beginning.copy()
        whole.update(self.answer)
        return Check(chars=self.chars, sha256=whole.hexdigest())

    def timing(self, *, now: float) -> Timing:
        """How long it took, from the question's arrival."""
        return Timing(
            queued=(now if self.started is None else self.started) - self.asked,
            first_token=None if self.first_token is None else self.first_token - self.asked,
            total=now - self.asked,
        )
