"""Static keys: those of a key file, which is read again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

import structlog

from ..core.principal import Principal
from ..errors import ConfigError, Unauthorized
from .key_file import CREDENTIAL_PREFIX, KEY_PATTERN, Key, hash_key, read_keys

CHECK_SECONDS = 1.0  # between two looks at whether the file has changed
_NO_HASH = "0" * 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """Credentials (`Principal.credential`) that are not what they were when connections were opened with them.

    Attributes:
        revoked: Those of keys that there are no more.
        changed: Those of keys with other rights, another role or another expiry.
        other_tokens: Whether JSON Web Tokens are checked by other rules than before.
    """

    revoked: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    other_tokens: bool = False


class StaticKeys:
    """The keys of a file, as a kind of token."""

    def __init__(
        self, path: Path, *, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file. Raises `ConfigError`. `now` counts from 1970, `clock` is monotonic, both in seconds."""
        self.path = path
        self.on_change: Callable[[CredentialChange], None] | None = None  # is called once keys are revoked or changed
        self.on_file_change: Callable[[frozenset[str], frozenset[str]], None] | None = None  # removed, added
        self._now = now
        self._clock = clock
        self._version = _file_version(path)
        self._keys = read_keys(path)
        self._checked_at = clock()

    async def authenticate(self, token: str) -> Principal | None:
        """Return the principal of a key; None for another kind of token. Raises `Unauthorized`."""
        match = KEY_PATTERN.fullmatch(token)
        if match is None:
            return None
        self.reload_if_changed()
        key = self._keys.get(match[1])
        if not compare_digest(hash_key(token), key.hash if key else _NO_HASH) or key is None:
            raise Unauthorized("There is no such key.")
        if key.expires is not None and key.expires <= self._now():
            raise Unauthorized("The key has expired.")
        return Principal(
            user=key.user,
            rights=frozenset(key.rights),
            role=key.role,
            expires=key.expires,
            credential=key.credential,
        )

    def has_key(self, credential: str) -> bool:
        """Return whether there is a key with this `Principal.credential`."""
        return credential.removeprefix(CREDENTIAL_PREFIX) in self._keys

    def reload_if_changed(self) -> None:
        """Read the file again if it has changed; looks at most once a second, and keeps the keys where it can't.

        One that is written in place is read a second after that; `askbot key` replaces it.
        """
        if self._clock() - self._checked_at < CHECK_SECONDS:
            return
        version = _file_version(self.path)
        if version is not None and self._version is not None and version != self._version:
            in_place = version[0] == self._version[0]
            if (
                in_place and 0 <= self._now() - version[1] / 1e9 < CHECK_SECONDS
            ):  # maybe half of it: keys would be revoked
                return
        self._checked_at = self._clock()
        if version == self._version:
            return
        self._version = version
        try:
            self.reload()
        except ConfigError as error:
            log.error("key_file_rejected", reason=str(error))  # noqa: TRY400 - the reason says all

    def reload(self, path: Path | None = None) -> None:
        """Read the file again, or another one. Raises `ConfigError`; then the keys stay as they were."""
        path = path or self.path
        version, keys = _file_version(path), read_keys(path)
        before = {key.credential for key in self._keys.values()}
        self.path, self._version = path, version
        self._replace(keys)
        now = {key.credential for key in keys.values()}
        if before != now and self.on_file_change is not None:
            self.on_file_change(frozenset(before - now), frozenset(now - before))

    def revoke_all(self) -> None:
        """Accept none of the keys any more."""
        self._replace({})

    def _replace(self, keys: dict[str, Key]) -> None:
        before, self._keys = self._keys, keys
        change = _compare(before, keys)
        _log_change(before, keys, change)
        if (change.revoked or change.changed) and self.on_change is not None:
            self.on_change(change)


def _log_change(before: dict[str, Key], after: dict[str, Key], change: CredentialChange) -> None:
    """Log each key that was added, revoked or changed: whoever reads the log sees what was done to the file."""
    for key in before.values():
        if key.credential in change.revoked:
            log.info("key_revoked", credential=key.credential, user=key.user)
    for key in after.values():
        rights = [*key.rights]
        if key.id not in before or key.credential in change.revoked:
            log.info("key_added", credential=key.credential, user=key.user, rights=rights, expires=key.expires)
        elif key.credential in change.changed:
            log.info("key_changed", credential=key.credential, user=key.user, rights=rights, expires=key.expires)


def _compare(before: dict[str, Key], after: dict[str, Key]) -> CredentialChange:
    revoked, changed = set[str](), set[str]()
    for id, key in before.items():
        now = after.get(id)
        if now is None or (now.hash, now.user) != (key.hash, key.user):
            revoked.add(key.credential)
        elif (now.rights, now.role, now.expires) != (key.rights, key.role, key.expires):
            changed.add(key.credential)
    return CredentialChange(frozenset(revoked), frozenset(changed))


def _file_version(path: Path) -> tuple[int, int, int] | None:
    """Return what differs between two versions of a file; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
