"""Key file: static keys by their hashes, one JSON object a line.

A key is `ak_<id>_<secret>`. Its secret has 256 bits of entropy, so the hash needs neither salt nor time. Empty lines
and lines that begin with `#` are comments; they survive all changes, and so do fields that are not known here.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from ..core.principal import Right
from ..errors import ConfigError
from ..events import Timestamp
from .principals import is_user

KEY_PATTERN = re.compile(r"ak_([0-9A-Za-z]{12})_[0-9A-Za-z_-]{43}")
CREDENTIAL_PREFIX = "key:"
_ID_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@validated(frozen=True, slots=True, config=ConfigDict(strict=True, extra="ignore"))
class Key:
    """A key without its secret.

    Attributes:
        id: The part of the key by which it is found.
        hash: The SHA-256 of the whole key, in hexadecimal.
        user: The user on whose behalf it is used.
        rights: What it may do besides.
        role: Names the models and options that it may choose; None: the default ones.
        created: When it was made, in seconds since 1970.
        expires: When it ends, in seconds since 1970; None: never.
    """

    id: str
    hash: str
    user: str
    rights: tuple[Right, ...] = ()
    role: str | None = None
    created: Timestamp = 0.0
    expires: Timestamp | None = None

    @property
    def credential(self) -> str:
        """What a principal has as its `credential`, and logs: it names the key, and opens nothing."""
        return f"{CREDENTIAL_PREFIX}{self.id}"


_adapter: TypeAdapter[Key] = TypeAdapter(Key)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time at which its text is known."""

    text: str
    key: Key


def make_key(
    user: str, *, now: float, rights: Iterable[Right] = (), role: str | None = None, expires: float | None = None
) -> NewKey:
    """Draw a new key. `now` and `expires` are in seconds since 1970."""
    id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(12))
    text = f"ak_{id}_{secrets.token_urlsafe(32)}"
    return NewKey(text, Key(id, hash_key(text), user, tuple(sorted(rights)), role, round(now, 3), expires))


def hash_key(text: str) -> str:
    """Return the hash by which a key is kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by their ids. Raises `ConfigError`, with the line that is wrong."""
    keys: dict[str, Key] = {}
    for number, line in enumerate(_read_lines(path), 1):
        if _is_comment(line):
            continue
        key = _parse_line(line, f"ASKBOT_KEYS: {path}, line {number}")
        if key.id in keys:
            raise ConfigError(f"ASKBOT_KEYS: {path}, line {number}: another line has the id {key.id} too.")
        keys[key.id] = key
    return keys


def add_key(path: Path, key: Key) -> None:
    """Append a key to a file, which is made where there is none. Raises `ConfigError`."""

    def append(lines: list[str]) -> list[str]:
        return [*lines, _adapter.dump_json(key, exclude_none=True).decode()]

    _rewrite(path, append, missing_ok=True)


def remove_key(path: Path, id: str) -> Key | None:
    """Remove a key from a file and return it; None: there is no key of this id. Raises `ConfigError`."""
    found: list[Key] = []

    def without(lines: list[str]) -> list[str]:
        kept = list[str]()
        for number, line in enumerate(lines, 1):
            key = None if _is_comment(line) else _parse_line(line, f"{path}, line {number}")
            if key is not None and key.id == id:
                found.append(key)
            else:
                kept.append(line)
        return kept

    _rewrite(path, without, missing_ok=False)
    return found[0] if found else None


# --- lines -----------------------------------------------------------------------------------------------------------


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _parse_line(line: str, place: str) -> Key:
    """Return the key of a line. Raises `ConfigError`, which has nothing of the line's values."""
    try:
        key = _adapter.validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        what = f"{field}: it is missing" if fault["type"] == "missing" else f"{field or 'it'} is not as it should be"
        raise ConfigError(f"{place}: {what}; remove the line, or repair it.") from None
    if not re.fullmatch("[0-9A-Za-z]{12}", key.id) or not re.fullmatch("[0-9a-f]{64}", key.hash):
        raise ConfigError(f"{place}: its id or its hash is not one; remove the line.")
    if not is_user(key.user):
        raise ConfigError(f"{place}: user is no name of a user; remove the line, or repair it.")
    return key


def _read_lines(path: Path) -> list[str]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe may take forever
            raise ConfigError(f"ASKBOT_KEYS: {path} is no regular file; name one.")
        return path.read_text("utf-8").removesuffix("\n").split("\n")  # `splitlines` ends a line at U+2028 too
    except FileNotFoundError:
        raise ConfigError(
            f"ASKBOT_KEYS: there is no file {path}; `askbot key new --user NAME --keys {path}` makes it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"ASKBOT_KEYS: {path} can't be read ({_reason(error)}).") from error


# --- writing ---------------------------------------------------------------------------------------------------------


def _rewrite(path: Path, change: Callable[[list[str]], list[str]], *, missing_ok: bool) -> None:
    """Replace a file by its changed lines, in one step and with no other change in between. Raises `ConfigError`."""
    path = path.resolve()  # a link stays, and what it names changes
    try:
        with _locked(path.with_name(f".{path.name}.lock")):
            lines = [] if missing_ok and not path.exists() else _read_lines(path)
            changed = change(lines)
            if changed != lines:
                write_private(path, "".join(f"{line}\n" for line in changed))
    except OSError as error:
        raise ConfigError(f"ASKBOT_KEYS: {path} can't be written ({_reason(error)}).") from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step; one that exists keeps its owner and its mode."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and sys.platform != "win32":
            before = path.stat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
                os.chown(name, before.st_uid, before.st_gid)  # root changes a file of the server's user
            Path(name).chmod(stat.S_IMODE(before.st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold a lock beside the file: the file itself is replaced. It is not deleted, or two could hold it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - not there elsewhere

            msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - not there on Windows

            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
