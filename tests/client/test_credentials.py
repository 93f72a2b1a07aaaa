"""No text of an error, no log line and no `repr` has a user, a password, a ticket or a token."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from askbot_ws.client import Closed, connect, sync
from askbot_ws.client.credentials import Credentials
from askbot_ws.client.endpoint import Endpoint, safe_url
from askbot_ws.testing import serving

SECRET = "s3cret"
TICKET = f"ticket={SECRET}"


def shown(error: BaseException) -> str:
    """All that a program prints or logs of an error."""
    return "".join([*traceback.format_exception(error), str(error), repr(error), repr(error.__context__)])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"wss://user:{SECRET}@host/path?{TICKET}#{SECRET}", "wss://host/path"),
        (f"wss://{SECRET}@host:8765/path?{TICKET}", "wss://host:8765/path"),
        (f"http://[::1]:80/?token={SECRET}", "http://[::1]:80/"),
        ("ws://host", "ws://host"),
        *(
            (url, "the given URL")
            for url in (
                f"user:{SECRET}@host/path",
                f"wss://user:{SECRET}/path",  # a port, as it stands there
                f"wss://user:12/{SECRET}@host",
                f"wss://user:12?{SECRET}@host",
                f"wss://user:12#{SECRET}@host",
                f"wss://[{SECRET}",
                f"wss:/{SECRET}",
                SECRET,
                "",
            )
        ),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, expected: str) -> None:
    """Where its parts can't be told apart, it is not shown."""
    assert safe_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        f"ws://user:{SECRET}@127.0.0.1:1/path?{TICKET}",
        f"ws://user:{SECRET}@127.0.0.1:1/path?{TICKET}#{SECRET}",
        f"ftp://user:{SECRET}@127.0.0.1/?{TICKET}",
        f"ws://user:{SECRET}/path",
        f"ws://user:{SECRET}@[half?{TICKET}",
        f"ws://{SECRET}@127.0.0.1:1/",
        f"ws://us\u2100er:{SECRET}@127.0.0.1:1/",
        f"ws://user:{SECRET}%ff@127.0.0.1:1/",
        f"user:{SECRET}@host",
    ],
)
async def test_a_server_that_is_not_reached_is_told_without_credentials(url: str) -> None:
    """Nor does anything that the error came from show them."""
    with pytest.raises(Closed, match="no answer from") as caught:
        await connect(url, token=f"{SECRET}-token")
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [f"http://user:{SECRET}@127.0.0.1:1", f"user:{SECRET}@host", f"{SECRET}://host", f"http://host/{SECRET}",
     f"http://user:{SECRET}"],
)  # fmt: skip
async def test_a_proxy_that_is_not_reached_is_told_without_credentials(proxy: str) -> None:
    """Whatever is wrong with its URL."""
    with pytest.raises(Closed, match="no answer from") as caught:
        await connect("ws://chat.example", proxy=proxy)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("location", ["{here}", "ftp://user:{secret}@host/?{query}", "http://[half{secret}"])
async def test_a_redirect_is_told_without_credentials(location: str) -> None:
    """The server may repeat what it was sent."""

    def redirect(connection: ServerConnection, request: Request) -> Response:
        del connection
        to = location.format(here=request.path, secret=SECRET, query=TICKET)
        return Response(302, "Found", Headers({"Location": to, "Content-Length": "0"}))

    async def handle(_: ServerConnection) -> None:
        pass

    async with serve(handle, "127.0.0.1", 0, process_request=redirect) as server:
        url = f"ws://user:{SECRET}@127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/chat?{TICKET}"
        with pytest.raises(Closed, match="no answer from") as caught:
            await connect(url)
    assert SECRET not in shown(caught.value)


async def test_the_form_without_asyncio_tells_no_more() -> None:
    """It raises what the other one does."""
    with pytest.raises(Closed) as caught:
        await asyncio.to_thread(sync.connect, f"ws://user:{SECRET}@127.0.0.1:1/?{TICKET}", token=SECRET)
    assert SECRET not in shown(caught.value)


async def test_no_log_line_has_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """Not even where a program logs all that there is."""
    caplog.set_level(logging.DEBUG)
    async with serving() as server:
        url = server.url.replace("ws://", f"ws://user:{SECRET}@") + f"?{TICKET}"
        async with connect(url, token=f"{SECRET}-token") as chat:
            assert (await chat.ask("Why?")).text == "You asked: Why?"
        client = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert SECRET not in "".join(record.getMessage() for record in client)


def test_an_endpoint_shows_neither_its_url_nor_its_token() -> None:
    """As in a traceback with local variables."""
    options: dict[str, Any] = {"credentials": Credentials(SECRET, SECRET), "proxy": f"http://user:{SECRET}@proxy"}
    assert SECRET not in repr(Endpoint(f"ws://user:{SECRET}@host?{TICKET}", **options))
