"""Requests to the letter: no client tidies them up."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass
class Response:
    """What came back. Of headers that come twice, the values are joined."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, decoded."""
        return json.loads(self.body)


class BrokenOffError(Exception):
    """The connection ended in the middle of a response. `body` is what came of it."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


async def head_of(reader: asyncio.StreamReader) -> Response:
    """The next response without its body; one that announces more comes first is passed over."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise BrokenOffError(error.partial) from None
    first, *lines = text.strip().split("\r\n")
    headers: dict[str, str] = {}
    for name, value in (line.split(": ", 1) for line in lines):
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return Response(int(first.split()[1]), headers, b"")


async def chunk_of(reader: asyncio.StreamReader) -> bytes:
    """The next chunk of a body; empty at its end."""
    try:
        size = int(await reader.readuntil(b"\r\n"), 16)
        return (await reader.readexactly(size + 2))[:-2]
    except asyncio.IncompleteReadError as error:
        raise BrokenOffError(error.partial) from None


async def response_of(reader: asyncio.StreamReader, method: str = "GET") -> Response:
    """The next response. Raises `BrokenOffError`."""
    response = await head_of(reader)
    if method == "HEAD" or response.status in (101, 204, 304):
        return response
    if response.headers.get("transfer-encoding") == "chunked":
        while chunk := await chunk_of(reader):
            response.body += chunk
    elif "content-length" in response.headers:
        response.body = await reader.readexactly(int(response.headers["content-length"]))
    else:
        response.body = await reader.read()
    return response


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is: one over TLS is left to the garbage collector otherwise."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def lines(method: str, path: str, *fields: str) -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode("latin-1")


async def request(
    port: int, path: str, *, method: str = "GET", host: str | None = None, body: str = "", **headers: str
) -> Response:
    """What the server answers to exactly this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = {"Host": host or f"127.0.0.1:{port}"} | {name.replace("_", "-"): text for name, text in headers.items()}
    fields |= {"Content-Length": str(len(body.encode()))} if body else {}
    writer.write(lines(method, path, *(f"{name}: {text}" for name, text in fields.items())) + body.encode())
    try:
        async with asyncio.timeout(5):
            return await response_of(reader, method)
    finally:
        writer.close()
