"""Allowance settings: from the settings to what clients and connections may do."""

from __future__ import annotations

import sys
from dataclasses import replace

from ..config import Settings
from ..core.allowance import Allowance, Allowances, Rates
from ..dialects.askbot.connection import AskbotLimits
from ..dialects.askbot.frames import Limits
from ..dialects.connection import ConnectionRates, ResumeLimit
from ..errors import ConfigError
from ..role_settings import RoleSettings
from ..upstream import clean_model_name


def allowances_of(settings: Settings) -> Allowances:
    """Return what clients may do. Raises `ConfigError` where a role has a model with a name that no frame can have."""
    for name, role in settings.roles.items():
        for model in role.models or ():
            if clean_model_name(model) != model:
                raise ConfigError(
                    f"ASKBOT_ROLES: {name}.models: {model!r}: a model's name is UTF-8 of at most 200 code points."
                )
    roles = {name: _allowance(settings, role) for name, role in settings.roles.items()}
    return Allowances(_allowance(settings, RoleSettings()), roles)


def _allowance(settings: Settings, role: RoleSettings) -> Allowance:
    """Return what a role may do. Without `limits`, only models, options, tokens per day and sessions are limited."""
    everybody = {name: getattr(settings, name) for name in _SHARED}
    both = RoleSettings(**(everybody | role.model_dump(exclude_none=True)))
    lasting = Allowance(
        models=role.models and tuple(dict.fromkeys(role.models)),
        max_tokens=role.max_tokens,
        temperature=role.temperature is not False,
        sessions=both.max_sessions_per_user,
        session_bytes=both.max_session_size,
        tokens_per_day=both.tokens_per_day,
    )
    if not settings.limits:
        return lasting
    return replace(
        lasting,
        rates=Rates(
            frames=both.user_frames_per_minute,
            questions=both.questions_per_minute,
            characters=both.characters_per_minute,
            tokens=both.tokens_per_minute,
        ),
        turns=both.max_turns_per_user,
        waiting_turns=both.max_queued_per_user,
        connections=both.max_connections_per_user,
    )


_SHARED = [name for name in RoleSettings.model_fields if name not in ("models", "max_tokens", "temperature")]


def askbot_limits(settings: Settings) -> AskbotLimits:
    """Return the limits of a connection that speaks askbot.v1."""
    return AskbotLimits(
        advertised=Limits(
            frame_bytes=settings.max_frame,
            question_chars=settings.max_question,
            waiting_turns=settings.max_waiting,
        ),
        rates=ConnectionRates(settings.frames_per_minute, ResumeLimit()) if settings.limits else ConnectionRates(),
    )


def connection_limits(settings: Settings) -> dict[str, int]:
    """Return the arguments of `ConnectionLimits`."""
    if not settings.limits:
        return {"max_total": sys.maxsize, "max_per_address": sys.maxsize}
    return {"max_total": settings.max_connections, "max_per_address": settings.max_connections_per_address}
