"""client/frames.d.ts: one interface a frame, for whoever writes TypeScript."""

from __future__ import annotations

import json
from typing import Any, get_args

from askbot_ws.events import Done, Question, Reason, StepType, Thinking, Token, WhenBusy
from reference import causes
from wire import CLIENT, SERVER, Schema, definitions

NAMES = {"Error": "ErrorFrame", "TurnRecord": "Turn"}  # what a program must not lose, and what its author looks for
WORDS = {"Reason": Reason, "StepType": StepType, "WhenBusy": WhenBusy}
PRIMITIVES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

HEAD = """\
/**
 * The frames of askbot.v1, as they are on the wire. Made from the server's models by `make generate`; do not edit.
 *
 * Durations are in milliseconds, moments in RFC 3339. A reader ignores frames, fields and codes that it does not know.
 */
"""
ABOUT = {
    "Reason": "How a turn ended.",
    "StepType": "What a step of a turn is: reasoning, or text of the answer.",
    "WhenBusy": "What becomes of a question that is asked while an answer runs.",
    "ErrorCode": "What an error may say of its cause.",
    "LogEvent": "A frame that the session's log keeps, and that has its place there, `seq`.",
    "ServerFrame": "What the server sends.",
    "ClientFrame": "What a client sends.",
}


def declarations() -> str:
    """The whole file."""
    unions = {"LogEvent": (Question, Token, Thinking, Done), "ServerFrame": SERVER, "ClientFrame": CLIENT}
    words = {name: [json.dumps(word) for word in get_args(kind)] for name, kind in WORDS.items()}
    words["ErrorCode"] = [json.dumps(code) for code in causes()]
    return "\n".join(
        [
            HEAD,
            *(_union(name, members) for name, members in words.items()),
            *(_interface(name, schema) for name, schema in definitions().items()),
            *(_union(name, [_name(model.__name__) for model in models]) for name, models in unions.items()),
        ]
    )


def _name(model: str) -> str:
    return NAMES.get(model, model)


def _union(name: str, members: list[str]) -> str:
    line = f"export type {name} = {' | '.join(members)};"
    if len(line) > 120:
        line = "\n".join([f"export type {name} =", *(f"  | {member}" for member in members)]) + ";"
    return f"{_comment(ABOUT[name])}{line}\n"


def _interface(name: str, schema: Schema) -> str:
    lines = [_property(key, part, schema["required"]) for key, part in schema["properties"].items()]
    return f"{_comment(schema['description'])}export interface {_name(name)} {{\n{''.join(lines)}}}\n"


def _property(name: str, schema: Schema, required: list[str]) -> str:
    mark = "" if name in required else "?"
    kind = "ErrorCode | (string & {})" if name == "code" else _type(schema)
    return f"{_comment(_unit(schema), '  ')}  {name}{mark}: {kind};\n"


def _unit(schema: Schema) -> str:
    """What the type does not say: the unit, and the value of what is left out."""
    units = [each.get("description") or _date(each) for each in [schema, *schema.get("anyOf", [])]]
    usual = schema.get("default")
    return "; ".join([unit for unit in units if unit] + ([f"{json.dumps(usual)} where left out"] if usual else []))


def _date(schema: Schema) -> str | None:
    return "RFC 3339" if schema.get("format") == "date-time" else None


def _comment(text: str, indent: str = "") -> str:
    return f"{indent}/** {' '.join(text.split())} */\n" if text else ""


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _word(schema["enum"])
    if "anyOf" in schema:
        kinds = list(map(_type, schema["anyOf"]))
        known = any("enum" in each for each in schema["anyOf"])  # an editor offers those, and the rest is a type too
        return " | ".join("(string & {})" if known and kind == "string" else kind for kind in kinds)
    return f"{_type(schema['items'])}[]" if schema["type"] == "array" else PRIMITIVES[schema["type"]]


def _word(values: list[Any]) -> str:
    return next(name for name, kind in WORDS.items() if list(get_args(kind)) == values)
