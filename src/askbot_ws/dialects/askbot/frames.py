"""Frames of askbot.v1: one dataclass each, from which decoding, encoding and the schema are made.

The events of a log (`events.py`) are frames too, with the same bytes on the wire as in the journal.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, TypeAlias, cast, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from ...errors import AskbotError, FrameError, InvalidFrame, InvalidJSON, UnknownType
from ...events import (
    MAX_TITLE_CHARS,
    WHEN_USED,
    Check,
    Done,
    Failure,
    FrameId,
    OmitNone,
    Options,
    Question,
    Record,
    Seconds,
    Seq,
    SessionId,
    Step,
    Thinking,
    Timestamp,
    Timing,
    Title,
    Token,
    TurnId,
    TurnRecord,
    Usage,
    WhenBusy,
    encode_event,
    record,
)

PROTOCOL = "askbot.v1"
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # the ends of lines among them
MAX_PLACE_CHARS = 200  # of `before` in a `sessions` frame


@record
class Frame(Record):
    """One JSON object on the wire that is no event of a log."""


# --- from the server, not logged -------------------------------------------------------------------------------------


@record
class Limits(Frame):
    """The largest frame in bytes, the longest question in code points, and how many questions may wait in a session.

    Further limits, where the client has them: tokens of an answer, whether a question may choose the temperature,
    questions per minute, and tokens of prompts and answers per day, by UTC.
    """

    frame_bytes: int
    question_chars: int
    waiting_turns: int
    max_tokens: OmitNone[int] = None
    temperature: OmitNone[bool] = None
    questions_per_minute: OmitNone[int] = None
    tokens_per_day: OmitNone[int] = None


@record
class Ready(Frame):
    """A session is attached; the events after `from` follow.

    `log` identifies the history of the session: a `seq` of another history has no meaning in it. `id` is that of the
    `attach` or `fork` that this answers. `models` are those that a question may name, the default (`model`) first.
    `title` is what the session is called as of `seq`, null where it has no title. `user` is who is connected, null for
    an anonymous client, and `expires` when the credential does, null where it does not.
    """

    type: Literal["ready"] = "ready"
    session: SessionId
    seq: Seq
    from_: Annotated[Seq, Field(alias="from")]
    resumed: bool
    protocol: str
    server: str
    model: str
    limits: Limits
    log: str = ""  # empty: from a server of an earlier version, which does not send it
    models: tuple[str, ...] = ()  # the same
    id: OmitNone[FrameId] = None
    title: str | None = None
    user: str | None = None
    expires: Timestamp | None = None


@record
class Error(Frame):
    """A frame was refused and has changed nothing, or a session can't be read any more."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool
    retry_after: Seconds | None = None
    id: OmitNone[FrameId] = None
    session: OmitNone[SessionId] = None


@record
class Authorized(Frame):
    """The answer to `auth`: the connection now has the rights of that credential, until it expires."""

    type: Literal["authorized"] = "authorized"
    id: OmitNone[FrameId] = None
    user: str
    expires: Timestamp | None = None


@record
class History(Frame):
    """Turns, oldest first; `more` where the log has older ones."""

    type: Literal["history"] = "history"
    session: SessionId
    id: OmitNone[FrameId] = None
    turns: list[TurnRecord]
    more: bool


@record
class SessionEntry(Frame):
    """A session in a list: `title`, or else the beginning of its first question; `seq` and `running` as of then."""

    session: SessionId
    title: str
    created: Timestamp
    updated: Timestamp
    turns: Annotated[int, Field(ge=0)]
    seq: Seq
    running: bool


@record
class Sessions(Frame):
    """The user's sessions, the one with the newest `question` or `done` first; `more` is `before` of the next page."""

    type: Literal["sessions"] = "sessions"
    id: OmitNone[FrameId] = None
    sessions: tuple[SessionEntry, ...]
    more: str | None


@record
class GoingAway(Frame):
    """The server drains: reconnect, with `after`, once the time has passed."""

    type: Literal["going_away"] = "going_away"
    reconnect_after: Seconds


@record
class Pong(Frame):
    """The answer to a `ping`."""

    type: Literal["pong"] = "pong"
    id: OmitNone[FrameId] = None


@record
class Alive(Frame):
    """A heartbeat: nothing else was sent for a while."""

    type: Literal["alive"] = "alive"


ServerFrame: TypeAlias = (
    Ready
    | Question
    | Token
    | Thinking
    | Done
    | Title
    | Error
    | Authorized
    | History
    | Sessions
    | GoingAway
    | Pong
    | Alive
)

# --- from clients ----------------------------------------------------------------------------------------------------


@record
class Command(Frame):
    """A client's frame. `id` is repeated in the answer or the error."""

    id: OmitNone[FrameId] = None


