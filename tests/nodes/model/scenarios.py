"""Scenarios: a few steps of two nodes, in all orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from askbot_ws.core.principal import ANONYMOUS
from tests.redis_server import RedisServer

from .world import KEYS, SESSION, Action, ModelNode, ModelReader, World, ask


def begin(world: World, *script: str | asyncio.Event) -> tuple[ModelNode, ModelReader]:
    """A node that writes a session, and a reader there who has asked."""
    a = world.node("a", script)
    reader = world.reader(a)

    async def create() -> None:
        reader.topic = a.hub._registry.create(ANONYMOUS, SESSION)  # pyright: ignore[reportPrivateUsage]
        a.hub.attach(reader.topic, reader)
        await ask(a, "why?")

    a.do(create())
    world.settle()
    return a, reader


def says(*moments: asyncio.Event) -> list[Action]:
    """The provider goes on, at these moments."""
    return [Action(f"hears the provider ({number})", moment.set) for number, moment in enumerate(moments)]


def following(server: RedisServer) -> World:
    """While one node writes an answer, somebody opens the session at the other."""
    more, end = asyncio.Event(), asyncio.Event()
    world = World(server)
    a, _ = begin(world, "one ", more, "two ", end)
    b = world.node("b")
    a.actions += says(more, end)
    b.actions += [Action("is opened", world.reader(b).read)]
    return world


def taking_over(server: RedisServer, late: str, at_once: str) -> World:
    """One node's lease is over: its latest append, of text or of the end, and the other's claim are on their way."""
    more, end = asyncio.Event(), asyncio.Event()
    world = World(server, at_once=at_once)
    a, _ = begin(world, "one ", more, "two ", end)
    b = world.node("b")
    b.do(world.reader(b).read())
    world.settle()
    for _ in range(2):  # who could not renew its own lease declares nobody dead
        b.wait(0.4)
        world.settle()
    world.lapse(a)
    b.wait(0.4)
    if late == "end":
        more.set()
    world.settle()  # it had no lease at one look
    b.wait(0.4)
    world.run_to(b, "claim")
    (end if late == "end" else more).set()
    world.run_to(a, "commit" if late == "end" else "append")
    return world


def losing_a_reply(server: RedisServer) -> World:
    """The reply to one of the owner's appends is lost, so it appends again."""
    more, end = asyncio.Event(), asyncio.Event()
    world = World(server, lost_replies=1)
    a, _ = begin(world, "one ", more, "two ", end)
    b = world.node("b")
    b.do(world.reader(b).read())
    world.settle()
    a.actions += says(more, end)
    return world


def claiming_after_a_restart(server: RedisServer) -> World:
    """Redis has started again since a session was claimed; it is claimed for a question, and opened at the other node.

    Its log has another history then, as the server may have lost something.
    """
    world = World(server)
    a, _ = begin(world, "one ")
    b = world.node("b")

    async def give_back() -> None:
        a.hub._registry.remove_owner(SESSION)  # pyright: ignore[reportPrivateUsage]

    a.do(give_back())
    world.settle()
    world.wire.command("HSET", KEYS.meta, "replication", "of another start")
    a.actions += [Action("is asked", lambda: ask(a, "and then?"))]
    b.actions += [Action("is opened", world.reader(b).read)]
    return world


SCENARIOS: dict[str, Callable[[RedisServer], World]] = {
    "following": following,
    "losing a reply": losing_a_reply,
    "claiming after a restart": claiming_after_a_restart,
    "text is late": lambda server: taking_over(server, "text", "a"),
    "the end is late": lambda server: taking_over(server, "end", "a"),
}
"""What the tests try."""

LONG: dict[str, Callable[[RedisServer], World]] = {
    "text is late, and the new owner's replies": lambda server: taking_over(server, "text", "b"),
    "the end is late, and the new owner's replies": lambda server: taking_over(server, "end", "b"),
}
"""What `python -m tests.nodes.model` tries as well."""
