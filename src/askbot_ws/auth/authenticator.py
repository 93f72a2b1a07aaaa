"""Authenticator: checks the credential of a request and makes its principal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import structlog

from ..core.principal import ANONYMOUS, Principal
from ..errors import Unauthorized
from ..setting_types import is_loopback
from .credentials import find_credential
from .function import FunctionAuthentication
from .principals import RIGHTS
from .request_head import RequestHead
from .static_keys import CredentialChange, StaticKeys
from .tickets import Tickets

if TYPE_CHECKING:
    from .json_web_keys import JsonWebKeys  # which take long to import, see `choose`

LOCAL = Principal(rights=frozenset(RIGHTS))
"""A client on this machine, of a server without authentication that no other machine can reach."""
CHAT_PATH = "/v1/chat"

log = structlog.get_logger(__name__)


class AuthTokenMethod(Protocol):
    """A kind of token: static keys, for example."""

    async def authenticate(self, token: str) -> Principal | None:
        """Return the principal of a token, or None where it is none of this kind.

        Raises `Unauthorized` where it is one that is not valid, `Overloaded` where that can't be checked now.
        """
        ...


@dataclass(frozen=True, slots=True)
class AuthMethods:
    """The ways by which an authenticator checks credentials; without any, nobody needs one.

    Attributes:
        keys: Static keys.
        tokens: JSON Web Tokens.
        function: The operator's own function, which is asked last, and where there is no credential too.
        tickets: One-time tickets.
        key_set: What is fetched for `tokens`.
    """

    keys: StaticKeys | None = None
    tokens: AuthTokenMethod | None = None
    function: FunctionAuthentication | None = None
    tickets: Tickets | None = None
    key_set: JsonWebKeys | None = None

    @property
    def token_methods(self) -> Sequence[AuthTokenMethod]:
        """The kinds of tokens, in the order in which a token is tried."""
        return [method for method in (self.keys, self.tokens) if method is not None]


class Authenticator:
    """Makes principals: in handshakes, of HTTP requests and for the frame `auth`.

    It is an async context manager: what it fetches in the background, it fetches in the block.
    """

    def __init__(
        self,
        methods: AuthMethods | None = None,
        *,
        allow_anonymous: bool = False,
        loopback: bool = False,
        cookie: str | None = None,
    ) -> None:
        """Make an authenticator.

        Args:
            methods: How credentials are checked; None: nobody needs one.
            allow_anonymous: Whether requests without a credential are accepted all the same.
            loopback: Whether only this machine can connect.
            cookie: The name of the cookie that may carry a token.
        """
        self.methods = methods
        self.on_change: Callable[[CredentialChange], None] | None = None  # is called once credentials are revoked
        self.on_keys_changed: Callable[[frozenset[str], frozenset[str]], None] | None = None  # see `StaticKeys`
        self.refused: frozenset[str] = frozenset()  # credentials of keys that were revoked elsewhere
        self.allow_anonymous = allow_anonymous
        self._loopback = loopback
        self._cookie = cookie

    async def __aenter__(self) -> Self:
        self._connect(self.methods)
        if self.methods and self.methods.key_set:
            self.methods.key_set.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.methods and self.methods.key_set:
            await self.methods.key_set.close()

    def _connect(self, methods: AuthMethods | None) -> None:
        """Pass on what static keys report."""
        if methods and methods.keys:
            methods.keys.on_change = self._report
            methods.keys.on_file_change = self._report_keys

    def _report(self, change: CredentialChange) -> None:
        if self.on_change is not None:
            self.on_change(change)

    def _report_keys(self, removed: frozenset[str], added: frozenset[str]) -> None:
        if self.on_keys_changed is not None:
            self.on_keys_changed(removed, added)

    def reload_keys_if_changed(self) -> None:
        """Read the key file again if it has changed; looks at most once a second."""
        if self.methods and self.methods.keys:
            self.methods.keys.reload_if_changed()

    def set_refused(self, credentials: frozenset[str]) -> None:
        """Refuse these keys, and no others that were refused before, though they are in the key file."""
        keys = self.methods.keys if self.methods else None
        new = frozenset(each for each in credentials - self.refused if keys and keys.has_key(each))
        self.refused = credentials
        for credential in sorted(new):
            log.info("key_refused", credential=credential)
        if new:
            self._report(CredentialChange(revoked=new))

    async def replace_methods(self, methods: AuthMethods | None, *, other_tokens: bool) -> None:
        """Check credentials in another way from now on, in the block. Objects that are in both go on as they are.

        `other_tokens`: JSON Web Tokens are checked by other rules than before.
        """
        before, self.methods = self.methods, methods
        old, new = before.key_set if before else None, methods.key_set if methods else None
        self._connect(methods)
        if new is not old and new is not None:
            new.start()
        if before and before.keys and (methods is None or methods.keys is not before.keys):
            before.keys.revoke_all()
        if other_tokens:
            self._report(CredentialChange(other_tokens=True))
        if new is not old and old is not None:
            await old.close()

    @property
    def configured(self) -> bool:
        """Whether there are credentials at all; else everybody is anonymous."""
        return self.methods is not None

    @property
    def allows_anonymous(self) -> bool:
        """Whether a request without a credential is accepted."""
        return self.allow_anonymous or not self.configured

    async def authenticate(self, head: RequestHead) -> Principal:
        """Return the principal of a handshake or of an HTTP request.

        Raises `Unauthorized`, or `Overloaded` where its credential can't be checked at the moment.
        """
        methods = self.methods
        if methods is None:
            return LOCAL if self.is_local(head) else ANONYMOUS
        credential = find_credential(head, cookie=self._cookie)
        if credential is None:
            principal = await methods.function.authenticate(head) if methods.function else None
            if principal is None and not self.allow_anonymous:
                raise Unauthorized
            return principal or ANONYMOUS
        if credential.carrier == "ticket":
            if methods.tickets is None:
                raise Unauthorized("Tickets are not accepted here.")
            return await methods.tickets.redeem(credential.text)
        if credential.carrier == "cookie" and not head.names_origin:
            raise Unauthorized("A request with a cookie needs an Origin.")
        return await self._check_token(credential.text, head)

    async def authenticate_token(self, token: str, *, client_address: str = "") -> Principal:
        """Return the principal of a token, as a frame `auth` has it. Raises like `authenticate`.

        The operator's own function sees it as that of the header `Authorization`.
        """
        if self.methods is None:
            raise Unauthorized("Credentials are not used here.")
        head = RequestHead(CHAT_PATH, headers=(("authorization", f"Bearer {token}"),), client_address=client_address)
        return await self._check_token(token, head)

    async def _check_token(self, token: str, head: RequestHead) -> Principal:
        while (methods := self.methods) is not None:
            principal = await self._check_by(methods, token, head)
            if methods is self.methods:  # else it was checked by what does not hold any more
                if principal.credential in self.refused:
                    raise Unauthorized("There is no such key.")
                return principal
        raise Unauthorized("Credentials are not used here.")

    async def _check_by(self, methods: AuthMethods, token: str, head: RequestHead) -> Principal:
        refusal = Unauthorized("The credential is not valid.")
        for method in methods.token_methods:
            try:
                principal = await method.authenticate(token)
            except Unauthorized as error:
                refusal = error
            else:
                if principal is not None:
                    return principal
        principal = await methods.function.authenticate(head) if methods.function else None
        if principal is None:
            raise refusal
        return principal

    def is_revoked(self, principal: Principal) -> bool:
        """Return whether a principal is that of a key which there is no more, or that was revoked elsewhere."""
        credential = principal.credential or ""
        if not credential.startswith("key:"):
            return False
        keys = self.methods.keys if self.methods else None
        return keys is None or not keys.has_key(credential) or credential in self.refused

    def is_local(self, head: RequestHead) -> bool:
        """Return whether a request comes from this machine, to a server that no other machine can reach.

        One that a proxy has passed on does not, nor one on a Unix socket, where there is a proxy in front as a rule.
        """
        if not self._loopback or head.is_forwarded or not head.client_address:
            return False
        return is_loopback(head.client_address.partition("%")[0])
