"""HTTP attacks: requests that are malformed, ambiguous, too large, too slow, or for what they must not have."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from .attacker import Attacker, require
from .raw_connection import HANDSHAKE_HEADERS, head

HIDDEN = b"GET /v1/identity HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /aiCompletion HTTP/1.1\r\n" + HOST
SMUGGLED = (
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 0, 50\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    POST + b"Content-Length:\r\n\r\n" + HIDDEN,
    POST + b"Content-Length : 0\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 99999999999999999999999999\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: identity, chunked, gzip\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"X: y\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=\nb\r\nx\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n" + HIDDEN,
)
"""Requests in which proxies and servers may see two; none of them may be answered as two."""
MALFORMED = (
    b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET  /  HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://user:word@127.0.0.1/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET ftp://127.0.0.1:99999999/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"TRACE / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n\r\n",
    b"BREW /v1/chat HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: \x00\x01\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Accept-Language: " + b"a;q=" * 2_000 + b"\r\n\r\n",
    b"GET /v1/chat?after=1&after=x&session=%00%0d%0a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"If-None-Match: " + b'"' * 5_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-x\r\n",
    b"\x00" * 70_000,
)
PATHS = (
    "/",
    "/v1/chat",
    "/v1/tickets",
    "/v1/identity",
    "/metrics",
    "/aiCompletion",
    "/healthz",
    "/readyz",
    "/askbot.js",
)
STEPS = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..\\",
    "..%5c",
    "%252e%252e%252f",
    "..%c0%af",
    "....//",
    "..;/",
    "%00../",
)
FILES = ("etc/passwd", "keys", "askbot.db", "askbot.toml", ".env", "proc/self/environ", "src/askbot_ws/config.py")
METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
NOT_THERE = {400, 401, 403, 404, 405, 413, 426}


async def smuggle(attacker: Attacker) -> None:
    """A request that hides another one."""
    sent = attacker.chance.choice(SMUGGLED)
    async with attacker.dialled() as connection:
        for part in (sent,) if attacker.chance.random() < 0.5 else (sent[:90], sent[90:]):
            await connection.send(part)
        await connection.read(seconds=0.5)
        require(len(connection.statuses) <= 1, f"two responses to {sent!r}")


async def send_malformed(attacker: Attacker) -> None:
    """What is no request, or one that only just is."""
    for sent in attacker.chance.sample(MALFORMED, 3):
        async with attacker.dialled() as connection:
            await connection.send(sent)
            await connection.read(seconds=0.3)


async def send_noise(attacker: Attacker) -> None:
    """Random bytes, or a good request with some of them."""
    chance = attacker.chance
    good = bytearray(head("POST", chance.choice(PATHS), f"Content-Length: {chance.randrange(20)}", *HANDSHAKE_HEADERS))
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(good))
        good[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    async with attacker.dialled() as connection:
        await connection.send(bytes(good) if chance.random() < 0.8 else attacker.noise(4_000))
        await connection.read(seconds=0.3)


async def traverse(attacker: Attacker) -> None:
    """Paths that lead out of what is served, on every route; one after the other on one connection."""
    chance = attacker.chance
    async with attacker.dialled() as connection:
        for _ in range(4):
            step = chance.choice(STEPS) * chance.randrange(1, 9)
            base = chance.choice(PATHS).rstrip("/") + chance.choice(("/", "//", "/./"))
            query = chance.choice(("", "?x=/../../etc/passwd", "#/"))
            path = base + step + chance.choice(FILES) + query
            await connection.send(head(chance.choice(METHODS), path, f"Authorization: Bearer {attacker.credential()}"))
            if await connection.read(seconds=0.1):
                break
        attacker.expect(connection, NOT_THERE)


async def name_other_hosts(attacker: Attacker) -> None:
    """As a page of another site, or one whose name leads here."""
    chance = attacker.chance
    host = chance.choice(
        (
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "[::ffff:evil]",
            "127.0.0.1, evil.example",
        )
    )
    origin = chance.choice(
        ("https://evil.example", "null", "http://127.0.0.1.evil.example", "file://", "https://127.0.0.1@evil.example")
    )
    path = chance.choice(("/", "/v1/chat", "/v1/identity", "/aiCompletion", "/v1/tickets"))
    upgrade = HANDSHAKE_HEADERS if path == "/v1/chat" else ()
    foreign_host = chance.random() < 0.5
    headers = () if foreign_host else (f"Origin: {origin}",)
    async with attacker.dialled() as connection:
        sent = head("GET", path, *headers, *upgrade, host=host if foreign_host else "127.0.0.1")
        await connection.send(sent)
        await connection.read_until(b"\r\n\r\n", seconds=2)
        attacker.expect(connection, {400, 403})


async def send_much(attacker: Attacker) -> None:
    """A head, a body or a number of requests that is larger than anybody needs."""
    chance = attacker.chance
    sent = chance.choice(
        (
            head("GET", "/" + "x" * 100_000),
            head("GET", "/", "X: " + "x" * 200_000),
            head("GET", "/", *(f"X-{number}: y" for number in range(5_000))),
            head("GET", "/v1/chat", *HANDSHAKE_HEADERS, "Cookie: " + "session=x; " * 20_000),
            head("POST", "/aiCompletion", "Content-Length: 3000000") + b"x" * 3_000_000,
            head("POST", "/aiCompletion", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 200_000,
            head("POST", "/aiCompletion", "Transfer-Encoding: chunked") + b"1;" + b"x" * 200_000,
            head("POST", "/aiCompletion", "Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 50_000,
            head("GET", "/askbot.js") * 200,
            head("POST", "/aiCompletion", "Content-Length: 21") + b'{"userPrompt":"Hi"} ' * 40,
        )
    )
    async with attacker.dialled() as connection:
        reading = asyncio.create_task(connection.read(seconds=2))
        with suppress(OSError, TimeoutError):
            await connection.send(sent, seconds=2)
        await reading


async def pipeline(attacker: Attacker) -> None:
    """Requests that do not wait, the last of them cut; then it goes away, or becomes a WebSocket."""
    chance = attacker.chance
    requests = [head(chance.choice(METHODS), chance.choice(PATHS)) for _ in range(chance.randrange(2, 30))]
    last = head("GET", "/v1/chat", *HANDSHAKE_HEADERS, f"Authorization: Bearer {attacker.credential()}")
    async with attacker.dialled() as connection:
        await connection.send(b"".join(requests) + last[: chance.randrange(len(last) + 1)])
        if chance.random() < 0.7:
            await connection.read(seconds=chance.random() * 0.5)


async def drip(attacker: Attacker) -> None:
    """A head or a body that comes a byte at a time: the server gives it up."""
    chance = attacker.chance
    body = b'{"userPrompt": "' + b"x" * 400
    sent = chance.choice(
        (head("GET", "/", "X: " + "x" * 400), head("POST", "/aiCompletion", "Content-Length: 500") + body)
    )
    before = chance.choice((0, 20, 60, sent.find(b"\r\n\r\n") + 4))
    begun = time.monotonic()
    async with attacker.dialled() as connection:
        await connection.send(sent[:before])
        for place in range(before, len(sent)):
            with suppress(OSError):
                await connection.send(sent[place : place + 1])
            if await connection.read(seconds=0.3):
                return
            require(time.monotonic() - begun < 75, "a slow request is not given up")


async def use_routes(attacker: Attacker) -> None:
    """What each route does with methods, bodies and credentials that are not for it."""
    chance = attacker.chance
    body = chance.choice(
        (
            b"",
            b"{}",
            b"[" * 5_000,
            b'{"userPrompt":1e999}',
            b'{"user":"root","rights":["admin"]}',
            b"\xff\xfe",
            b'{"userPrompt":"\\ud800"}',
            b'{"userPrompt":"tokens:3","x":"y"}',
        )
    )
    path = chance.choice(PATHS) + chance.choice(("", "?" + "&" * 50, "?ticket=" + attacker.word(), "/"))
    headers = [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    if chance.random() < 0.7:
        headers.append(f"Authorization: Bearer {chance.choice((attacker.credential(), attacker.word()))}")
    if chance.random() < 0.3:
        headers.append(f"X-Forwarded-For: {chance.choice(('8.8.8.8', '::1', 'x' * 900, '127.0.0.1, 127.0.0.1'))}")
    async with attacker.dialled() as connection:
        await connection.send(head(chance.choice(METHODS), path, *headers) + body)
        await connection.read(seconds=0.3)
        if path.startswith("/v1/tickets"):
            attacker.expect(connection, NOT_THERE)
