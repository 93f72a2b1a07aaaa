"""Principal: the user on whose behalf a command is executed, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Right: TypeAlias = Literal["admin", "metrics", "tickets"]
"""What a credential may do besides holding its user's conversations.

`admin`: list, export and delete everybody's sessions. `metrics`: read `/metrics`. `tickets`: make one-time tickets.
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or an anonymous client; made in the handshake, passed with every command.

    Attributes:
        user: The user's id; None: anonymous.
        rights: What the credential may do besides.
        role: Names the models and options that the user may choose; None: the default ones.
        expires: When the credential ends, in seconds since 1970; None: never.
        session: The only session that may be used; None: any that is the user's or nobody's.
        read_only: Whether sessions may only be read.
        credential: Identifies the credential, without being one; None: there is none.
    """

    user: str | None = None
    rights: frozenset[Right] = frozenset()
    role: str | None = None
    expires: float | None = None
    session: str | None = None
    read_only: bool = False
    credential: str | None = None

    def may_use(self, *, session_user: str | None) -> bool:
        """Return whether a session may be used: the user's own, and one without a user by any client that has its id.

        Args:
            session_user: Whose session it is; None: nobody's.

        Returns:
            Whether it may.
        """
        return session_user is None or session_user == self.user


ANONYMOUS = Principal()
