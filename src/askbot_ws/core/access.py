"""Access: what a credential for one session, or for reading only, may do. Whose a session is, the hub checks."""

from __future__ import annotations

from ..errors import Forbidden
from .principal import Principal


def check_read(principal: Principal, session: str) -> None:
    """Raise `Forbidden` where the credential is for another session, whether this one exists or not."""
    if principal.session is not None and principal.session != session:
        raise Forbidden("This credential is for another session.")


def check_change(principal: Principal, session: str) -> None:
    """Raise `Forbidden` where the credential is for another session, or for reading only."""
    check_read(principal, session)
    if principal.read_only:
        raise Forbidden("This credential is for reading only.")


def check_create(principal: Principal) -> None:
    """Raise `Forbidden` where the credential is for one session, or for reading only."""
    if principal.session is not None:
        raise Forbidden("This credential is for one session.")
    if principal.read_only:
        raise Forbidden("This credential is for reading only.")


def may_create(principal: Principal) -> bool:
    """Whether `check_create` raises nothing."""
    try:
        check_create(principal)
    except Forbidden:
        return False
    return True


def check_administration(principal: Principal) -> None:
    """Raise `Forbidden` without the right `admin`, and where the credential is for one session or for reading only."""
    if "admin" not in principal.rights:
        raise Forbidden("The credential lacks the right 'admin'.")
    check_create(principal)


def check_list(principal: Principal) -> str:
    """Return whose sessions may be listed. Raise `Forbidden` for anonymous clients, and credentials for one session."""
    if principal.user is None:
        raise Forbidden("Only users have a list of their sessions.")
    if principal.session is not None:
        raise Forbidden("This credential is for one session.")
    return principal.user
