"""A run's validations: how its likelihood grew with updates and time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..saving.atomic import parse_json


@dataclass(frozen=True)
class Validation:
    """A row of metrics.jsonl of event `validation`, in short.

    step: updates until then; seconds, cpu_seconds: spent until then, by the clock and by the CPUs; None in older files
    """

    epoch: int
    step: int
    seconds: float | None
    cpu_seconds: float | None
    nats_per_sequence: float
    kl_per_sequence: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Validation:
        """Of a row. Raises KeyError, TypeError, ValueError or OverflowError where it is another one."""
        seconds, cpu_seconds = (None if row.get(n) is None else float(row[n]) for n in ("seconds", "cpu_seconds"))
        nats, kl = float(row["nats_per_sequence"]), float(row.get("kl_per_sequence", 0.0))
        if not math.isfinite(nats):
            raise ValueError("its curve has nats that aren't finite")
        return cls(int(row["epoch"]), int(row["step"]), seconds, cpu_seconds, nats, kl)

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
