"""Principals: what credentials may say of a user."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TypeGuard, get_args

from ..core.principal import Right

MAX_USER_CHARS = 256
MAX_TIME = 253_402_300_799.0  # the end of the year 9999, in seconds since 1970: the last that RFC 3339 can say
RIGHTS: tuple[Right, ...] = get_args(Right)


def is_user(value: object) -> TypeGuard[str]:
    """Return whether a value can be the name of a user: 1 to 256 characters, none of them a control character."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_USER_CHARS or value != value.strip():
        return False
    return not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value)


def is_role(value: object) -> TypeGuard[str]:
    """Return whether a value can be the name of a role, which is like that of a user."""
    return is_user(value)


def only_known_rights(names: Iterable[object]) -> frozenset[Right]:
    """Return those of these names that are rights."""
    named = {name for name in names if isinstance(name, str)}
    return frozenset(right for right in RIGHTS if right in named)
