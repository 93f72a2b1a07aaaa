"""OpenAIUpstream: any server that speaks OpenAI's chat completions.

The openai package says where the server is and what it wants to hear; the request itself goes out on a transport,
with messages that were encoded once, and the stream comes back through one decoder.
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
from . import Ending, model_name
from .exchange import Response, is_stale
from .faults import ProviderError, broken, may_help, of_response
from .sse import BLANK, Decoder
from .transport import Direct, Patience, Transport, needs_proxy

DEFAULT_MODEL = "gpt-4.1-mini"  # OpenAI's own; other servers are asked what they have
LONGEST_PAUSE = 8.0  # seconds before asking again, where the provider names none
LONGEST_RETRY_AFTER = 30.0  # seconds that we wait where it does; if it names more, the user decides
PING_TIMEOUT = 5.0
PING_CACHE = 10.0

log = structlog.get_logger()


class Answer:
    """One attempt: bytes in, text out, and how it ended."""

    __slots__ = ("_decoder", "_grace", "_on_text", "_until", "began")

    def __init__(self, on_text: Callable[[str], None], *, grace: float) -> None:
        """`grace` is how many seconds the usage may take after the text's end."""
        self.began = False
        self._decoder = Decoder()
        self._on_text = on_text
        self._grace = grace
        self._until: float | None = None

    def take(self, data: bytes) -> float | None:
        """A sink: take a piece of the body, say for how long more of it is welcome."""
        decoder = self._decoder
        text = decoder.feed(data)
        if text:
            self.began = True
            self._on_text(text)
        if not (decoder.finish_reason or decoder.done or decoder.error):
            return None
        if decoder.over:
            self.ending()
            return 0.0
        return self._left() if decoder.reason else None

    def end(self) -> Ending:
        """The body has ended."""
        self.take(BLANK)
        return self.ending()

    def ending(self) -> Ending:
        """How it ended. Raises `UpstreamError` where it did not end well; once it has, nothing can spoil it."""
        decoder = self._decoder
        if reason := decoder.reason:
            return Ending(reason, decoder.model, decoder.usage)
        raise decoder.error or broken("the stream ended without a finish reason")

    @property
    def complete(self) -> bool:
        """Whether all of the text is here."""
        return self._decoder.reason is not None

    def _left(self) -> float:
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._grace
        return max(0.0, self._until - now)


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
        grace: float = 2.0,
    ) -> None:
        """What is None comes from the environment, as the openai package reads it, or is left to the provider.

        `headers` and `body` go out with every request. `backoff` is the first pause before asking again, `grace`
        the wait for the usage after the last text; all times are in seconds.
        """
        self._model = model
        self._base_url, self._api_key = base_url, api_key
        self._temperature, self._max_tokens = temperature, max_tokens
        self._patience = Patience(connect=connect_timeout, stall=stall_timeout)
        self._retries = retries
        self._choice = transport
        self._headers, self._body = dict(headers or {}), dict(body or {})
        self._backoff, self._grace = backoff, grace
        self._transport: Transport | None = None
        self._secrets: list[bytes] = []
        self._wants_usage = True
        self._max_tokens_name = "max_tokens"
        self._pings = asyncio.Lock()
        self._pinged: tuple[float, UpstreamError | None] = (-PING_CACHE, None)

    @property
    def model(self) -> str:
        """The name of what answers where a question names no model."""
        return self._model or "unknown"

    # --- begin and end ---

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError` where it can never work; the provider may be down."""
        from . import sdk  # noqa: PLC0415  most of a second: not for those who only want --help

        if self._model and well_formed(self._model, limit=len(self._model)) != self._model:
            raise ConfigError(f"ASKBOT_MODEL: {self._model!r} is not UTF-8.")
        client = sdk.client(
            base_url=self._base_url, api_key=self._api_key, headers=self._headers, patience=self._patience
        )
        base_url = str(client.base_url)
        self._secrets = [client.api_key.encode()] if client.api_key != sdk.NO_KEY else []
        if sdk.is_openai(base_url):
            self._model = self._model or DEFAULT_MODEL
            self._max_tokens_name = "max_completion_tokens"
        try:
            proxied = needs_proxy(base_url)
        except ValueError as error:
            raise ConfigError(f"OPENAI_BASE_URL: {error}.") from error
        if self._choice == "openai" or (self._choice == "auto" and proxied):
            self._transport = sdk.Sdk(client)
        else:
            self._transport = Direct(base_url=base_url, headers=sdk.headers_of(client), patience=self._patience)
            await client.close()
        await self._look_for_a_model()

    async def close(self) -> None:
        """Close all connections."""
        if self._transport:
            await self._transport.close()

    # --- a question ---

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer. Asks again only before the first text, only where that may help, and only as often as `retries` says.

        That holds for a request that nobody may have read, too: where a kept connection was closed at once, it is
        sent again without a pause, as one of the retries.
        """
        model = prompt.options.model or self._model or await self._default_model()
        attempt = 0
        while True:
            answer = Answer(on_text, grace=self._grace)
            try:
                response = await self._post(model, prompt, answer)
                if response.status == 200:
                    return answer.end()
                if self._learn(response):
                    continue
                return self._refused(response)
            except UpstreamError as error:
                pause = 0.0 if is_stale(error) else self._pause(attempt, error.retry_after)
                if answer.complete:
                    return answer.ending()
                if answer.began or attempt == self._retries or pause is None or not may_help(error):
                    raise
                log.info("upstream_retried", code=error.code, attempt=attempt + 1, pause_s=round(pause, 3))
            attempt += 1
            await asyncio.sleep(pause)

    def _refused(self, response: Response) -> Ending:
        """It says no. Raises `UpstreamError`, unless that is its answer."""
        error = self._error(response)
        if isinstance(error.__cause__, ProviderError) and error.__cause__.code == "content_filter":
            return Ending("refused")
        raise error

    def _post(self, model: str, prompt: Prompt, answer: Answer) -> Awaitable[Response]:
        return self._wire.post("/chat/completions", partial(self._request, model, prompt), answer.take)

    def _request(self, model: str, prompt: Prompt) -> bytes:
        options = prompt.options
        fields: dict[str, Any] = {**self._body, "model": model, "stream": True}
        if self._wants_usage:
            fields["stream_options"] = {"include_usage": True}
        given = {
            "temperature": self._temperature if options.temperature is None else options.temperature,
            self._max_tokens_name: options.max_tokens or self._max_tokens,
        }
        fields |= {name: value for name, value in given.items() if value is not None}
        return b"".join((orjson.dumps(fields)[:-1], b',"messages":[', *prompt.pieces, b"]}"))

    def _learn(self, response: Response) -> bool:
        """Whether the provider does not know a field that we can do without, or by another name."""
        if response.status not in (400, 422):
            return False
        if self._wants_usage and b"stream_options" in response.body:
            self._wants_usage = False
            return True
        if self._max_tokens_name == "max_tokens" and b"max_completion_tokens" in response.body:
            self._max_tokens_name = "max_completion_tokens"
            return True
        return False

    def _pause(self, attempt: int, retry_after: float | None) -> float | None:
        """How long to wait before asking again; None: too long."""
        if retry_after is not None:
            return retry_after if retry_after <= LONGEST_RETRY_AFTER else None
        return min(LONGEST_PAUSE, self._backoff * 2.0**attempt) * random.uniform(0.75, 1)  # noqa: S311  no secret

    # --- what the server has ---

    async def ping(self) -> None:
        """Ask for the list of models; the outcome is remembered for a while."""
        async with self._pings:
            now = asyncio.get_running_loop().time()
            if now - self._pinged[0] >= PING_CACHE:
                self._pinged = (now, await self._reach())
            if error := self._pinged[1]:
                raise error.with_traceback(None)

    async def _reach(self) -> UpstreamError | None:
        try:
            response = await self._models()
        except UpstreamError as error:
            return error
        return None if response.status in (200, 404, 405) else self._error(response)

    async def _models(self) -> Response:
        try:
            async with asyncio.timeout(PING_TIMEOUT):
                return await self._wire.get("/models")
        except TimeoutError as error:
            raise UpstreamUnavailable from error

    async def _look_for_a_model(self) -> None:
        """Where no model is configured, take the first that the server has. It may be down: then we ask later."""
        if self._model is None:
            try:
                self._model = _first_of((await self._models()).body)
            except (UpstreamError, LookupError, TypeError, ValueError) as error:
                log.info("model_lookup_failed", error=type(error).__name__)

    async def _default_model(self) -> str:
        await self._look_for_a_model()
        if self._model is None:
            raise UpstreamRejected("No model is configured: set ASKBOT_MODEL.")
        return self._model

    # --- small things ---

    @property
    def _wire(self) -> Transport:
        if self._transport is None:
            raise RuntimeError("the upstream is not open")
        return self._transport

    def _error(self, response: Response) -> UpstreamError:
        body = response.body
        for secret in self._secrets:
            body = body.replace(secret, b"[key]")  # some servers repeat what they do not accept
        return of_response(response.status, response.headers, body)


def _first_of(models: bytes) -> str:
    """The name of the first model in a list. Raises `LookupError`, `TypeError` or `ValueError` where there is none."""
    first: object = orjson.loads(models)["data"][0]["id"]
    name = model_name(first)
    if name is None or name != first:  # cut, it would be another one's
        raise ValueError("not a model's name")
    return name
