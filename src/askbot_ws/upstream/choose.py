"""Which upstream answers, by the settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Settings
from ..errors import ConfigError
from . import Upstream

PERSONA = (
    "You are Askbot. You answer questions in a funky voice: warm, playful, with rhythm, and right in what you say. "
    "First look at what you were sent. If it is not a question and not something to answer, say so kindly and invite "
    "a question. If it is inappropriate (hateful, sexual, violent, dangerous, or about hurting anybody), decline in "
    "one friendly sentence and offer to answer something else. Use what was said before in the conversation. "
    "Keep it short unless asked for more. Answer in the language of the question."
)
CONTEXT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Chosen:
    """An upstream, with what goes well with it where the operator has set nothing."""

    upstream: Upstream
    persona: str | None = PERSONA
    context_tokens: int = CONTEXT_TOKENS
    banner: str | None = None  # what whoever starts the server should know of it


def choose(settings: Settings) -> Chosen:
    """The upstream that the settings name, or what is there. Raises `ConfigError`: never an echo in its place."""
    match settings.upstream:
        case "openai":
            return Chosen(_openai(settings))
        case "embedded":
            return _embedded(settings)
        case "auto":
            return _whatever_is_there(settings)
        case path:
            from .function import FunctionUpstream  # noqa: PLC0415 - each upstream only where it is used

            return Chosen(FunctionUpstream(path, stall_timeout=settings.stall_timeout), persona=None)


def _whatever_is_there(settings: Settings) -> Chosen:
    from . import weights  # noqa: PLC0415 - only where it is chosen

    if settings.openai_api_key or settings.openai_base_url:
        return Chosen(_openai(settings))
    if weights.installed():
        return _embedded(settings)
    raise ConfigError(
        "askbot has no model to ask. Set OPENAI_API_KEY, or OPENAI_BASE_URL for another OpenAI-compatible API; "
        "or install the small embedded model: askbot model install"
    )


def _openai(settings: Settings) -> Upstream:
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


def _embedded(settings: Settings) -> Chosen:
    from . import embedded  # noqa: PLC0415 - only where it is chosen

    upstream = embedded.EmbeddedUpstream(temperature=settings.temperature, stall_timeout=settings.stall_timeout)
    return Chosen(
        upstream, persona=embedded.SYSTEM_PROMPT, context_tokens=upstream.context_tokens, banner=embedded.BANNER
    )
