"""Principal: the user on whose behalf a command is executed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or an anonymous client; made in the handshake, passed with every command."""

    user: str | None = None  # None: anonymous

    def may_use(self, *, session_user: str | None) -> bool:
        """Return whether a session of this user may be used; one without a user, by any client that has its id."""
        return session_user is None or session_user == self.user


ANONYMOUS = Principal()
