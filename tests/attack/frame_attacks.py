"""Frame attacks: what no WebSocket client sends, and frames of the protocol with any content."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import suppress

from .attacker import Attacker, require
from .raw_connection import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

TYPES = (
    "ask",
    "cancel",
    "retry",
    "edit",
    "history",
    "attach",
    "detach",
    "fork",
    "title",
    "sessions",
    "auth",
    "forget",
    "ping",
    "token",
    "ready",
    "",
    "__proto__",
)
FIELDS = (
    "id",
    "session",
    "turn",
    "text",
    "after",
    "before",
    "limit",
    "log",
    "token",
    "model",
    "temperature",
    "max_tokens",
    "when_busy",
    "seq",
    "type",
)
PROTOCOL_FAULTS = (
    frame(b'{"type":"ping"}', masked=False),
    frame(b'{"type":"ping"}', flags=0xC0),
    frame(b'{"type":"ping"}', flags=0xF0),
    frame(b"x", 3),
    frame(b"x", 11),
    frame(b"x" * 126, PING),
    frame(b"x", PING, flags=0),
    frame(b"x", CONTINUATION),
    frame(b"x", flags=0) * 2,
    frame(b"{", flags=0) + frame(b"", PING) + frame(b"", CONTINUATION, flags=0) * 50,
    frame(b"\xff\xfe\xfd"),
    frame(b"\xed\xa0\x80"),
    frame(b"\xc3", flags=0) + frame(b"\x28", CONTINUATION),
    frame(b"\x00", CLOSE),
    frame(b"\x03\xee", CLOSE),
    frame(b"\x00\x01\xff\xff", CLOSE),
    frame(b"\x03\xe8" + b"\xff" * 10, CLOSE),
    frame(b"", CLOSE) * 50,
    frame(b"x", PONG) * 1_000,
    frame(b"{}", BINARY),
    frame(b"", length=1 << 62),
    frame(b"", length=(1 << 64) - 1),
    frame(b"", TEXT) * 100,
    frame(b"GET / HTTP/1.1\r\n\r\n"),
)
DOCUMENTS = (
    b"[" * 60_000,
    b'{"type":' * 5_000,
    b'{"type":"ask","text":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"type":"ping","type":"forget","id":"a","id":"b"}',
    b'{"type":"history","limit":1e400}',
    b'{"type":"history","before":' + b"9" * 5_000 + b"}",
    b'{"type":"attach","after":-1}',
    b'{"type":"attach","after":NaN}',
    b'{"type":"ask","text":"\\ud800"}',
    b'{"type":"ask","text":"\\u0000\\u202e"}',
    b'{"type":"title","text":"\\r\\n{\\"event\\":\\"forged\\"}"}',
    b'{"type":"ping","id":"' + b"\\u0041" * 64 + b'"}',
    b'{"type":"ping","id":"' + b"x" * 65 + b'"}',
    b"{" + b",".join(b'"%d":0' % number for number in range(5_000)) + b"}",
    b"null",
    b"\xef\xbb\xbf{}",
    b"",
)


def any_value(chance: random.Random, depth: int = 0) -> object:
    """Return any value of JSON, often one that a field might have."""
    pick = chance.randrange(14 if depth < 3 else 11)
    if pick == 11:
        return [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if pick > 11:
        return {chance.choice(FIELDS): any_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return (
        None,
        True,
        chance.choice((0, -1, 1, 2**53, 2**63, 2**64, -(10**30))),
        chance.choice((0.5, 1e308, -0.0)),
        "",
        "x" * chance.choice((1, 64, 65, 300, 9_000)),
        "tokens:3",
        "\u0000\ud800\u202e\r\n",
        "../../etc/passwd",
        chance.choice(("queue", "reject", "replace", "scripted-1")),
        f"{chance.randrange(1 << 60):x}",
    )[pick]


def any_frame(attacker: Attacker, session: str, turn: str) -> bytes:
    """Return a frame of some type with some fields."""
    chance = attacker.chance
    fields: dict[str, object] = {"type": chance.choice(TYPES)}
    for name in chance.sample(FIELDS[:-1], chance.randrange(5)):
        fields[name] = any_value(chance)
    real = {"session": session, "turn": turn, "text": "tokens:3", "id": "x"}
    fields |= {name: value for name, value in real.items() if chance.random() < 0.5}
    return json.dumps(fields).encode()


async def break_the_protocol(attacker: Attacker) -> None:
    """Frames against RFC 6455."""
    async with attacker.chatting() as connection:
        for sent in attacker.chance.sample(PROTOCOL_FAULTS, 2):
            await connection.send(sent)
        await connection.read(seconds=0.2)


async def send_documents(attacker: Attacker) -> None:
    """JSON that is deep, wide, doubled, or none."""
    async with attacker.chatting() as connection:
        for sent in attacker.chance.sample(DOCUMENTS, 4):
            await connection.send(frame(sent))
        await connection.read(seconds=0.3)


async def send_any_frames(attacker: Attacker) -> None:
    """Frames of all types with fields of all kinds, about a session and a turn that are there."""
    chance = attacker.chance
    async with attacker.chatting() as connection:
        await connection.send(attacker.question())
        await connection.read_until(b'"type":"done"', seconds=1)
        session, turn = _field(connection.received, b"session"), _field(connection.received, b"turn")
        await connection.send(
            b"".join(frame(any_frame(attacker, session, turn)) for _ in range(chance.randrange(5, 40)))
        )
        await connection.read(seconds=0.4)


def _field(received: bytes | bytearray, name: bytes) -> str:
    """Return the first value of a field in what came back."""
    return bytes(received).partition(b'"%b":"' % name)[2].partition(b'"')[0].decode("latin-1")


async def send_noise_frames(attacker: Attacker) -> None:
    """Real frames with other bytes here and there, and bytes that are no frames."""
    chance = attacker.chance
    async with attacker.chatting() as connection:
        for _ in range(20):
            sent = bytearray(frame(any_frame(attacker, "", "")))
            sent[chance.randrange(len(sent))] = chance.randrange(256)
            await connection.send(bytes(sent))
        if chance.random() < 0.3:
            await connection.send(attacker.noise(2_000))
        await connection.read(seconds=0.2)


async def attach_many(attacker: Attacker) -> None:
    """New sessions, forks and detachments, as many as go through at once."""
    async with attacker.chatting() as connection:
        await connection.send(attacker.question())
        await connection.read_until(b'"type":"done"', seconds=1)
        turn = _field(connection.received, b"turn")
        fork = frame(json.dumps({"type": "fork", "turn": turn, "id": f"{attacker.chance.randrange(9)}"}).encode())
        for sent in (frame(b'{"type":"attach"}') * 120, fork * 10, frame(b'{"type":"detach"}') * 20):
            await connection.send(sent)
        await connection.read(seconds=0.5)


async def flood_pings(attacker: Attacker) -> None:
    """Pings of both kinds, by one that reads and by one that does not."""
    chance = attacker.chance
    ping = chance.choice((frame(b"x" * 125, PING), frame(b'{"type":"ping","id":"p"}'), frame(b"{")))
    async with attacker.chatting() as connection:
        with suppress(OSError, TimeoutError):
            await connection.send(ping * 3_000, seconds=1)
        if chance.random() < 0.5:
            await connection.read(seconds=0.3)


async def ask_much(attacker: Attacker) -> None:
    """Questions without waiting, retries, edits and cancels among them."""
    chance = attacker.chance
    more = [
        b'{"type":"retry"}',
        b'{"type":"cancel"}',
        b'{"type":"ask","text":"tokens:30 rate:100","when_busy":"replace"}',
    ]
    async with attacker.chatting() as connection:
        for _ in range(chance.randrange(3, 30)):
            text = chance.choice(("tokens:20", "tokens:30 rate:60", "status:500", "cut after:3 tokens:9", "x" * 1_500))
            await connection.send(attacker.question(text) if chance.random() < 0.6 else frame(chance.choice(more)))
        await connection.read(seconds=chance.random())


async def never_read(attacker: Attacker) -> None:
    """Ask for much, and take nothing of it; and be there for a while."""
    async with attacker.chatting() as connection:
        connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads
        for text in (b"tokens:20000", b"tokens:20000"):
            await connection.send(frame(b'{"type":"ask","text":"%b"}' % text))
        with suppress(OSError, TimeoutError):
            for _ in range(20):
                await connection.send(frame(b'{"type":"history"}') * 5, seconds=1)
                await asyncio.sleep(0.2)
        require(len(connection.received) < 1 << 20, "this was to read nothing")
