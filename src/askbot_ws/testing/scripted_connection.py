"""ScriptedConnection: one connection to a `ScriptedServer`, and the steps that its script can have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from ..events import Record

# --- the steps of a script -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the next frame of the client, after the one that the step before took on this connection.

    Attributes:
        type: Its type, such as `ask`; frames of other types are passed over. None: any frame.
        name: The name under which later frames refer to its fields, as in `"$ask.id"`; by default its type.
    """

    type: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, and wait for the client's close frame.

    Attributes:
        code: The close code: 1000 to 1014 without 1004 to 1006, or 3000 to 4999.
        reason: The reason.
    """

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """End the TCP connection without a close frame: for the client, that is the close code 1006.

    Attributes:
        reset: Whether to end it by RST, which also loses what the client has not read yet.
    """

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse the handshake. It is the first step of its script, and the last one.

    Attributes:
        status: The HTTP status.
        headers: Further headers, such as `Retry-After`.
        text: The body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str = ""


@dataclass(frozen=True, slots=True)
class RequireToken:
    """Refuse a client that shows another token or ticket than these, as a server does. The first step of its script.

    A client that offers a token as a subprotocol, or has an `Origin`, is closed with 4401, others are refused with
    HTTP 401. For one that may come in, the script goes on.

    Attributes:
        accepted: The tokens and tickets; of a ticket, the `ticket` in the query counts.
    """

    accepted: Collection[str]


# --- connections -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A message of a client.

    Attributes:
        data: As it came: text, or bytes where it was binary.
        frame: The JSON object in it; empty where there is none.
        time: When it came, by the event loop's clock, in seconds.
    """

    data: str | bytes
    frame: Mapping[str, Any]
    time: float


@dataclass(slots=True, eq=False)
class ScriptedConnection:
    """One attempt of a client to connect, and what it sent.

    Attributes:
        path: The path of its URL.
        query: The query of its URL.
        headers: The headers of its handshake.
        opened: When its handshake came, by the event loop's clock, in seconds.
        received: Its messages, oldest first.
        finished: Set once its script has been played, or the connection has ended.
        close_code: The close code that the connection ended with; None before that, or where the handshake was refused.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    opened: float
    received: list[ReceivedFrame] = field(default_factory=list[ReceivedFrame])
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    close_code: int | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: int = 0  # of `received`, by Receive

    @property
    def token(self) -> str | None:
        """The token that the client presents, as a header or as a subprotocol; None where there is none."""
        offered = self.headers.get("Sec-WebSocket-Protocol", "").split(",")
        bearers = (each.strip().removeprefix("askbot.bearer.") for each in offered if "askbot.bearer." in each)
        header = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return header or next(bearers, None)

    @property
    def ticket(self) -> str | None:
        """The ticket in the query; None where there is none."""
        return self.query.get("ticket")

    @property
    def is_page(self) -> bool:
        """Whether it comes from a page, or as one does: with an `Origin`, or with its token as a subprotocol."""
        return "Origin" in self.headers or "askbot.bearer." in self.headers.get("Sec-WebSocket-Protocol", "")

    def frames(self, type: str | None = None) -> list[Mapping[str, Any]]:
        """Return the frames that the client sent on this connection.

        Args:
            type: Only those of this type.

        Returns:
            The JSON objects, oldest first.
        """
        return [each.frame for each in self.received if type in (None, each.frame.get("type"))]

    def record(self, data: str | bytes) -> None:
        """Record a message of the client; the server calls it.

        Args:
            data: The message.
        """
        self.received.append(ReceivedFrame(data, _object_in(data), asyncio.get_running_loop().time()))
        self._arrived.set()

    async def receive(self, type: str | None = None) -> Mapping[str, Any]:
        """Wait for the client's next frame, as the step `Receive` does.

        Args:
            type: Its type; frames of other types are passed over.

        Returns:
            The JSON object.
        """
        while True:
            while self._taken < len(self.received):
                frame = self.received[self._taken].frame
                self._taken += 1
                if type in (None, frame.get("type")):
                    return frame
            self._arrived.clear()
            await self._arrived.wait()


def _object_in(data: str | bytes) -> Mapping[str, Any]:
    try:
        value: object = json.loads(data)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


# --- scripts ---------------------------------------------------------------------------------------------------------

Frame: TypeAlias = Mapping[str, Any] | Record
"""A JSON object, or one of the models of frames and events."""
ServerStep: TypeAlias = (
    Frame
    | str
    | bytes
    | float
    | asyncio.Event
    | Receive
    | Close
    | Cut
    | Refuse
    | RequireToken
    | Callable[[ScriptedConnection], Iterable[Frame] | None]
)
"""One step of a script; see `ScriptedServer`."""
Script: TypeAlias = Sequence[ServerStep]
"""What one connection says, in order."""
