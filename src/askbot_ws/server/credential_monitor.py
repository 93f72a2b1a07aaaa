"""Credential monitor: what happens to open connections when credentials expire, are renewed or are revoked."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import structlog

from ..auth import Authenticator
from ..auth.static_keys import CredentialChange
from ..core.principal import Principal
from ..dialects.connection import Connection
from ..errors import Forbidden
from ..hub import Hub
from .credential_expiry import ExpiryMonitor

log = structlog.get_logger(__name__)


class CredentialMonitor:
    """Closes connections with 4401 whose credential is not valid any more, and gives others a new principal."""

    def __init__(
        self,
        authenticator: Authenticator,
        hub: Hub,
        connections: Collection[Connection],
        close: Callable[[Connection, int, str], None],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make the monitor.

        Args:
            authenticator: Checks new credentials, and reports those that are revoked.
            hub: Has the turns that were asked with them.
            connections: All open connections.
            close: Closes a connection with a code and a reason.
            now: The time in seconds since 1970.
        """
        self._authenticator = authenticator
        self._hub = hub
        self._connections = connections
        self._close = close
        self.expiry = ExpiryMonitor(self._on_expired, now=now)
        authenticator.on_change = self._on_change
        hub.admission.is_revoked = authenticator.is_revoked

    async def renew(self, connection: Connection, token: str) -> Principal:
        """Give a connection the principal of a fresh token of the same user, and return it.

        Raises `Unauthorized`, `Forbidden` where it is another user's or the connection is anonymous, and `Overloaded`
        where it can't be checked now; then nothing has changed.
        """
        if connection.principal.user is None:
            raise Forbidden("An anonymous connection stays one; connect again with the credential.")
        address = connection.socket.client_address
        principal = await self._authenticator.authenticate_token(token, client_address=address)
        if principal.user != connection.principal.user:
            raise Forbidden("The credential is another user's.")
        connection.principal = principal
        self.expiry.watch(connection)
        return principal

    def close_anonymous(self) -> None:
        """Close anonymous connections, where they are not accepted any more."""
        if self._authenticator.allows_anonymous:
            return
        for connection in tuple(self._connections):
            if connection.principal.user is None:
                self._close(connection, 4401, "credentials are needed now")

    def _on_expired(self, connection: Connection) -> None:
        self._close(connection, 4401, "the credential has expired")

    def _on_change(self, change: CredentialChange) -> None:
        closed = 0
        for connection in tuple(self._connections):
            credential = connection.principal.credential or ""
            if (
                credential in change.revoked
                or credential in change.changed
                or (change.other_tokens and credential.startswith("jwt:"))
            ):
                closed += 1
                self._close(connection, 4401, "the credential is not valid any more")
        for credential in change.revoked:
            self._hub.cancel_asked_with(credential)
        log.info("credentials_changed", revoked=len(change.revoked), connections_closed=closed)
