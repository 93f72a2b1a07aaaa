"""OpenAIUpstream: any server that speaks OpenAI's chat completions.

Requests are sent by a transport, with messages that were encoded once, and the stream comes back through one decoder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal

import orjson
import structlog

from ..core.prompt import Prompt
from ..core.text import well_formed
from ..errors import ConfigError, UpstreamError, UpstreamRejected, UpstreamUnavailable
from . import Ending, clean_model_name
from .api_config import ApiConfig, is_openai
from .completion_attempt import CompletionAttempt
from .http_exchange import Response
from .provider_connection import is_stale_connection
from .provider_errors import ProviderError, error_from_response, is_retryable
from .transport import DirectTransport, Timeouts, Transport, needs_proxy

DEFAULT_MODEL = "gpt-4.1-mini"  # of OpenAI's own API; of other servers, the first model that they list
MAX_BACKOFF_SECONDS = 8.0  # before a retry, where the provider names no time
MAX_RETRY_AFTER_SECONDS = 30.0  # that we wait where it names one; if it names more, the user decides
PING_TIMEOUT_SECONDS = 5.0
PING_CACHE_SECONDS = 10.0

log = structlog.get_logger()


class OpenAIUpstream:
    """A model behind an OpenAI-compatible API."""

    def __init__(
        self,
        *,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        connect_timeout: float = 10.0,
        stall_timeout: float = 60.0,
        retries: int = 2,
        transport: Literal["auto", "direct", "openai"] = "auto",
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        backoff: float = 0.5,
        usage_timeout: float = 2.0,
    ) -> None:
        """Configure it; nothing is read or connected before `open`. All times are in seconds.

        Args:
            model: Its name; None: the server's first (OpenAI's own: `DEFAULT_MODEL`).
            base_url: The API's address; None: `OPENAI_BASE_URL`, or OpenAI's own.
            api_key: The key; None: `OPENAI_API_KEY`.
            temperature: For questions that name none; None: the provider's.
            max_tokens: For questions that name none; None: the provider's.
            connect_timeout: For a connection to be made.
            stall_timeout: For the next byte to arrive.
            retries: How often a request is sent again.
            transport: Our own HTTP client, or the openai package; "auto": the package where a proxy is configured.
            headers: Sent with every request.
            body: Fields of every request's body.
            backoff: Before the first retry; doubled before each one that follows.
            usage_timeout: For the usage to arrive after the last text.
        """
        self._model = model
        self._base_url, self._api_key = base_url, api_key
        self._temperature, self._max_tokens = temperature, max_tokens
        self._timeouts = Timeouts(connect=connect_timeout, stall=stall_timeout)
        self._retries = retries
        self._transport_choice = transport
        self._headers, self._body = dict(headers or {}), dict(body or {})
        self._backoff, self._usage_timeout = backoff, usage_timeout
        self._transport: Transport | None = None
        self._secrets: list[bytes] = []
        self._include_usage = True
        self._max_tokens_field = "max_tokens"
        self._ping_lock = asyncio.Lock()
        self._last_ping: tuple[float, UpstreamError | None] = (-PING_CACHE_SECONDS, None)

    @property
    def model(self) -> str:
        """The name of what answers where a question names no model."""
        return self._model or "unknown"

    # --- begin and end ---

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError` where it can never work; the provider may be down."""
        if self._model and well_formed(self._model, limit=len(self._model)) != self._model:
            raise ConfigError(f"ASKBOT_MODEL: {self._model!r} is not UTF-8.")
        config = ApiConfig.read(base_url=self._base_url, api_key=self._api_key, headers=self._headers)
        self._secrets = [config.api_key.encode()] if config.api_key else []
        if is_openai(config.base_url):
            self._model = self._model or DEFAULT_MODEL
            self._max_tokens_field = "max_completion_tokens"
        self._transport = self._create_transport(config)
        await self._detect_model()

    def _create_transport(self, config: ApiConfig) -> Transport:
        choice = self._transport_choice
        if choice == "openai" or (choice == "auto" and needs_proxy(config.base_url)):
            from .sdk import SdkTransport  # noqa: PLC0415 - half a second: only where it is used

            return SdkTransport.create(config, self._timeouts)
        return DirectTransport(base_url=config.base_url, headers=config.headers, timeouts=self._timeouts)

    async def close(self) -> None:
        """Close all connections."""
        if self._transport:
            await self._transport.close()

    # --- a question ---

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt. Retries only before the first text, only where `is_retryable`, and `retries` times at most.

        A request on a reused connection that was closed at once may not have been read: it is sent again without a
        delay, as one of the retries.
        """
        model = prompt.options.model or self._model or await self._default_model()
        retry = 0
        while True:
            attempt = CompletionAttempt(on_text, usage_timeout=self._usage_timeout)
            try:
                response = await self._post(model, prompt, attempt)
                if response.status == 200:
                    return attempt.finish()
                if self._adapt_fields(response):
                    continue
                return self._refusal_or_raise(response)
            except UpstreamError as error:
                delay = 0.0 if is_stale_connection(error) else self._retry_delay(retry, error.retry_after)
                if attempt.complete:
                    return attempt.ending()
                if attempt.has_text or retry == self._retries or delay is None or not is_retryable(error):
                    raise
                log.info("upstream_retried", code=error.code, attempt=retry + 1, pause_s=round(delay, 3))
            retry += 1
            await asyncio.sleep(delay)

    def _refusal_or_raise(self, response: Response) -> Ending:
        """The ending where the provider's content filter refused to answer. Raises `UpstreamError` for other errors."""
        error = self._error_of(response)
        if isinstance(error.__cause__, ProviderError) and error.__cause__.code == "content_filter":
            return Ending("refused")
        raise error

    def _post(self, model: str, prompt: Prompt, attempt: CompletionAttempt) -> Awaitable[Response]:
        return self._open_transport.post("/chat/completions", partial(self._request_body, model, prompt), attempt.feed)

    def _request_body(self, model: str, prompt: Prompt) -> bytes:
        options = prompt.options
        fields: dict[str, Any] = {**self._body, "model": model, "stream": True}
        if self._include_usage:
            fields["stream_options"] = {"include_usage": True}
        given = {
            "temperature": self._temperature if options.temperature is None else options.temperature,
            self._max_tokens_field: options.max_tokens or self._max_tokens,
        }
        fields |= {name: value for name, value in given.items() if value is not None}
        return b"".join((orjson.dumps(fields)[:-1], b',"messages":[', *prompt.pieces, b"]}"))

    def _adapt_fields(self, response: Response) -> bool:
        """Drop or rename a request's field that the provider rejects. Returns whether anything was changed."""
        if response.status not in (400, 422):
            return False
        if self._include_usage and b"stream_options" in response.body:
            self._include_usage = False
            return True
        if self._max_tokens_field == "max_tokens" and b"max_completion_tokens" in response.body:
            self._max_tokens_field = "max_completion_tokens"
            return True
        return False

    def _retry_delay(self, retry: int, retry_after: float | None) -> float | None:
        """Seconds before the next attempt; None: the provider asks for too many."""
        if retry_after is not None:
            return retry_after if retry_after <= MAX_RETRY_AFTER_SECONDS else None
        return min(MAX_BACKOFF_SECONDS, self._backoff * 2.0**retry) * random.uniform(0.75, 1)  # noqa: S311  no secret

    # --- what the server has ---

    async def ping(self) -> None:
        """Request the list of models; the outcome is cached for `PING_CACHE_SECONDS`. Raises `UpstreamError`."""
        async with self._ping_lock:
            now = asyncio.get_running_loop().time()
            if now - self._last_ping[0] >= PING_CACHE_SECONDS:
                self._last_ping = (now, await self._probe())
            if error := self._last_ping[1]:
                raise error.with_traceback(None)

    async def _probe(self) -> UpstreamError | None:
        try:
            response = await self._fetch_models()
        except UpstreamError as error:
            return error
        return None if response.status in (200, 404, 405) else self._error_of(response)

    async def _fetch_models(self) -> Response:
        try:
            async with asyncio.timeout(PING_TIMEOUT_SECONDS):
                return await self._open_transport.get("/models")
        except TimeoutError as error:
            raise UpstreamUnavailable from error

    async def _detect_model(self) -> None:
        """Where no model is configured, use the server's first. Where that fails, a later question tries again."""
        if self._model is None:
            try:
                self._model = _first_model_name((await self._fetch_models()).body)
            except (UpstreamError, LookupError, TypeError, ValueError) as error:
                log.info("model_lookup_failed", error=type(error).__name__)

    async def _default_model(self) -> str:
        await self._detect_model()
        if self._model is None:
            raise UpstreamRejected("No model is configured: set ASKBOT_MODEL.")
        return self._model

    # --- small things ---

    @property
    def _open_transport(self) -> Transport:
        if self._transport is None:
            raise RuntimeError("the upstream is not open")
        return self._transport

    def _error_of(self, response: Response) -> UpstreamError:
        body = response.body
        for secret in self._secrets:
            body = body.replace(secret, b"[key]")  # some servers repeat what they do not accept
        return error_from_response(response.status, response.headers, body)


def _first_model_name(models: bytes) -> str:
    """The name of the first model in a list. Raises `LookupError`, `TypeError` or `ValueError` where there is none."""
    id: object = orjson.loads(models)["data"][0]["id"]
    name = clean_model_name(id)
    if name is None or name != id:  # cut, it would be another one's
        raise ValueError("not a model's name")
    return name
