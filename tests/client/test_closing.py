"""Closing and entering are finished, whatever cancels them and whoever else does it: no socket and no task is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from askbot_ws.client import Chat, Closed, connect
from askbot_ws.dialects.askbot.frames import encode

from .virtual import ready


class Silent:
    """A server that sends `ready`, and reads and answers nothing more: it does not even close."""

    def __init__(self, *, greets: bool = True) -> None:
        self.greets = greets
        self.sockets: list[ServerConnection] = []
        self.connected = asyncio.Event()
        self.url = ""

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        if self.greets:
            await socket.send(encode(ready()), text=True)
        self.connected.set()
        socket.transport.pause_reading()
        await socket.wait_closed()


def served(server: Silent) -> AbstractAsyncContextManager[Server]:
    return serve(server.handle, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1)


@asynccontextmanager
async def silent(*, greets: bool = True) -> AsyncGenerator[Silent]:
    """Checks that no task is left at the end."""
    server = Silent(greets=greets)
    async with (
        asyncio.timeout(10),
        served(server) as listening,
    ):
        server.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        own = asyncio.all_tasks()
        yield server
        left = [task for task in asyncio.all_tasks() - own if "handle" not in repr(task) and "askbot_ws" in repr(task)]
        assert left == []
        for socket in server.sockets:
            socket.transport.abort()


async def lingering(url: str) -> Chat:
    """A conversation whose closing waits for a question that is to be cancelled."""
    chat = await connect(url)
    chat.ask("Why?")
    await chat.cancel()
    return chat


async def cancel_after(seconds: float, work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05, 1.05], ids=["at once", "soon", "lingering", "closing"])
async def test_closing_that_is_cancelled_is_finished(seconds: float) -> None:
    """While it lingers, and while it waits for the server to close too."""
    async with silent() as server:
        chat = await lingering(server.url)
        await cancel_after(seconds, chat.close())
        with pytest.raises(Closed):
            await chat.history()
        await chat.close()


async def test_closing_that_is_cancelled_twice_is_finished() -> None:
    """Whoever cancels again is not kept waiting either."""
    async with silent() as server:
        task = asyncio.ensure_future((await lingering(server.url)).close())
        await asyncio.sleep(0.05)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)


async def test_leaving_a_block_can_be_cancelled() -> None:
    """As by a time limit around it."""

    async def use(url: str) -> None:
        async with connect(url) as chat:
            chat.ask("Why?")
            await chat.cancel()

    async with silent() as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await use(server.url)


async def test_conversations_that_are_closed_by_several_tasks_are_closed() -> None:
    """At the same time, one of them cancelled, and again."""
    async with silent() as server:
        chat = await lingering(server.url)
        closing = [asyncio.ensure_future(chat.close()) for _ in range(3)]
        await asyncio.sleep(0.05)
        closing[1].cancel()
        await asyncio.wait(closing)
        assert [task.cancelled() for task in closing] == [False, True, False]
        await chat.close()


@pytest.mark.parametrize("greets", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 5, 20])
async def test_entering_that_is_cancelled_leaves_nothing(steps: int, greets: bool) -> None:  # noqa: FBT001
    """Wherever it was."""
    async with silent(greets=greets) as server:
        task = asyncio.ensure_future(connect(server.url).__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps == 20 and not greets:
            await server.connected.wait()
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await (await task).close()


async def test_a_session_whose_closing_is_cancelled_is_detached() -> None:
    """The others on the connection go on."""
    async with silent() as server:
        one = await connect(server.url)
        entering = asyncio.ensure_future(one.session("other").__aenter__())
        await asyncio.sleep(0.01)
        await server.sockets[0].send(encode(ready(session="other")), text=True)
        other = await entering
        other.ask("Why?")
        await other.cancel()
        await cancel_after(0.05, other.close())
        with pytest.raises(Closed):
            await other.history()
        one.ask("Why?")
        await cancel_after(0.05, one.close())


async def test_a_conversation_that_two_tasks_enter_is_an_error_for_the_second() -> None:
    """The first is unharmed."""
    async with silent() as server:
        chat = connect(server.url)
        first = asyncio.ensure_future(chat.__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="entering"):
            await chat
        await cancel_after(0.05, (await first).close())


@pytest.mark.parametrize("state", ["connecting", "open", "closed"])
async def test_a_function_for_states_that_raises_ends_what_waits(state: str) -> None:
    """Its error is raised where the conversation is entered or closed."""

    def told(new: str) -> None:
        if new == state:
            raise LookupError(state)

    async with silent() as server:
        chat = connect(server.url, on_state=told)
        with pytest.raises(LookupError, match=state):
            async with chat:
                pass
        if state == "closed":
            with pytest.raises(Closed):
                await chat.history()


def test_the_end_of_the_event_loop_ends_a_conversation_that_lingers() -> None:
    """`asyncio.run` cancels what is left."""
    closing = list[Callable[[], bool]]()

    async def main() -> None:
        async with served(Silent()) as listening:
            chat = await lingering(f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}")
            closing.append(asyncio.ensure_future(chat.close()).done)
            await asyncio.sleep(0.01)
            listening.close()

    asyncio.run(main())
    assert closing[0]()
