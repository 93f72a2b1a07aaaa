"""What the log keeps: one dataclass for each type of event, and the codec of the journal and the tables.

Inside the program time is in seconds; encoded, durations are whole milliseconds and moments are RFC 3339 in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, dataclass_transform, get_args

import orjson
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationInfo, WithJsonSchema
from pydantic_core import SchemaSerializer

T = TypeVar("T")

MAX_SEQ = 2**53 - 1  # what a JavaScript number counts exactly

# --- the types of fields ---------------------------------------------------------------------------------------------


def _parse_seconds(value: Any, info: ValidationInfo) -> Any:
    return value / 1000 if info.mode == "json" and isinstance(value, int | float) else value


def _parse_timestamp(value: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" and isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return value


def _format_timestamp(moment: float) -> str:
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
    PlainSerializer(_format_timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
FrameId = Annotated[str, Field(min_length=1, max_length=64)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TurnId = Annotated[str, Field(min_length=1, max_length=64)]
WhenBusy: TypeAlias = Literal["queue", "reject", "replace"]  # what a question does where an answer is running
Reason: TypeAlias = Literal["stop", "length", "cancelled", "refused", "interrupted", "error"]
"""How the turns of this version end."""
AnyReason = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "string", "enum": [*get_args(Reason)]}, {"type": "string"}]})
]
"""How a turn ended: a `Reason`, or a word of a later version, which is read as an end like the others."""


def _is_none(value: object) -> bool:
    return value is None


OmitNone: TypeAlias = Annotated[T | None, Field(exclude_if=_is_none)]
"""A field that is left out on the wire where it has no value."""

_CONFIG = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A dataclass with slots, as logs keep events in memory: a model would take five times that.

    What comes from elsewhere is checked when it is decoded, what is made here by those who check this code. It is they,
    too, who see to it that none is changed: a frozen dataclass takes more than twice as long to make.
    """
    made = dataclass(unsafe_hash=True, slots=True, kw_only=True)(cls)
    made.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]  # pydantic looks for it
    return made


@record
class Record:
    """A JSON object that nobody changes; fields that it does not know are ignored."""


# --- the events ------------------------------------------------------------------------------------------------------


@record
class Logged(Record):
    """An event: a frame that the log keeps, at the place `start`..`seq`."""

    session: SessionId
    seq: Seq
    turn: TurnId

    @property
    def start(self) -> int:
        """The log's head before this event."""
        return self.seq - 1


@record
class Options(Record):
    """How a question is to be answered, as far as its asker said; the rest is the server's choice."""

    model: OmitNone[str] = None
    temperature: OmitNone[float] = None
    max_tokens: OmitNone[int] = None


@record
class Question(Logged):
    """A turn begins. It is also the acknowledgement of an `ask`."""

    type: Literal["question"] = "question"
    id: OmitNone[FrameId] = None
    text: str
    created: Timestamp
    replaces: OmitNone[TurnId] = None
    options: OmitNone[Options] = None


@record
class Token(Logged):
    """A slice of the answer: one or more of the model's tokens."""

    type: Literal["token"] = "token"
    text: Annotated[str, Field(min_length=1)]

    @property
    def start(self) -> int:
        """The log's head before this slice."""
        return self.seq - len(self.text)  # len() counts code points, and so does seq


_new = object.__new__


def make_token(session: SessionId, turn: TurnId, seq: Seq, text: str) -> Token:
    """What `Token` makes, in half the time: each piece of each answer is one."""
    made: Any = _new(Token)  # read-only for all others
    made.session = session
    made.seq = seq
    made.turn = turn
    made.type = "token"
    made.text = text
    return made  # type: ignore[no-any-return]  # a cast would be a call for each token


@record
class Usage(Record):
    """What the provider counted."""

    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]


@record
class Timing(Record):
    """How long it took, counted from the question's arrival."""

    queued: Seconds
    first_token: Seconds | None
    total: Seconds


@record
class Check(Record):
    """The proof of an answer: its length in code points, and the SHA-256 of its UTF-8 bytes."""

    chars: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@record
class Failure(Record):
    """Why a turn ended with reason `error`."""

    code: str
    message: str
    retryable: bool
    retry_after: Seconds | None = None


@record
class Done(Logged):
    """A turn has ended."""

    type: Literal["done"] = "done"
    reason: AnyReason
    model: str
    usage: Usage | None
    timing: Timing
    check: Check
    error: OmitNone[Failure] = None


Event: TypeAlias = Question | Token | Done

# --- turns as history tells them -------------------------------------------------------------------------------------


@record
class TurnRecord(Record):
    """One turn as history tells it; what its `done` would say is null while it runs."""

    turn: TurnId
    id: FrameId | None = None
    text: str
    replaces: TurnId | None = None
    created: Timestamp
    options: Options | None = None
    answer: str
    reason: AnyReason | None = None
    model: str | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    check: Check | None = None
    error: Failure | None = None
    from_: Annotated[Seq, Field(alias="from")]
    seq: Seq


# --- the codec -------------------------------------------------------------------------------------------------------

_event: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
_serializers: dict[type[Event], SchemaSerializer] = {
    model: TypeAdapter(model).serializer for model in (Question, Token, Done)
}


def encode_event(event: Event) -> bytes:
    """One JSON object in UTF-8. Raises whatever the serializer raises where a field holds what JSON can't say."""
    if type(event) is Token:  # the most frequent by far
        return orjson.dumps(
            {"session": event.session, "seq": event.seq, "turn": event.turn, "type": "token", "text": event.text}
        )
    return _serializers[type(event)].to_json(event, by_alias=True)


def decode_event(data: str | bytes) -> Event:
    """Read an event of the log. Raises pydantic's `ValidationError`."""
    return _event.validate_json(data)
