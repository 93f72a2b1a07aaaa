"""The key set of a real HTTP server: it is fetched seldom, and keys survive its faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from askbot_ws.auth import json_web_keys
from askbot_ws.auth.json_web_keys import MAX_BYTES, JsonWebKeys
from askbot_ws.errors import Overloaded

from ..process import eventually


def key_set(*kids: str) -> bytes:
    """A set with a new key for each id."""
    made = [(kid, ec.generate_private_key(ec.SECP256R1()).public_key()) for kid in kids]
    members = [json.loads(ECAlgorithm.to_jwk(key)) | {"kid": kid} for kid, key in made]
    return json.dumps({"keys": members}).encode()


@dataclass
class KeyServer:
    """An HTTP server with a key set."""

    url: str = ""
    body: bytes = b""
    status: str = "200 OK"
    headers: tuple[str, ...] = ()
    delay: float = 0.0
    requests: list[bytes] = field(default_factory=list[bytes])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await asyncio.sleep(self.delay)
            head = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}", "Connection: close", *self.headers]
            writer.write("\r\n".join([*head, "", ""]).encode() + self.body)
            await writer.drain()
        except ConnectionError:  # the client does not want more of it
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    made = KeyServer(body=key_set("first"))
    listening = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with listening:
        made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/keys"
        yield made


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def fetching(server: KeyServer, clock: Clock) -> AsyncGenerator[JsonWebKeys]:
    keys = JsonWebKeys(server.url, clock=clock)
    keys.start()
    try:
        yield keys
    finally:
        await keys.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def test_the_first_clients_wait_for_the_set(server: KeyServer, clock: Clock) -> None:
    """For one fetch, all of them."""
    server.delay = 0.05
    async with fetching(server, clock) as keys:
        found = await asyncio.gather(*(keys.find(kid, "ES256") for kid in ("first", None, "first")))

    assert [len(each) for each in found] == [1, 1, 1]
    assert len(server.requests) == 1
    assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_a_new_key_is_fetched_when_a_token_names_it(server: KeyServer, clock: Clock) -> None:
    """The set rotates: the new key is known at once, the old one is not any more."""
    async with fetching(server, clock) as keys:
        assert await keys.find("first", "ES256")
        server.body = key_set("second")
        clock.now += 30
        assert await keys.find("second", "ES256")
        assert not await keys.find("first", "ES256")

    assert len(server.requests) == 2


async def test_unknown_keys_are_asked_for_once_in_thirty_seconds_in_all(server: KeyServer, clock: Clock) -> None:
    """Whoever sends tokens with ids that nobody has causes no requests."""
    async with fetching(server, clock) as keys:
        await keys.find("first", "ES256")
        for number in range(200):
            assert not await keys.find(f"unknown-{number}", "ES256")
        assert len(server.requests) == 1
        clock.now += 30
        server.delay = 0.05
        await asyncio.gather(*(keys.find(f"unknown-{number}", "ES256") for number in range(200)))
        assert len(server.requests) == 2


FAULTS: dict[str, Callable[[KeyServer], None]] = {
    "an error": lambda server: setattr(server, "status", "500 Internal Server Error"),
    "no JSON": lambda server: setattr(server, "body", b"<html>"),
    "no set": lambda server: setattr(server, "body", b"[]"),
    "no key": lambda server: setattr(server, "body", b'{"keys": []}'),
    "too many bytes": lambda server: setattr(server, "body", b" " * (MAX_BYTES + 1)),
    "too many keys": lambda server: setattr(server, "body", json.dumps({"keys": [{}] * 101}).encode()),
    "a redirect to a file": lambda server: _redirect(server, "file:///etc/passwd"),
    "a redirect elsewhere": lambda server: _redirect(server, server.url + "?again"),
    "silence": lambda server: setattr(server, "delay", 60.0),
}


def _redirect(server: KeyServer, to: str) -> None:
    server.status, server.headers = "302 Found", (f"Location: {to}",)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_server_that_fails_does_not_stop_known_keys(
    server: KeyServer, clock: Clock, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users whose keys are known come in; of others it is said that it can't be checked now."""
    async with fetching(server, clock) as keys:
        await keys.find("first", "ES256")
        FAULTS[fault](server)
        if fault == "silence":
            monkeypatch.setattr(json_web_keys, "FETCH_SECONDS", 0.2)
        clock.now += 30
        with pytest.raises(Overloaded):
            await keys.find("second", "ES256")
        assert await keys.find("first", "ES256")
        await eventually(lambda: len(server.requests) >= 2)
        assert len(server.requests) == 2  # a redirect is not followed


async def test_a_server_that_is_down_at_the_start_is_asked_again(
    server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background, later and later; nobody has to come for it."""
    monkeypatch.setattr(json_web_keys, "FIRST_RETRY_SECONDS", 0.02)
    server.status = "503 Service Unavailable"
    async with fetching(server, clock) as keys:
        with pytest.raises(Overloaded):
            await keys.find("first", "ES256")
        server.status = "200 OK"
        async with asyncio.timeout(5):
            await _until(lambda: keys.find("first", "ES256"))


async def _until(attempt: Callable[[], Awaitable[object]]) -> None:
    while True:
        with suppress(Overloaded):
            if await attempt():
                return
        await asyncio.sleep(0.01)
