"""Policy: what the operator allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Times are in seconds, sizes in bytes."""

    persona: str | None = None
    models: frozenset[str] = frozenset()  # that a question may choose, besides the configured one
    max_tokens: int = 1024
    context_tokens: int = 8192
    max_question: int = 8000  # code points
    max_waiting: int = 8
    max_turns: int = 1000
    memory: int = 64 * 2**20
    session_ttl: float = 30 * 86400.0
    abandon_after: float | None = None
    log_content: bool = False
