"""OpenAIUpstream: any server that speaks OpenAI's chat completions.

Requests are sent by a transport, with messages that were encoded once, and the stream comes back through one decoder.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import orjson
import structlog

from ..core.prompt import Message, Prompt
from ..core.text import to_well_formed
from ..errors import ConfigError, UpstreamError, UpstreamRejected, UpstreamUnavailable
from ..events import Options
from . import Ending, clean_model_name
from .api_config import ApiConfig, is_openai
from .completion_attempt import CompletionAttempt
from .error_causes import MODEL_UNSET
from .health import ProviderHealth, lists_model
from .http_exchange import Response
from .provider_connection import is_stale_connection
from .provider_errors import (
    ProviderError,
    error_from_response,
    is_content_filter,
    is_retryable,
    is_unclassified_rejection,
    refused_report,
    summarize,
)
from .request_format import OPENAI_FORMAT, CompletionRequest, RequestFormat, adapted_format
from .transport import DirectTransport, Timeouts, Transport, needs_proxy

DEFAULT_MODEL = "gpt-4.1-mini"  # of OpenAI's own API; of other servers, the first model that they list
MAX_BACKOFF_SECONDS = 8.0  # before a retry, where the provider names no time
MAX_RETRY_AFTER_SECONDS = 30.0  # that we wait where it names one; if it names more, the user decides
PING_TIMEOUT_SECONDS = 5.0
PING_CACHE_SECONDS = 10.0
TRIAL_TIMEOUT_SECONDS = 3.0  # for one token: a model that is being loaded takes longer, which is no fault

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
        environ: Mapping[str, str] = os.environ,
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
            environ: Has the variables that count where no argument is given, as `ApiConfig.read` has them.
        """
        self._model = model
        self._base_url, self._api_key = base_url, api_key
        self._temperature, self._max_tokens = temperature, max_tokens
        self._timeouts = Timeouts(connect=connect_timeout, stall=stall_timeout)
        self._retries = retries
        self._transport_choice = transport
        self._headers, self._body = dict(headers or {}), dict(body or {})
        self._backoff, self._usage_timeout = backoff, usage_timeout
        self._environ = environ
        self._transport: Transport | None = None
        self._secrets: list[bytes] = []
        self._first_format = RequestFormat()
        self._formats: dict[str, RequestFormat] = {}  # by model: what it takes, where it refused the first one
        self._health = ProviderHealth(time.monotonic)
        self._ping_lock = asyncio.Lock()
        self._last_ping: tuple[float, UpstreamError | None] = (-PING_CACHE_SECONDS, None)

    @property
    def model(self) -> str:
        """The name of what answers where a question names no model."""
        return self._model or "unknown"

    # --- begin and end ---

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError` where it can never work; the provider may be down."""
        if self._model and to_well_formed(self._model, limit=len(self._model)) != self._model:
            raise ConfigError(f"ASKBOT_MODEL: {self._model!r} is not UTF-8.")
        config = ApiConfig.read(
            base_url=self._base_url, api_key=self._api_key, headers=self._headers, environ=self._environ
        )
        self._secrets = [config.api_key.encode()] if config.api_key else []
        if is_openai(config.base_url):
            self._model = self._model or DEFAULT_MODEL
            self._first_format = OPENAI_FORMAT
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
        """Answer a prompt, and note what became of it. Raises `UpstreamError`."""
        is_default = prompt.options.model in (None, self._model)
        try:
            ending = await self._stream(prompt, on_text)
        except UpstreamError as error:
            if is_default:
                self._health.note_failure(error)
            raise
        if is_default:
            self._health.note_answer()
        return ending

    async def _stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt. Retries only before the first text, only where `is_retryable`, and `retries` times at most.

        A request on a reused connection that was closed at once may not have been read: it is sent again without a
        delay, as one of the retries. A request with a field that the model refuses is sent again without it, besides.
        """
        request = self._request(prompt, prompt.options.model or self._model or await self._default_model())
        formats = [self._formats.get(request.model, self._first_format)]  # those that are tried for this prompt
        refusal: UpstreamError | None = None  # of the first of them
        retry = 0
        while True:
            attempt = CompletionAttempt(on_text, usage_timeout=self._usage_timeout)
            body = partial(request.encode, formats[-1])
            try:
                response = await self._open_transport.post("/chat/completions", body, attempt.feed)
                if response.is_success:
                    return attempt.finish()
                raise self._error_of(response)
            except UpstreamError as error:
                if attempt.complete:
                    return attempt.ending()
                if is_content_filter(error):
                    return Ending("refused")
                if attempt.has_text:
                    raise
                if _adapt(formats, request, error):
                    refusal = refusal or error
                    continue
                delay = self._retry_delay(error, retry)
                if delay is None:
                    if refusal and is_unclassified_rejection(error):
                        raise refusal from refusal.__cause__
                    raise
                log.info("upstream_retried", code=error.code, attempt=retry + 1, pause_s=round(delay, 3))
            finally:
                self._keep_format(request, formats, attempt)
            retry += 1
            await asyncio.sleep(delay)

    def _keep_format(
        self, request: CompletionRequest, formats: list[RequestFormat], attempt: CompletionAttempt
    ) -> None:
        """Use the format that was tried last for the model from now on, if it was another one and has an answer."""
        if len(formats) > 1 and (attempt.has_text or attempt.complete):
            self._formats[request.model] = formats[-1]

    def _request(self, prompt: Prompt, model: str) -> CompletionRequest:
        options = prompt.options
        return CompletionRequest(
            prompt,
            model,
            temperature=self._temperature if options.temperature is None else options.temperature,
            max_tokens=options.max_tokens or self._max_tokens,
            fields=self._body,
        )

    def _retry_delay(self, error: UpstreamError, retry: int) -> float | None:
        """Seconds before the next attempt; None: there is none, or the provider asks for too many."""
        if retry == self._retries or not is_retryable(error):
            return None
        if is_stale_connection(error):
            return 0.0
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= MAX_RETRY_AFTER_SECONDS else None
        return min(MAX_BACKOFF_SECONDS, self._backoff * 2.0**retry) * random.uniform(0.75, 1)  # noqa: S311  no secret

    # --- what the server has ---

    async def ping(self) -> None:
        """Check that the key and the model are accepted; the outcome is cached for `PING_CACHE_SECONDS`.

        The list of models is requested. A model that is not in it is asked for one token, once: there are providers
        that list less than they have. Raises `UpstreamError` where questions fail and will go on to fail; a provider
        that is busy, or has a fault for a moment, is no such error.
        """
        async with self._ping_lock:
            now = asyncio.get_running_loop().time()
            if now - self._last_ping[0] >= PING_CACHE_SECONDS:
                self._last_ping = (now, await self._probe())
            if error := self._last_ping[1]:
                raise error.with_traceback(None)

    async def _probe(self) -> UpstreamError | None:
        if self._health.refusal is not None:
            return self._health.refusal
        try:
            response = await self._fetch_models()
            if not response.is_success and response.status not in (404, 405):
                return self._health.note_probe(self._error_of(response))
            model = await self._default_model()
            self._health.note_probe(None)
            if response.is_success and not self._health.has_answered and not lists_model(response.body, model):
                await self._try_model()
        except UpstreamError as error:
            return self._health.note_probe(error)
        return self._health.refusal

    async def _try_model(self) -> None:
        """Ask the model for one token. Raises `UpstreamError`."""
        prompt = Prompt((b"", b"", Message("user", "Hi").encoded), Options(max_tokens=1))
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT_SECONDS):
                await self.stream(prompt, lambda _: None)
        except TimeoutError:
            return

    async def _fetch_models(self) -> Response:
        try:
            async with asyncio.timeout(PING_TIMEOUT_SECONDS):
                return await self._open_transport.get("/models")
        except TimeoutError as error:
            raise UpstreamUnavailable from error

    async def _detect_model(self) -> None:
        """Where no model is configured, use the server's first. Where that fails, a later question tries again."""
        try:
            await self._default_model()
        except UpstreamError as error:
            log.info("model_lookup_failed", code=error.code, cause=summarize(error).cause)

    async def _default_model(self) -> str:
        """The model that is asked where a question names none.

        Raises:
            UpstreamRejected: No model is configured, and the provider lists none.
            UpstreamError: Nor can the provider be asked for its models.
        """
        if self._model is None:
            response = await self._fetch_models()
            if not response.is_success and response.status not in (404, 405):
                raise self._error_of(response)
            try:
                self._model = _first_model_name(response.body)
            except (LookupError, TypeError, ValueError) as error:
                text = f"the provider lists no model: {type(error).__name__}"
                raise UpstreamRejected(MODEL_UNSET.message) from ProviderError(text, cause=MODEL_UNSET)
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


def _adapt(formats: list[RequestFormat], request: CompletionRequest, error: UpstreamError) -> bool:
    """Append a format without what the provider refuses; returns whether there is one that was not tried."""
    report = refused_report(error)
    format = adapted_format(formats[-1], request, report) if report else None
    if format is None or format in formats:
        return False
    formats.append(format)
    return True


def _first_model_name(models: bytes) -> str:
    """The name of the first model in a list. Raises `LookupError`, `TypeError` or `ValueError` where there is none."""
    id: object = orjson.loads(models)["data"][0]["id"]
    name = clean_model_name(id)
    if name is None or name != id:  # cut, it would be another one's
        raise ValueError("not a model's name")
    return name
