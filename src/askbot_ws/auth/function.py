"""Function: authentication by an async function that users wrote."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast

import structlog

from ..core.principal import Principal
from ..errors import AskbotError, ConfigError, Overloaded, Unauthorized
from ..importing import import_named
from ..upstream.isolation import run_in_own_task
from .principals import MAX_TIME, is_role, is_user, only_known_rights
from .request_head import RequestHead

TIMEOUT_SECONDS = 5.0  # that the function has for one request

AuthFunction: TypeAlias = Callable[[RequestHead], Awaitable[Principal | str | None]]
"""Takes the head of a request; returns a principal, the name of a user, or None for nobody that it knows."""

log = structlog.get_logger(__name__)


class FunctionAuthentication:
    """Asks the function that `package.module:name` names; modules are searched in the working directory too."""

    def __init__(self, function: AuthFunction, *, now: Callable[[], float] = time.time) -> None:
        """`now` is the time in seconds since 1970."""
        self._function = function
        self._now = now

    async def authenticate(self, head: RequestHead) -> Principal | None:
        """Return the principal of a request; None: the function knows nobody.

        Raises `Unauthorized` where the function does, or where its principal has expired; `Overloaded` where the
        function fails or takes too long, which is logged.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                result = await run_in_own_task(lambda: self._call(head))
        except TimeoutError:
            log.error("authentication_function_failed", reason="timeout", limit_s=TIMEOUT_SECONDS)  # noqa: TRY400 - no cause
            raise Overloaded("Credentials cannot be checked right now.", retry_after=1.0) from None
        except Exception as error:
            cause = error.__cause__ if isinstance(error, AskbotError) and error.__cause__ is not None else error
            # Its message and its traceback may repeat the credential.
            log.error(  # noqa: TRY400 - see above
                "authentication_function_failed", reason=type(cause).__name__, place=_place(cause)
            )
            raise Overloaded("Credentials cannot be checked right now.", retry_after=1.0) from error
        if isinstance(result, Unauthorized):
            raise result
        if result is not None and result.expires is not None and result.expires <= self._now():
            raise Unauthorized("The credential has expired.")
        return result

    async def _call(self, head: RequestHead) -> Principal | Unauthorized | None:
        """Return what the function says. Raises what it raises, and `TypeError` for what is no answer."""
        try:
            result: object = await cast("Callable[[RequestHead], Awaitable[object]]", self._function)(head)
        except Unauthorized as error:
            return Unauthorized(error.message)
        if result is None:
            return None
        principal: object = Principal(user=result) if isinstance(result, str) else result
        if not isinstance(principal, Principal):
            raise TypeError(f"the function returned {type(result).__name__}, not a Principal, a str or None")
        return _checked(principal)


def _checked(principal: Principal) -> Principal:
    """Return a principal with a credential. Raises `TypeError` where a field is not as it should be."""
    if not is_user(principal.user):
        raise TypeError("the function returned a user that is no text of 1 to 256 characters")
    if principal.role is not None and not is_role(principal.role):
        raise TypeError("the function returned a role that is no text of 1 to 256 characters")
    expires = cast(object, principal.expires)
    if expires is not None and not (isinstance(expires, int | float) and expires > 0):
        raise TypeError("the function returned a time that is no number of seconds since 1970")
    return replace(
        principal,
        rights=only_known_rights(principal.rights),
        expires=None if principal.expires is None else min(float(principal.expires), MAX_TIME),
        credential=f"function:{principal.credential or principal.user}",
    )


def _place(error: BaseException) -> str | None:
    """Return the file and the line where an exception was raised; None: it is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


def import_function(path: str) -> AuthFunction:
    """Import the function that `package.module:name` names. Raises `ConfigError`."""
    function = import_named(path, setting="ASKBOT_AUTH")
    if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async method of this name
    ):
        raise ConfigError(f"ASKBOT_AUTH: {path} is not an async function (async def with return).")
    return cast(AuthFunction, function)
