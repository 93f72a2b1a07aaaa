"""The openai package: the configuration that we take from it, and the second transport.

Importing it takes most of a second, so this module is imported when an upstream opens, not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import httpx2
import openai

from .. import __version__
from ..errors import ConfigError, UpstreamStalled, UpstreamUnavailable
from .exchange import MAX_FAULT, Response, Sink
from .faults import broken
from .transport import Patience

NO_KEY = "none"  # servers of one's own mostly want no key, the package wants one
_STREAM = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


def client(
    *, base_url: str | None, api_key: str | None, headers: Mapping[str, str], patience: Patience
) -> openai.AsyncOpenAI:
    """A client configured by arguments and by the environment, OPENAI_*. Retries are ours."""
    timeout = httpx2.Timeout(patience.stall, connect=patience.connect, pool=patience.connect)
    named = {"User-Agent": f"askbot-ws/{__version__}", **headers}

    def made(key: str | None) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=0, default_headers=named)

    try:
        return made(api_key)
    except httpx2.InvalidURL as error:
        raise ConfigError(f"OPENAI_BASE_URL: {error}.") from error
    except openai.OpenAIError as error:
        keyless = made(NO_KEY)
        if not is_openai(str(keyless.base_url)):
            return keyless
        raise ConfigError("OPENAI_API_KEY is not set, and api.openai.com answers nobody without a key.") from error


def is_openai(base_url: str) -> bool:
    """Whether this is OpenAI itself, not a server that speaks like it."""
    host = httpx2.URL(base_url).host
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def headers_of(client: openai.AsyncOpenAI) -> dict[str, str]:
    """What the package would send, without its telemetry."""
    headers = {name.lower(): value for name, value in {**client.auth_headers, **client.default_headers}.items()}
    return {
        name: value
        for name, value in headers.items()
        if isinstance(value, str) and not name.startswith("x-stainless-") and name != "content-type"
    }


class Sdk:
    """The openai package as a transport: it knows proxies. It is slower, so it is the second choice."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Response:
        """Send JSON; the body of a 200 goes to the sink."""
        with _requested_only():
            try:
                response = await self._client.post(
                    path, cast_to=httpx2.Response, content=body(), stream=True, options={"headers": _STREAM}
                )
            except openai.APIError as error:
                return _failed(error)
            try:
                await _pump(response, sink)
            except httpx2.ReadTimeout as error:
                raise UpstreamStalled from error
            except httpx2.HTTPError as error:
                raise broken(f"the connection was closed in the middle of the answer ({error})") from error
            finally:
                await response.aclose()
            return Response(response.status_code, dict(response.headers))

    async def get(self, path: str) -> Response:
        """Fetch something small."""
        with _requested_only():
            try:
                response = await self._client.get(path, cast_to=httpx2.Response)
            except openai.APIError as error:
                return _failed(error)
            return Response(response.status_code, dict(response.headers), response.content)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


@contextmanager
def _requested_only() -> Generator[None]:
    """Take a cancellation that nobody asked this task for as a failure: the package has scopes and tasks of its own."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UpstreamUnavailable from error


async def _pump(response: httpx2.Response, sink: Sink) -> None:
    loop = asyncio.get_running_loop()
    limit = asyncio.timeout(None)
    try:
        async with limit:
            async for data in response.aiter_raw():
                want = sink(data)
                if want == 0:
                    return
                if want:
                    limit.reschedule(loop.time() + want)
    except TimeoutError:
        if not limit.expired():
            raise


def _failed(error: openai.APIError) -> Response:
    """A status is a response; anything else is ours to raise."""
    if isinstance(error, openai.APIStatusError):
        return Response(error.status_code, dict(error.response.headers), error.response.content[:MAX_FAULT])
    if isinstance(error.__cause__, httpx2.ReadTimeout | httpx2.WriteTimeout):
        raise UpstreamStalled from error
    raise UpstreamUnavailable from error
