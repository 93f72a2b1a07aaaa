"""Owner: the one machine that writes a session."""

from __future__ import annotations

import asyncio

from ..core.session import SessionMachine
from ..core.turn import TurnMachine
from ..errors import AskbotError
from ..events import Done
from .topic import Topic


class Owner:
    """A session's state, the task of its running turn, and what the store has not taken yet."""

    __slots__ = (
        "abandon_timer", "closed", "lock", "pending_commands", "session", "state", "task", "topic", "turn", "unstored",
    )  # fmt: skip

    def __init__(self, state: SessionMachine, topic: Topic) -> None:
        self.session = state.id
        self.state = state
        self.topic = topic  # of the same session: both share its log
        self.task: asyncio.Task[None] | None = None  # answers `turn`
        self.turn: TurnMachine | None = None
        self.lock = asyncio.Lock()  # commands come one at a time, in their order
        self.pending_commands = 0  # how many are being followed, or wait for that
        self.unstored: list[Done] = []  # ends that were shown, but could not be stored (docs/decisions/0004)
        self.abandon_timer: asyncio.TimerHandle | None = None
        self.closed: AskbotError | None = None  # why it writes no more: the session was forgotten, or is read anew

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits or is being asked."""
        return self.task is not None or not self.state.idle or self.pending_commands > 0

    @property
    def memory_bytes(self) -> int:
        """About how many bytes of memory it takes, without the topic."""
        return 1500 + self.state.memory_bytes

    def cancel_task(self) -> None:
        """Cancel the task, once: one that is leaving already is left to it."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()
