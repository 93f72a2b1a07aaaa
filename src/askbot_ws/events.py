"""Events: one dataclass for each type of event of a log, and their encoding in the store and on the wire.

In Python, durations are in seconds and timestamps in seconds since 1970; encoded, durations are whole milliseconds and
timestamps RFC 3339 in UTC. What an event means is in docs/protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, dataclass_transform, get_args

import orjson
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationInfo, WithJsonSchema

__all__ = [
    "AnyReason",
    "Check",
    "Done",
    "Event",
    "Failure",
    "LaterEvent",
    "Logged",
    "Options",
    "Question",
    "Reason",
    "Record",
    "Step",
    "TextSlice",
    "Thinking",
    "Timing",
    "Title",
    "Token",
    "TurnEvent",
    "TurnRecord",
    "Usage",
    "WhenBusy",
]

T = TypeVar("T")

MAX_TITLE_CHARS = 200  # in code points
MAX_SEQ = 2**53 - 1  # the largest integer that a JavaScript number holds exactly

# --- the types of fields ---------------------------------------------------------------------------------------------


def _parse_seconds(value: Any, info: ValidationInfo) -> Any:
    if info.mode != "json" or not isinstance(value, int | float):
        return value
    try:
        return value / 1000
    except OverflowError as error:  # which is no error of a validator
        raise ValueError(str(error)) from error


def _parse_timestamp(value: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" and isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return value


def format_timestamp(moment: float) -> str:
    """Return a moment in seconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Seconds = Annotated[
    float,
    BeforeValidator(_parse_seconds),
    PlainSerializer(lambda seconds: round(seconds * 1000), return_type=int, when_used="json"),
    WithJsonSchema({"type": "integer", "minimum": 0, "description": "milliseconds"}),
]
Timestamp = Annotated[
    float,
    BeforeValidator(_parse_timestamp),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
FrameId = Annotated[str, Field(min_length=1, max_length=64)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TurnId = Annotated[str, Field(min_length=1, max_length=64)]
WhenBusy: TypeAlias = Literal["queue", "reject", "replace"]
"""What happens to a question while a turn runs: it waits, is refused with `busy`, or cancels that turn first."""
Reason: TypeAlias = Literal["stop", "length", "cancelled", "refused", "interrupted", "error"]
"""How a turn ended.

`stop`: the answer is complete. `length`: it has as many tokens as were allowed. `cancelled`: a client stopped it.
`refused`: the model's content filter did. `interrupted`: the server ended. `error`: see `Done.error`.
"""
AnyReason = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "string", "enum": [*get_args(Reason)]}, {"type": "string"}]})
]
"""A `Reason`, or a value of a later version, which ends a turn like the others."""


def _is_none(value: object) -> bool:
    return value is None


OmitNone: TypeAlias = Annotated[T | None, Field(exclude_if=_is_none)]
"""A field that is omitted from the JSON object where it is None."""

