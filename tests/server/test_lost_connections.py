"""Connections that are lost, anywhere: every answer is whole, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from ..process import NotReadyError, ProviderProcess, Reader, Story, askbot, reading
from ..seeds import seed

SESSIONS = 100
TOKENS = 60
SEED = seed(1)

Lost = (OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError)


@dataclass
class Client:
    """Asks one question, over as many connections as it takes."""

    question: str
    chance: random.Random
    url: str
    story: Story = field(default_factory=Story)
    connections: int = 0

    async def run(self) -> None:
        """Until the answer is whole."""
        while not (self.story.turns and self.story.last.done):
            self.connections += 1
            try:
                async with reading(self.url, self.story) as reader:
                    await self.converse(reader)
            except NotReadyError:
                if self.story.head:
                    raise
                self.story = Story()  # a session without a question: the server kept nothing of it
            except Lost:
                await asyncio.sleep(self.chance.uniform(0, 0.05))

    async def converse(self, reader: Reader) -> None:
        if self.connections < 6:
            asyncio.get_running_loop().call_later(self.chance.expovariate(1 / 0.15), reader.cut)
        if self.story.asked("q") is None:
            await reader.ask(self.question, id="q")
        await reader.until("done", 30)


@asynccontextmanager
async def unreliable(port: int, chance: random.Random) -> AsyncGenerator[int]:
    """A proxy that loses connections after a random number of bytes: in the middle of frames and handshakes too."""
    tasks = set[asyncio.Task[None]]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        try:
            while limit > 0 and (data := await reader.read(chance.choice((1, 7, 64, 4096)))):
                writer.write(data[:limit])
                limit -= len(data)
                await writer.drain()
        except OSError:
            pass

    async def serve(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        server, forth = await asyncio.open_connection("127.0.0.1", port)
        both = [
            asyncio.create_task(pass_on(client, forth, int(chance.expovariate(1 / 1500)))),
            asyncio.create_task(pass_on(server, back, int(chance.expovariate(1 / 3000)))),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)
            forth.transport.abort()
            back.transport.abort()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def clients(url: str, name: str) -> list[Client]:
    return [
        Client(f"tokens:{TOKENS} rate:50 note:{name}-{SEED}-{number}", random.Random(SEED + number), url)
        for number in range(SESSIONS)
    ]


def assert_whole(several: list[Client], provider: ProviderProcess) -> None:
    """Each answer as the provider said it, to one question each, which was asked once."""
    asked = provider.questions()
    for client in several:
        assert len(client.story.turns) == 1
        assert client.story.last.reason == "stop"
        assert client.story.last.answer == "".join(f"word{number} " for number in range(TOKENS))
        assert asked[client.question] == 1
    assert sum(client.connections for client in several) > 2 * len(several)


async def test_lost_connections_lose_nothing(tmp_path: Path, provider: ProviderProcess) -> None:
    """A hundred answers at once, each over several connections that break at random moments."""
    print(f"seed {SEED}")
    with askbot(tmp_path, upstream=provider.url) as server:
        several = clients(server.url, "cut")
        await asyncio.gather(*(client.run() for client in several))
        lines = server.lines()

    assert_whole(several, provider)
    assert not [line for line in lines if line["level"] == "error"]


async def test_frames_that_are_torn_lose_nothing(tmp_path: Path, provider: ProviderProcess) -> None:
    """The same through a network that breaks off in the middle of frames, questions and handshakes."""
    print(f"seed {SEED}")
    with askbot(tmp_path, upstream=provider.url) as server:
        port = int(server.http.rpartition(":")[2])
        async with unreliable(port, random.Random(SEED)) as unsafe:
            several = clients(server.url.replace(str(port), str(unsafe)), "torn")
            for client in several:
                client.connections = 10  # the network does the cutting
            running = [asyncio.create_task(client.run()) for client in several]
            await asyncio.wait(running, timeout=12)
        for client in several:
            client.url = server.url  # whoever still waits gets a better network
        await asyncio.gather(*running)

    assert_whole(several, provider)


async def test_a_question_without_an_id_is_a_new_question_each_time(tmp_path: Path, provider: ProviderProcess) -> None:
    """Only an id says that it is the same one."""
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url) as reader:
            for _ in range(2):
                await reader.answer(f"say:Hi. {SEED}")

    assert provider.questions()[f"say:Hi. {SEED}"] == 2


async def test_two_connections_ask_the_same_at_once(tmp_path: Path, provider: ProviderProcess) -> None:
    """The old connection's question is still on its way when the new one asks again: it is one question."""
    question = f"tokens:5 note:both-{SEED}"
    with askbot(tmp_path, upstream=provider.url) as server:
        story = Story()
        async with reading(server.url, story) as first, reading(server.url, Story(session=story.session)) as second:
            await asyncio.gather(*(reader.ask(question, id="q") for reader in (first, second) for _ in range(5)))
            await asyncio.gather(first.until("done"), second.until("done"))
            await asyncio.gather(first.send(type="ping"), second.send(type="ping"))
            await asyncio.gather(first.until("pong"), second.until("pong"))

    assert first.story.turns == second.story.turns
    assert len(first.story.turns) == 1
    assert provider.questions()[question] == 1


async def test_an_id_is_remembered_long_after(tmp_path: Path, provider: ProviderProcess) -> None:
    """Three hundred questions later, and after a restart: the log knows, not the memory."""
    story = Story()
    with askbot(tmp_path, "--no-limits", upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            for number in range(300):
                await reader.answer(f"tokens:1 note:{SEED}", id=f"q{number}")
            await reader.ask(f"tokens:1 note:{SEED}", id="q0")
            await reader.send(type="ping")
            assert (await reader.next())["type"] == "pong"
    with askbot(tmp_path, upstream=provider.url) as server:
        async with reading(server.url, story) as reader:
            for number in (0, 150, 299):
                await reader.ask(f"tokens:1 note:{SEED}", id=f"q{number}")
            await reader.send(type="ping")
            assert (await reader.next())["type"] == "pong"

    assert provider.questions()[f"tokens:1 note:{SEED}"] == 300