@record
class SessionCommand(Command):
    """A command about an attached session; `session` may be omitted where only one is attached."""

    session: OmitNone[SessionId] = None


def _refuse_control_characters(text: str) -> str:
    if CONTROL_CHARACTERS.search(text):
        raise PydanticCustomError("control_characters", "It should have no control characters")
    return text


Model = Annotated[str, Field(min_length=1, max_length=200)]
Temperature = Annotated[float, Field(ge=0, le=2)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000)]


@record
class Ask(SessionCommand):
    """Ask a question."""

    type: Literal["ask"] = "ask"
    text: str
    model: OmitNone[Model] = None
    temperature: OmitNone[Temperature] = None
    max_tokens: OmitNone[MaxTokens] = None
    when_busy: WhenBusy = "queue"


@record
class Cancel(SessionCommand):
    """Stop a turn; without `turn`, the running one."""

    type: Literal["cancel"] = "cancel"
    turn: OmitNone[TurnId] = None


@record
class Retry(SessionCommand):
    """Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were."""

    type: Literal["retry"] = "retry"
    turn: OmitNone[TurnId] = None
    model: OmitNone[Model] = None
    temperature: OmitNone[Temperature] = None
    max_tokens: OmitNone[MaxTokens] = None


@record
class Edit(SessionCommand):
    """Ask another question in place of that turn's. Options that are not given stay as they were."""

    type: Literal["edit"] = "edit"
    turn: TurnId
    text: str
    model: OmitNone[Model] = None
    temperature: OmitNone[Temperature] = None
    max_tokens: OmitNone[MaxTokens] = None


@record
class HistoryRequest(SessionCommand):
    """Ask for the newest turns, or those whose questions have a `seq` below `before`."""

    type: Literal["history"] = "history"
    before: OmitNone[Seq] = None
    limit: Annotated[int, Field(ge=1, le=50)] = 50


@record
class Attach(Command):
    """Read a further session on this connection; without `session`, a new one.

    `log` is that of the `ready` of the history in which `after` was seen.
    """

    type: Literal["attach"] = "attach"
    session: OmitNone[SessionId] = None
    after: OmitNone[Seq] = None
    log: OmitNone[str] = None


@record
class Detach(SessionCommand):
    """Stop reading a session."""

    type: Literal["detach"] = "detach"


@record
class Fork(SessionCommand):
    """Make a new session of a turn that has ended and of what the model was shown for it, and attach that session.

    The same `id` names the same new session.
    """

    type: Literal["fork"] = "fork"
    turn: TurnId


@record
class TitleRequest(SessionCommand):
    """Name the session, which has at least one question; an empty text takes the name away."""

    type: Literal["title"] = "title"
    text: Annotated[str, Field(max_length=MAX_TITLE_CHARS), AfterValidator(_refuse_control_characters)]


@record
class SessionsRequest(Command):
    """Ask for the user's sessions: the first page, or the one whose `before` is the `more` of the page before."""

    type: Literal["sessions"] = "sessions"
    before: OmitNone[Annotated[str, Field(max_length=MAX_PLACE_CHARS)]] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


@record
class Forget(Command):
    """Delete a session and all it holds."""

    type: Literal["forget"] = "forget"
    session: SessionId


@record
class Auth(Command):
    """Replace the credential of the connection by a fresh one of the same user."""

    type: Literal["auth"] = "auth"
    token: str


@record
class Ping(Command):
    """Ask for a `pong`."""

    type: Literal["ping"] = "ping"


ClientFrame: TypeAlias = (
    Ask
    | Cancel
    | Retry
    | Edit
    | HistoryRequest
    | Attach
    | Detach
    | Fork
    | TitleRequest
    | SessionsRequest
    | Forget
    | Auth
    | Ping
)

# --- decoding --------------------------------------------------------------------------------------------------------


@record
class UnknownEvent(Record):
    """An event of a type that this version does not know: a reader ignores it and continues after its `seq`."""

    session: SessionId
    seq: Seq


_client: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")], config=WHEN_USED)
_server: TypeAdapter[ServerFrame] = TypeAdapter(Annotated[ServerFrame, Field(discriminator="type")], config=WHEN_USED)
_unknown: TypeAdapter[UnknownEvent] = TypeAdapter(UnknownEvent)


def decode_client(data: str | bytes) -> ClientFrame:
    """Decode a client's frame. Raises a `FrameError` that names what is wrong, with the frame's id if it has one."""
    try:
        return cast("ClientFrame", _client.validator.validate_json(data))
    except ValidationError as error:
        raise _frame_error(data, error.errors(include_url=False, include_context=False)[0]) from error


