"""Commands: what may be asked of a session, whatever protocol a client speaks."""

from __future__ import annotations

from typing import Literal, TypeAlias

WhenBusy: TypeAlias = Literal["queue", "reject", "replace"]
