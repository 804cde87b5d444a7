"""Numbers that change during training, as pure functions of the step, so that a run can resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..bounds.base import Weights
from ..errors import UserError
from ..settings import Count, NotNegative, check, must_be


@dataclass(frozen=True)
class Schedule:
    """value(step) = start moved towards end by per_step a step, and no further; from start again every period steps.

    Constant:          Schedule(1.0)
    KL annealing:      Schedule(0.2, end=1.0, per_step=5e-5)   (the authors' "kla": reaches 1 after 16000 steps)
    Downwards:         Schedule(0.1, end=0.0, per_step=1e-5)
    Cyclic:            Schedule(0.0, end=1.0, per_step=1e-3, period=2000)   (H. Fu et al., NAACL 2019, arXiv 1903.10145)

    Steps are updates, counted from 0.

    Raises:
        UserError: a number is out of its range, `end` and `per_step` don't go together.

    Example:
        >>> schedule = Schedule(0.2, end=1.0, per_step=0.1)
        >>> schedule(0), schedule(3), schedule(100)
        (0.2, 0.5, 1.0)
    """

    start: NotNegative = 1.0
    """value at step 0"""
    end: NotNegative | None = None
    """last value, above or below start; null: constant"""
    per_step: NotNegative = 0.0
    """how far it moves a step, without a sign"""
    period: Count | None = None
    """steps after which it begins again; null: never"""

    def __post_init__(self) -> None:
        check(self, "schedule")
        if self.end is not None and self.end != self.start and self.per_step == 0:
            raise UserError(f"a schedule from {self.start} to {self.end} needs per_step, how far it moves a step")
        if self.end is None and (self.per_step != 0 or self.period is not None):
            raise UserError("a schedule with per_step or period needs `end`, the value that it goes to")

    def __call__(self, step: int) -> float:
        """Return the value at a step, counted from 0."""
        if self.end is None:
            return self.start
        way = self.per_step * (step if self.period is None else step % self.period)
        return min(self.start + way, self.end) if self.end >= self.start else max(self.start - way, self.end)


@dataclass(frozen=True, init=False)
class WeightSchedules:
    """Schedules of the weights of the loss's terms.

    Args:
        kl: of the KL; the paper's "kla" goes from 0.2 to 1 by 5e-5 a step.
        costs: of the model's extra terms, by the names in its `cost_names`. Z-Forcing has `auxiliary` (alpha, of
            log p(b_t | z_t)) and `backward` (beta, of log p(x_{t-1} | b_t)).
        **named: more of them, by keyword.

    Raises:
        UserError: One is no schedule.

    Example:
        zf.WeightSchedules(kl=zf.Schedule(0.2, end=1.0, per_step=5e-5), auxiliary=zf.Schedule(0.005))
    """

    kl: Schedule
    costs: Mapping[str, Schedule]

    def __init__(self, kl: Schedule = Schedule(), *, costs: Mapping[str, Schedule] | None = None, **named: Schedule):
        object.__setattr__(self, "kl", kl)
        object.__setattr__(self, "costs", {**(costs or {}), **named})
        for name, schedule in self.by_name.items():
            must_be(schedule, Schedule, f"weights.{name}", "a Schedule; a constant one is Schedule(0.5)")

    @property
    def by_name(self) -> dict[str, Schedule]:
        """All of them: "kl" and the costs."""
        return {"kl": self.kl, **self.costs}

    def at(self, step: int) -> Weights:
        """Return the weights at a step, counted from 0."""
        return Weights(self.kl(step), costs={name: schedule(step) for name, schedule in self.costs.items()})
