"""Policy: the operator's limits for questions, turns and sessions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(slots=True)
class Policy:
    """What a hub allows; the settings of the same names (docs/settings.md) choose it.

    All parts of a hub share one, which changes when the settings are reloaded.

    Attributes:
        persona: The system prompt; None: none is sent.
        models: Names that a question may choose, besides the upstream's default.
        thinking: Whether the reasoning that the model's provider shows is logged.
        titles: `model`: the model makes a title after a session's first complete answer.
        max_tokens: Tokens of an answer, at most.
        context_tokens: Tokens of a prompt and its answer together, at most.
        max_question: Code points of a question, at most.
        max_waiting: Questions that wait in one session, at most.
        max_turns: Turns that run at the same time in this process, at most; until `Admission.apply`.
        max_queued: Turns that wait in this process, at most; until `Admission.apply`.
        memory: Bytes of memory for sessions that nobody uses at the moment.
        session_ttl: Seconds without a question after which a session is deleted.
        abandon_after: Seconds without a reader after which a session's turns are cancelled; None: never.
        log_content: Whether questions and answers are logged.
        orphans: What becomes of a turn that ran on a node which died: it ends as interrupted, or is asked again too.
        waiting_ttl: Seconds after which a question that another node left waiting is not asked any more.
    """

    persona: str | None = None
    models: tuple[str, ...] = ()
    thinking: bool = True
    titles: Literal["off", "model"] = "off"
    max_tokens: int = 1024
    context_tokens: int = 8192
    max_question: int = 8000
    max_waiting: int = 8
    max_turns: int = 1000
    max_queued: int = 1000
    memory: int = 64 * 2**20
    session_ttl: float = 30 * 86400.0
    abandon_after: float | None = None
    log_content: bool = False
    orphans: Literal["interrupt", "ask-again"] = "interrupt"
    waiting_ttl: float = 600.0

    def replace_by(self, policy: Policy) -> None:
        """Allow what another policy allows, from now on."""
        for field in fields(self):
            setattr(self, field.name, getattr(policy, field.name))

    def offered_models(self, default: str) -> tuple[str, ...]:
        """Return the names that a question may choose, the upstream's default first."""
        return tuple(dict.fromkeys((default, *self.models)))
