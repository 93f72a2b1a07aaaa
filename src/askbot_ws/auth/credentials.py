"""Credentials: where a request carries one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .request_head import RequestHead

BEARER_SUBPROTOCOL = "askbot.bearer."  # followed by the token

Carrier: TypeAlias = Literal["authorization", "subprotocol", "ticket", "cookie"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A token or a ticket as a request carries it; nothing of it is checked yet."""

    carrier: Carrier
    text: str = field(repr=False)


def find_credential(head: RequestHead, *, cookie: str | None) -> Credential | None:
    """Return the first credential: of `Authorization`, the subprotocols, the query, the named cookie; or None."""
    scheme, _, token = (head.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return Credential("authorization", token.strip())
    offered = offered_token(head)
    if offered is not None:
        return Credential("subprotocol", offered)
    ticket = head.parameter("ticket")
    if ticket is not None:
        return Credential("ticket", ticket)
    value = head.cookie(cookie) if cookie else None
    return None if value is None else Credential("cookie", value)


def offered_token(head: RequestHead) -> str | None:
    """Return the token of the offered subprotocol `askbot.bearer.<token>`; None: none is offered."""
    for offered in (head.header("sec-websocket-protocol") or "").split(","):
        if offered.strip().startswith(BEARER_SUBPROTOCOL):
            return offered.strip().removeprefix(BEARER_SUBPROTOCOL)
    return None
