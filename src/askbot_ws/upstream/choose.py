"""UpstreamChoice: which upstream answers, by the settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Settings
from ..errors import ConfigError
from . import Upstream

DEFAULT_PERSONA = (
    "You are Askbot. You answer questions in a funky voice: warm, playful, with rhythm, and right in what you say. "
    "First look at what you were sent. If it is not a question and not something to answer, say so kindly and invite "
    "a question. If it is inappropriate (hateful, sexual, violent, dangerous, or about hurting anybody), decline in "
    "one friendly sentence and offer to answer something else. Use what was said before in the conversation. "
    "Keep it short unless asked for more. Answer in the language of the question."
)
DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class UpstreamChoice:
    """An upstream, and the defaults of settings that suit it."""

    upstream: Upstream
    persona: str | None = DEFAULT_PERSONA
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    banner: str | None = None  # printed when the server starts


def choose_upstream(settings: Settings) -> UpstreamChoice:
    """Create the upstream that the settings name, or for "auto" the first that is configured or installed.

    Raises `ConfigError` where there is none, or the settings of the one that they name are invalid.
    """
    match settings.upstream:
        case "openai":
            return UpstreamChoice(_create_openai(settings))
        case "embedded":
            return _create_embedded(settings)
        case "auto":
            return _detect_upstream(settings)
        case path:
            from .function import FunctionUpstream  # noqa: PLC0415 - each upstream only where it is used

            return UpstreamChoice(FunctionUpstream(path, stall_timeout=settings.stall_timeout), persona=None)


def _detect_upstream(settings: Settings) -> UpstreamChoice:
    from . import weights  # noqa: PLC0415 - only where it is chosen

    if settings.openai_api_key or settings.openai_base_url:
        return UpstreamChoice(_create_openai(settings))
    if weights.is_installed():
        return _create_embedded(settings)
    raise ConfigError(
        "askbot has no model to ask. Set OPENAI_API_KEY, or OPENAI_BASE_URL for another OpenAI-compatible API; "
        "or install the small embedded model: askbot model install"
    )


def _create_openai(settings: Settings) -> Upstream:
    from .openai import OpenAIUpstream  # noqa: PLC0415 - only where it is chosen

    return OpenAIUpstream(
        model=settings.model,
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else None,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        connect_timeout=settings.connect_timeout,
        stall_timeout=settings.stall_timeout,
        retries=settings.retries,
        transport=settings.transport,
    )


def _create_embedded(settings: Settings) -> UpstreamChoice:
    from . import embedded  # noqa: PLC0415 - only where it is chosen

    upstream = embedded.EmbeddedUpstream(temperature=settings.temperature, stall_timeout=settings.stall_timeout)
    return UpstreamChoice(
        upstream, persona=embedded.SYSTEM_PROMPT, context_tokens=upstream.context_tokens, banner=embedded.STARTUP_BANNER
    )