WHEN_USED = ConfigDict(defer_build=True)
"""For a `TypeAdapter`: it is made when it is used first, as a process uses few of them."""
_CONFIG = WHEN_USED | ConfigDict(
    strict=True, extra="ignore", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots: logs keep events in memory, and a pydantic model takes five times as much.

    Values are validated when they are decoded, not when they are made. The type checkers see to it that no record is
    changed: a frozen dataclass takes more than twice as long to make.
    """
    made = dataclass(unsafe_hash=True, slots=True, kw_only=True)(cls)
    made.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]  # pydantic looks for it
    return made


@record
class Record:
    """An immutable JSON object; unknown fields are ignored when it is decoded."""


# --- the events ------------------------------------------------------------------------------------------------------


@record
class Logged(Record):
    """An event of a log, which takes the positions (`start`, `seq`].

    Attributes:
        session: The id of the session.
        seq: The log's head after this event.
    """

    session: SessionId
    seq: Seq

    @property
    def start(self) -> int:
        """The log's head before this event."""
        return self.seq - 1


@record
class TurnEvent(Logged):
    """An event of a turn.

    Attributes:
        turn: The id of the turn.
    """

    turn: TurnId


@record
class Options(Record):
    """How a question is to be answered; what is not given, the server's settings decide.

    Attributes:
        model: The model's name.
        temperature: The sampling temperature, 0 to 2.
        max_tokens: Tokens of the answer, at most.
    """

    model: OmitNone[str] = None
    temperature: OmitNone[float] = None
    max_tokens: OmitNone[int] = None


@record
class Question(TurnEvent):
    """A turn begins. It is also the acknowledgement of an `ask`.

    Attributes:
        id: The id that the client gave the question.
        text: The question.
        created: When it was asked, in seconds since 1970.
        replaces: The id of the turn that this `retry` or `edit` replaces.
        options: What the client chose.
    """

    type: Literal["question"] = "question"
    id: OmitNone[FrameId] = None
    text: str
    created: Timestamp
    replaces: OmitNone[TurnId] = None
    options: OmitNone[Options] = None


@record
class TextSlice(TurnEvent):
    """A slice of what the model writes in a turn: successive slices of one type may be joined, and one cut anywhere.

    Attributes:
        text: Never empty; each of its code points moves `seq` by 1.
    """

    text: Annotated[str, Field(min_length=1)]

    @property
    def start(self) -> int:
        """The log's head before this slice."""
        return self.seq - len(self.text)  # len() counts code points, and so does seq


@record
class Token(TextSlice):
    """A slice of the answer: one or more of the model's tokens."""

    type: Literal["token"] = "token"


@record
class Thinking(TextSlice):
    """A slice of the reasoning that the model's provider shows: no part of the answer, nor of its `check`."""

    type: Literal["thinking"] = "thinking"


_new = object.__new__


def make_token(session: SessionId, turn: TurnId, seq: Seq, text: str) -> Token:
    """Make a `Token` in half the time that its constructor takes: there is one for each piece of each answer."""
    made: Any = _new(Token)  # read-only for everybody else
    made.session = session
    made.seq = seq
    made.turn = turn
    made.type = "token"
    made.text = text
    return made  # type: ignore[no-any-return]  # a cast would be a call for each token


@record
class Usage(Record):
    """The tokens of a turn, as the provider counted them.

    Attributes:
        input_tokens: Of the prompt.
        output_tokens: Of the answer.
    """

    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]


@record
class Timing(Record):
    """How long a turn took, counted from the question's arrival.

    Attributes:
        queued: Seconds until the model was asked.
        first_token: Seconds until the first text; None where there was none.
        total: Seconds until the end.
    """

    queued: Seconds
    first_token: Seconds | None
    total: Seconds


@record
class Check(Record):
    """The proof of an answer: its length in code points, and the SHA-256 of its UTF-8 bytes.

    Attributes:
        chars: The length.
        sha256: The hash, in hexadecimal.
    """

    chars: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@record
class Failure(Record):
    """Why a turn ended with reason `error`.

    Attributes:
        code: The code of an error (docs/errors.md).
        message: A sentence that is safe to show to anybody.
        retryable: Whether the same question may succeed later.
        retry_after: In how many seconds, or None where that is not known.
    """

    code: str
    message: str
    retryable: bool
    retry_after: Seconds | None = None


@record
class Done(TurnEvent):
    """A turn has ended.

    Attributes:
        reason: How, as in `Reason`.
        model: The name of the model that answered.
        usage: The tokens, or None where the provider did not count them.
        timing: The durations.
        check: The proof of the answer, whatever the reason.
        error: With reason `error`: what went wrong.
    """

    type: Literal["done"] = "done"
    reason: AnyReason
    model: str
    usage: Usage | None
    timing: Timing
    check: Check
    error: OmitNone[Failure] = None


