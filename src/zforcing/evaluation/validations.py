"""A run's validations: how its likelihood grew with updates and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..saving.atomic import parse_json


@dataclass(frozen=True)
class Validation:
    """A row of metrics.jsonl of event `validation`, in short.

    step: updates until then; seconds, cpu_seconds: spent until then, by the clock and by the CPUs
    """

    epoch: int
    step: int
    seconds: float
    cpu_seconds: float
    nats_per_sequence: float
    kl_per_sequence: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Validation:
        """Of a row; TypeError or ValueError where it has other fields."""
        counts, numbers = ("epoch", "step"), [f.name for f in fields(cls)][2:]
        return cls(*(int(row[name]) for name in counts), *(float(row.get(name, 0)) for name in numbers))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def read_validations(run: Path) -> tuple[Validation, ...]:
    """Of a run folder, oldest first: those that are finite. Empty where it has no metrics."""
    try:
        rows = [parse_json(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        found = [row for row in rows if row["event"] == "validation" and "nats_per_sequence" in row]
        return tuple(Validation.of(row) for row in found if isinstance(row["nats_per_sequence"], float))
    except (OSError, ValueError, KeyError, TypeError):
        return ()
