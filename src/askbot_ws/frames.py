"""Every frame of askbot.v1: one dataclass each, from which decoding, encoding and the schema follow.

Inside the program time is in seconds; on the wire durations are whole milliseconds and moments are RFC 3339 in
UTC. This module converts, nobody else does.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, dataclass_transform, get_type_hints

import orjson
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, SchemaSerializer, from_json

from .errors import AskbotError, FrameError, InvalidFrame, InvalidJSON, UnknownType

T = TypeVar("T")

PROTOCOL = "askbot.v1"
MAX_SEQ = 2**53 - 1  # what a JavaScript number counts exactly

# --- the types of fields ---------------------------------------------------------------------------------------------


def _seconds(value: Any, info: ValidationInfo) -> Any:
    return value / 1000 if info.mode == "json" and isinstance(value, int | float) else value


def _moment(value: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" and isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return value


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(lambda seconds: round(seconds * 1000), return_type=int, when_used="json"),
    WithJsonSchema({"type": "integer", "minimum": 0, "description": "milliseconds"}),
]
Moment = Annotated[
    float,
    BeforeValidator(_moment),
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
FrameId = Annotated[str, Field(min_length=1, max_length=64)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TurnId = Annotated[str, Field(min_length=1, max_length=64)]
Reason: TypeAlias = Literal["stop", "length", "cancelled", "refused", "interrupted", "error"]
WhenBusy: TypeAlias = Literal["queue", "reject", "replace"]


def _absent(value: object) -> bool:
    return value is None


Maybe: TypeAlias = Annotated[T | None, Field(exclude_if=_absent)]
"""A field that is left out on the wire where it has no value."""

_CONFIG = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def _frame(cls: type[T]) -> type[T]:
    """A dataclass with slots, as logs keep events in memory: a model would take five times that.

    What comes from elsewhere is checked when it is decoded, what is made here by those who check this code. It is they,
    too, who see to it that none is changed: a frozen dataclass takes more than twice as long to make.
    """
    made = dataclass(unsafe_hash=True, slots=True, kw_only=True)(cls)
    made.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]  # pydantic looks for it
    return made


@_frame
class Frame:
    """One JSON object, which nobody changes; fields that it does not know are ignored."""


# --- what the log keeps ----------------------------------------------------------------------------------------------


@_frame
class Logged(Frame):
    """An event: a frame that the log keeps, at the place `start`..`seq`."""

    session: SessionId
    seq: Seq
    turn: TurnId

    @property
    def start(self) -> int:
        """The log's head before this event."""
        return self.seq - 1


@_frame
class Question(Logged):
    """A turn begins. It is also the acknowledgement of an `ask`."""

    type: Literal["question"] = "question"
    id: Maybe[FrameId] = None
    text: str
    created: Moment
    replaces: Maybe[TurnId] = None


@_frame
class Token(Logged):
    """A slice of the answer: one or more of the model's tokens."""

    type: Literal["token"] = "token"
    text: Annotated[str, Field(min_length=1)]

    @property
    def start(self) -> int:
        """The log's head before this slice."""
        return self.seq - len(self.text)  # len() counts code points, and so does seq


_new = object.__new__


def token(session: SessionId, turn: TurnId, seq: Seq, text: str) -> Token:
    """What `Token` makes, in half the time: each piece of each answer is one."""
    made: Any = _new(Token)  # read-only for all others
    made.session = session
    made.seq = seq
    made.turn = turn
    made.type = "token"
    made.text = text
    return made  # type: ignore[no-any-return]  # a cast would be a call for each token


@_frame
class Usage(Frame):
    """What the provider counted."""

    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]


@_frame
class Timing(Frame):
    """How long it took, counted from the question's arrival."""

    queued: Seconds
    first_token: Seconds | None
    total: Seconds


@_frame
class Check(Frame):
    """The proof of an answer: its length in code points, and the SHA-256 of its UTF-8 bytes."""

    chars: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@_frame
class Failure(Frame):
    """Why a turn ended with reason `error`."""

    code: str
    message: str
    retryable: bool
    retry_after: Seconds | None = None


@_frame
class Done(Logged):
    """A turn has ended."""

    type: Literal["done"] = "done"
    reason: Reason
    model: str
    usage: Usage | None
    timing: Timing
    check: Check
    error: Maybe[Failure] = None


Event: TypeAlias = Question | Token | Done

# --- what only passes by ---------------------------------------------------------------------------------------------


@_frame
class Limits(Frame):
    """What this server takes."""

    frame_bytes: int
    question_chars: int
    waiting_turns: int


@_frame
class Ready(Frame):
    """A session is attached; the events after `from` follow."""

    type: Literal["ready"] = "ready"
    session: SessionId
    seq: Seq
    from_: Annotated[Seq, Field(alias="from")]
    resumed: bool
    protocol: str
    server: str
    model: str
    limits: Limits