@record
class Title(Logged):
    """What the conversation is called from now on. It belongs to no turn.

    Attributes:
        text: The title; empty: it has none.
    """

    type: Literal["title"] = "title"
    text: str


@record
class LaterEvent(Logged):
    """An event of a type that a later version has added, kept and passed on as that version has encoded it.

    Attributes:
        type: The type.
        before: The log's head before it, as its length is not known here.
        frame: The event, encoded.
    """

    type: str
    before: Seq
    frame: bytes

    @property
    def start(self) -> int:
        """The log's head before this event."""
        return self.before


KnownEvent: TypeAlias = Question | Token | Thinking | Done | Title
"""Any event that this version can make."""
Event: TypeAlias = KnownEvent | LaterEvent
"""Any event of a log."""
EVENT_TYPES = ("question", "token", "thinking", "done", "title")
"""The types of events that this version knows."""

# --- whole turns -----------------------------------------------------------------------------------------------------


StepType: TypeAlias = Literal["thinking", "text"]
"""What a step of a turn is: reasoning, or text of the answer."""
AnyStepType = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "string", "enum": [*get_args(StepType)]}, {"type": "string"}]})
]
"""A `StepType`, or a value of a later version."""


@record
class Step(Record):
    """A part of what happened in a turn; two successive ones of text or reasoning have different types.

    Attributes:
        type: A `StepType`.
        text: The text; empty for types of later versions that have none.
    """

    type: AnyStepType
    text: str = ""


@record
class TurnRecord(Record):
    """A whole turn, as in a `history` frame; the fields of its `done` are null until it has ended.

    Attributes:
        turn: The id of the turn.
        id: The id that the client gave the question.
        text: The question.
        replaces: The id of the turn that it replaces.
        created: When it was asked, in seconds since 1970.
        options: What the client chose.
        answer: The text so far.
        steps: The reasoning and the answer's text, in order; None where there is no reasoning.
        reason: As in `Done`, like `model`, `usage`, `timing`, `check` and `error`.
        from_: The log's head before the question (`from` on the wire).
        seq: The log's head after the turn's newest event.
    """

    turn: TurnId
    id: FrameId | None = None
    text: str
    replaces: TurnId | None = None
    created: Timestamp
    options: Options | None = None
    answer: str
    steps: OmitNone[tuple[Step, ...]] = None
    reason: AnyReason | None = None
    model: str | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    check: Check | None = None
    error: Failure | None = None
    from_: Annotated[Seq, Field(alias="from")]
    seq: Seq


# --- encoding --------------------------------------------------------------------------------------------------------

_event: TypeAdapter[KnownEvent] = TypeAdapter(Annotated[KnownEvent, Field(discriminator="type")], config=WHEN_USED)
_adapters: dict[type[Event], TypeAdapter[Any]] = {
    model: TypeAdapter(model) for model in (Question, Token, Thinking, Done, Title)
}


def encode_event(event: Event) -> bytes:
    """Encode an event as a JSON object in UTF-8.

    Args:
        event: Any event.

    Returns:
        The bytes that the store keeps and clients are sent.

    Raises:
        ValueError: A field has a value that JSON can't represent, such as a lone surrogate.
        TypeError: The same, in a slice.
    """
    if type(event) is Token or type(event) is Thinking:  # the most frequent by far
        return orjson.dumps(
            {"session": event.session, "seq": event.seq, "turn": event.turn, "type": event.type, "text": event.text}
        )
    if type(event) is LaterEvent:
        return event.frame
    return _adapters[type(event)].serializer.to_json(event, by_alias=True)


def decode_event(data: str | bytes) -> KnownEvent:
    """Decode an event.

    Args:
        data: A JSON object.

    Returns:
        The event of the type that it names.

    Raises:
        pydantic.ValidationError: It is not JSON, of an unknown type, or a field is missing or wrong.
    """
    return _event.validate_json(data)
