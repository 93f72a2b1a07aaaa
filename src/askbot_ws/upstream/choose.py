"""UpstreamChoice: which upstream answers, by the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..config import Settings
from ..errors import ConfigError
from . import QuestionCheck, Upstream

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
    guard: bool = False  # whether the guard is on


def guard_upstream(choice: UpstreamChoice, settings: Settings) -> UpstreamChoice:
    """Return the choice with the guards before its upstream that are on: what costs least is asked first."""
    upstream = choice.upstream
    if checks := make_checks(settings):
        from .screened import ScreenedUpstream  # noqa: PLC0415 - only where it is on

        is_open = settings.guard_failure == "open"
        upstream = ScreenedUpstream(upstream, checks, timeout=settings.guard_timeout, fail_open=is_open)
    if choice.guard if settings.guard == "auto" else settings.guard == "on":
        from .guarded import GuardedUpstream  # noqa: PLC0415 - its words take 30 ms to compile

        upstream = GuardedUpstream(upstream)
    return replace(choice, upstream=upstream)


def make_checks(settings: Settings) -> list[QuestionCheck]:
    """Return the operator's own guard and the moderation, as far as they are on; what costs least comes first."""
    checks: list[QuestionCheck] = []
    if settings.guard_function is not None:
        from .guard_function import GuardFunction  # noqa: PLC0415 - only where it is on

        checks.append(GuardFunction(settings.guard_function))
    if settings.moderation:
        from .moderation import Moderation  # noqa: PLC0415 - only where it is on

        own_url = settings.moderation_base_url
        key = settings.moderation_api_key or (settings.openai_api_key if own_url is None else None)
        checks.append(
            Moderation(
                model=settings.moderation_model,
                base_url=own_url or settings.openai_base_url,
                api_key=key.get_secret_value() if key else None,
                connect_timeout=settings.connect_timeout,
                timeout=settings.guard_timeout,
            )
        )
    return checks


def choose_upstream(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> UpstreamChoice:
    """Create the upstream that the settings name, or for "auto" the first that is configured or installed.

    `environ` has the variables of the API that are no settings, as `OPENAI_ORG_ID`. Raises `ConfigError` where there is
    none, or the settings of the one that they name are invalid.
    """
    match settings.upstream:
        case "openai":
            return UpstreamChoice(_create_openai(settings, environ))
        case "embedded":
            return _create_embedded(settings)
        case "auto":
            return _detect_upstream(settings, environ)
        case path:
            from .function import FunctionUpstream  # noqa: PLC0415 - each upstream only where it is used

            return UpstreamChoice(FunctionUpstream(path, stall_timeout=settings.stall_timeout), persona=None)


def _detect_upstream(settings: Settings, environ: Mapping[str, str]) -> UpstreamChoice:
    from . import weights  # noqa: PLC0415 - only where it is chosen

    if settings.embedded_model:
        return _create_embedded(settings)
    if settings.openai_api_key or settings.openai_base_url:
        return UpstreamChoice(_create_openai(settings, environ))
    if weights.is_installed() or settings.model or settings.models:
        return _create_embedded(settings)
    raise ConfigError(
        "askbot has no model to ask. Set OPENAI_API_KEY, or OPENAI_BASE_URL for another OpenAI-compatible API; "
        "or install the small embedded model: askbot model install"
    )


def _create_openai(settings: Settings, environ: Mapping[str, str]) -> Upstream:
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
        environ=environ,
    )


def _create_embedded(settings: Settings) -> UpstreamChoice:
    """Raises `ConfigError` where the settings name a model that the embedded one would answer for."""
    from . import embedded, embedded_model  # noqa: PLC0415 - only where it is chosen

    model = (
        embedded_model.model_of_file(settings.embedded_model, context_tokens=settings.context_tokens)
        if settings.embedded_model
        else embedded_model.SMOLLM2
    )
    _refuse_other_models(settings, model.name)
    default = settings.max_tokens if "max_tokens" in settings.model_fields_set else model.max_tokens
    upstream = embedded.EmbeddedUpstream(
        model,
        temperature=settings.temperature,
        max_tokens=default or settings.max_tokens,
        stall_timeout=settings.stall_timeout,
    )
    return UpstreamChoice(
        upstream,
        persona=model.persona or DEFAULT_PERSONA,
        context_tokens=model.context_tokens,
        banner=model.banner,
        guard=True,
    )


def _refuse_other_models(settings: Settings, embedded: str) -> None:
    """Raise `ConfigError` where the settings name a model besides the embedded one, which would answer in its place."""
    of_roles = tuple([name for role in settings.roles.values() for name in role.models or ()])
    given = {
        "ASKBOT_MODEL": (settings.model,) if settings.model else (),
        "ASKBOT_MODELS": settings.models,
        "ASKBOT_ROLES": of_roles,
    }
    for variable, names in given.items():
        for name in names:
            if name != embedded:
                raise ConfigError(
                    f"{variable}: {name!r} is not the embedded model, {embedded}, which would answer in its place. Set "
                    f"OPENAI_API_KEY, or OPENAI_BASE_URL of the server that has {name!r} (of Ollama: "
                    "http://127.0.0.1:11434/v1); for a GGUF file, set ASKBOT_EMBEDDED_MODEL to its path; or remove "
                    f"{variable} (--{variable.removeprefix('ASKBOT_').lower()})."
                )
