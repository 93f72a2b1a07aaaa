"""tools/completeness.py: what a user's type checker does not know of the public names is found.

That it knows all of them is checked by `make check`.
"""

from __future__ import annotations

from typing import Any

from completeness import incomplete
from public_api import names


def symbols(*, unknown: str = "", reason: str = "") -> list[dict[str, Any]]:
    """What pyright says where it knows all public names but one."""
    public = {f"{each.module}.{each.name}" for _, found in names() for each in found} | {unknown}
    told = [{"message": reason}] if reason else []
    return [
        {
            "name": name,
            "isTypeKnown": name != unknown,
            "isTypeAmbiguous": False,
            "diagnostics": told if name == unknown else [],
        }
        for name in public
    ]


def test_whatever_is_public_must_be_known() -> None:
    """A class, and what it has; with the reason."""
    reason = "Type is missing type annotation"
    assert incomplete(symbols()) == []
    for name in ("askbot_ws.Chat", "askbot_ws.Chat.id"):
        assert incomplete(symbols(unknown=name, reason=reason)) == [
            f"{name}: its type is not wholly known",
            f"  {name}: {reason}",
        ]


def test_what_is_ours_need_not_be_known() -> None:
    """Modules that nobody imports."""
    assert incomplete(symbols(unknown="askbot_ws.hub.topic.log", reason="Type is missing type annotation")) == []


def test_a_name_that_was_not_seen_is_told() -> None:
    """Else nothing would be checked."""
    assert "askbot_ws.Chat: pyright has not seen it" in incomplete([])
