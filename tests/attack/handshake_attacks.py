"""Handshake attacks: credentials that are none, were used, or are somebody else's."""

from __future__ import annotations

import asyncio
import base64
import json
import time

from ..auth.clients import SECRET, token
from .attacker import READY, Attacker, require
from .raw_connection import RawConnection, frame, handshake


def encode_part(fields: object) -> str:
    """Return a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()


def bad_token(attacker: Attacker) -> str:
    """Return what must not be accepted as a token."""
    chance, mark = attacker.chance, attacker.word()
    claims = {"sub": "alice", "exp": time.time() + 600, "jti": mark, "role": "member"}
    good = token("alice", jti=mark)
    header, payload, signature = good.split(".")
    return chance.choice(
        (
            mark,
            "",
            " ",
            mark * chance.randrange(1, 300),
            f"ak_{mark[:12]}_{mark}",
            attacker.target.key[:-1] + ("A" if attacker.target.key[-1] != "A" else "B"),
            attacker.target.key[:16] + "_" + mark[:43].ljust(43, "x"),
            f"{encode_part({'alg': 'none', 'typ': 'JWT'})}.{encode_part(claims)}.",
            f"{encode_part({'alg': 'None'})}.{encode_part(claims)}.{signature}",
            f"{encode_part({'alg': 'RS256', 'jku': 'http://127.0.0.1:1/keys'})}.{payload}.{signature}",
            f"{encode_part({'alg': 'HS256', 'kid': '../../../../dev/null'})}.{payload}.{signature}",
            f"{encode_part({'alg': ['HS256']})}.{payload}.{signature}",
            f"{encode_part(['HS256'])}.{payload}.{signature}",
            f"{header}.{encode_part(claims | {'sub': 'root'})}.{signature}",
            f"{header}.{payload}.",
            f"{header}.{payload}",
            f"{header}.{payload}.{signature}.{signature}",
            good[: chance.randrange(len(good) - 1)],
            good[:-1] + ("A" if good[-1] not in "ABCD" else "Q"),
            token("alice", jti=mark, exp=time.time() - chance.choice((1, 1e6))),
            token("alice", jti=mark, nbf=time.time() + 500),
            token("alice", jti=mark, exp=None),
            token("alice", jti=mark, aud="somebody else"),
            token("alice", jti=mark, secret="x" * 40),
            token("alice", jti=mark, algorithm="HS512", secret=SECRET),
            token("", jti=mark),
            token("al\nice", jti=mark),
            f"{encode_part({'alg': 'HS256'})}.{'A' * chance.choice((10_000, 30_000))}.{signature}",
            f"{'[' * 3_000}.{payload}.{signature}",
        )
    )


def carried(attacker: Attacker, credential: str) -> tuple[str, list[str]]:
    """Return the query and the headers by which a credential may come."""
    chance = attacker.chance
    safe = "".join(character for character in credential if character.isprintable() and character not in " ,;")
    carrier = chance.choice(("authorization", "subprotocol", "ticket", "cookie"))
    if carrier == "authorization":
        scheme = chance.choice(("Bearer", "bearer", "BEARER"))
        return "", [f"Authorization: {scheme} {safe}"]
    if carrier == "subprotocol":
        return "", [f"Sec-WebSocket-Protocol: askbot.v1, askbot.bearer.{safe}"]
    if carrier == "ticket":
        return f"?ticket={safe}", []
    return "", [f"Cookie: a=b; session={safe}", "Origin: http://127.0.0.1"]


async def invent_credentials(attacker: Attacker) -> None:
    """By each carrier, and by the frame `auth`: nobody comes in, and nobody becomes another user."""
    query, headers = carried(attacker, bad_token(attacker))
    async with attacker.dialled() as connection:
        await connection.send(handshake(query, *headers))
        await connection.read(seconds=0.4)
        require(READY not in connection.received, f"came in by {query} {headers}")
    async with attacker.chatting() as connection:
        for _ in range(5):
            payload = json.dumps({"type": "auth", "id": "a", "token": bad_token(attacker)})
            await connection.send(frame(payload.encode()))
        await connection.send(frame(json.dumps({"type": "auth", "id": "b", "token": token("alice")}).encode()))
        await connection.read(seconds=0.3)
        require(b'"authorized"' not in connection.received, "became another user")


async def spend_twice(attacker: Attacker) -> None:
    """A ticket on several connections at once, and again afterwards: it opens one."""
    ticket = attacker.ticket()

    async def use() -> RawConnection:
        async with attacker.dialled() as connection:
            await connection.send(handshake(f"?ticket={ticket}"))
            await connection.read(seconds=0.5)
        return connection

    used = await asyncio.gather(*(use() for _ in range(4)))
    used.append(await use())
    require(sum(READY in one.received for one in used) <= 1, "a ticket was used twice")


async def guess_sessions(attacker: Attacker) -> None:
    """Sessions of others, known or guessed, with a credential of one's own: there are none."""
    chance = attacker.chance
    known = chance.choice(attacker.target.sessions)
    guessed = chance.choice((known, known[:-1] + "A", known.swapcase(), known + "%00", "..%2f" + known, "a" * 22))
    async with attacker.chatting(f"?session={guessed}&after={chance.randrange(50)}") as connection:
        await connection.read(seconds=0.2)
        require(READY not in connection.received, "opened another user's session")
    turn, id = "t" * 22, "i"
    async with attacker.chatting() as connection:
        if READY not in connection.received:
            return
        for type in ("attach", "history", "ask", "cancel", "retry", "edit", "fork", "title", "detach", "forget"):
            fields = {"type": type, "session": known, "id": id, "text": "tokens:2", "turn": turn}
            await connection.send(frame(json.dumps(fields).encode()))
        await connection.send(frame(b'{"type":"sessions","id":"s","limit":100}'))
        await connection.read(seconds=0.4)
        own = connection.received.split(READY)[1]
        for answered in (b'"type":"history"', b'"type":"question"', b'"type":"token"', b'"type":"title"'):
            require(answered not in own, f"another user's session answered {answered!r}")
        require(connection.received.count(READY) == 1, "attached another user's session")


async def leave_anywhere(attacker: Attacker) -> None:
    """At any byte of a handshake and of what follows it, by closing, by resetting, or by half of that."""
    chance = attacker.chance
    steps = [
        handshake("", f"Authorization: Bearer {attacker.credential()}"),
        attacker.question("tokens:200 rate:100"),
        frame(b'{"type":"attach"}'),
        frame(b'{"type":"cancel"}'),
        frame(b'{"type":"history"}'),
        frame(b'{"type":"ping","id":"p"}'),
        frame(b"\x03\xe8", 8),
    ]
    whole = b"".join(steps)
    async with attacker.dialled() as connection:
        place = chance.choice((chance.randrange(len(whole)), chance.randrange(len(steps[0]))))
        first = min(place, len(steps[0]))
        await connection.send(whole[:first])
        if chance.random() < 0.5:
            await connection.read(seconds=0.1)
        await connection.send(whole[first:place])
        if chance.random() < 0.3 and connection.writer.can_write_eof():
            connection.writer.write_eof()
        if chance.random() < 0.5:
            await connection.read(seconds=chance.random() * 0.3)
