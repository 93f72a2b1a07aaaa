"""Codec: commands, principals, results and errors as nodes send them to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from pydantic import TypeAdapter

from .. import errors
from ..core.commands import Ask, Cancel, Command, Edit, Forget, Retry, Title
from ..core.principal import Principal
from ..errors import AskbotError, FrameError, Internal, StoreError
from ..hub.placement import ForwardedCommand

_principal = TypeAdapter(Principal)
_commands: dict[str, TypeAdapter[Command]] = {
    command.__name__: TypeAdapter(command) for command in (Ask, Retry, Edit, Cancel, Forget, Title)
}
_errors: dict[str, type[AskbotError]] = {
    name: found
    for name in errors.__all__
    if isinstance(found := getattr(errors, name), type) and issubclass(found, AskbotError)
}


@dataclass(frozen=True, slots=True)
class Request:
    """A command that is to be executed.

    Attributes:
        id: Names the request: sent again, it is not executed again.
        sender: The node that sends it.
        forwarded: The command.
    """

    id: str
    sender: str
    forwarded: ForwardedCommand


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """The store says that the receiver owns a session: it is to go on with its turns, unless it does.

    Attributes:
        id: Names the request.
        sender: The node that sends it.
        session: The session's id.
    """

    id: str
    sender: str
    session: str


@dataclass(frozen=True, slots=True)
class Executed:
    """A request was executed: the `seq` of a command, or 0."""

    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A command was refused."""

    id: str
    error: AskbotError


@dataclass(frozen=True, slots=True)
class NotOwner:
    """A command was not executed: the node does not own the session."""

    id: str


@dataclass(frozen=True, slots=True)
class HandoverQueued:
    """There are sessions that a draining node has handed over."""


Result: TypeAlias = Executed | Failed | NotOwner
Message: TypeAlias = Request | ResumeRequest | Result | HandoverQueued


def is_repeatable(command: Command) -> bool:
    """Return whether a command that may have been executed, by a node that has died since, may be executed again."""
    match command:
        case Ask() | Retry() | Edit():
            return command.id is not None
        case Cancel():
            return command.turn is not None
        case _:
            return True


def encode_message(message: Message) -> bytes:
    """Encode a message. Raises `StoreError` where a text can't be encoded, as the store would."""
    match message:
        case Request(id, sender, forwarded):
            return _encode_request(id, sender, forwarded)
        case ResumeRequest(id, sender, session):
            fields: dict[str, Any] = {"type": "take_over", "id": id, "sender": sender, "session": session}
        case Executed(id, seq):
            fields = {"type": "executed", "id": id, "seq": seq}
        case Failed(id, error):
            fields = {"type": "failed", "id": id, "error": _error_fields(error)}
        case NotOwner(id):
            fields = {"type": "not_owner", "id": id}
        case HandoverQueued():
            fields = {"type": "todo_added"}
    return orjson.dumps(fields)


def _encode_request(id: str, sender: str, forwarded: ForwardedCommand) -> bytes:
    name = type(forwarded.command).__name__
    try:
        return orjson.dumps(
            {
                "type": "request",
                "id": id,
                "sender": sender,
                "principal": orjson.Fragment(_principal.dump_json(forwarded.principal)),
                "session": forwarded.session,
                "name": name,
                "command": orjson.Fragment(_commands[name].dump_json(forwarded.command)),
                "address": forwarded.address,
            }
        )
    except (ValueError, TypeError) as error:
        raise StoreError from error


def decode_message(data: bytes) -> Message:
    """Decode a message. Raises `ValueError` for what this version does not know."""
    try:
        return _message_of(orjson.loads(data))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it is no message of this version") from error


def _message_of(fields: dict[str, Any]) -> Message:
    match fields["type"]:
        case "request":
            return Request(fields["id"], fields["sender"], _decode_forwarded(fields))
        case "take_over":
            return ResumeRequest(fields["id"], fields["sender"], fields["session"])
        case "executed":
            return Executed(fields["id"], fields["seq"])
        case "failed":
            return Failed(fields["id"], _decode_error(fields["error"]))
        case "not_owner":
            return NotOwner(fields["id"])
        case "todo_added":
            return HandoverQueued()
        case kind:
            raise KeyError(kind)


def _decode_forwarded(fields: dict[str, Any]) -> ForwardedCommand:
    return ForwardedCommand(
        _principal.validate_json(orjson.dumps(fields["principal"])),
        fields["session"],
        _commands[fields["name"]].validate_json(orjson.dumps(fields["command"])),
        fields["address"],
    )


def _error_fields(error: AskbotError) -> dict[str, Any]:
    """Return what a client is shown of an error, by the name of the first of its classes that nodes know."""
    return {
        "name": next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _errors),
        "message": error.message,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        "id": error.id if isinstance(error, FrameError) else None,
    }


def _decode_error(fields: dict[str, Any]) -> AskbotError:
    found = _errors.get(fields["name"], Internal)
    if issubclass(found, FrameError):
        return found(fields["message"], id=fields["id"])
    return found(fields["message"], retry_after=fields["retry_after"], retryable=fields["retryable"])
