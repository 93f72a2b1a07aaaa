"""SdkTransport: requests through the openai package.

Importing it takes half a second, so this module is imported only where an upstream uses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial

import httpx2
import openai

from ..errors import UpstreamStalled, UpstreamUnavailable
from .api_config import ApiConfig
from .content_decoder import decoding_sink
from .http_exchange import MAX_ERROR_BODY_BYTES, NO_PROGRESS, Response, Sink
from .provider_errors import broken_answer
from .transport import Timeouts, join_url, send_with_redirects

_PLACEHOLDER_KEY = "none"  # servers of one's own mostly want no key, the package wants one
_STREAM_OPTIONS: openai.RequestOptions = {
    "headers": {"Content-Type": "application/json", "Accept-Encoding": "identity"},
    "follow_redirects": False,
}


class SdkTransport:
    """A transport over the openai package: it supports proxies, and is slower than ours."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client
        self._stall_timeout = client.timeout.read if isinstance(client.timeout, httpx2.Timeout) else None

    @classmethod
    def create(cls, config: ApiConfig, timeouts: Timeouts) -> SdkTransport:
        """Create it with a client of the package that sends nothing again by itself."""
        timeout = httpx2.Timeout(timeouts.stall, connect=timeouts.connect, pool=timeouts.connect)
        client = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=config.api_key or _PLACEHOLDER_KEY,
            timeout=timeout,
            max_retries=0,
            default_headers=config.headers,
        )
        return cls(client)

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON and pass the body of a success to the sink."""
        return send_with_redirects(self._url_of(path), partial(self._post, body, sink))

    async def get(self, path: str) -> Response:
        """Fetch a response with its whole body."""
        return await send_with_redirects(self._url_of(path), self._get)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    def _url_of(self, path: str) -> str:
        """The whole address: of a base URL with a query the package would make another one."""
        return join_url(str(self._client.base_url), path)

    async def _post(self, body: Callable[[], bytes], sink: Sink, url: str) -> Response:
        with _foreign_cancellation_as_error(), _body_errors_as_ours():
            try:
                response = await self._client.post(
                    url, cast_to=httpx2.Response, content=body(), stream=True, options=_STREAM_OPTIONS
                )
            except openai.APIError as error:
                return _response_or_raise(error)
            try:
                await _forward_body(response, sink, self._stall_timeout)
            finally:
                await response.aclose()
            return Response(response.status_code, dict(response.headers))

    async def _get(self, url: str) -> Response:
        with _foreign_cancellation_as_error():
            try:
                response = await self._client.get(url, cast_to=httpx2.Response, options={"follow_redirects": False})
            except openai.APIError as error:
                return _response_or_raise(error)
            return Response(response.status_code, dict(response.headers), response.content)


@contextmanager
def _foreign_cancellation_as_error() -> Generator[None]:
    """Raise `UpstreamUnavailable` for a cancellation by the package: this task was not cancelled.

    The package has cancel scopes and tasks of its own.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UpstreamUnavailable from error


@contextmanager
def _body_errors_as_ours() -> Generator[None]:
    """Raise `UpstreamStalled` or `UpstreamUnavailable` for a body that cannot be read, that of an error too."""
    try:
        yield
    except httpx2.ReadTimeout as error:
        raise UpstreamStalled from error
    except httpx2.HTTPError as error:
        raise broken_answer(f"the connection was closed in the middle of the answer ({error})") from error


async def _forward_body(response: httpx2.Response, sink: Sink, stall_timeout: float | None) -> None:
    """Pass the body to the sink. Raises `UpstreamStalled` after `stall_timeout` seconds of bytes without progress.

    After as many seconds without a byte, the package raises its own error.
    """
    loop = asyncio.get_running_loop()
    timeout = asyncio.timeout(None)
    sink = decoding_sink(sink, response.headers.get("content-encoding", ""))
    progress_at = loop.time()
    in_grace_period = False
    try:
        async with timeout:
            async for data in response.aiter_raw():
                grace = sink(data)
                if grace == 0:
                    return
                if grace is not None and grace != NO_PROGRESS:
                    in_grace_period = True
                    timeout.reschedule(loop.time() + grace)
                elif grace is None and not in_grace_period:
                    progress_at = loop.time()
                    timeout.reschedule(None)
                elif stall_timeout is not None and not in_grace_period:
                    timeout.reschedule(progress_at + stall_timeout)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        if not in_grace_period:
            raise UpstreamStalled from error


def _response_or_raise(error: openai.APIError) -> Response:
    """The response where the error is about its status. Raises `UpstreamStalled` or `UpstreamUnavailable` otherwise."""
    if isinstance(error, openai.APIStatusError):
        return Response(error.status_code, dict(error.response.headers), error.response.content[:MAX_ERROR_BODY_BYTES])
    if isinstance(error.__cause__, httpx2.ReadTimeout | httpx2.WriteTimeout):
        raise UpstreamStalled from error
    if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
        raise UpstreamUnavailable from ConnectionError(f"no connection: {error.__cause__}")
    raise UpstreamUnavailable from error
