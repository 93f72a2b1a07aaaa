"""Tickets: credentials for one connection, made by an application for its users and signed with a secret.

A ticket is valid for 30 seconds and once: what was used is remembered in the store for as long.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

import structlog
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from ..core.principal import Principal
from ..errors import ConfigError, Overloaded, StoreError, Unauthorized
from ..events import SessionId
from .key_file import write_private
from .principals import is_role, is_user

VALID_SECONDS = 30.0  # of a ticket, until it is used
MAX_CONNECTION_SECONDS = 86_400.0  # of the connection that it opens
DEFAULT_CONNECTION_SECONDS = 3_600.0
MAX_TICKET_CHARS = 4096
_SIGNED_PREFIX = b"askbot-ticket-v1."  # so that no other use of the same secret makes a ticket

log = structlog.get_logger(__name__)


class UsedTickets(Protocol):
    """What remembers used tickets: a store."""

    async def spend(self, name: str, *, expires: float) -> bool:
        """Record a name until `expires`, in seconds since 1970; False: it is recorded already. Raises `StoreError`."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that was just made.

    Attributes:
        text: What the client sends as `ticket` in the query.
        valid_until: When it can't be used any more, in seconds since 1970.
        expires: When the connection that it opens is closed, in seconds since 1970.
        credential: What names it in logs; it opens nothing.
    """

    text: str = field(repr=False)
    valid_until: float
    expires: float
    credential: str


@validated(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class _Contents:
    id: str
    user: str
    expires: float
    valid_until: float
    session: SessionId | None = None
    read_only: bool = False
    role: Annotated[str, Field(min_length=1)] | None = None

    @property
    def credential(self) -> str:
        """What names the ticket in logs and in the store."""
        return f"ticket:{self.id}"


_contents: TypeAdapter[_Contents] = TypeAdapter(_Contents)


def make_ticket(
    user: str,
    *,
    secret: str,
    session: str | None = None,
    read_only: bool = False,
    expires: float = DEFAULT_CONNECTION_SECONDS,
    role: str | None = None,
    now: Callable[[], float] = time.time,
) -> Ticket:
    """Make a one-time ticket, with which a client opens one connection within 30 seconds.

    An application's backend makes it for a user whom it knows, and gives it to the user's page or program.

    Args:
        user: The user on whose behalf the connection is used: 1 to 256 characters, none of them a control character.
        secret: The server's `ASKBOT_TICKET_SECRET`, at least 32 characters.
        session: The only session that the connection may use; None: any that is the user's or nobody's.
        read_only: Whether sessions may only be read.
        expires: In how many seconds the connection is closed, 86,400 (a day) at most.
        role: Names the models and options that the user may choose; None: the default ones.
        now: The time in seconds since 1970.

    Returns:
        The ticket: its `text` is safe in a URL.

    Raises:
        ValueError: An argument is wrong; the message names it.

    Example:
        secret = "the value of ASKBOT_TICKET_SECRET"
        ticket = askbot_ws.make_ticket("alice", secret=secret)
        url = f"wss://chat.example.com/v1/chat?ticket={ticket.text}"
    """
    if len(secret) < 32:
        raise ValueError("secret: it should have at least 32 characters")
    if not is_user(user):
        raise ValueError("user: it should have 1 to 256 characters, none of them a control character")
    if role is not None and not is_role(role):
        raise ValueError("role: it should have 1 to 256 characters, none of them a control character")
    if not 0 < expires <= MAX_CONNECTION_SECONDS:
        raise ValueError("expires: it should be more than 0 seconds and at most 86400, which is a day")
    begin = now()
    try:
        contents = _Contents(
            id=secrets.token_urlsafe(16),
            user=user,
            expires=begin + expires,
            valid_until=begin + VALID_SECONDS,
            session=session,
            read_only=read_only,
            role=role,
        )
    except ValidationError:
        raise ValueError("session: it should be the id of a session") from None
    payload = urlsafe_b64encode(_contents.dump_json(contents, exclude_defaults=True)).rstrip(b"=")
    text = f"{payload.decode()}.{_sign(payload, secret)}"
    return Ticket(text, contents.valid_until, contents.expires, contents.credential)


class Tickets:
    """Makes tickets, and accepts each once."""

    def __init__(self, secret: str, used: UsedTickets, *, now: Callable[[], float] = time.time) -> None:
        """`now` is the time in seconds since 1970."""
        self.secret = secret
        self._used = used
        self.now = now

    def make(
        self,
        user: str,
        *,
        session: str | None = None,
        read_only: bool = False,
        expires: float = DEFAULT_CONNECTION_SECONDS,
        role: str | None = None,
    ) -> Ticket:
        """Make a ticket; see `make_ticket`. Raises ValueError."""
        return make_ticket(
            user, secret=self.secret, session=session, read_only=read_only, expires=expires, role=role, now=self.now
        )

    async def redeem(self, text: str) -> Principal:
        """Use a ticket up, and return its principal.

        Raises `Unauthorized`, or `Overloaded` where it can't be recorded that the ticket was used.
        """
        contents = self._read(text)
        now = self.now()
        if contents.valid_until <= now or contents.expires <= now:
            raise Unauthorized("The ticket has expired.")
        try:
            unused = await self._used.spend(contents.credential, expires=contents.valid_until)
        except StoreError as error:
            log.exception("ticket_recording_failed")
            raise Overloaded("Tickets cannot be checked right now.", retry_after=1.0) from error
        if not unused:
            raise Unauthorized("The ticket was used already.")
        return Principal(
            user=contents.user,
            role=contents.role,
            expires=min(contents.expires, now + MAX_CONNECTION_SECONDS),
            session=contents.session,
            read_only=contents.read_only,
            credential=contents.credential,
        )

    def _read(self, text: str) -> _Contents:
        """Return what a ticket says, if the signature is ours. Raises `Unauthorized`."""
        payload, _, signature = text.partition(".")
        expected = _sign(payload.encode(errors="replace"), self.secret)
        if len(text) <= MAX_TICKET_CHARS and hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
            try:
                return _contents.validate_json(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            except ValueError:  # of another version
                pass
        raise Unauthorized("The ticket is not valid.")


def _sign(payload: bytes, secret: str) -> str:
    digest = hmac.digest(secret.encode(), _SIGNED_PREFIX + payload, hashlib.sha256)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def kept_secret_path(key_file: Path) -> Path:
    """Return the path of the secret beside a key file."""
    return key_file.with_name(f"{key_file.name}.ticket-secret")


def kept_secret(key_file: Path) -> str:
    """Return the secret beside a key file, which is made where there is none; only its owner can read it.

    Where it can't be kept, it is one that no other process has. Raises `ConfigError` where it is there, and unusable.
    """
    path = kept_secret_path(key_file)
    try:
        if not path.exists():
            _create(path, secrets.token_urlsafe(32))
        secret = path.read_text("ascii").strip()
    except FileNotFoundError:
        return secrets.token_urlsafe(32)
    except (OSError, UnicodeDecodeError) as error:
        if path.exists():
            raise ConfigError(f"ASKBOT_TICKET_SECRET: {path} can't be read; repair or remove it.") from error
        log.warning("ticket_secret_write_failed", reason=type(error).__name__)
        return secrets.token_urlsafe(32)
    if len(secret) < 32:
        raise ConfigError(f"ASKBOT_TICKET_SECRET: {path} has no secret; remove it, and a new one is made.")
    return secret


def _create(path: Path, text: str) -> None:
    """Make a private file, unless another process has made it meanwhile."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(new, text)
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
