"""JSON Web Tokens: which are accepted, and every way in which one may be forged."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from askbot_ws.auth.json_web_keys import JsonWebKey, parse_key_set
from askbot_ws.auth.json_web_tokens import ClaimRules, JsonWebTokens
from askbot_ws.errors import Unauthorized

from .clients import SECRET

NOW = 1_700_000_000.0
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OWN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def key_set() -> bytes:
    """The public keys, as a server of them sends them."""
    members = [
        json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())) | {"kid": "r", "use": "sig"},
        json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key())) | {"kid": "e", "alg": "ES256"},
        json.loads(OKPAlgorithm.to_jwk(ED_KEY.public_key())) | {"kid": "d"},
        {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()},
    ]
    return json.dumps({"keys": members}).encode()


class KnownKeys:
    """A key set that was fetched."""

    def __init__(self) -> None:
        self.keys = parse_key_set(key_set())

    async def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        named = [key for key in self.keys if kid is None or key.kid == kid]
        return [key for each in named if (key := each.for_algorithm(algorithm)) is not None]


def verifier(rules: ClaimRules | None = None, *, algorithms: Sequence[str] = ()) -> JsonWebTokens:
    return JsonWebTokens(
        rules or ClaimRules(), secret=SECRET.encode(), keys=KnownKeys(), algorithms=algorithms, now=lambda: NOW
    )


def signed(claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    payload = {"sub": "alice", "exp": NOW + 60} | claims
    given = {name: value for name, value in payload.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(given).encode(), key, algorithm, headers)  # `jwt.encode` checks claims


def forged(header: dict[str, Any], key: bytes) -> str:
    """A token with this header, signed by HMAC-SHA256 whatever the header says."""
    parts = [header, {"sub": "admin", "exp": NOW + 60}]
    body = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, body, hashlib.sha256)).rstrip(b"=")
    return (body + b"." + signature).decode()


# --- what is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (SECRET, "HS256", None),
        (RSA_KEY, "RS256", "r"),
        (RSA_KEY, "RS256", None),
        (EC_KEY, "ES256", "e"),
        (ED_KEY, "EdDSA", "d"),
    ],
)
async def test_a_valid_token_names_its_user(key: Any, algorithm: str, kid: str | None) -> None:
    """By each algorithm that is accepted without a setting, with the id of its key or without."""
    principal = await verifier().authenticate(signed({}, key, algorithm, **({"kid": kid} if kid else {})))

    assert principal is not None
    assert (principal.user, principal.expires, principal.rights) == ("alice", NOW + 60, frozenset())
    assert principal.credential
    assert principal.credential.startswith("jwt:")


async def test_claims_of_other_names_have_user_role_and_rights() -> None:
    """Settings name them; what is no right is passed over."""
    rules = ClaimRules(user="email", role="plan", rights="scope")
    claims = {"sub": None, "email": "a@example.org", "plan": "gold", "scope": "openid tickets metrics"}
    principal = await verifier(rules).authenticate(signed(claims))

    assert principal is not None
    assert (principal.user, principal.role, principal.rights) == (
        "a@example.org",
        "gold",
        frozenset({"tickets", "metrics"}),
    )


async def test_a_token_gives_no_right_unless_a_setting_names_the_claim() -> None:
    """Whoever signs for users does not make administrators by chance."""
    principal = await verifier().authenticate(signed({"rights": ["admin"], "scope": "admin", "may": "admin"}))

    assert principal is not None
    assert principal.rights == frozenset()


async def test_a_leeway_holds_for_all_times() -> None:
    """And the credential ends when the token is not accepted any more."""
    principal = await verifier(ClaimRules(leeway=5)).authenticate(
        signed({"exp": NOW - 4, "nbf": NOW + 4, "iat": NOW + 4})
    )

    assert principal is not None
    assert principal.expires == NOW + 1


async def test_another_kind_of_token_is_left_to_others() -> None:
    """It may be a static key, or what a function of one's own knows."""
    for text in ("", "ak_123456789012_x", "a.b.c", "a" * 20_000, "a.b", "ab.cd.ef", "…"):
        assert await verifier().authenticate(text) is None


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": math.inf},
        {"exp": -(10**400)},
        {"nbf": 10**400},
        {"nbf": NOW + 1},
        {"iat": NOW + 1},
        {"nbf": "later"},
        {"iss": "elsewhere"},
        {"iss": ["https://id.example"]},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another", 7]},
        {"aud": None},
        {"aud": {"chat": 1}},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["alice"]},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
        {"sub": " alice"},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(claims: dict[str, Any]) -> None:
    """Expired, not valid yet, for others, by others, or without a user."""
    rules = ClaimRules(audiences=["chat"], issuer="https://id.example")
    right = {"aud": ["other", "chat"], "iss": "https://id.example", "iat": NOW}

    assert await verifier(rules).authenticate(signed(right)) is not None
    with pytest.raises(Unauthorized):
        await verifier(rules).authenticate(signed(right | claims))


