"""Allowance: how much a client may do, by its role; and who counts as one client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from ..errors import Forbidden
from ..events import Options
from .principal import Principal

DEFAULT_ROLE = "default"
IPV6_PREFIX_BITS = 64  # of an address that count: one client has all addresses that begin with them


@dataclass(frozen=True, slots=True)
class Rates:
    """How much a client may do per minute, and at once; None: as much as it likes.

    Attributes:
        frames: Frames that it sends.
        questions: Questions, retries, edits and forks.
        characters: Code points of questions.
        tokens: Tokens of prompts and answers.
    """

    frames: int | None = None
    questions: int | None = None
    characters: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client may do; None: no limit.

    Attributes:
        models: The models that its questions may name, the default first; None: those that the server offers.
        max_tokens: Tokens of an answer, at most; None: as the server allows.
        temperature: Whether a question may choose the temperature.
        rates: How much per minute.
        turns: Its turns that run at the same time.
        waiting_turns: Its turns that wait for their start, in all sessions.
        connections: WebSocket connections of a user.
        sessions: Sessions of a user.
        session_bytes: Size of a session, about.
        tokens_per_day: Tokens of prompts and answers in one day, UTC.
    """

    models: tuple[str, ...] | None = None
    max_tokens: int | None = None
    temperature: bool = True
    rates: Rates = Rates()
    turns: int | None = None
    waiting_turns: int | None = None
    connections: int | None = None
    sessions: int | None = None
    session_bytes: int | None = None
    tokens_per_day: int | None = None

    def models_of(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        """Return the models that a question may name, the default first; `offered` are the server's, in that order."""
        if not self.models:
            return offered
        return tuple(sorted(self.models, key=lambda name: name != offered[0]))

    def resolve_options(self, options: Options, *, offered: tuple[str, ...], max_tokens: int) -> Options:
        """Return what the model is to be asked with: the given options, and limits where they give none.

        `max_tokens` is the server's limit. Raises `Forbidden` where an option is not allowed.
        """
        models = self.models_of(offered)
        if options.model is not None and options.model not in models:
            raise Forbidden("This model is not offered here.")
        if options.temperature is not None and not self.temperature:
            raise Forbidden("temperature: it can't be chosen here.")
        limit = max_tokens if self.max_tokens is None else min(self.max_tokens, max_tokens)
        if options.max_tokens is not None and options.max_tokens > limit:
            raise Forbidden(f"max_tokens: {limit} are the most.")
        if options.model is None and models[0] != offered[0]:
            options = replace(options, model=models[0])
        if options.max_tokens is None and limit < max_tokens:
            options = replace(options, max_tokens=limit)
        return options


@dataclass(frozen=True, slots=True)
class Client:
    """Who counts as one for the limits: a user, or else all who come from one address.

    Attributes:
        key: Names it; a user's name, or an address after a space, with which no user's name begins.
        user: The user; None: anonymous.
        role: The principal's role; None: none.
        allowance: What it may do.
    """

    key: str
    user: str | None = None
    role: str | None = None
    allowance: Allowance = Allowance()


@dataclass(frozen=True, slots=True)
class Allowances:
    """What clients may do, by role; who has none has the role `default`, where that is given."""

    plain: Allowance = Allowance()
    roles: Mapping[str, Allowance] = field(default_factory=dict[str, Allowance])

    def of(self, role: str | None) -> Allowance:
        """Return what a role may do; one that is not given counts as none."""
        found = self.roles.get(role) if role is not None else None
        return found or self.roles.get(DEFAULT_ROLE) or self.plain

    @property
    def have_budgets(self) -> bool:
        """Whether any role has a budget of tokens."""
        return any(each.tokens_per_day is not None for each in (self.plain, *self.roles.values()))

    def client_of(self, principal: Principal, address: str) -> Client:
        """Return who counts as one client with this principal, connected from this IP address (empty: it has none)."""
        key = principal.user if principal.user is not None else " " + address_key(address)
        return Client(key, principal.user, principal.role, self.of(principal.role))


NO_LIMITS = Allowances()


@lru_cache(maxsize=4096)  # parsing an address takes as long as all else that a question is counted by
def address_key(address: str) -> str:
    """Return what the addresses of one client have in common: for IPv6, the network of 64 bits."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, IPV6_PREFIX_BITS), strict=False))
