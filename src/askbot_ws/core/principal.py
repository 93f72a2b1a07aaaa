"""Principal: who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, or nobody: it is made in the handshake and goes with every command."""

    user: str | None = None  # None: nobody, an anonymous client

    def may_use(self, *, session_user: str | None) -> bool:
        """Whether a session that this user made is open to us; one that nobody owns is, to whoever knows its id."""
        return session_user is None or session_user == self.user


ANONYMOUS = Principal()