def decode_server(data: str | bytes) -> ServerFrame | UnknownEvent | None:
    """Decode a server's frame. Raises `FrameError`.

    For an unknown type, returns an `UnknownEvent` where the frame has `session` and `seq`, else None.
    """
    try:
        return _server.validate_json(data)
    except ValidationError as error:
        fault = _frame_error(data, error.errors(include_url=False, include_context=False)[0])
        if not isinstance(fault, UnknownType):
            raise fault from error
    with suppress(ValidationError):
        return _unknown.validate_json(data)
    return None


def _frame_error(data: str | bytes, fault: ErrorDetails) -> FrameError:
    if fault["type"] == "json_invalid":
        return InvalidJSON(f"The frame is not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}.")
    id = _frame_id(data)
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


def _frame_id(data: str | bytes) -> str | None:
    """Return the id of an invalid frame, if that is valid."""
    frame: object = from_json(data)
    id = cast("dict[str, object]", frame).get("id") if isinstance(frame, dict) else None
    return id if isinstance(id, str) and 1 <= len(id) <= 64 else None


def type_of(model: type[Record]) -> str:
    """Return the `type` of a frame's class."""
    return str(next(field.default for field in fields(model) if field.name == "type"))


def fields_of(model: type[Record]) -> dict[str, FieldInfo]:
    """Return the fields of a frame's class by their names in Python."""
    hints = get_type_hints(model, include_extras=True)
    return {
        field.name: FieldInfo.from_annotation(hints[field.name])
        if field.default is MISSING
        else FieldInfo.from_annotated_attribute(hints[field.name], field.default)
        for field in fields(model)
    }


# --- encoding --------------------------------------------------------------------------------------------------------

_adapters: dict[type[Record], TypeAdapter[Any]] = {
    model: TypeAdapter(model) for model in (*ServerFrame.__args__, *ClientFrame.__args__, Failure, Timing, Usage)
}


def encode(frame: Record, *, strict: bool = False) -> bytes:
    """Encode a frame as a JSON object in UTF-8. Raises ValueError where that can't be done.

    A field of another type is encoded as what it is, with a warning; with `strict` it raises ValueError.
    """
    if isinstance(frame, Question | Token | Thinking | Done | Title):
        return encode_event(frame)
    return _adapters[type(frame)].serializer.to_json(frame, by_alias=True, warnings="error" if strict else True)


def to_dict(frame: Record) -> dict[str, Any]:
    """Return the JSON object that a frame is on the wire."""
    decoded: dict[str, Any] = from_json(encode(frame))
    return decoded


def error_frame(error: AskbotError, *, id: str | None = None, session: str | None = None) -> Error:
    """Make the `error` frame of an error."""
    return Error(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        retry_after=error.retry_after,
        id=id,
        session=session,
    )


_NESTED_RECORDS: dict[str, type[Record]] = {
    part.__name__: part for part in (Check, Failure, Limits, Options, SessionEntry, Step, Timing, TurnRecord, Usage)
}

# --- the schema ------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """Return the JSON Schema of all frames: a definition of each, and the unions `client` and `server` by sender.

    Fields that are always sent are required, `type` too; fields that may be omitted are never null.
    """
    definitions: dict[str, Any] = {}
    sides: dict[str, list[dict[str, str]]] = {}
    for side, union in (("server", ServerFrame), ("client", ClientFrame)):
        sides[side] = []
        for model in union.__args__:
            mode: Literal["validation", "serialization"] = "validation" if side == "client" else "serialization"
            whole = TypeAdapter(model).json_schema(mode=mode, by_alias=True, ref_template="#/$defs/{model}")
            for name, part in whole.pop("$defs", {}).items():
                definitions[name] = _wire_schema(_NESTED_RECORDS[name], part, always=side == "server")
            definitions[model.__name__] = _wire_schema(model, whole, always=side == "server")
            sides[side].append({"$ref": f"#/$defs/{model.__name__}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": PROTOCOL,
        "oneOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": {side: {"oneOf": refs} for side, refs in sides.items()} | definitions,
    }


def _wire_schema(model: type[Record], schema: dict[str, Any], *, always: bool) -> dict[str, Any]:
    """Change pydantic's schema, of what it accepts, to one of what is sent; `always`: defaults are sent too."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    fields = {field.alias or name: field for name, field in fields_of(model).items()}
    for name, field in sorted(fields.items(), key=lambda item: item[0] != "type"):
        left_out = field.exclude_if is not None
        properties[name] = _without_null(schema["properties"][name]) if left_out else schema["properties"][name]
        if name == "type" or field.is_required() or (always and not left_out):
            required.append(name)
            properties[name].pop("default", None)
    description = schema["description"].partition("\n\nAttributes")[0]  # which are in Python's units
    return {**schema, "description": description, "properties": properties, "required": required}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    only: dict[str, Any] = next(each for each in schema["anyOf"] if each != {"type": "null"})
    return {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | only
