"""Session ids: those of new sessions, and of sessions that are made of another one's turns."""

from __future__ import annotations

import base64
import hmac
import secrets

import orjson
from pydantic import TypeAdapter, ValidationError

from ..events import SessionId

_BYTES = 16
_session_id: TypeAdapter[str] = TypeAdapter(SessionId)


def is_session_id(text: str) -> bool:
    """Whether a text has the form of a session's id."""
    try:
        _session_id.validate_python(text)
    except ValidationError:
        return False
    return True


def new_session_id() -> str:
    """Return a random id, which nobody can guess."""
    return secrets.token_urlsafe(_BYTES)


def fork_session_id(user: str | None, session: str, frame_id: str) -> str:
    """Return the id of the session that a user's `fork` frame makes, always the same for the same frame.

    The key of the hash is the id of the session that is forked, which is a secret where there is no user: without it,
    nobody can compute the new id (docs/decisions/0010).
    """
    message = orjson.dumps(["fork", user, frame_id])
    digest = hmac.digest(session.encode(), message, "sha256")
    return base64.urlsafe_b64encode(digest[:_BYTES]).rstrip(b"=").decode()
