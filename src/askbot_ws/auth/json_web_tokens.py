"""JSON Web Tokens: signed by a shared secret, or by the keys of a JSON Web Key Set (RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import jwt

from ..core.principal import Principal
from ..errors import Unauthorized
from .principals import MAX_TIME, is_role, is_user, only_known_rights

MAX_TOKEN_BYTES = 16 * 1024
SECRET_ALGORITHMS = ("HS256",)
KEY_SET_ALGORITHMS = ("RS256", "ES256", "EdDSA")
_ONLY_SIGNATURE: dict[str, Any] = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
} | {"verify_signature": True}


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What the claims of a token must be, and which of them name the user, the role and the rights.

    Attributes:
        audiences: Those that the server is; without any, a token with an audience is refused.
        issuer: The issuer; None: any.
        leeway: How far the issuer's clock may differ, in seconds.
        user: The claim that names the user.
        role: The claim that names the role.
        rights: The claim that lists rights; None: a token gives none.
    """

    audiences: Sequence[str] = ()
    issuer: str | None = None
    leeway: float = 0.0
    user: str = "sub"
    role: str = "role"
    rights: str | None = None


class PublicKeys(Protocol):
    """What finds public keys."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Return the keys that may have signed. Raises `Overloaded` where that is not known now."""
        ...


class JsonWebTokens:
    """JSON Web Tokens as a kind of token.

    The key decides which algorithms are allowed: a shared secret never verifies by a public key's algorithm, nor a
    public key by a secret's.
    """

    def __init__(
        self,
        rules: ClaimRules,
        *,
        secret: bytes | None = None,
        keys: PublicKeys | None = None,
        algorithms: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make the verifier.

        Args:
            rules: What claims must be.
            secret: Verifies HS256, HS384 and HS512.
            keys: Verify all other algorithms.
            algorithms: Those that are accepted; without any, the usual ones of what verifies.
            now: The time in seconds since 1970.
        """
        chosen = algorithms or (*SECRET_ALGORITHMS, *KEY_SET_ALGORITHMS)
        self._rules = rules
        self._secret = secret
        self._keys = keys
        self._secret_algorithms = [name for name in chosen if secret is not None and name.startswith("HS")]
        self._key_algorithms = [name for name in chosen if keys is not None and not name.startswith("HS")]
        self._now = now

    async def authenticate(self, token: str) -> Principal | None:
        """Return the principal of a token; None for another kind of token.

        Raises `Unauthorized`, or `Overloaded` where its key can't be looked up now.
        """
        if token.count(".") != 2 or len(token) > MAX_TOKEN_BYTES:
            return None
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        if "crit" in header:  # there is no extension that we know
            raise Unauthorized("The token has an extension that is not known here.")
        return self._principal(await self._verify(token, header), token)

    async def _verify(self, token: str, header: Mapping[str, object]) -> dict[str, Any]:
        """Return the claims of a token whose signature is valid. Raises `Unauthorized`, `Overloaded`."""
        algorithm = header.get("alg")
        if algorithm in self._secret_algorithms and self._secret is not None:
            claims = _verified_claims(token, self._secret, str(algorithm))
            if claims is not None:
                return claims
        elif algorithm in self._key_algorithms and self._keys is not None:
            for key in await self._keys.find(cast("str | None", header.get("kid")), str(algorithm)):
                claims = _verified_claims(token, key, str(algorithm))
                if claims is not None:
                    return claims
        else:
            raise Unauthorized("The token is signed by an algorithm that is not accepted here.")
        raise Unauthorized("The signature of the token is not valid.")

    def _principal(self, claims: Mapping[str, object], token: str) -> Principal:
        """Return the principal that claims describe. Raises `Unauthorized`."""
        rules, now = self._rules, self._now()
        expires = _time_claim(claims, "exp")
        if expires is None:
            raise Unauthorized("The token has no expiry (exp).")
        expires = min(expires + rules.leeway, MAX_TIME)
        if expires <= now:
            raise Unauthorized("The token has expired.")
        for name in ("nbf", "iat"):
            begin = _time_claim(claims, name)
            if begin is not None and begin > now + rules.leeway:
                raise Unauthorized(f"The token is not valid yet ({name}).")
        self._check_addressee(claims)
        user = claims.get(rules.user)
        if not is_user(user):
            raise Unauthorized(f"The token names no user ({rules.user}).")
        role = claims.get(rules.role)
        return Principal(
            user=user,
            rights=_rights(claims.get(rules.rights)) if rules.rights else frozenset(),
            role=role if is_role(role) else None,
            expires=expires,
            credential=f"jwt:{hashlib.sha256(token.encode()).hexdigest()[:16]}",
        )

    def _check_addressee(self, claims: Mapping[str, object]) -> None:
        """Raise `Unauthorized` unless the token is by the issuer and for the server."""
        rules = self._rules
        if rules.issuer is not None and claims.get("iss") != rules.issuer:
            raise Unauthorized("The token is by another issuer (iss).")
        audience = claims.get("aud")
        if audience is None and not rules.audiences:
            return
        named = cast("list[object]", audience) if isinstance(audience, list) else [audience]
        if not any(isinstance(name, str) and name in rules.audiences for name in named):
            raise Unauthorized("The token is for another audience (aud).")


def _verified_claims(token: str, key: jwt.PyJWK | bytes, algorithm: str) -> dict[str, Any] | None:
    """Return the claims of a token, or None where its signature, or what it signs, is not valid."""
    try:
        return jwt.decode(token, key, algorithms=[algorithm], options=cast(Any, _ONLY_SIGNATURE))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None


def _time_claim(claims: Mapping[str, object], name: str) -> float | None:
    """Return a time in seconds since 1970; None: there is none. Raises `Unauthorized`."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value < math.inf:
        raise Unauthorized(f"The token has no valid time in {name}.")
    return float(max(-MAX_TIME, min(value, MAX_TIME)))  # a number may have more digits than a float takes


def _rights(value: object) -> frozenset[Any]:
    """Return the rights of a claim: a list, or names separated by spaces as in `scope`."""
    names: Sequence[object] = value.split() if isinstance(value, str) else ()
    if isinstance(value, list):
        names = [name for name in cast("list[object]", value) if isinstance(name, str)]
    return only_known_rights(names)
