"""JSON Web Keys: the public keys of a JSON Web Key Set, fetched from a URL in the background (RFC 7517)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import jwt
import orjson
import structlog

from ..errors import Overloaded

REFRESH_SECONDS = 600.0
UNKNOWN_KEY_SECONDS = 30.0  # between the last fetch and one for the sake of a key that is not known
FIRST_RETRY_SECONDS = 5.0  # after a fetch that failed; doubles up to `REFRESH_SECONDS`
FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
MIN_RSA_BITS = 2048
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}  # by the first letters of an algorithm
_CURVES = {"ES256": ("P-256",), "ES384": ("P-384",), "ES512": ("P-521",), "EdDSA": ("Ed25519", "Ed448")}
_PUBLIC_MEMBERS = ("kty", "kid", "n", "e", "crv", "x", "y")

log = structlog.get_logger(__name__)


class KeySetError(Exception):
    """A key set that can't be used; the message is for the log."""


@dataclass(frozen=True, slots=True)
class JsonWebKey:
    """A public key, with what its set says of it."""

    kid: str | None
    kind: str
    curve: str | None
    algorithm: str | None  # the only one that it may verify; None: any of its kind
    members: dict[str, object] = field(repr=False)

    def for_algorithm(self, algorithm: str) -> jwt.PyJWK | None:
        """Return the key for this algorithm, or None where it is not for that."""
        if self.algorithm not in (None, algorithm) or self.kind != _KEY_TYPES.get(algorithm[:2]):
            return None
        if self.kind != "RSA" and self.curve not in _CURVES.get(algorithm, ()):
            return None
        try:
            return jwt.PyJWK(cast("dict[str, Any]", self.members), algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            return None


class JsonWebKeys:
    """The keys of a set. One task fetches it, at its own pace: clients wait for a fetch, but never cause more of them.

    Where the set can't be fetched, the keys that are known stay.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._url = url
        self._clock = clock
        self._keys: tuple[JsonWebKey, ...] = ()
        self._failures = 0  # fetches that failed since the last that did not
        self._fetched_at = 0.0  # when the last fetch ended
        self._fetching: asyncio.Future[None] | None = None  # the fetch that runs
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start fetching."""
        self._fetching = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Return the keys that may have signed: that of this id, or without an id all that are for the algorithm.

        Raises `Overloaded` where there is none, and the set can't be fetched now.
        """
        found = self._find(kid, algorithm)
        if found:
            return found
        is_fetched = await self._wait_fetched()
        found = self._find(kid, algorithm)
        if not found and (self._failures or not is_fetched):
            raise Overloaded("Credentials cannot be checked right now.", retry_after=FIRST_RETRY_SECONDS)
        return found

    def _find(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        named = [key for key in self._keys if kid is None or key.kid == kid]
        return [key for each in named if (key := each.for_algorithm(algorithm)) is not None]

    async def _wait_fetched(self) -> bool:
        """Wait for the fetch that runs, or for a new one where the last is long ago; False: it takes too long."""
        if self._fetching is None:
            if self._task is None or self._clock() - self._fetched_at < UNKNOWN_KEY_SECONDS:
                return True
            self._fetching = asyncio.get_running_loop().create_future()
            self._wanted.set()
        done, _ = await asyncio.wait([self._fetching], timeout=FETCH_SECONDS)
        return bool(done)

    async def _run(self) -> None:
        while True:
            self._fetching = self._fetching or asyncio.get_running_loop().create_future()
            self._wanted.clear()
            await self._fetch()
            self._fetched_at = self._clock()
            self._fetching.set_result(None)
            self._fetching = None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._pause_seconds())

    def _pause_seconds(self) -> float:
        seconds = REFRESH_SECONDS
        if self._failures:
            seconds = min(seconds, FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10))
        return seconds * random.uniform(0.8, 1.0)  # noqa: S311 - servers that started together do not ask together

    async def _fetch(self) -> None:
        """Replace the keys by those of the set; logs why it can't be had."""
        host = urlsplit(self._url).hostname
        try:
            keys = await fetch_keys(self._url)
        except Exception as error:  # noqa: BLE001 - whatever a foreign server sends: the known keys stay
            self._failures += 1
            reason = str(error) if isinstance(error, KeySetError) else type(error).__name__
            log.warning("key_set_fetch_failed", host=host, reason=reason, known_keys=len(self._keys))
            return
        if self._failures or {key.kid for key in keys} != {key.kid for key in self._keys}:
            log.info("key_set_loaded", host=host, keys=len(keys))
        self._failures, self._keys = 0, keys


async def fetch_keys(url: str) -> tuple[JsonWebKey, ...]:
    """Return the keys of the set at a URL. Raises `KeySetError`, TimeoutError, and the client's exceptions."""
    async with asyncio.timeout(FETCH_SECONDS):
        return parse_key_set(await _download(url))


async def _download(url: str) -> bytes:
    """Return the body of a response. It follows no redirects. Raises `KeySetError`, and the client's exceptions."""
    import httpx2  # noqa: PLC0415 - takes long to import

    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with (
        httpx2.AsyncClient(follow_redirects=False, timeout=FETCH_SECONDS) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != 200:
            raise KeySetError(f"status {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise KeySetError(f"it has more than {MAX_BYTES} bytes")
    return bytes(body)


def parse_key_set(body: bytes) -> tuple[JsonWebKey, ...]:
    """Return the public keys for signatures of a JSON Web Key Set; others are left out. Raises `KeySetError`."""
    try:
        decoded: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise KeySetError("it is not JSON") from None
    members = cast("dict[str, object]", decoded).get("keys") if isinstance(decoded, dict) else None
    if not isinstance(members, list):
        raise KeySetError("it is no key set")
    listed = cast("list[object]", members)
    if len(listed) > MAX_KEYS:
        raise KeySetError(f"it has more than {MAX_KEYS} keys")
    objects = [cast("dict[str, object]", each) for each in listed if isinstance(each, dict)]
    keys = tuple(key for each in objects if (key := _parse_key(each)) is not None)
    if not keys:
        raise KeySetError("it has no public key for signatures")
    return keys


def _parse_key(members: dict[str, object]) -> JsonWebKey | None:
    """Return a key, or None for one that is not for us: a secret, one for encryption, or a weak one."""
    kind, kid, curve, algorithm = (members.get(name) for name in ("kty", "kid", "crv", "alg"))
    operations = members.get("key_ops")
    if kind not in _KEY_TYPES.values() or members.get("use", "sig") != "sig":
        return None
    if isinstance(operations, list) and "verify" not in operations:
        return None
    modulus = members.get("n")
    if kind == "RSA" and (not isinstance(modulus, str) or len(modulus) * 6 < MIN_RSA_BITS):
        return None
    return JsonWebKey(
        kid=kid if isinstance(kid, str) else None,
        kind=str(kind),
        curve=curve if isinstance(curve, str) else None,
        algorithm=algorithm if isinstance(algorithm, str) else None,
        members={name: members[name] for name in _PUBLIC_MEMBERS if name in members},
    )
