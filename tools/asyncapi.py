"""docs/asyncapi.json: the protocol for machines, as an AsyncAPI 3 document of the server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from askbot_ws import __version__
from askbot_ws.dialects.askbot.frames import PROTOCOL, Frame, fields_of, type_of
from askbot_ws.events import Seq, SessionId
from dialogues import Json, frames
from wire import CLIENT, SERVER, Schema, definitions, summary

EXAMPLES = 3  # of a message, each with other fields
ANSWERS = {
    "ask": ("Question", "Error"),
    "retry": ("Question", "Error"),
    "edit": ("Question", "Error"),
    "cancel": ("Done", "Error"),
    "history": ("History", "Error"),
    "attach": ("Ready", "Error"),
    "fork": ("Ready", "Error"),
    "title": ("Title", "Error"),
    "sessions": ("Sessions", "Error"),
    "detach": ("Error",),  # only where there was nothing to detach
    "forget": ("Error",),
    "ping": ("Pong",),
}
ABOUT = (
    "A session is an append-only log, a connection is a cursor over it. Every event has its place in the log, `seq`; "
    "a client that comes back with `after` = the last `seq` that it processed misses nothing and gets nothing twice. "
    "The first frame is always `ready`. Durations are in milliseconds. A reader ignores what it does not know."
)


def document() -> str:
    """The whole file."""
    return json.dumps(_document(), indent=2, ensure_ascii=False) + "\n"


def _document() -> Json:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"askbot-ws: {PROTOCOL}",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "here": {
                "host": "127.0.0.1:8765",
                "protocol": "ws",
                "description": "Where `askbot serve` listens without settings.",
            }
        },
        "channels": {"chat": _channel()},
        "operations": _operations(),
        "components": {
            "messages": {
                **{model.__name__: _message(model, frames("<")) for model in SERVER},
                **{model.__name__: _message(model, frames(">")) for model in CLIENT},
            },
            "schemas": json.loads(json.dumps(definitions()).replace('"#/$defs/', '"#/components/schemas/')),
        },
    }


def _channel() -> Json:
    query = {
        "session": {**_schema(SessionId), "description": "Continue this session; without it, a new one is made."},
        "after": {
            **_schema(Seq),
            "description": "Send everything after this `seq`; without it, the newest 50 turns.",
        },
        "log": {
            "type": "string",
            "description": "The history in which `after` is a place, as `ready.log` named it.",
        },
    }
    return {
        "address": "/v1/chat",
        "description": f"Text frames, one JSON object each. The subprotocol {PROTOCOL} is selected when offered.",
        "messages": {model.__name__: {"$ref": _message_ref(model.__name__)} for model in (*SERVER, *CLIENT)},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": query},
                "bindingVersion": "0.1.0",
            }
        },
    }


def _operations() -> Json:
    """As the server sees them: it receives commands, and sends what happens in the sessions."""
    told = {
        "action": "send",
        "channel": {"$ref": "#/channels/chat"},
        "summary": "What happens, to everybody who reads the session.",
        "messages": [{"$ref": _channel_ref(model.__name__)} for model in SERVER],
    }
    return {"tell": told} | {type_of(model): _operation(model) for model in CLIENT}


def _operation(model: type[Frame]) -> Json:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/chat"},
        "summary": summary(model),
        "messages": [{"$ref": _channel_ref(model.__name__)}],
        "reply": {
            "channel": {"$ref": "#/channels/chat"},
            "messages": [{"$ref": _channel_ref(name)} for name in ANSWERS[type_of(model)]],
        },
    }


def _message(model: type[Frame], sent: Iterable[Json]) -> Json:
    """One frame, with one example for each set of fields that it was seen with."""
    seen: dict[tuple[str, ...], Json] = {}
    for frame in sent:
        if frame.get("type") == type_of(model) and _fits(model, frame):
            seen.setdefault(tuple(sorted(frame)), frame)
    if not seen:
        raise ValueError(f"no dialogue has a {model.__name__}; docs/protocol.md shows every frame")
    return {
        "name": type_of(model),
        "title": model.__name__,
        "summary": summary(model),
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": [{"payload": frame} for frame in list(seen.values())[:EXAMPLES]],
    }


def _fits(model: type[Frame], frame: Json) -> bool:
    """Dialogues have frames that are wrong on purpose, too."""
    adapter = TypeAdapter(model)
    try:
        adapter.validate_json(json.dumps(frame))
    except ValueError:
        return False
    return set(frame) <= {field.alias or name for name, field in fields_of(model).items()}


def _schema(kind: Any) -> Schema:  # noqa: ANN401 - a type
    return TypeAdapter(kind).json_schema()


def _message_ref(name: str) -> str:
    return f"#/components/messages/{name}"


def _channel_ref(name: str) -> str:
    return f"#/channels/chat/messages/{name}"
