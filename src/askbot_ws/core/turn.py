"""Turn: the state machine of one question and its answer.

It does no I/O: times are given to it, in seconds of any monotonic clock.

    WAITING --start--> ANSWERING --end--> ENDED      (end is legal from WAITING too: a cancel)
    WAITING <--undo_end-- ENDED                       (where it had not started, and its end could not be logged)

The answer is kept as UTF-8, of which its hash is made. An answer that is too long to be sent to the model again is
not kept once it is stored: only its hash is. Reasoning is counted, and not kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from math import ceil
from typing import Protocol

from ..errors import TurnNotFound
from ..events import Check, Options, Timing
from .allowance import Client
from .text import join_surrogates


class Hash(Protocol):
    """A hash object of `hashlib`."""

    def update(self, data: bytes | bytearray, /) -> None:
        """Hash more bytes."""

    def copy(self) -> Hash:
        """Return an independent copy."""
        ...

    def hexdigest(self) -> str:
        """Return the hash so far, in hexadecimal."""
        ...


class TurnState(Enum):
    """The states of a turn."""

    WAITING = auto()
    ANSWERING = auto()
    ENDED = auto()


ANSWERING = TurnState.ANSWERING  # read for each token, and an attribute of an Enum costs ten times as much


def turn_id_of(seq: int) -> str:
    """Return the id of the turn whose question has this `seq`."""
    return f"t{seq}"


def seq_of(turn: str) -> int:
    """Return the `seq` of a turn's question, from its id. Raises `TurnNotFound` for what is no turn's id."""
    if not re.fullmatch("t[1-9][0-9]{0,15}", turn):
        raise TurnNotFound
    return int(turn[1:])


def answer_check(answer: bytes | bytearray, *, chars: int) -> Check:
    """Return the `check` of an answer, given in UTF-8 and with its length in code points."""
    return Check(chars=chars, sha256=hashlib.sha256(answer).hexdigest())


@dataclass(slots=True, eq=False, weakref_slot=True)
class Charge:
    """What a turn costs its client, in tokens."""

    client: Client
    entry: str = ""  # its id among the client's running turns of all nodes, where they are counted
    rate_tokens: int = 0  # taken from the client's rate when the question was admitted
    reserved: int = 0  # of the client's budget
    prompt_tokens: int = 0  # about; 0: the model was not asked
    bytes_per_token: float = 4.0  # about
    counted_tokens: int | None = None  # of prompt and answer, where they are known


@dataclass(slots=True, eq=False)
class TurnMachine:
    """A question, and its answer so far."""

    seq: int  # of the question
    question: str
    asked_at: float
    options: Options = Options()
    replaces: str | None = None
    charge: Charge | None = None  # None: nobody is charged, or no more
    credential: str | None = None  # of who asked; where it is revoked, the turn is cancelled
    state: TurnState = TurnState.WAITING
    started_at: float | None = None
    first_token_at: float | None = None
    chars: int = 0
    answer: bytearray = field(default_factory=bytearray)  # UTF-8; without what is in `stored_hash`
    stored_hash: Hash | None = None  # of the text that was stored and is not kept
    thinking_chars: int = 0  # of the reasoning
    pending_surrogate: str = ""  # of the answer: the first half of a surrogate pair, until the second half arrives
    pending_thinking_surrogate: str = ""  # the same, of the reasoning; only one of the two pends
    id: str = field(init=False)  # on the wire

    def __post_init__(self) -> None:
        self.id = turn_id_of(self.seq)

    @property
    def has_text(self) -> bool:
        """Whether any text or reasoning has come, be it half a surrogate pair."""
        return bool(self.chars or self.thinking_chars or self.pending_surrogate or self.pending_thinking_surrogate)

    @property
    def tokens_used(self) -> int:
        """The tokens of prompt and answer that the client is charged: where they are not known, about."""
        charge = self.charge
        if charge is None:
            return 0
        if charge.counted_tokens is not None:
            return charge.counted_tokens
        answer = max(len(self.answer), self.chars) + self.thinking_chars
        return charge.prompt_tokens + ceil(answer / charge.bytes_per_token)

    def start(self, *, now: float) -> None:
        """Start answering. Raises `ValueError` unless the turn waits."""
        if self.state is not TurnState.WAITING:
            raise ValueError(f"a turn that is {self.state.name} can't start")
        self.state = TurnState.ANSWERING
        self.started_at = now

    def add_text(self, piece: str, now: float) -> str:
        """Add a piece of the answer; returns the text to log.

        It is empty where nothing is to be logged, also once the turn has ended: a cancel and the upstream's text may
        cross.
        """
        if self.state is not ANSWERING or not piece:
            return ""
        if self.pending_surrogate or not piece.isascii():
            piece, self.pending_surrogate = join_surrogates(self.pending_surrogate, piece)
            if not piece:
                return ""
        self.answer += piece.encode()  # first: it raises for what is no text, which then is not counted
        self.chars += len(piece)
        if self.first_token_at is None:
            self.first_token_at = now
        return piece

    def add_thinking(self, piece: str) -> str:
        """Add a piece of the reasoning; returns the text to log, as `add_text` does."""
        if self.state is not ANSWERING or not piece:
            return ""
        text = str(piece)  # no subclass of it, such as an upstream's
        if self.pending_thinking_surrogate or not text.isascii():
            text, self.pending_thinking_surrogate = join_surrogates(self.pending_thinking_surrogate, text)
        self.thinking_chars += len(text)
        return text

    def flush_surrogate(self, *, now: float) -> str:
        """Return U+FFFD, to be logged, where half of a pair in the answer waits for the other; else nothing."""
        if not self.pending_surrogate:
            return ""
        self.pending_surrogate = ""
        return self.add_text("\ufffd", now)

    def flush_thinking_surrogate(self) -> str:
        """The same for the reasoning."""
        if not self.pending_thinking_surrogate:
            return ""
        self.pending_thinking_surrogate = ""
        return self.add_thinking("\ufffd")

    def release_stored_text(self) -> None:
        """Keep only the hash of the text so far, all of which is stored."""
        self.stored_hash = self.stored_hash or hashlib.sha256()
        self.stored_hash.update(self.answer)
        self.answer = bytearray()

    def roll_back(self, *, chars: int, thinking_chars: int = 0) -> None:
        """Remove the last code points of the answer and of the reasoning, which could not be logged."""
        self.pending_surrogate = self.pending_thinking_surrogate = ""
        self.thinking_chars -= thinking_chars
        if chars:
            text = self.answer.decode()
            self.answer = bytearray(text[: len(text) - chars].encode())
            self.chars -= chars

    def end(self) -> bool:
        """End the turn; False where it had ended. A cancel and the upstream's end may cross: the first one counts."""
        if self.state is TurnState.ENDED:
            return False
        self.state = TurnState.ENDED
        return True

    def undo_end(self) -> None:
        """Undo the end of a turn that had not started. Raises `ValueError` where it had."""
        if self.started_at is not None:
            raise ValueError("a turn that has started can't wait again")
        self.state = TurnState.WAITING

    def check(self) -> Check:
        """Return the `check` of the answer so far."""
        if self.stored_hash is None:
            return answer_check(self.answer, chars=self.chars)
        whole = self.stored_hash.copy()
        whole.update(self.answer)
        return Check(chars=self.chars, sha256=whole.hexdigest())

    def timing(self, *, now: float) -> Timing:
        """Return the durations since the question's arrival, in seconds."""
        return Timing(
            queued=(now if self.started_at is None else self.started_at) - self.asked_at,
            first_token=None if self.first_token_at is None else self.first_token_at - self.asked_at,
            total=now - self.asked_at,
        )
