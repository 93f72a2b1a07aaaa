"""Credentials: a client's token and ticket, each a string or a function that is asked for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_ASKING_SECONDS = 30.0  # for which an awaitable of a credential is awaited

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A credential, or a function that returns one each time that it is needed."""


class TokenError(Exception):
    """The function that returns the token or the ticket has failed; the `__cause__` says how."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows the server: a token in a header, a ticket in the query, or nothing."""

    token: TokenSource | None = field(default=None, repr=False)
    ticket: TokenSource | None = field(default=None, repr=False)

    @property
    def renewable(self) -> bool:
        """Whether there is a function to ask for a fresh one."""
        return callable(self.token) or callable(self.ticket)

    @property
    def renewed_by_auth(self) -> bool:
        """Whether a fresh one is sent on the connection; a ticket opens another one."""
        return callable(self.token)

    async def get_token(self) -> str | None:
        """Return the token, None where there is none. Raises `TokenError` for whatever goes wrong with it."""
        return await _ask(self.token, "token")

    async def get_ticket(self) -> str | None:
        """Return the ticket, None where there is none. Raises `TokenError` for whatever goes wrong with it."""
        return await _ask(self.ticket, "ticket")


async def _ask(source: TokenSource | None, name: str) -> str | None:
    """Return a credential. Raises `TokenError`; the message of its cause names the credential, and doesn't show it.

    Where this task was cancelled, raises `CancelledError`, also if the function suppresses it; one that it raises
    by itself is a failure like any other.
    """
    failure: Exception | None = None
    given: str | None = None
    limit = asyncio.timeout(MAX_ASKING_SECONDS)
    try:
        async with limit:
            returned = source() if callable(source) else source
            given = await returned if inspect.isawaitable(returned) else returned
    except asyncio.CancelledError:
        failure = RuntimeError(f"getting the {name} was cancelled")
    except Exception as error:  # noqa: BLE001 - it is the cause of ours
        failure = error
    if (task := asyncio.current_task()) and task.cancelling():
        raise asyncio.CancelledError
    if failure and limit.expired():
        failure = TimeoutError(f"the function has not returned the {name} for {MAX_ASKING_SECONDS:g} seconds")
    if failure:
        raise TokenError from failure
    if given is None:
        return None
    if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance] - the function is the caller's
        raise TokenError from TypeError(f"the {name} is no str, but {type(given).__name__}")
    if not (given.isascii() and given.isprintable()):
        raise TokenError from ValueError(f"the {name} has characters that no HTTP header can have")
    return given or None
