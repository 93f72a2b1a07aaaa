"""Choose: makes the authenticator that the settings describe."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..config import Settings
from .authenticator import Authenticator, AuthMethods
from .function import FunctionAuthentication, import_function
from .static_keys import StaticKeys
from .tickets import Tickets, UsedTickets, kept_secret

if TYPE_CHECKING:
    from .json_web_keys import JsonWebKeys
    from .json_web_tokens import JsonWebTokens

TOKEN_SETTINGS = (
    "jwt_secret",
    "jwks_url",
    "jwt_algorithms",
    "jwt_audience",
    "jwt_issuer",
    "jwt_user_claim",
    "jwt_role_claim",
    "jwt_rights_claim",
)
"""Where one of these changes, JSON Web Tokens that were accepted may not be valid any more."""


def make_authenticator(settings: Settings, used: UsedTickets, *, now: Callable[[], float] = time.time) -> Authenticator:
    """Make the authenticator that the settings describe.

    Args:
        settings: All settings.
        used: What remembers used tickets: the store.
        now: The time in seconds since 1970.

    Raises:
        ConfigError: A file or a function that the settings name can't be used.
    """
    return Authenticator(
        _make_methods(settings, used, now) if settings.authentication else None,
        allow_anonymous=settings.allow_anonymous,
        loopback=settings.loopback,
        cookie=settings.auth_cookie,
    )


async def reload_authenticator(
    authenticator: Authenticator,
    before: Settings,
    settings: Settings,
    used: UsedTickets,
    *,
    now: Callable[[], float] = time.time,
) -> None:
    """Check credentials by other settings from now on, and read the key file again.

    Connections whose credential is concerned are reported to `Authenticator.on_change`.

    Args:
        authenticator: That of `make_authenticator`, entered.
        before: The settings by which it was made.
        settings: The settings now.
        used: What remembers used tickets.
        now: The time in seconds since 1970.

    Raises:
        ConfigError: The key file can't be used; then nothing has changed.
    """
    old = authenticator.methods
    if not settings.authentication:
        await authenticator.replace_methods(None, other_tokens=False)
        return
    if old is None:
        await authenticator.replace_methods(_make_methods(settings, used, now), other_tokens=False)
        return
    tickets = old.tickets
    if settings.keys != before.keys:  # beside which the secret may be
        tickets = Tickets(ticket_secret(settings), used, now=now)
    keys = old.keys
    if settings.keys is None:
        keys = None
    elif keys is None:
        keys = StaticKeys(settings.keys, now=now)
    else:
        keys.reload(settings.keys)
    key_set = old.key_set
    if settings.jwks_url != before.jwks_url:
        key_set = _make_key_set(settings)
    other_tokens = any(getattr(settings, name) != getattr(before, name) for name in TOKEN_SETTINGS)
    tokens = _make_tokens(settings, key_set, now)
    methods = replace(old, keys=keys, key_set=key_set, tokens=tokens, tickets=tickets)
    await authenticator.replace_methods(methods, other_tokens=other_tokens)


def _make_methods(settings: Settings, used: UsedTickets, now: Callable[[], float]) -> AuthMethods:
    key_set = _make_key_set(settings)
    return AuthMethods(
        keys=StaticKeys(settings.keys, now=now) if settings.keys else None,
        tokens=_make_tokens(settings, key_set, now),
        function=FunctionAuthentication(import_function(settings.auth), now=now) if settings.auth else None,
        tickets=Tickets(ticket_secret(settings), used, now=now),
        key_set=key_set,
    )


def _make_key_set(settings: Settings) -> JsonWebKeys | None:
    if not settings.jwks_url:
        return None
    from .json_web_keys import JsonWebKeys  # noqa: PLC0415 - cryptography: a tenth of a server's start, and 9 MB

    return JsonWebKeys(settings.jwks_url)


def _make_tokens(settings: Settings, key_set: JsonWebKeys | None, now: Callable[[], float]) -> JsonWebTokens | None:
    if not (settings.jwt_secret or key_set):
        return None
    from .json_web_tokens import ClaimRules, JsonWebTokens  # noqa: PLC0415 - cryptography, as above

    return JsonWebTokens(
        ClaimRules(
            audiences=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            leeway=settings.jwt_leeway,
            user=settings.jwt_user_claim,
            role=settings.jwt_role_claim,
            rights=settings.jwt_rights_claim,
        ),
        secret=settings.jwt_secret.get_secret_value().encode() if settings.jwt_secret else None,
        keys=key_set,
        algorithms=settings.jwt_algorithms,
        now=now,
    )


def ticket_secret(settings: Settings) -> str:
    """Return the secret of tickets: the setting's, or that beside the key file, or one of this process only."""
    if settings.ticket_secret is not None:
        return settings.ticket_secret.get_secret_value()
    return kept_secret(settings.keys) if settings.keys is not None else secrets.token_urlsafe(32)
