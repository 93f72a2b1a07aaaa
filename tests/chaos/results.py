"""Results of a run: the faults that took effect, and the promises that were broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

PROMISES = {
    "lost": "text, questions or ends that a reader never got, or that were gone afterwards",
    "doubled": "text, turns or ends that came twice; questions asked twice upstream",
    "stuck": "turns, connections or processes that did not end in time",
    "wrong": "whatever else must not be: false proofs, wrong errors, tracebacks, a server that died of itself",
}


class BrokenError(Exception):
    """A promise was broken."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


@dataclass
class Results:
    """The results of one run."""

    seed: int
    store: str = ""  # what it is, where that is not the default
    faults: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    broken: list[BrokenError] = field(default_factory=list[BrokenError])
    sessions: int = 0
    turns: int = 0
    tokens: int = 0
    readers: int = 0
    connections: int = 0
    replaced: int = 0  # ends shown while the disk was full that became `interrupted` (docs/decisions/0004)
    restarts: int = 0
    history_changes: int = 0  # of which readers were told (`ready.log`), whether anything was lost or not
    detected: Counter[str] = field(default_factory=Counter[str])  # what readers were told to be lost
    seconds: float = 0.0

    def fault(self, name: str) -> None:
        """One took effect."""
        self.faults[name] += 1

    def breaks(self, error: BrokenError) -> None:
        """A promise was broken."""
        self.broken.append(error)
        print(f"BROKEN {error}", flush=True)

    def count(self, promise: str) -> int:
        """How often this one was broken."""
        return sum(error.promise == promise for error in self.broken)

    def table(self) -> str:
        """All of it, in Markdown."""
        ends = ", ".join(f"{count:,} {reason}" for reason, count in self.ends.most_common())
        facts = {
            "duration": f"{self.seconds:.0f} s, seed {self.seed}",
            "sessions": f"{self.sessions:,} with {self.readers:,} readers over {self.connections:,} connections",
            "turns": f"{self.turns:,} ({ends})",
            "tokens": f"{self.tokens:,}",
            "server starts": f"{self.restarts:,}",
        }
        if self.store:
            facts = {"store": self.store} | facts
            facts["changed histories"] = f"{self.history_changes:,}: readers were told (`ready.log`), and read anew"
            lost = ", ".join(f"{what}: {count:,}" for what, count in self.detected.items()) or "0"
            facts["lost, and told"] = lost
        else:
            facts["ends replaced by `interrupted`"] = f"{self.replaced:,} (decision 0004)"
        lines = ["| fault | injected |", "| --- | ---: |"]
        lines += [f"| {name} | {count:,} |" for name, count in sorted(self.faults.items())]
        lines += [f"| **all** | **{self.faults.total():,}** |", "", "| | |", "| --- | --- |"]
        lines += [f"| {name} | {value} |" for name, value in facts.items()]
        lines += [f"| **{name}**: {what} | **{self.count(name)}** |" for name, what in PROMISES.items()]
        return "\n".join(lines)