@_frame
class Error(Frame):
    """A frame was not followed, or the server has to say something is wrong. Nothing has changed."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool
    retry_after: Seconds | None = None
    id: Maybe[FrameId] = None
    session: Maybe[SessionId] = None


@_frame
class TurnRecord(Frame):
    """One turn as history tells it; what its `done` would say is null while it runs."""

    turn: TurnId
    id: FrameId | None = None
    text: str
    replaces: TurnId | None = None
    created: Moment
    answer: str
    reason: Reason | None = None
    model: str | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    check: Check | None = None
    error: Failure | None = None
    from_: Annotated[Seq, Field(alias="from")]
    seq: Seq


@_frame
class History(Frame):
    """Turns, oldest first; `more` where the log has older ones."""

    type: Literal["history"] = "history"
    session: SessionId
    id: Maybe[FrameId] = None
    turns: list[TurnRecord]
    more: bool


@_frame
class GoingAway(Frame):
    """The server drains: reconnect, with `after`, once the time has passed."""

    type: Literal["going_away"] = "going_away"
    reconnect_after: Seconds


@_frame
class Pong(Frame):
    """The answer to a `ping`."""

    type: Literal["pong"] = "pong"
    id: Maybe[FrameId] = None


@_frame
class Alive(Frame):
    """Nothing else was sent for a while, and the connection is well."""

    type: Literal["alive"] = "alive"


ServerFrame: TypeAlias = Ready | Question | Token | Done | Error | History | GoingAway | Pong | Alive

# --- what clients send -----------------------------------------------------------------------------------------------


@_frame
class Command(Frame):
    """A client's frame. `id` is repeated by the answer or the error."""

    id: Maybe[FrameId] = None


@_frame
class About(Command):
    """A command about an attached session; `session` may be left out where there is but one."""

    session: Maybe[SessionId] = None


@_frame
class Ask(About):
    """Ask a question."""

    type: Literal["ask"] = "ask"
    text: str
    model: Maybe[Annotated[str, Field(min_length=1, max_length=200)]] = None
    temperature: Maybe[Annotated[float, Field(ge=0, le=2)]] = None
    max_tokens: Maybe[Annotated[int, Field(ge=1, le=1_000_000)]] = None
    when_busy: WhenBusy = "queue"


@_frame
class Cancel(About):
    """Stop a turn; without `turn`, the running one."""

    type: Literal["cancel"] = "cancel"
    turn: Maybe[TurnId] = None


@_frame
class Retry(About):
    """Ask a turn's question again; without `turn`, the last one's."""

    type: Literal["retry"] = "retry"
    turn: Maybe[TurnId] = None


@_frame
class Edit(About):
    """Ask this instead of that turn's question."""

    type: Literal["edit"] = "edit"
    turn: TurnId
    text: str


@_frame
class HistoryRequest(About):
    """Ask for the turns whose questions stand before the place `before`."""

    type: Literal["history"] = "history"
    before: Maybe[Seq] = None
    limit: Annotated[int, Field(ge=1, le=50)] = 50


@_frame
class Attach(Command):
    """Read a further session on this connection."""

    type: Literal["attach"] = "attach"
    session: SessionId
    after: Maybe[Seq] = None


@_frame
class Detach(About):
    """Stop reading a session."""

    type: Literal["detach"] = "detach"


@_frame
class Forget(Command):
    """Delete a session and all it holds."""

    type: Literal["forget"] = "forget"
    session: SessionId


@_frame
class Ping(Command):
    """Ask for a `pong`."""

    type: Literal["ping"] = "ping"


ClientFrame: TypeAlias = Ask | Cancel | Retry | Edit | HistoryRequest | Attach | Detach | Forget | Ping

# --- decoding --------------------------------------------------------------------------------------------------------

_client: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
_server: TypeAdapter[ServerFrame] = TypeAdapter(Annotated[ServerFrame, Field(discriminator="type")])
_event: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def decode_client(data: str | bytes) -> ClientFrame:
    """Read a client's frame. Raises a `FrameError` that names what is wrong, with the frame's id if it has one."""
    try:
        return cast("ClientFrame", _client.validator.validate_json(data))
    except ValidationError as error:
        raise _frame_error(data, error.errors(include_url=False, include_context=False)[0]) from error


def decode_server(data: str | bytes) -> ServerFrame | None:
    """Read a server's frame; None for a type from the future. Raises `FrameError`."""
    try:
        return _server.validate_json(data)
    except ValidationError as error:
        fault = _frame_error(data, error.errors(include_url=False, include_context=False)[0])
        if isinstance(fault, UnknownType):
            return None
        raise fault from error


