"""Clients with credentials, and JSON Web Tokens."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

SECRET = "a secret of tests that has more than 32 bytes, and more than 64 too"


def token(user: object = "alice", *, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token of this user that is valid for an hour, the length of all tests; a claim of None is left out."""
    payload = {"sub": user, "exp": time.time() + 3600} | claims
    given = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(given, secret, algorithm=algorithm, sort_headers=True)


def bearer(credential: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {credential}"}


async def open_chat(
    url: str,
    credential: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    subprotocols: list[str] | None = None,
    origin: str | None = None,
) -> ClientConnection:
    """A connection, of which nothing is read yet."""
    return await connect(
        url,
        additional_headers=(bearer(credential) if credential is not None else {}) | (headers or {}),
        subprotocols=[Subprotocol(name) for name in subprotocols] if subprotocols else None,
        origin=Origin(origin) if origin else None,
        proxy=None,
        compression=None,
        close_timeout=1,
    )


async def outcome(url: str, credential: str | None = None, **options: Any) -> int:
    """What comes of a handshake: 200 where the first frame is `ready`, else the status or the close code."""
    try:
        socket = await open_chat(url, credential, **options)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    try:
        frame = json.loads(await socket.recv())
    except ConnectionClosed:
        return socket.close_code or 0
    await socket.close()
    assert frame["type"] == "ready"
    return 200


async def close_code(socket: ClientConnection) -> int:
    """With which code it is closed, once it is."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        await socket.wait_closed()
    return socket.close_code or 0
