"""Owner: the only writer of a session."""

from __future__ import annotations

import asyncio

from ..core.session import SessionMachine
from ..core.turn import TurnMachine
from ..errors import AskbotError
from ..events import Done
from .topic import Topic


class Owner:
    """A session's state machine, the task of its running turn, and events that are still to be stored."""

    __slots__ = (
        "abandon_timer", "closed", "lock", "pending_commands", "session", "state", "task", "topic", "turn", "unstored",
    )  # fmt: skip

    def __init__(self, state: SessionMachine, topic: Topic) -> None:
        self.session = state.id
        self.state = state
        self.topic = topic  # of the same session; its log is shared
        self.task: asyncio.Task[None] | None = None  # runs `turn`
        self.turn: TurnMachine | None = None
        self.lock = asyncio.Lock()  # held for each command: they are executed one at a time, in order
        self.pending_commands = 0  # that are being executed or wait for the lock
        self.unstored: list[Done] = []  # ends that were shown but could not be stored (docs/decisions/0004)
        self.abandon_timer: asyncio.TimerHandle | None = None
        self.closed: AskbotError | None = None  # why it must not write any more: the session was deleted or reset

    @property
    def busy(self) -> bool:
        """Whether a turn runs or waits, or a command is pending."""
        return self.task is not None or not self.state.idle or self.pending_commands > 0

    @property
    def is_new(self) -> bool:
        """Whether the session has no event yet, and is to be kept: with its first, its user has one session more."""
        return not self.state.head and not self.topic.temporary

    @property
    def next_turn(self) -> TurnMachine | None:
        """The first waiting turn where no other turn delays it: it waits for a slot. Else None."""
        waiting = self.state.waiting
        return waiting[0] if waiting and self.turn is None and self.state.running is None else None

    @property
    def memory_bytes(self) -> int:
        """Estimated bytes of memory, without the topic."""
        return 1500 + self.state.memory_bytes

    def cancel_task(self) -> None:
        """Cancel the running turn's task, unless it is being cancelled already."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()