def decode_event(data: str | bytes) -> Event:
    """Read an event of the log. Raises pydantic's `ValidationError`: a log that we wrote ourselves is never wrong."""
    return _event.validate_json(data)


def _frame_error(data: str | bytes, fault: ErrorDetails) -> FrameError:
    if fault["type"] == "json_invalid":
        return InvalidJSON(f"The frame is not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}.")
    id = _id_of(data)
    match fault["type"]:
        case "union_tag_invalid":
            known = ", ".join(sorted(type_of(model) for model in ClientFrame.__args__))
            return UnknownType(f"There is no frame of this type; the types are {known}.", id=id)
        case "union_tag_not_found":
            return InvalidFrame("type: a frame needs a type.", id=id)
        case "dict_type":
            return InvalidFrame("A frame is a JSON object.", id=id)
        case _:
            name = ".".join(str(part) for part in fault["loc"][1:])
            return InvalidFrame(f"{name}: {fault['msg']}.", id=id)


def _id_of(data: str | bytes) -> str | None:
    """The frame's id, where the frame is wrong but its id is not."""
    frame: object = from_json(data)
    id = cast("dict[str, object]", frame).get("id") if isinstance(frame, dict) else None
    return id if isinstance(id, str) and 1 <= len(id) <= 64 else None


def type_of(model: type[Frame]) -> str:
    """What a frame's `type` is."""
    return str(next(field.default for field in fields(model) if field.name == "type"))


def fields_of(model: type[Frame]) -> dict[str, FieldInfo]:
    """A frame's fields, by the names that they have here."""
    hints = get_type_hints(model, include_extras=True)
    return {
        field.name: FieldInfo.from_annotation(hints[field.name])
        if field.default is MISSING
        else FieldInfo.from_annotated_attribute(hints[field.name], field.default)
        for field in fields(model)
    }


# --- encoding --------------------------------------------------------------------------------------------------------

_serializers: dict[type[Frame], SchemaSerializer] = {
    model: TypeAdapter(model).serializer
    for model in (*ServerFrame.__args__, *ClientFrame.__args__, Failure, Timing, Usage)
}


def encode(frame: Frame) -> bytes:
    """One JSON object in UTF-8."""
    if type(frame) is Token:  # the most frequent by far
        return orjson.dumps(
            {"session": frame.session, "seq": frame.seq, "turn": frame.turn, "type": "token", "text": frame.text}
        )
    return _serializers[type(frame)].to_json(frame, by_alias=True)


def as_sent(frame: Frame) -> dict[str, Any]:
    """What it says on the wire."""
    said: dict[str, Any] = from_json(encode(frame))
    return said


def error_frame(error: AskbotError, *, id: str | None = None, session: str | None = None) -> Error:
    """What a client is told of an error."""
    return Error(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        retry_after=error.retry_after,
        id=id,
        session=session,
    )


# --- the schema ------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema of all frames: `$defs` has one definition a frame, `client` and `server` say who sends it.

    It is that of the wire: what is always sent is required, `type` too, and what is left out is never null.
    """
    definitions: dict[str, Any] = {}
    sides: dict[str, list[dict[str, str]]] = {}
    for side, union in (("server", ServerFrame), ("client", ClientFrame)):
        sides[side] = []
        for model in union.__args__:
            mode: Literal["validation", "serialization"] = "validation" if side == "client" else "serialization"
            whole = TypeAdapter(model).json_schema(mode=mode, by_alias=True, ref_template="#/$defs/{model}")
            for name, part in whole.pop("$defs", {}).items():
                definitions[name] = _on_the_wire(globals()[name], part, always=side == "server")
            definitions[model.__name__] = _on_the_wire(model, whole, always=side == "server")
            sides[side].append({"$ref": f"#/$defs/{model.__name__}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": PROTOCOL,
        "oneOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": {side: {"oneOf": refs} for side, refs in sides.items()} | definitions,
    }


def _on_the_wire(model: type[Frame], schema: dict[str, Any], *, always: bool) -> dict[str, Any]:
    """Pydantic's schema says what it would take; `always`: a field that has a value by default is sent all the same."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    fields = {field.alias or name: field for name, field in fields_of(model).items()}
    for name, field in sorted(fields.items(), key=lambda item: item[0] != "type"):
        left_out = field.exclude_if is not None
        properties[name] = _without_null(schema["properties"][name]) if left_out else schema["properties"][name]
        if name == "type" or field.is_required() or (always and not left_out):
            required.append(name)
            properties[name].pop("default", None)
    return {**schema, "properties": properties, "required": required}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    only: dict[str, Any] = next(each for each in schema["anyOf"] if each != {"type": "null"})
    return {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | only
