"""Turn slots: which sessions may start their next turn, in turn over clients, and how many turns wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..core.allowance import Allowances, Client
from ..core.fair_queue import FairQueue
from .owner import Owner

INTERNAL = Client("")  # of turns that no client asked for


class TurnSlots:
    """A session waits for a slot once its next turn could start; all its turns count for the client of that one."""

    def __init__(self, *, max_running: int) -> None:
        self._queue: FairQueue[Owner] = FairQueue(max_running=max_running)
        self._waiting: Counter[str] = Counter()  # turns by client, also those behind another of their session
        self._counted: dict[Owner, tuple[Client, int]] = {}  # sessions with turns that wait: how many, and whose
        self.waiting = 0  # turns in all sessions

    @property
    def running(self) -> int:
        """How many turns run."""
        return self._queue.running

    @property
    def max_running(self) -> int:
        """How many turns run at the same time, at most."""
        return self._queue.max_running

    @max_running.setter
    def max_running(self, value: int) -> None:
        self._queue.max_running = value

    def use_allowances(self, allowances: Allowances) -> None:
        """Let turns that wait start by these allowances."""
        for owner, (client, count) in self._counted.items():
            now = replace(client, allowance=allowances.of(client.role))
            self._counted[owner] = now, count
            self._queue.set_limit(now.key, now.allowance.turns)

    def would_start(self, client: Client) -> bool:
        """Return whether a turn of this client would start at once."""
        return self._queue.would_start(client.key, limit=client.allowance.turns)

    def waiting_of(self, client: Client) -> int:
        """Return how many turns of this client wait."""
        return self._waiting[client.key]

    def update(self, owner: Owner, *, may_start: bool) -> None:
        """Take note of a session's waiting turns; where `may_start`, the first waits for a slot."""
        turns = owner.state.waiting
        if not turns and owner not in self._counted:
            return
        client, counted = self._counted.pop(owner, (None, 0))
        if client is None:
            charge = turns[0].charge if turns else None
            client = charge.client if charge is not None else INTERNAL
        if turns:
            self._counted[owner] = client, len(turns)
        self.waiting += len(turns) - counted
        self._waiting[client.key] += len(turns) - counted
        if not self._waiting[client.key]:
            del self._waiting[client.key]
        if turns and may_start:
            self._queue.add(client.key, owner, limit=client.allowance.turns)
        else:
            self._queue.remove(client.key, owner)

    def start_next(self) -> tuple[str, Owner] | None:
        """Return the next session whose turn starts, with the key for `end`; None where none may start."""
        return self._queue.start_next()

    def end(self, key: str) -> None:
        """Free the slot of a turn."""
        self._queue.end(key)
