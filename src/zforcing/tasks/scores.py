"""What `score` returns: nats by step, number and sequence; as a table; and when a step is an alarm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..bounds import BoundKind
from ..errors import UserError
from ..files.reading import Array
from ..files.rows import TimeColumn
from ..settings import Share, must_fit
from .columns import by_step, check_lengths, table_file, to_frame, write_csv, write_npz
from .posterior import Reads
from .proposals import Proposal

Kind = Literal["causal", "smoothed"]
FEW = 5  # particles: the logarithm of a mean over so many is too low by some 1 / (2 FEW) nats
OFTEN = 0.25  # of the steps: an occasional surprise has few particles too
IN_WORDS: dict[Reads, str] = {
    "future": "latents have read the whole sequence",
    "present": "latents have read x_1..x_t",
    "past": "latents have read x_<t",
}


@dataclass(frozen=True)
class Threshold:
    """Steps below `nats` are alarms."""

    nats: float
    """per step, in the unit of the scores that it was taken from"""
    false_alarm_rate: float
    """of clean data's steps, what was asked for"""
    steps: int
    """how many scored steps it stands on"""
    alarms: int
    """how many of those are below it: false_alarm_rate * steps or fewer"""
    kind: Kind
    """of the scores that it was taken from"""


@dataclass(frozen=True, repr=False, eq=False)
class Scores:
    """Scores of N sequences in nats, float64: of each step as in the data, the first one included.

    A step where nothing was observed, and a first one that the model only reads, is NaN. Scores of real data are those
    of a density in the data's own units (nats change by ln 1000 where a column is in mm and not in m), others of a
    probability.

    Attributes:
        model: name of the model.
        kind: "causal" or "smoothed", see `score`.
        relation: what the nats of a sequence are to log p(x): "exact", "estimate" or "lower bound" (in expectation).
        reads: what the latents of step t have read before x_t is scored: "past" (x_<t: all causal scores), or of
            smoothed ones, by the model, "future" (the whole sequence), "present" (x_1..x_t) or "past".
        particles: K.
        seed: of the random numbers.
        unit: "density" or "probability".
        ids: [N] of the sequences.
        names: of the D numbers of a step, or None.
        nats: [T_i] for each sequence.
        per_sequence: [N], the nats of each sequence: the sum over its steps, less the KL of steps without a score where
            they are smoothed; NaN where no step has one.
        features: [T_i, D] for each sequence, each number by itself; they needn't sum to the step's nats, for numbers
            are dependent through the latents. None where a number by itself has no closed form (autoregressive
            emissions).
        effective: [T_i] for each sequence: how many of the K particles a causal score stands on, 1 / sum_k w_k^2 of
            their weights after x_t, from 1 to K (0 where no particle explains x_t); NaN where a step has no score. One
            particle is always 1, which says nothing of how good it is. Smoothed scores have K: their draws weigh alike.
        time_column: the column that the data was ordered by, or None.
        proposal: what the particles of causal scores were drawn from once x_t was known, see `score`; None of smoothed
            scores, and without latents.
    """

    model: str
    kind: Kind
    relation: BoundKind
    reads: Reads
    particles: int
    seed: int
    unit: Literal["density", "probability"]
    ids: tuple[Any, ...]
    names: tuple[str, ...] | None
    nats: tuple[Array, ...]
    per_sequence: Array
    features: tuple[Array, ...] | None
    effective: tuple[Array, ...]
    time_column: TimeColumn | None = None
    proposal: Proposal | None = None

    def __len__(self) -> int:
        return len(self.nats)

    def __repr__(self) -> str:
        return (
            f"<Scores: {self.kind}, {self.relation}, of {len(self)} sequences, {self.steps_scored} steps; "
            f"{self.nats_per_step:.3f} nats per step (of a {self.unit}); {self.model}, {self.stands_on}>"
        )

    # ---- summed

    @property
    def steps_scored(self) -> int:
        """How many steps have a score."""
        return len(self.of_steps)

    @property
    def of_steps(self) -> Array:
        """The scores of all steps that have one, in a row."""
        nats = np.concatenate(self.nats)
        scored: Array = nats[~np.isnan(nats)]
        return scored

    @property
    def nats_per_step(self) -> float:
        """The mean over all steps that have a score; NaN without one."""
        return float(np.mean(self.of_steps)) if self.steps_scored else math.nan

    @property
    def nats_per_sequence(self) -> float:
        """The mean of `per_sequence` over those that have a score; NaN without one."""
        each = self._scored_sequences
        return float(np.mean(each)) if len(each) else math.nan

    @property
    def standard_error(self) -> float | None:
        """Of `nats_per_sequence`, from how sequences differ; None of fewer than two."""
        each = self._scored_sequences
        return float(np.std(each, ddof=1) / math.sqrt(len(each))) if len(each) > 1 else None

    @property
    def _scored_sequences(self) -> Array:
        scored: Array = self.per_sequence[~np.isnan(self.per_sequence)]
        return scored

    # ---- how good

    @property
    def effective_particles(self) -> float:
        """`effective` of the 25% quantile of the scored steps: three of four have as many or more; NaN without one."""
        return float(np.quantile(self._effective, OFTEN)) if self.steps_scored else math.nan

    @property
    def remark(self) -> str:
        """A warning where over a quarter of the steps stand on fewer than 5 particles (K / 3 of few); else empty."""
        few = min(FEW, self.particles / 3)  # at K / 2 it resamples, as any filter does now and then
        steps = int((self._effective < few).sum())
        if steps <= OFTEN * self.steps_scored:
            return ""
        return (
            f"at {steps} of {self.steps_scored} steps fewer than {few:.3g} of the {self.particles} particles explain "
            f"what was observed (the median {np.median(self._effective):.1f}), so that these scores are too low by an "
            f"unknown amount: take {'proposal mixture, ' * (self.proposal == 'prior')}more particles, or to look back "
            f"kind smoothed, whose sum is a lower bound"
        )

    @property
    def _effective(self) -> Array:
        every = np.concatenate(self.effective)
        scored: Array = every[~np.isnan(every)]
        return scored

    @property
    def stands_on(self) -> str:
        """What the numbers are computed from, in words."""
        if self.relation == "exact":
            return "no latents"
        if self.kind == "smoothed":
            return f"{self.particles} draws, whose {IN_WORDS[self.reads]}"
        mixed = " of prior and posterior" if self.proposal == "mixture" else ""
        effective = f"{self.effective_particles:.1f} or more of them effective at 3 of 4 steps"
        return f"{self.particles} particles{mixed}, {effective}"

    # ---- as a table

    def columns(self) -> dict[str, Array]:
        """Columns of a table with a row for each step: sequence (its id), step (from 0), the column that the data was
        ordered by, if it was (order_NAME where the table has another NAME), nats, and each number's nats.

        `polars.DataFrame(scores.columns())` and the like take it.
        """
        columns = {"nats": np.concatenate(self.nats)}
        if self.features is not None:
            each = np.concatenate(self.features)
            columns |= {f"nats_{name}": each[:, d] for d, name in enumerate(names_of(self.names, each.shape[1]))}
        return by_step(self.ids, [np.arange(len(x)) for x in self.nats], columns, times=self.time_column)

    def to_frame(self) -> Any:
        """The same as a pandas data frame. Raises UserError where pandas isn't installed."""
        return to_frame(self.columns())

    def save(self, path: str | Path, **more: Array) -> Path:
        """Write the columns to a .csv (an empty cell has no score) or .npz file.

        Args:
            path: the file; its folder must be there.
            **more: further columns, a value for each step.

        Raises:
            UserError: another suffix, a file that can't be written, or a column of another length.
        """
        file, columns = table_file(path, "scores"), self.columns() | more
        check_lengths(columns)
        (write_npz if file.suffix.lower() == ".npz" else write_csv)(file, columns)
        return file

    # ---- alarms

    def threshold(self, false_alarm_rate: float) -> Threshold:
        """The nats below which a step is an alarm, from these scores of clean data.

        At most this share of their steps is below it: it is a quantile of them. Successive steps are alike, so that the
        rate of other data varies more than that of as many independent steps would.

        Args:
            false_alarm_rate: of steps, between 0 and 1; 0.001 takes 1000 steps or more.

        Raises:
            UserError: the rate is finer than the steps can say, or more of them are impossible to the model.
        """
        must_fit(false_alarm_rate, Share, "false_alarm_rate")
        nats = np.sort(self.of_steps)
        allowed = int(false_alarm_rate * len(nats) * (1 + 1e-12))
        if allowed < 1:
            least = math.ceil(1 / false_alarm_rate)
            raise UserError(
                f"a false-alarm rate of {false_alarm_rate:g} can't be told from {len(nats)} scored steps, it takes "
                f"{least} or more: give more clean data, or a higher rate"
            )
        level = float(nats[min(allowed, len(nats) - 1)])
        if not math.isfinite(level):
            raise UserError(
                f"{int(np.isinf(nats).sum())} of {len(nats)} steps of clean data are impossible to the model, more "
                f"than a false-alarm rate of {false_alarm_rate:g} allows: take cleaner data, or train on such steps too"
            )
        return Threshold(level, false_alarm_rate, len(nats), int((nats < level).sum()), self.kind)

    def is_alarm(self, threshold: Threshold | float) -> list[Array]:
        """Where a step's score is below a threshold, bool [T_i] for each sequence; a step without a score is none.

        Raises UserError for a threshold of scores of the other kind.
        """
        if isinstance(threshold, Threshold) and threshold.kind != self.kind:
            raise UserError(
                f"the threshold is of {threshold.kind} scores, these are {self.kind}: take one from scores of one kind"
            )
        level = threshold.nats if isinstance(threshold, Threshold) else threshold
        must_fit(level, float, "threshold")
        return [x < level for x in self.nats]


def names_of(names: Sequence[str] | None, size: int) -> Sequence[str]:
    """The names of the numbers of a step, in tables: x, or x0, x1 and so on, where they have none."""
    return names or (("x",) if size == 1 else [f"x{d}" for d in range(size)])
