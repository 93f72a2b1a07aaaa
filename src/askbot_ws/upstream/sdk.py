"""SdkTransport: requests through the openai package.

Importing it takes half a second, so this module is imported only where an upstream uses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import httpx2
import openai

from ..errors import UpstreamStalled, UpstreamUnavailable
from .api_config import ApiConfig
from .http_exchange import MAX_ERROR_BODY_BYTES, NO_PROGRESS, Response, Sink
from .provider_errors import broken_answer
from .transport import Timeouts

_PLACEHOLDER_KEY = "none"  # servers of one's own mostly want no key, the package wants one
_STREAM_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


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

    async def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Response:
        """Send JSON and pass the body of a 200 to the sink."""
        with _foreign_cancellation_as_error():
            try:
                response = await self._client.post(
                    path, cast_to=httpx2.Response, content=body(), stream=True, options={"headers": _STREAM_HEADERS}
                )
            except openai.APIError as error:
                return _response_or_raise(error)
            try:
                await _forward_body(response, sink, self._stall_timeout)
            except httpx2.ReadTimeout as error:
                raise UpstreamStalled from error
            except httpx2.HTTPError as error:
                raise broken_answer(f"the connection was closed in the middle of the answer ({error})") from error
            finally:
                await response.aclose()
            return Response(response.status_code, dict(response.headers))

    async def get(self, path: str) -> Response:
        """Fetch a response with its whole body."""
        with _foreign_cancellation_as_error():
            try:
                response = await self._client.get(path, cast_to=httpx2.Response)
            except openai.APIError as error:
                return _response_or_raise(error)
            return Response(response.status_code, dict(response.headers), response.content)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


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


async def _forward_body(response: httpx2.Response, sink: Sink, stall_timeout: float | None) -> None:
    """Pass the body to the sink. Raises `UpstreamStalled` after `stall_timeout` seconds of bytes without progress.

    After as many seconds without a byte, the package raises its own error.
    """
    loop = asyncio.get_running_loop()
    timeout = asyncio.timeout(None)
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
    raise UpstreamUnavailable from error
