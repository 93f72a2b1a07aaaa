"""Moderation: asks the moderation endpoint of an OpenAI-compatible API about a question."""

from __future__ import annotations

from typing import Any, cast

import orjson

from ..core.guard import answer_to
from ..core.prompt import Prompt
from ..errors import ConfigError, UpstreamUnavailable
from .api_config import ApiConfig
from .http_exchange import Response
from .provider_connection import is_stale_connection
from .provider_errors import ProviderError, error_from_response
from .transport import DirectTransport, Timeouts, Transport, needs_proxy

MAX_BODY_BYTES = 1 << 20


class Moderation:
    """A check that refuses what the endpoint flags."""

    def __init__(
        self, *, model: str, base_url: str | None, api_key: str | None, connect_timeout: float, timeout: float
    ) -> None:
        """`base_url` None: OpenAI's; `api_key` None: none. `timeout` is for the response's next byte, in seconds."""
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._timeouts = Timeouts(connect=connect_timeout, stall=timeout)
        self._transport: Transport | None = None

    async def open(self) -> None:
        """Read the configuration. Raises `ConfigError` where it can never work; the API may be down."""
        try:
            config = ApiConfig.read(base_url=self._base_url, api_key=self._api_key, headers={}, environ={})
        except ConfigError as error:
            raise ConfigError(
                "ASKBOT_MODERATION: it needs ASKBOT_MODERATION_API_KEY, or ASKBOT_MODERATION_BASE_URL of a server "
                f"without keys ({error})"
            ) from error
        if needs_proxy(config.base_url):
            from .sdk import SdkTransport  # noqa: PLC0415 - half a second: only where it is used

            self._transport = SdkTransport.create(config, self._timeouts)
        else:
            self._transport = DirectTransport(base_url=config.base_url, headers=config.headers, timeouts=self._timeouts)

    async def refusal(self, prompt: Prompt) -> str | None:
        """Return a sentence in the question's language where it is flagged. Raises `UpstreamError`."""
        question = prompt.question
        flagged = _flagged_categories(await self._ask(question))
        if flagged is None:
            return None
        is_self_harm = any(name.startswith("self-harm") for name in flagged)
        return answer_to(question, "self_harm" if is_self_harm else "inappropriate")

    async def _ask(self, question: str) -> bytes:
        """Return the body of the endpoint's response."""
        try:
            return await self._post(question)
        except UpstreamUnavailable as error:
            if not is_stale_connection(error):
                raise
            return await self._post(question)  # asking again changes nothing

    async def _post(self, question: str) -> bytes:
        if self._transport is None:
            raise RuntimeError("the moderation is not open")
        body = bytearray()

        def sink(data: bytes) -> float | None:
            body.extend(data)
            return 0.0 if len(body) > MAX_BODY_BYTES else None

        request = orjson.dumps({"model": self._model, "input": question})
        response: Response = await self._transport.post("/moderations", lambda: request, sink)
        if not response.is_success:
            raise error_from_response(response.status, response.headers, response.body)
        return bytes(body)

    async def close(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.close()


def _flagged_categories(body: bytes) -> list[str] | None:
    """Return the categories for which a question is flagged; None where it is not. Raises `UpstreamUnavailable`."""
    result: dict[str, Any] = {}
    try:
        result = orjson.loads(body)["results"][0]
        is_flagged: object = result["flagged"]
    except (ValueError, LookupError, TypeError):
        is_flagged = None
    if not isinstance(is_flagged, bool):
        raise UpstreamUnavailable from ProviderError("this is no answer of a moderation endpoint")
    if not is_flagged:
        return None
    categories: object = result.get("categories")
    if not isinstance(categories, dict):
        return []
    return [name for name, flag in cast(dict[str, object], categories).items() if flag is True]
