"""How fast training goes, how long it may still take, and whether it ended too early: pure functions of where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .progress import Progress, spent_budget
from .settings import TrainingConfig

MORE = 2  # times the budget that was spent, to train on with


@dataclass(frozen=True)
class Pace:
    """Updates a second since a moment of this session, and what the settings leave of time.

    first:    that moment: after the first update, which also pays for what is done once
    updates:  the most that the settings' epochs and `max_steps` allow
    settings: what ends training
    """

    first: Progress
    updates: int
    settings: TrainingConfig

    def rate(self, at: Progress) -> float:
        """Updates per second, validations included; 0 where nothing was measured yet."""
        seconds = at.seconds - self.first.seconds
        return (at.step - self.first.step) / seconds if seconds > 0 else 0.0

    def seconds_left(self, at: Progress) -> float | None:
        """The least of what the updates and the minutes allow; None where neither is known."""
        rate = self.rate(at)
        allowed = [(self.updates - at.step) / rate] if rate > 0 else []
        allowed += [(limit - spent) / speed for spent, limit, speed in self._minutes(at) if speed > 0]
        return max(0.0, min(allowed)) if allowed else None

    def share(self, at: Progress) -> float:
        """How much of training is done, 0 to 1: of its updates, or of its minutes where that is more."""
        of_minutes = [spent / limit for spent, limit, _ in self._minutes(at)]
        return min(1.0, max([at.step / max(1, self.updates), *of_minutes]))

    def _minutes(self, at: Progress) -> list[tuple[float, float, float]]:
        """Seconds spent and allowed, and how many go by in a second: of `max_minutes`, and of `max_cpu_minutes`."""
        seconds, busy = at.seconds - self.first.seconds, at.cpu_seconds - self.first.cpu_seconds
        budgets = [
            (at.seconds, self.settings.max_minutes, 1.0),
            (at.cpu_seconds, self.settings.max_cpu_minutes, busy / seconds if seconds > 0 else 0.0),
        ]
        return [(spent, 60 * limit, speed) for spent, limit, speed in budgets if limit is not None]

    def left(self, at: Progress, say: Callable[[float], str]) -> str:
        """at most 8:12 left, in the words that `say` has for seconds: patience may end training before."""
        seconds = self.seconds_left(at)
        if seconds is None:
            return ""
        sooner = self.settings.patience is not None
        return f"{'at most ' if sooner else ''}{say(seconds)} left"


def still_improving(at: Progress, settings: TrainingConfig) -> str:
    """What to say where a budget ended training while validation was getting better; "" elsewhere.

    That is where the last validation was the best, or patience (where it is set) had not run out.
    """
    since, patience = at.validations_without_best, settings.patience
    name = _spent(at, settings)
    was_trained = at.step > 0 and (since == 0 or at.best_epoch > 0)  # else the best is that of the first weights
    if not name or at.best_epoch < 0 or not was_trained or since >= (patience or 1):
        return ""
    when = "validation was still getting better at the end"
    if since:
        when = f"validation may still get better: the best was {since} before the last, and patience is {patience}"
    more = MORE * getattr(settings, name)
    more = f"{more:g}" if isinstance(more, float) else str(more)
    return f"{when}; train longer, as by {name} {more} (of a run: the same command, --resume --training.{name} {more})"


def _spent(at: Progress, settings: TrainingConfig) -> str:
    """The budget that ended training; "" where something else did."""
    spent = spent_budget(at, settings)
    return spent.split()[0] if spent else "epochs" if at.epoch >= settings.epochs else ""
