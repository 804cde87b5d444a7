"""Learning curves of runs, from their metrics.jsonl: every term against updates, epochs and time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import UserError
from ..files.reading import Array
from ..saving.atomic import parse_json, read_current
from ..training.runs.log import other_rows

Against = Literal["updates", "epochs", "minutes", "cpu_minutes"]
Event = Literal["training", "validation"]
EVENTS: tuple[Event, ...] = ("training", "validation")
TITLES = {
    "nats": "bound on log p(x)",
    "loss": "loss",
    "log_px": "log p(x | z)",
    "kl": "KL(q || p)",
    "gradient_norm": "gradient norm",
    "learning_rate": "learning rate",
}


@dataclass(frozen=True)
class Series:
    """A term of one run in training or validation. x: by what it may stand against; y: [N] finite numbers."""

    run: int
    event: Event
    x: Mapping[Against, Array]
    y: Array


@dataclass(frozen=True)
class Panel:
    """One term, in one unit, of several runs."""

    term: str
    unit: str
    series: Sequence[Series]

    @property
    def title(self) -> str:
        """The term in words."""
        return TITLES.get(self.term, self.term.replace("_weight", ": its weight").replace("_", " "))

    @property
    def label(self) -> str:
        """Of the axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def has(self, against: Against) -> bool:
        """Whether any point of it has such an x."""
        return any(np.isfinite(series.x[against]).any() for series in self.series)


@dataclass(frozen=True)
class Curves:
    """A run's rows of metrics."""

    name: str
    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, run: Path) -> Curves:
        """Of a run folder. Raises UserError where it has no metrics, damaged ones, or others than it wrote."""
        path = run / "metrics.jsonl"
        if not path.is_file():
            raise UserError(f"{run} has no metrics.jsonl: name a folder that `zforcing train` wrote")
        try:
            rows = [parse_json(line) for line in path.read_text("utf-8").splitlines()]
            well_formed = all(isinstance(row["step"], int) and row["event"] for row in rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error!r}): restore a copy, or train the run again") from None
        if not rows or not well_formed:
            raise UserError(f"{path} has no rows: the run has not begun, or its file is damaged")
        last = run / "checkpoints" / "last"
        if path in (read_current(last, lambda place: other_rows(run, place)) or []):
            raise UserError(
                f"{path} lacks rows of before {last}, or has others: restore a copy, or train the run again"
            )
        return cls(run.absolute().name, rows)

    def of(self, event: Event) -> list[Mapping[str, Any]]:
        """The rows of an event."""
        return [row for row in self.rows if row["event"] == event]

    @property
    def kind(self) -> str:
        """What the bound is to log p(x)."""
        return next((str(row["kind"]) for row in self.of("validation")), "")

    def terms(self) -> Iterator[tuple[Event, str, str]]:
        """What there is: event, term and unit."""
        for event in EVENTS:
            for name in dict.fromkeys(name for row in self.of(event) for name in row):
                term, unit = _term_and_unit(name, self.of(event)[0])
                if term is not None and not (term.endswith("_weight") and self._is_constant(event, name)):
                    yield event, term, unit

    def series(self, run: int, event: Event, term: str, unit: str) -> Series:
        """One of them."""
        names = [term, f"{term}_{unit.replace('nats per ', 'per_')}"]
        found = [(row, _number(next((row[n] for n in names if n in row), math.nan))) for row in self.of(event)]
        kept = [(row, y) for row, y in found if math.isfinite(y)]
        steps = np.array([row["step"] for row, _ in kept], dtype=np.float64)
        minutes, cpu_minutes = (
            np.array([_number(row.get(name, math.nan)) / 60 for row, _ in kept], dtype=np.float64)
            for name in ("seconds", "cpu_seconds")
        )
        x: dict[Against, Array] = {"updates": steps, "epochs": self._epochs(steps)}
        x |= {"minutes": minutes, "cpu_minutes": cpu_minutes}
        return Series(run, event, x, np.array([y for _, y in kept], dtype=np.float64))

    def _is_constant(self, event: Event, name: str) -> bool:
        return len({row.get(name) for row in self.of(event)}) == 1

    def _epochs(self, steps: Array) -> Array:
        """Epochs completed after so many updates, between the validations at their ends."""
        ends = dict(sorted((row["step"], row["epoch"]) for row in self.of("validation")))
        if len(ends) < 2:
            return np.full(len(steps), np.nan)
        epochs: Array = np.interp(steps, list(ends), list(ends.values()))
        return epochs


def panels(curves: Sequence[Curves]) -> list[Panel]:
    """One for each term and unit that any of the runs has, in the order of the rows."""
    known = dict.fromkeys((term, unit) for each in curves for _, term, unit in each.terms())
    order = {term: place for place, term in enumerate(TITLES)}
    found = []
    for term, unit in sorted(known, key=lambda key: _place(key[0], order)):
        series = [
            each.series(run, event, term, unit)
            for run, each in enumerate(curves)
            for event in EVENTS
            if (event, term, unit) in set(each.terms())
        ]
        found.append(Panel(term, unit, [one for one in series if len(one.y)]))
    return [panel for panel in found if panel.series]


def _place(term: str, order: Mapping[str, int]) -> float:
    """The model's own terms stand behind the KL, and what says nothing of the loss at the end."""
    return order.get(term, order["kl"] + (0.6 if term.endswith("_weight") else 0.5))


def _term_and_unit(name: str, row: Mapping[str, Any]) -> tuple[str | None, str]:
    """kl_per_chunk -> (kl, nats per chunk); None of what is no curve."""
    term, per, unit = name.partition("_per_")
    if per:
        return term, f"nats per {unit}"
    if name == "loss":
        measured = next((key for key in row if key.startswith("nats_per_")), "nats_per_sequence")
        return name, measured.replace("_", " ")
    return (name if name in TITLES or name.endswith("_weight") else None), ""


def _number(value: Any) -> float:
    """A number that isn't finite is text in the file."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
