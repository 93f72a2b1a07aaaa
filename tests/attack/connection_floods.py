"""Connection floods: many connections at once, from several addresses."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from .attacker import ADDRESSES, Attacker
from .raw_connection import frame, handshake

AT_ONCE = 80


async def connect_much(attacker: Attacker) -> None:
    """Some say nothing, some a part of a handshake, some are WebSockets; all stay for a moment, and go at once."""
    chance = attacker.chance
    whole = handshake("", f"Authorization: Bearer {attacker.credential()}")
    addresses = chance.sample(ADDRESSES, 2)
    async with AsyncExitStack() as stack:
        for number in range(AT_ONCE):
            with suppress(OSError, TimeoutError):
                connection = await stack.enter_async_context(attacker.dialled(addresses[number % 2]))
                size = chance.choice((0, chance.randrange(len(whole)), len(whole), len(whole)))
                await connection.send(whole[:size])
        await asyncio.sleep(chance.random())


async def come_and_go(attacker: Attacker) -> None:
    """One after the other, without a word or with one."""
    whole = handshake("", f"Authorization: Bearer {attacker.credential()}") + frame(b'{"type":"attach"}')
    for _ in range(40):
        with suppress(OSError, TimeoutError):
            async with attacker.dialled() as connection:
                await connection.send(whole[: attacker.chance.choice((0, 60, len(whole)))])
