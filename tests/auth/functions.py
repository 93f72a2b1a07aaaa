"""Functions that authenticate, as users write them."""

from __future__ import annotations

import asyncio
import sys

from askbot_ws import Principal, RequestHead
from askbot_ws.errors import Unauthorized


async def by_header(head: RequestHead) -> Principal | str | None:
    """Who the header says; some values fail."""
    name = head.header("x-user") or (head.header("authorization") or "").removeprefix("Bearer custom-")
    match name:
        case "":
            return None
        case "fails":
            raise KeyError("a-credential-that-is-secret")
        case "exits":
            sys.exit(3)
        case "hangs":
            await asyncio.sleep(3600)
        case "refuses":
            raise Unauthorized("The account is closed.")
        case "number":
            return 7  # type: ignore[return-value]
        case "admin":
            return Principal(user="admin", rights=frozenset({"admin", "unknown"}), expires=1e12)  # type: ignore[arg-type]
        case "expired":
            return Principal(user="old", expires=1.0)
        case "nobody":
            return Principal()
    return name


def not_async(head: RequestHead) -> str:
    """It is not what it has to be."""
    return head.path
