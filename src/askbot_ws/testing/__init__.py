"""Testing: for tests of what is built on askbot-ws.

A program that asks a server is tested with `serving` and a `ScriptedUpstream`: a real server whose model says what the
test wants. A client is tested with a `ScriptedServer`, which says each frame at the moment that the test wants.
"""

from __future__ import annotations

from .scripted_connection import (
    Close,
    Cut,
    Frame,
    Receive,
    ReceivedFrame,
    Refuse,
    RequireToken,
    Script,
    ScriptedConnection,
    ServerStep,
)
from .scripted_log import ScriptedLog, expires_in
from .scripted_server import ScriptedServer
from .upstream import ScriptedUpstream, Step, serving

__all__ = [
    "Close",
    "Cut",
    "Frame",
    "Receive",
    "ReceivedFrame",
    "Refuse",
    "RequireToken",
    "Script",
    "ScriptedConnection",
    "ScriptedLog",
    "ScriptedServer",
    "ScriptedUpstream",
    "ServerStep",
    "Step",
    "expires_in",
    "serving",
]
