"""The frames, as documents speak of them."""

from __future__ import annotations

from typing import Any, TypeAlias

from askbot_ws.dialects.askbot.frames import ClientFrame, Frame, ServerFrame, schema

Schema: TypeAlias = dict[str, Any]

CLIENT: tuple[type[Frame], ...] = ClientFrame.__args__
SERVER: tuple[type[Frame], ...] = ServerFrame.__args__


def summary(model: type[Frame]) -> str:
    """What a frame is, in one paragraph."""
    return " ".join((model.__doc__ or "").split()).partition(" Attributes")[0]  # which are in Python's units


def definitions() -> dict[str, Schema]:
    """All frames and what they consist of, by the models' names; parts before the frames that have them.

    Without the titles, which only repeat the names.
    """
    found: dict[str, Schema] = schema()["$defs"]
    return {name: _untitled(definition) for name, definition in found.items() if name not in ("client", "server")}


def _untitled(definition: Schema) -> Schema:
    properties = {
        name: {key: value for key, value in part.items() if key != "title"}
        for name, part in definition["properties"].items()
    }
    return {key: value for key, value in definition.items() if key != "title"} | {"properties": properties}
