"""Worker group: what a client asks one worker, answered for all of them by way of the supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .channel import Channel, ChannelClosed
from .totals import Snapshot

FIRST_ANSWER_SECONDS = 1.0  # after which a worker that has not answered is left out, if another has
LAST_ANSWER_SECONDS = 6.0  # after which all are; a check of the store or the model may take 5
MAX_SECONDS = 7.0  # for which a worker waits for the supervisor
NO_SUPERVISOR = "the supervisor of the worker processes does not answer"


class ServerGroup(Protocol):
    """The processes that serve together, of which a server is one."""

    async def metrics(self) -> Snapshot | None:
        """Return the metrics of all processes; None where they can't be had now."""
        ...

    async def faults(self) -> Mapping[str, str | None]:
        """Return what is wrong with each part in any process, as a message that is safe to show; None: it works."""
        ...


class WorkerGroup:
    """All workers, as one of them sees them."""

    def __init__(self, channel: Channel) -> None:
        """`channel` leads to the supervisor."""
        self._channel = channel

    async def metrics(self) -> Snapshot | None:
        """Return the metrics of all workers added up, those that have ended included; None without the supervisor."""
        try:
            answer: Snapshot = await self._channel.ask("all metrics", max_seconds=MAX_SECONDS)
        except (TimeoutError, ChannelClosed):
            return None
        return answer

    async def faults(self) -> Mapping[str, str | None]:
        """Return what is wrong in any worker that accepts connections; a worker that does not answer is left out."""
        try:
            answer: dict[str, str | None] = await self._channel.ask("all faults", max_seconds=MAX_SECONDS)
        except (TimeoutError, ChannelClosed):
            return {"server": NO_SUPERVISOR}
        return answer


def merge_faults(answers: list[dict[str, str | None]]) -> dict[str, str | None]:
    """Return the first fault of each part in any process; of those that drain only where all do."""
    serving = [faults for faults in answers if faults.get("server") is None] or answers[:1]
    merged: dict[str, str | None] = {}
    for faults in serving:
        for part, fault in faults.items():
            merged[part] = merged.get(part) or fault
    return merged or {"server": "no worker process answers"}
