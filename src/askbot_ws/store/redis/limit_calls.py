"""Limit calls: calls of client_limits.lua, and what its replies say."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from ...core.allowance import Client, Rates
from ...core.excess import budget_used_up_error, too_fast_error, too_many_sessions_error
from ...core.rate_limiter import Amounts
from ...errors import AskbotError, StoreError
from .scripts import ScriptCall, load_script
from .server_connection import Argument


def limit_call(client: str, *args: Argument) -> ScriptCall:
    """Return a call for a client, by its key."""
    return ScriptCall(load_script("client_limits"), keys_of(client), args)


@lru_cache(maxsize=4096)
def keys_of(client: str) -> tuple[str, ...]:
    """Return the keys of a client, by its key; all of one hash slot."""
    base = f"askbot:limit:{{{quote(client, safe='@')}}}"  # a brace would end the tag
    return base, f"{base}:turns", f"{base}:reservations", f"{base}:reserved"


def shared_rates(rates: Rates) -> tuple[int | None, ...]:
    """Return the limits that hold on all nodes."""
    return rates.questions, rates.characters, rates.tokens


def rate_arguments(client: Client, amounts: Amounts) -> tuple[Argument, ...]:
    """Return amounts and limits, as the script is given them."""
    rates = client.allowance.rates
    return (
        *(amounts.questions, optional(rates.questions)),
        *(amounts.characters, optional(rates.characters)),
        *(amounts.tokens, optional(rates.tokens)),
    )


def optional(limit: int | None) -> Argument:
    """Return a limit as the script is given it."""
    return "" if limit is None else limit


def refusal_of(reason: bytes, number: int) -> AskbotError:
    """Return the error that a reply of the script says."""
    match reason:
        case b"too_fast":
            return too_fast_error("questions", seconds=number / 1000)
        case b"day_used_up":
            return budget_used_up_error(seconds=number / 1000)
        case b"too_many_sessions":
            return too_many_sessions_error(number)
        case _:
            return StoreError()
