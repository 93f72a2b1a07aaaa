"""What was measured, kept in measured.json with the command and the machine: docs/scale.md is computed from it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from . import machine

FILE = Path(__file__).parent / "measured.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        value: The figure, in `unit`.
        unit: Its unit.
        command: What measured it.
        date: The day on which it did, in UTC.
        machine: The machine on which it did.
        load: How many programs wanted to run there in the minute before: 0 on a quiet machine.
    """

    value: float
    unit: str
    command: str
    date: str
    machine: str
    load: float


class Figures:
    """Figures by their names."""

    def __init__(self, figures: Mapping[str, Figure] | None = None) -> None:
        self._figures = dict(figures or {})

    @classmethod
    def load(cls, file: Path = FILE) -> Figures:
        """Read a file; there is nothing in one that does not exist."""
        if not file.exists():
            return cls()
        return cls({name: Figure(**fields) for name, fields in json.loads(file.read_text("utf-8")).items()})

    def save(self, file: Path = FILE) -> None:
        """Write a file."""
        fields = {name: asdict(figure) for name, figure in sorted(self._figures.items())}
        file.write_text(json.dumps(fields, indent=1) + "\n", "utf-8")

    def add(self, name: str, value: float, unit: str, command: str, *, load: float) -> None:
        """Add what was measured now, in place of what was measured before; four digits are kept."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        self._figures[name] = Figure(float(f"{value:.4g}"), unit, command, today, machine.name(), round(load, 1))

    def get(self, name: str) -> Figure | None:
        """Return a figure; None where it was not measured."""
        return self._figures.get(name)

    def __getitem__(self, name: str) -> float:
        return self._figures[name].value

    def load_range(self, names: Iterable[str]) -> str:
        """Return how busy the machine was while these figures were measured, for a page."""
        loads = [figure.load for name in names if (figure := self.get(name))]
        return f"load averages of {min(loads):g} to {max(loads):g} before the measurements"
