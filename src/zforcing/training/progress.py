"""Where training is, as a frozen record, and pure functions of it.

at = Progress(learning_rate=1e-3)
at = at.after_update({"value": -30.0, "loss": 30.0, "sequences": 8.0}, seconds=0.1)
at = at.after_validation(-4.2, settings, seconds=0.2)
reason = reason_to_stop(at, settings)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import UserError
from ..settings import problems_of
from .settings import TrainingConfig

INTERRUPTED = "interrupted"  # why training ended, when it was asked to; such a run can resume
NOT_FINITE = ("inf", "-inf", "nan")  # sums, as texts in files
UNKNOWN = ("best", "previous")  # minus infinity before the first validation, which JSON can't say: null there


@dataclass(frozen=True)
class Progress:
    """All that a checkpoint must hold besides tensors.

    Attributes:
        epoch: epochs completed.
        batch: updates done in this epoch; skipped ones count.
        step: updates done in all; skipped ones count.
        learning_rate: of the next update.
        best: the best validation so far, nats per sequence; minus infinity (in files null): none.
        best_epoch: when that was, in epochs completed.
        previous: the validation before, nats per sequence.
        validations_without_best: since the best one.
        nonfinite: updates that were skipped, in all.
        nonfinite_in_a_row: updates that were skipped just now.
        rows: rows of metrics so far.
        seconds: of training so far, over all its sessions.
        cpu_seconds: likewise, what the CPUs have spent on it, all threads and processes together.
        finished: why training ended; "" while it goes on.
        since_row: sums over the updates since the last row of metrics: of each term over sequences, in nats, and how
            many "sequences" and "updates" there were.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    learning_rate: float = 0.0
    best: float = -math.inf
    best_epoch: int = -1
    previous: float = -math.inf
    validations_without_best: int = 0
    nonfinite: int = 0
    nonfinite_in_a_row: int = 0
    rows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    finished: str = ""
    since_row: Mapping[str, float] = field(default_factory=dict)

    def after_update(self, sums: Mapping[str, float], *, seconds: float, cpu_seconds: float = 0.0) -> Progress:
        """One update later. sums: of the update, by name."""
        done = replace(self, step=self.step + 1, batch=self.batch + 1, seconds=seconds, cpu_seconds=cpu_seconds)
        return replace(done, nonfinite_in_a_row=0, since_row=added(self.since_row, sums))

    def after_skipped(self, *, seconds: float, cpu_seconds: float = 0.0) -> Progress:
        """One update later, whose loss or gradient wasn't finite."""
        done = replace(self, step=self.step + 1, batch=self.batch + 1, seconds=seconds, cpu_seconds=cpu_seconds)
        return replace(done, nonfinite=self.nonfinite + 1, nonfinite_in_a_row=self.nonfinite_in_a_row + 1)

    def after_row(self) -> Progress:
        """One row of metrics later."""
        return replace(self, rows=self.rows + 1)

    def after_epoch(self) -> Progress:
        """At the beginning of the next epoch."""
        return replace(self, epoch=self.epoch + 1, batch=0)

    def after_validation(
        self, value: float, settings: TrainingConfig, *, seconds: float, cpu_seconds: float = 0.0
    ) -> Progress:
        """A validation later. value: nats per sequence, higher is better; NaN is worse than anything."""
        best = value > self.best
        return replace(
            self,
            learning_rate=next_learning_rate(self, value, settings),
            previous=value if math.isfinite(value) else -math.inf,
            best=value if best else self.best,
            best_epoch=self.epoch if best else self.best_epoch,
            validations_without_best=0 if best else self.validations_without_best + 1,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
        )

    def without_validation(self, settings: TrainingConfig) -> Progress:
        """Where there would be a validation, without one."""
        return replace(self, learning_rate=next_learning_rate(self, self.previous, settings))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; JSON has no infinity: minus infinity becomes null, sums that aren't finite are texts."""
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}
        return values | {"since_row": {k: v if math.isfinite(v) else str(v) for k, v in self.since_row.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Progress:
        """The inverse of `to_json`. Raises UserError, one line, for values that are missing or of a wrong type."""
        values = {"cpu_seconds": 0.0} | dict(values)  # checkpoints of before have none
        if isinstance(sums := values.get("since_row"), dict):
            values["since_row"] = {k: float(v) if v in NOT_FINITE else v for k, v in sums.items()}
        names = [f.name for f in fields(cls)]
        problems = [f"progress.{name} is missing" for name in names if name not in values]
        if problems:
            raise UserError("; ".join(problems))
        known = {name: values[name] for name in names}
        progress = cls(**known | {name: -math.inf for name in UNKNOWN if known[name] is None})
        problems = problems_of(cls(**known | {name: 0.0 for name in UNKNOWN if known[name] is None}), "progress")
        sums = progress.since_row
        if not (isinstance(sums, dict) and all(isinstance(v, int | float) for v in sums.values())):
            problems.append(f"progress.since_row is {sums!r}; it must be names with numbers")
        if problems:
            raise UserError("; ".join(problems))
        return progress


def added(before: Mapping[str, float], sums: Mapping[str, float]) -> dict[str, float]:
    """The sums of an update more; names that not all updates have (a cost whose weight began at 0) are left out."""
    if not before:
        return dict(sums)
    return {name: before[name] + value for name, value in sums.items() if name in before}


def next_learning_rate(at: Progress, value: float, settings: TrainingConfig) -> float:
    """Adam's, after a validation of `value` nats per sequence.

    It falls by `learning_rate_factor` when validation is worse than the time before, and by `learning_rate_decay` at
    the end of an epoch (no limit's) from `learning_rate_decay_from` on, not below `min_learning_rate`.
    """
    factor = 1.0
    if at.step and not value >= at.previous:  # NaN is worse too
        factor *= settings.learning_rate_factor
    if at.batch == 0 and at.epoch >= settings.learning_rate_decay_from:
        factor *= settings.learning_rate_decay
    return min(at.learning_rate, max(at.learning_rate * factor, settings.min_learning_rate))


def spent_budget(at: Progress, settings: TrainingConfig) -> str:
    """Which budget within an epoch is spent; "" if none is."""
    if settings.max_steps is not None and at.step >= settings.max_steps:
        return f"max_steps {settings.max_steps}"
    if settings.max_minutes is not None and at.seconds >= 60 * settings.max_minutes:
        return f"max_minutes {settings.max_minutes:g}"
    if settings.max_cpu_minutes is not None and at.cpu_seconds >= 60 * settings.max_cpu_minutes:
        return f"max_cpu_minutes {settings.max_cpu_minutes:g}"
    return ""


def reason_to_stop(at: Progress, settings: TrainingConfig) -> str:
    """Why training ends after a validation; "" if it goes on."""
    spent = spent_budget(at, settings)
    if spent:
        return spent
    if at.epoch >= settings.epochs:
        return f"epochs {settings.epochs}"
    if settings.patience is not None and at.validations_without_best >= settings.patience:
        return f"no better validation in {settings.patience}"
    return ""


def checkpoint_is_due(at: Progress, settings: TrainingConfig) -> bool:
    """Whether to save within an epoch: every `checkpoint_every` updates, unless the last one was skipped."""
    every = settings.checkpoint_every
    return every is not None and at.step % every == 0 and not at.nonfinite_in_a_row