async def test_a_token_for_an_audience_is_refused_where_the_server_has_none() -> None:
    """It was made for somebody else (RFC 7519, 4.1.3)."""
    with pytest.raises(Unauthorized, match="audience"):
        await verifier().authenticate(signed({"aud": "other-service"}))


ATTACKS: dict[str, Callable[[], str]] = {
    "no signature": lambda: jwt.encode({"sub": "admin", "exp": NOW + 60}, "", algorithm="none"),
    "no algorithm, in capitals": lambda: forged({"alg": "NONE"}, b""),
    "no algorithm at all": lambda: forged({"typ": "JWT"}, SECRET.encode()),
    "a public key as a secret": lambda: forged({"alg": "HS256", "kid": "r"}, PUBLIC_PEM),
    "a public key as a secret, by its own name": lambda: forged({"alg": "RS256", "kid": "r"}, PUBLIC_PEM),
    "the secret by the name of a public key": lambda: forged({"alg": "RS256", "kid": "r"}, SECRET.encode()),
    "a secret that the key set has": lambda: forged({"alg": "HS256", "kid": "secret"}, b"guessed"),
    "an empty secret": lambda: forged({"alg": "HS256"}, b""),
    "a path as kid": lambda: forged({"alg": "HS256", "kid": "../../dev/null"}, b""),
    "a query as kid": lambda: forged({"alg": "RS256", "kid": "x' UNION SELECT 'k"}, b"k"),
    "a URL of keys": lambda: forged({"alg": "RS256", "jku": "https://attacker.example/keys"}, b"k"),
    "a key of its own": lambda: signed(
        {},
        OWN_KEY,
        "RS256",
        jwk=json.loads(RSAAlgorithm.to_jwk(OWN_KEY.public_key())),
    ),
    "another key with a known id": lambda: signed({}, OWN_KEY, "RS256", kid="r"),
    "an algorithm that is not accepted": lambda: signed({}, algorithm="HS512"),
    "another algorithm of the same key": lambda: signed({}, RSA_KEY, "PS256", kid="r"),
    "an unknown extension": lambda: signed({}, crit=["exp"]),
    "an unencoded payload": lambda: forged({"alg": "HS256", "b64": False, "crit": ["b64"]}, SECRET.encode()),
    "an extension that is no list": lambda: forged({"alg": "HS256", "crit": None}, SECRET.encode()),
    "a changed payload": lambda: _changed(signed({})),
    "an algorithm that is no text": lambda: forged({"alg": ["HS256"]}, SECRET.encode()),
}


def _changed(text: str) -> str:
    head, _, signature = text.split(".")
    payload = base64.urlsafe_b64encode(json.dumps({"sub": "admin", "exp": NOW + 60}).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_forged_token_is_refused(attack: str) -> None:
    """The key decides about the algorithm, and nothing that a token names is followed."""
    text = ATTACKS[attack]()
    try:
        assert await verifier().authenticate(text) is None  # no such kind of token: nobody else accepts it either
    except Unauthorized as error:
        assert "admin" not in error.message  # noqa: PT017 - None is an outcome too


async def test_only_the_listed_algorithms_are_accepted() -> None:
    """A list replaces the usual ones."""
    strict = verifier(algorithms=["HS512", "PS256"])

    assert await strict.authenticate(signed({}, algorithm="HS512")) is not None
    assert await strict.authenticate(signed({}, RSA_KEY, "PS256")) is not None
    for text in (signed({}), signed({}, RSA_KEY, "RS256")):
        with pytest.raises(Unauthorized, match="algorithm"):
            await strict.authenticate(text)


def test_keys_for_other_purposes_are_no_keys() -> None:
    """Secrets, keys for encryption and short ones are left out; private parts are not kept."""
    weak = {"kty": "RSA", "n": "AQAB" * 40, "e": "AQAB"}
    private = json.loads(RSAAlgorithm.to_jwk(RSA_KEY)) | {"kid": "private", "key_ops": ["verify"]}
    others = [weak, {"kty": "RSA", "use": "enc"}, {"kty": "EC", "key_ops": ["sign"]}, {"kty": "oct", "k": "c2VjcmV0"}]
    (key,) = parse_key_set(json.dumps({"keys": [*others, private]}).encode())

    assert isinstance(key, JsonWebKey)
    assert key.kid == "private"
    assert set(key.members) == {"kty", "kid", "n", "e"}
