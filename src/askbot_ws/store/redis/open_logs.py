"""Open logs: the sessions that a Redis store has in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.log_tail import LogTail
from .keys import SessionKeys, keys_of

MERGED_TAIL_BYTES = 4 * 1024  # of each session's merged events that stay in memory
OWNED_TAIL_BYTES = 16 * 1024  # the same for a session's owner, which appends again what a failover has lost


@dataclass(slots=True, eq=False)
class OpenLog:
    """A session whose log is in memory.

    Attributes:
        log: The log.
        fence: With which this node appends; None: another node does, or none.
        stored: Whether Redis has it; else it was made here, or Redis has lost it.
        is_new: Whether it was made here, and Redis never had it, as far as is known.
        head: The head of the stored log as far as it is known here.
        merged: The position up to which the log is merged in Redis. The events after it are in memory.
        questions: The `seq` of the question of each turn that has not ended.
        keys: The session's keys.
        followers: The channel of the nodes that follow it.
        appending: Whether an append of it is under way.
        released: Whether nobody uses it.
        reading: Whether what is missing is being read.
        missed: Whether a message came meanwhile.
        behind_since: Since when the stored log is shorter than the one in memory, by a monotonic clock in seconds;
            None: it is not, as far as is known.
        heard_at: When the owner was heard last, by a monotonic clock in seconds.
        appended_at: When this node appended last, by the same clock.
    """

    log: LogTail
    fence: str | None = None
    stored: bool = True
    is_new: bool = False
    head: int = 0
    merged: int = 0
    questions: dict[str, int] = field(default_factory=dict[str, int])
    appending: bool = False
    released: bool = False
    reading: bool = False
    missed: bool = False
    behind_since: float | None = None
    heard_at: float = 0.0
    appended_at: float = 0.0
    keys: SessionKeys = field(init=False)
    followers: str = field(init=False)

    def __post_init__(self) -> None:
        self.keys = keys_of(self.log.session)
        self.followers = self.keys.followers

    @property
    def session(self) -> str:
        """The session's id."""
        return self.log.session

    def trim(self) -> None:
        """Remove the oldest merged events from memory."""
        keep = MERGED_TAIL_BYTES if self.fence is None else OWNED_TAIL_BYTES
        self.log.trim(keep=keep, until=self.merged)
